//! `restart`: kill -9 in the middle of full load, start again, and look for every sample that was acknowledged.
//!
//! Rounds that every connection has finished must be there to the last sample. Of the round that was under way, at least what was
//! acknowledged must be.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::{Common, Outcome, cpu_each, note, steps_ago, usage};
use crate::count::count;
use crate::dataset::Dataset;
use crate::http::Client;
use crate::load::{Plan, Until};
use crate::process::Server;
use crate::report::{Cell, figure, name};
use crate::systems::Target;

/// Far enough in the past for the data set's time to pass faster than on the wall.
const BEGIN_STEPS_AGO: u64 = 7 * 24 * 240;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Active series.
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    /// Samples of each series in a request.
    #[arg(long, default_value_t = 10)]
    per_series: usize,
    /// Seconds of full load before the kill.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What ends the server in place of kill -9: a shell command that gets its process id as the last argument, such as one that
    /// takes the disk away and brings it back.
    #[arg(long, value_name = "COMMAND")]
    end_by: Option<String>,
    /// Seconds from the count to the watch, in which a server may do what the load left over.
    #[arg(long, default_value_t = 20)]
    settle_seconds: u64,
    /// Seconds to watch the CPU of the idle server afterwards.
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
}

/// Ends the server in the middle of its work.
fn end(server: &mut Server, by: Option<&str>) {
    if let Some(command) = by {
        let command = format!("{command} {}", server.pid());
        match Command::new("sh").args(["-c", &command]).status() {
            Ok(status) if status.success() => {}
            outcome => note(&format!("{command}: {outcome:?}")),
        }
    }
    server.kill();
}

pub(super) fn run(options: &Options, target: &mut Target) -> Outcome {
    let dataset = Dataset::new();
    let plan = Plan {
        series: options.series,
        steps: options.per_series,
        samples_per_request: 10_000,
        connections: 4,
    };
    let first_ms = steps_ago(BEGIN_STEPS_AGO);
    let mut load = plan.cycled(&dataset, first_ms);
    let url = target.url.clone();
    let server = target.server().ok_or("restart needs --start: it kills the server")?;

    note(&format!("kill -9 after {} s", options.seconds));
    let killed = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(options.seconds));
            end(server, options.end_by.as_deref());
            killed.store(true, Ordering::Relaxed);
        });
        load.send(&url, Until::Elapsed(Duration::MAX), None, &killed)
    });
    note(&format!("sending ended with: {}", sent.error.as_deref().unwrap_or("nothing")));
    let ready = target.restart()?;

    let metrics = dataset.metric_names();
    let mut client = Client::new(&target.url)?;
    let whole = load.whole_rounds();
    let middle_ms = load.round_start_ms(whole);
    let in_whole_rounds = count(&mut client, &metrics, first_ms, middle_ms)?;
    let end_ms = load.round_start_ms(load.rounds_begun());
    let in_the_rest = count(&mut client, &metrics, middle_ms, end_ms)?;
    let expected = load.samples_in(whole);
    let lost = (expected - in_whole_rounds) + (sent.samples - expected).saturating_sub(in_the_rest);

    thread::sleep(Duration::from_secs(options.settle_seconds));
    let before = usage(target);
    thread::sleep(Duration::from_secs(options.idle_seconds));
    let idle = cpu_each(before, usage(target), 0.01, options.idle_seconds as f64, 2);
    let rss = usage(target)
        .map_or(Cell::Unknown, |usage| figure(usage.rss_bytes as f64 / 1_048_576.0, 0));
    Ok(vec![vec![
        ("system", name(&target.name)),
        ("series", figure(options.series as f64, 0)),
        ("acknowledged", figure(sent.samples as f64, 0)),
        ("found", figure((in_whole_rounds + in_the_rest) as f64, 0)),
        ("lost", figure(lost as f64, 0)),
        ("ready_s", figure(ready.as_secs_f64(), 2)),
        ("idle_cpu_percent", idle),
        ("rss_mib", rss),
    ]])
}
