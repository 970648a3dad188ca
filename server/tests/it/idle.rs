//! A server with nothing to do does next to nothing.

use std::thread;
use std::time::Duration;

use crate::harness::Tidemark;

const WATCHED: Duration = Duration::from_secs(8);

/// Percent of a core. The target is 1 for a release build; a debug build runs several times as many instructions for the same
/// timers, and machines that test are busy.
const PERCENT_MAX: f64 = if cfg!(debug_assertions) { 4.0 } else { 1.0 };

#[test]
fn an_idle_server_uses_next_to_no_cpu() {
    let tidemark = Tidemark::start("");
    // Whatever follows a start has settled.
    thread::sleep(Duration::from_secs(3));
    let before = tidemark.server.usage().cpu_s;
    thread::sleep(WATCHED);
    let used = tidemark.server.usage().cpu_s - before;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let percent = used * 100.0 / WATCHED.as_secs_f64() / cores as f64;
    println!("idle: {percent:.2} % of each of {cores} cores");
    assert!(percent <= PERCENT_MAX, "{percent:.2} % of each core while idle");
}
