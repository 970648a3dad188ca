//! `mixed`: a steady stream of samples while one client queries without pause; how long does either wait?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::query::{HOUR, ask, load_history};
use super::{Common, Outcome, cpu_each, note, percentile_ms, usage};
use crate::count::count_until;
use crate::dataset::{Dataset, STEP_MS};
use crate::expressions::EXPRESSIONS;
use crate::http::Client;
use crate::load::{Plan, Until};
use crate::report::{figure, name};
use crate::systems::Target;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Active series.
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    /// Samples a second.
    #[arg(long, default_value_t = 100_000.0)]
    rate: f64,
    /// Minutes of history that the queries find.
    #[arg(long, default_value_t = 60)]
    history_minutes: u64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds between loading and measuring, so that what a server does after an hour of samples in seconds is over.
    #[arg(long, default_value_t = 20)]
    settle_seconds: u64,
}

pub(super) fn run(options: &Options, target: &mut Target) -> Outcome {
    let dataset = Dataset::new();
    // A round of all series may pass sooner than a step: history ends early enough that no sample is of the future.
    let rounds = (options.seconds as f64 * options.rate / options.series as f64).ceil() as u64;
    let history =
        load_history(options.series, options.history_minutes * 4, rounds, &dataset, target)?;
    let end_ms = history.end_ms;
    thread::sleep(Duration::from_secs(options.settle_seconds));
    note(&format!("{}: {} samples/s beside queries", target.name, options.rate));
    let plan =
        Plan { series: options.series, steps: 1, samples_per_request: 2_000, connections: 4 };
    let mut load = plan.cycled(&dataset, end_ms + STEP_MS);

    let ended = AtomicBool::new(false);
    let before = usage(target);
    let (sent, mut latencies, failures) = thread::scope(|scope| {
        let queries = scope.spawn(|| query_without_pause(&target.url, end_ms, &ended));
        let until = Until::Elapsed(Duration::from_secs(options.seconds));
        let sent = load.send(&target.url, until, Some(options.rate), &AtomicBool::new(false));
        ended.store(true, Ordering::Relaxed);
        let (latencies, failures) = queries.join().expect("queries do not panic");
        (sent, latencies, failures)
    });
    let after = usage(target);
    if let Some(error) = sent.error {
        return Err(format!("{}: {error}", target.name).into());
    }
    latencies.sort_unstable();
    let range = (history.first_ms, load.round_start_ms(load.rounds_begun()));
    let acknowledged = history.samples + sent.samples;
    let mut client = Client::new(&target.url)?;
    let found = count_until(&mut client, &dataset.metric_names(), range, acknowledged)?;
    Ok(vec![vec![
        ("system", name(&target.name)),
        ("samples_per_s", figure(sent.samples as f64 / sent.elapsed.as_secs_f64(), 0)),
        ("ingest_p50_ms", percentile_ms(&sent.latencies, 0.50)),
        ("ingest_p99_ms", percentile_ms(&sent.latencies, 0.99)),
        ("queries", figure(latencies.len() as f64, 0)),
        ("query_p50_ms", percentile_ms(&latencies, 0.50)),
        ("query_p99_ms", percentile_ms(&latencies, 0.99)),
        ("failed", figure(f64::from(failures), 0)),
        ("cores_used", cpu_each(before, after, 1.0, sent.elapsed.as_secs_f64(), 2)),
        ("acknowledged", figure(acknowledged as f64, 0)),
        ("lost", figure(acknowledged as f64 - found as f64, 0)),
    ]])
}

/// Asks the expressions over an hour, one after the other, until told to end. Gives each one's time, and how many failed.
fn query_without_pause(url: &str, end_ms: i64, ended: &AtomicBool) -> (Vec<Duration>, u32) {
    let mut latencies = Vec::new();
    let mut failures = 0;
    let Ok(mut client) = Client::new(url) else { return (latencies, 1) };
    for (_, expression) in EXPRESSIONS.iter().cycle() {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        match ask(&mut client, HOUR, expression, end_ms) {
            Ok(answer) => latencies.push(answer.took),
            Err(error) => {
                if failures == 0 {
                    note(&format!("{expression}: {error}"));
                }
                failures += 1;
            }
        }
    }
    (latencies, failures)
}
