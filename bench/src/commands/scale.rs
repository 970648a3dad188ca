//! `scale`: a million series. What memory they take after a few scrapes and after an hour, what one query over all of them costs,
//! and how soon the server is ready again after a clean stop and after kill -9.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::disk::footprint;
use super::{Common, Outcome, cpu_each, note, steps_ago, usage};
use crate::count::{count_until, wait_for_series};
use crate::dataset::{Dataset, STEP_MS};
use crate::http::{Client, path};
use crate::load::{Plan, Until};
use crate::process::{Usage, forget_peak};
use crate::report::{Cell, Row, figure, name};
use crate::systems::Target;

/// Samples of each series in a request while the hour is filled.
const FILL_STEPS: usize = 20;

/// What the query's windows reach back, in steps.
const WINDOW_STEPS: u64 = 5 * 4;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Active series.
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Scrapes after which memory is measured: requests with one sample of each series.
    #[arg(long, default_value_t = 6)]
    scrapes: u64,
    /// Minutes to fill after that; 0 ends with the restarts.
    #[arg(long, default_value_t = 0)]
    fill_minutes: u64,
    /// Seconds to wait after filling, for merges that run in the background; then memory is measured once more, and the query asked.
    #[arg(long, default_value_t = 30)]
    settle_seconds: u64,
    /// Send this metric alone, a counter, and ask for the sum of its rates over the last hour.
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
}

pub(super) fn run(options: &Options, target: &mut Target) -> Outcome {
    let dataset = match &options.metric {
        Some(metric) => Dataset::of(metric).ok_or("the data set has no such metric")?,
        None => Dataset::new(),
    };
    let steps = options.scrapes + options.fill_minutes * 4 / FILL_STEPS as u64 * FILL_STEPS as u64;
    let first_ms = steps_ago(steps + 4);
    let end_ms = first_ms + steps as i64 * STEP_MS;
    let names =
        || vec![("system", name(&target.name)), ("series", figure(options.series as f64, 0))];

    let mut scraped = names();
    let mut filled = names();
    let mut restarted = names();
    scraped.extend(scrape(options, &dataset, target, first_ms)?);
    if options.fill_minutes > 0 {
        filled.extend(fill(options, &dataset, target, first_ms)?);
        note(&format!("{}: {} seconds of rest", target.name, options.settle_seconds));
        thread::sleep(Duration::from_secs(options.settle_seconds));
        filled.push(("settled_rss_mib", memory(usage(target), |u| u.rss_bytes, 1 << 20)));
        if let Some(metric) = &options.metric {
            filled.extend(query(options, metric, end_ms - STEP_MS, target)?);
        }
    }
    let expected = options.series as u64 * steps;
    restarted.extend(restarts(options, expected, target)?);

    let mut client = Client::new(&target.url)?;
    let range = (first_ms, end_ms);
    let found = count_until(&mut client, &dataset.metric_names(), range, expected)?;
    let mut rows = vec![scraped, filled, restarted];
    rows.retain(|row| row.len() > 2);
    for row in &mut rows {
        row.push(("lost", figure(expected as f64 - found as f64, 0)));
    }
    Ok(rows)
}

/// The first scrapes: what it costs to begin the series, and to hold them.
fn scrape(
    options: &Options,
    dataset: &Dataset,
    target: &Target,
    first_ms: i64,
) -> Result<Row, Box<dyn std::error::Error>> {
    note(&format!("{}: {} scrapes", target.name, options.scrapes));
    let fresh = usage(target);
    send(options, dataset, target, first_ms, 1, 1)?;
    let begun = usage(target);
    send(options, dataset, target, first_ms + STEP_MS, 1, options.scrapes - 1)?;
    let scraped = usage(target);
    let samples = (options.series as u64 * (options.scrapes - 1)) as f64;
    Ok(vec![
        ("cpu_us_per_new_series", cpu_each(fresh, begun, 1e-6, options.series as f64, 1)),
        ("cpu_ns_per_sample", cpu_each(begun, scraped, 1e-9, samples, 0)),
        ("rss_bytes_per_series", memory(scraped, |u| u.rss_bytes, options.series)),
        ("rss_peak_bytes_per_series", memory(scraped, |u| u.rss_peak_bytes, options.series)),
    ])
}

/// More samples of every series, many in a request.
fn fill(
    options: &Options,
    dataset: &Dataset,
    target: &Target,
    first_ms: i64,
) -> Result<Row, Box<dyn std::error::Error>> {
    note(&format!("{}: {} minutes more", target.name, options.fill_minutes));
    let from_ms = first_ms + options.scrapes as i64 * STEP_MS;
    let rounds = options.fill_minutes * 4 / FILL_STEPS as u64;
    let before = usage(target);
    send(options, dataset, target, from_ms, FILL_STEPS, rounds)?;
    let after = usage(target);
    let samples = (options.series as u64 * rounds * FILL_STEPS as u64) as f64;
    Ok(vec![
        ("filled_minutes", figure(options.fill_minutes as f64, 0)),
        ("fill_cpu_ns_per_sample", cpu_each(before, after, 1e-9, samples, 0)),
        ("filled_rss_mib", memory(after, |u| u.rss_bytes, 1 << 20)),
        ("filled_rss_bytes_per_series", memory(after, |u| u.rss_bytes, options.series)),
    ])
}

/// Bytes of memory for each of so many.
fn memory(usage: Option<Usage>, bytes: fn(&Usage) -> u64, of: usize) -> Cell {
    usage.map_or(Cell::Unknown, |usage| figure(bytes(&usage) as f64 / of as f64, 0))
}

/// Sends `rounds` requests' worth of every series, with `steps` samples of each in a request.
fn send(
    options: &Options,
    dataset: &Dataset,
    target: &Target,
    first_ms: i64,
    steps: usize,
    rounds: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let samples_per_request = if steps == 1 { 2_000 } else { 10_000 };
    let plan = Plan { series: options.series, steps, samples_per_request, connections: 4 };
    let mut load = plan.streamed(dataset, first_ms);
    let sent = load.send(&target.url, Until::Rounds(rounds), None, &AtomicBool::new(false));
    sent.error.map_or(Ok(()), |error| Err(format!("{}: {error}", target.name).into()))
}

/// The sum of all rates over an hour.
fn query(
    options: &Options,
    metric: &str,
    end_ms: i64,
    target: &Target,
) -> Result<Row, Box<dyn std::error::Error>> {
    let span_s = 3_600.min(options.fill_minutes as i64 * 60);
    let expression = format!("sum(rate({metric}[5m]))");
    let seconds = |ms: i64| format!("{:.3}", ms as f64 / 1e3);
    let (start, end) = (seconds(end_ms - span_s * 1_000), seconds(end_ms));
    let parameters = [
        ("query", &*expression),
        ("start", &start),
        ("end", &end),
        ("step", "15"),
        ("nocache", "1"),
        ("timeout", "600s"),
    ];
    let mut client = Client::new(&target.url)?;
    wait_for_series(&mut client, metric, end_ms, options.series as u64)?;
    target.pid.map(forget_peak).transpose()?;
    let before = usage(target);
    let began = Instant::now();
    let answer = client.get(&path("/api/v1/query_range", &parameters))?;
    let took = began.elapsed();
    let after = usage(target);
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let points = body["data"]["result"][0]["values"].as_array().map_or(0, Vec::len);
    if points == 0 {
        return Err(
            format!("{}: {expression}: {}: {}", target.name, answer.status, answer.text()).into()
        );
    }
    let samples = (options.series as u64 * (span_s as u64 / 15 + WINDOW_STEPS)) as f64;
    Ok(vec![
        ("query_wall_s", figure(took.as_secs_f64(), 2)),
        ("query_cpu_ns_per_sample", cpu_each(before, after, 1e-9, samples, 1)),
        ("query_rss_peak_mib", memory(after, |u| u.rss_peak_bytes, 1 << 20)),
    ])
}

/// What is on disk after a clean stop; how soon it is ready again after that, and after kill -9.
fn restarts(
    options: &Options,
    samples: u64,
    target: &mut Target,
) -> Result<Row, Box<dyn std::error::Error>> {
    let gone = "scale needs --start: it stops the server";
    note(&format!("{}: clean stop, start, kill -9, start", target.name));
    let stopping = Instant::now();
    target.server().ok_or(gone)?.stop()?;
    let stopped = stopping.elapsed();
    let footprint = footprint(target, samples as f64)?;
    let after_stop = target.restart()?;
    target.server().ok_or(gone)?.kill();
    let after_kill = target.restart()?;
    let seconds = |time: Duration| figure(time.as_secs_f64(), 2);
    let mut row = Row::from(footprint);
    row.extend([
        ("stopped_s", seconds(stopped)),
        ("ready_after_stop_s", seconds(after_stop)),
        ("ready_after_kill_s", seconds(after_kill)),
        ("restarted_rss_bytes_per_series", memory(usage(target), |u| u.rss_bytes, options.series)),
    ]);
    Ok(row)
}
