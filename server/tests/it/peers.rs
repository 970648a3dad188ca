//! The load generator and the synthetic targets against every system, in small: what is measured elsewhere must hold here.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tidemark_bench::count::count_until;
use tidemark_bench::dataset::Dataset;
use tidemark_bench::load::{Plan, Until};
use tidemark_bench::systems::{Choice, SYSTEMS, Target};
use tidemark_bench::targets::Targets;

use crate::components::program;
use crate::harness::{binary, eventually, now_ms, value};

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

#[test]
fn every_system_scrapes_the_synthetic_targets() {
    let dataset = Dataset::new();
    for system in SYSTEMS {
        let path = if system.name == "tidemark" { binary() } else { program(system.program) };
        let choice: Choice =
            format!("{}={}", system.name, path.display()).parse().expect("a known system");
        let targets = Targets::start(&dataset, 20, 50).expect("targets start");
        let config = targets.configuration(&dataset, 20, 1);
        let target =
            Target::start_with(&choice, &std::env::temp_dir(), &config).expect("it starts");
        eventually(system.name, || {
            let up = value(&target.url, "count(up == 1)")?;
            let series = value(&target.url, "sum(scrape_samples_scraped)")?;
            (up == 20.0 && series == 1_000.0).then_some(())
        });
        let arrivals = targets.finish().expect("targets end");
        assert!(arrivals.iter().all(|times| !times.is_empty()), "{}", system.name);
    }
}
