//! `disk`: what a sample costs on disk, once the server has been stopped cleanly.

use std::thread;
use std::time::Duration;

use clap::Args;

use super::query::load_history;
use super::{Common, Outcome, cpu_each, usage};
use crate::dataset::Dataset;
use crate::process::occupied_bytes;
use crate::report::{Cell, figure, name};
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
    load_history(options.series, steps, &dataset, target)?;
    thread::sleep(Duration::from_secs(options.settle_seconds));
    let after = usage(target);
    target.server().ok_or("disk needs --start: it looks into the data directory")?.stop()?;

    let samples = (options.series as u64 * steps) as f64;
    let (data, transient) = target.data().ok_or("the data directory is unknown")?;
    let whole = occupied_bytes(&data, &|_| false) as f64;
    let lasting = occupied_bytes(&data, &|name| transient.contains(&name)) as f64;
    let written =
        after.map_or(Cell::Unknown, |usage| figure(usage.written_bytes as f64 / samples, 2));
    Ok(vec![vec![
        ("system", name(&target.name)),
        ("samples", figure(samples, 0)),
        ("bytes_per_sample", figure(whole / samples, 2)),
        ("without_wal_bytes_per_sample", figure(lasting / samples, 2)),
        ("written_bytes_per_sample", written),
        ("load_cpu_ns_per_sample", cpu_each(before, after, 1e-9, samples, 0)),
    ]])
}
