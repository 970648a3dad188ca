//! The load generator against every system it knows, in small: what it measures elsewhere must hold here.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tidemark_bench::count::count_until;
use tidemark_bench::dataset::Dataset;
use tidemark_bench::load::{Plan, Until};
use tidemark_bench::systems::{Choice, SYSTEMS, Target};

use crate::components::program;
use crate::harness::{binary, now_ms};

#[test]
fn every_system_takes_the_data_set_and_loses_nothing() {
    let dataset = Dataset::new();
    let plan = Plan { series: 2_000, steps: 10, samples_per_request: 2_000, connections: 2 };
    let first_ms = now_ms() / 60_000 * 60_000 - 3_600_000;
    for system in SYSTEMS {
        let path = if system.name == "tidemark" { binary() } else { program(system.program) };
        let choice: Choice =
            format!("{}={}", system.name, path.display()).parse().expect("a known system");
        let scratch = std::env::temp_dir();
        let target = Target::start(&choice, Path::new(&scratch)).expect("it starts");
        let mut load = plan.streamed(&dataset, first_ms);
        let sent = load.send(&target.url, Until::Rounds(4), None, &AtomicBool::new(false));
        assert_eq!((sent.samples, sent.error, sent.retries), (80_000, None, 0), "{}", system.name);
        let range = (first_ms, load.round_start_ms(4));
        let mut client = tidemark_bench::http::Client::new(&target.url).expect("an address");
        let names = dataset.metric_names();
        let found = count_until(&mut client, &names, range, sent.samples).expect("counted");
        assert_eq!(found, sent.samples, "{}", system.name);
    }
}
