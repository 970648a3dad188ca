//! `ingest`: remote write from several connections as fast as the server acknowledges, at several request shapes.
//!
//! The first round makes the series and is measured apart; what follows is the steady state. In the end every acknowledged
//! sample is counted by queries.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::{Common, Outcome, cpu_each, note, percentile_ms, steps_ago, usage};
use crate::count::count_until;
use crate::dataset::Dataset;
use crate::load::{Plan, Until};
use crate::process::Usage;
use crate::report::{Cell, Row, figure, name};
use crate::systems::Target;

/// How far in the past sending begins: time in the data set passes much faster than on the wall.
const BEGIN_STEPS_AGO: u64 = 7 * 24 * 240;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Active series.
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    /// Samples of each series in a request; one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "10")]
    per_series: Vec<usize>,
    /// Samples in a request; by default 2,000 at one sample a series, else 10,000.
    #[arg(long)]
    samples_per_request: Option<usize>,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Seconds of sending in the steady state.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Samples a second; by default as many as are acknowledged.
    #[arg(long)]
    rate: Option<f64>,
}

pub(super) fn run(options: &Options, target: &mut Target) -> Outcome {
    let mut begin_steps_ago = BEGIN_STEPS_AGO;
    let mut rows = Vec::new();
    for steps in &options.per_series {
        note(&format!("{}: {steps} samples of each series in a request", target.name));
        rows.push(measure(options, *steps, target, begin_steps_ago)?);
        // The next shape goes to the same server, a day later in the data set's time.
        begin_steps_ago -= BEGIN_STEPS_AGO / 7;
    }
    Ok(rows)
}

fn measure(
    options: &Options,
    steps: usize,
    target: &Target,
    begin_steps_ago: u64,
) -> Result<Row, Box<dyn std::error::Error>> {
    let dataset = Dataset::new();
    let default_size = if steps == 1 { 2_000 } else { 10_000 };
    let plan = Plan {
        series: options.series,
        steps,
        samples_per_request: options.samples_per_request.unwrap_or(default_size),
        connections: options.connections,
    };
    let first_ms = steps_ago(begin_steps_ago);
    let mut load = plan.cycled(&dataset, first_ms);
    let go_on = AtomicBool::new(false);

    let fresh = usage(target);
    let made = load.send(&target.url, Until::Rounds(1), None, &go_on);
    let warm = usage(target);
    let own_before = Usage::of(std::process::id())?;
    let until = Until::Elapsed(Duration::from_secs(options.seconds));
    let sent = load.send(&target.url, until, options.rate, &go_on);
    let own_after = Usage::of(std::process::id())?;
    let after = usage(target);
    if let Some(error) = made.error.or(sent.error) {
        return Err(format!("{}: {error}", target.name).into());
    }

    let acknowledged = made.samples + sent.samples;
    let range = (first_ms, load.round_start_ms(load.rounds_begun()));
    let mut client = crate::http::Client::new(&target.url)?;
    let found = count_until(&mut client, &dataset.metric_names(), range, acknowledged)?;

    let samples = sent.samples as f64;
    let memory =
        |divide: f64| after.map_or(Cell::Unknown, |u| figure(u.rss_peak_bytes as f64 / divide, 0));
    let written = match (warm, after) {
        (Some(warm), Some(after)) => {
            figure((after.written_bytes - warm.written_bytes) as f64 / samples, 2)
        }
        _ => Cell::Unknown,
    };
    Ok(vec![
        ("system", name(&target.name)),
        ("per_series", name(steps.to_string())),
        ("samples_per_s", figure(samples / sent.elapsed.as_secs_f64(), 0)),
        ("server_cpu_ns_per_sample", cpu_each(warm, after, 1e-9, samples, 0)),
        ("client_cpu_ns_per_sample", cpu_each(Some(own_before), Some(own_after), 1e-9, samples, 0)),
        ("cpu_us_per_new_series", cpu_each(fresh, warm, 1e-6, options.series as f64, 1)),
        ("latency_p50_ms", percentile_ms(&sent.latencies, 0.50)),
        ("latency_p99_ms", percentile_ms(&sent.latencies, 0.99)),
        ("rss_peak_mib", memory(1_048_576.0)),
        ("rss_peak_bytes_per_series", memory(options.series as f64)),
        ("written_bytes_per_sample", written),
        ("retries", figure((made.retries + sent.retries) as f64, 0)),
        ("acknowledged", figure(acknowledged as f64, 0)),
        ("lost", figure(acknowledged as f64 - found as f64, 0)),
    ])
}
