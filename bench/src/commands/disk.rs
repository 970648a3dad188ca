//! `disk`: what a sample costs on disk, once the server has been stopped cleanly.

use std::thread;
use std::time::Duration;

use clap::Args;

use super::query::{History, load_history};
use super::{Common, Outcome, cpu_each, usage};
use crate::dataset::Dataset;
use crate::process::{Usage, occupied_bytes};
use crate::report::{Cell, Row, figure, name};
use crate::systems::Target;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Series to load.
    #[arg(long, default_value_t = 20_000)]
    series: usize,
    /// Hours to load.
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Seconds to wait after loading, for merges that run in the background.
    #[arg(long, default_value_t = 30)]
    settle_seconds: u64,
}

pub(super) fn run(options: &Options, target: &mut Target) -> Outcome {
    let dataset = Dataset::new();
    let steps = options.hours * 240;
    let before = usage(target);
    let history = load_history(options.series, steps, 0, &dataset, target)?;
    thread::sleep(Duration::from_secs(options.settle_seconds));
    Ok(vec![stopped(&history, (before, usage(target)), target)?])
}

/// Stops the server, and says what it has on disk and what it took to get there, from the first reading to the second.
pub(super) fn stopped(
    history: &History,
    (before, loaded): (Option<Usage>, Option<Usage>),
    target: &mut Target,
) -> Result<Row, Box<dyn std::error::Error>> {
    let end = usage(target);
    target.server().ok_or("this needs --start: it looks into the data directory")?.stop()?;
    let samples = history.samples as f64;
    let mut row = vec![("system", name(&target.name)), ("samples", figure(samples, 0))];
    row.extend(footprint(target, samples)?);
    let written =
        end.map_or(Cell::Unknown, |usage| figure(usage.written_bytes as f64 / samples, 2));
    row.extend([
        ("written_bytes_per_sample", written),
        ("load_cpu_ns_per_sample", cpu_each(before, loaded, 1e-9, samples, 0)),
        ("lost", history.lost()),
    ]);
    Ok(row)
}

/// Bytes for each sample in the data directory of a server that has stopped, with and without what is not yet in blocks.
pub(super) fn footprint(
    target: &Target,
    samples: f64,
) -> Result<[(&'static str, Cell); 2], Box<dyn std::error::Error>> {
    let (data, transient) = target.data().ok_or("the data directory is unknown")?;
    let each = |bytes: u64| figure(bytes as f64 / samples, 2);
    Ok([
        ("bytes_per_sample", each(occupied_bytes(&data, &|_| false))),
        (
            "without_wal_bytes_per_sample",
            each(occupied_bytes(&data, &|name| transient.contains(&name))),
        ),
    ])
}
