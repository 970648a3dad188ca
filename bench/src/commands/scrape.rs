//! `scrape`: thousands of targets from one process. What it costs, whether every interval is kept, and how evenly scrapes are
//! spread over it: all seen from the targets.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{Common, Outcome, System, cpu_each, note};
use crate::dataset::Dataset;
use crate::http::{Client, path};
use crate::process::Usage;
use crate::report::{Cell, figure, name};
use crate::targets::{Arrivals, Targets};

/// How long figures may take to be seen by queries after the last scrape.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Targets, each an address of its own in 127.64.0.0/10.
    #[arg(long, default_value_t = 10_000)]
    targets: usize,
    /// Series of all targets.
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Seconds from one scrape of a target to the next.
    #[arg(long, default_value_t = 15)]
    interval_seconds: u64,
    /// Intervals that pass before measuring: in the first all series are new.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Intervals to measure.
    #[arg(long, default_value_t = 4)]
    intervals: u64,
}

impl Options {
    fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds)
    }

    fn series_each(&self) -> usize {
        (self.series / self.targets.max(1)).max(1)
    }
}

/// Starts the targets, and a server that scrapes them; measures; ends both.
pub(super) fn run(options: &Options, system: &System<'_>) -> Outcome {
    let dataset = Dataset::new();
    let targets = Targets::start(&dataset, options.targets, options.series_each())?;
    let config = targets.configuration(&dataset, options.targets, options.interval_seconds);
    let server = system.target_with(&config)?;
    let pid = server.pid.ok_or("a server that was started has a process")?;
    note(&format!("{}: {} targets", server.name, options.targets));

    let fresh = Usage::of(pid).ok();
    thread::sleep(options.interval() * options.warm_up as u32);
    let (from, before, sender) = (targets.began.elapsed(), Usage::of(pid).ok(), own_cpu());
    thread::sleep(options.interval() * options.intervals as u32);
    let (until, after, sender) = (targets.began.elapsed(), Usage::of(pid).ok(), own_cpu() - sender);
    thread::sleep(SETTLE);
    let up = ask(&server.url, "count(up == 1)")?;
    let series = ask(&server.url, "sum(scrape_samples_scraped)")?;
    let arrivals = targets.finish()?;

    let window = from.as_secs_f64()..until.as_secs_f64();
    let seconds = window.end - window.start;
    let schedule = Schedule::of(&arrivals, window, options.interval().as_secs_f64());
    let each = |bytes: fn(&Usage) -> u64| {
        after.map_or(Cell::Unknown, |usage| figure(bytes(&usage) as f64 / series, 0))
    };
    let samples = schedule.scrapes as f64 * options.series_each() as f64;
    Ok(vec![vec![
        ("system", name(&server.name)),
        ("targets_up", figure(up, 0)),
        ("series", figure(series, 0)),
        ("server_cores", cpu_each(before, after, 1.0, seconds, 3)),
        ("warm_up_cpu_s", cpu_each(fresh, before, 1.0, 1.0, 1)),
        ("cpu_ns_per_sample", cpu_each(before, after, 1e-9, samples, 0)),
        ("cpu_us_per_scrape", cpu_each(before, after, 1e-6, schedule.scrapes as f64, 1)),
        ("missed", figure(schedule.missed as f64, 0)),
        ("off_p99_ms", figure(schedule.off_ms(0.99), 1)),
        ("off_max_ms", figure(schedule.off_ms(1.0), 1)),
        ("per_s_least", figure(schedule.least_per_s, 0)),
        ("per_s_most", figure(schedule.most_per_s, 0)),
        ("rss_bytes_per_series", each(|usage| usage.rss_bytes)),
        ("rss_peak_bytes_per_series", each(|usage| usage.rss_peak_bytes)),
        ("targets_cores", figure(sender / seconds, 3)),
    ]])
}

/// CPU seconds of this process: of the targets.
fn own_cpu() -> f64 {
    Usage::of(std::process::id()).map_or(0.0, |usage| usage.cpu_s)
}

/// The value of an expression that gives one sample.
fn ask(url: &str, expression: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let answer = Client::new(url)?.get(&path("/api/v1/query", &[("query", expression)]))?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    let value = body["data"]["result"][0]["value"][1].as_str().and_then(|v| v.parse().ok());
    value.ok_or_else(|| format!("{expression}: {}", answer.text()).into())
}

/// How well the interval was kept between two instants.
struct Schedule {
    scrapes: usize,
    /// Intervals in which a target was not asked.
    missed: usize,
    /// How far the time between two requests of a target was from the interval, in milliseconds, sorted.
    off_ms: Vec<f64>,
    /// Requests of all targets in the second with the fewest, and in that with the most.
    least_per_s: f64,
    most_per_s: f64,
}

impl Schedule {
    /// Of what came in a window of time, in seconds.
    fn of(arrivals: &Arrivals, window: Range<f64>, interval_s: f64) -> Self {
        let mut per_second = vec![0.0_f64; (window.end - window.start) as usize];
        let (mut scrapes, mut missed, mut off_ms) = (0, 0, Vec::new());
        for times in arrivals {
            let times = times.iter().map(Duration::as_secs_f64);
            let inside: Vec<f64> = times.filter(|t| window.contains(t)).collect();
            scrapes += inside.len();
            for time in &inside {
                if let Some(n) = per_second.get_mut((time - window.start) as usize) {
                    *n += 1.0;
                }
            }
            // From the ends of the window a target may be a whole interval away, not more.
            let edge = |gap: f64| (gap / interval_s - 0.5).max(0.0) as usize;
            let first = inside.first().unwrap_or(&window.end);
            let last = inside.last().unwrap_or(&window.end);
            missed += edge(first - window.start) + edge(window.end - last);
            for pair in inside.windows(2) {
                let gap = pair[1] - pair[0];
                missed += ((gap / interval_s).round() as usize).saturating_sub(1);
                off_ms.push((gap - interval_s).abs() * 1e3);
            }
        }
        off_ms.sort_by(f64::total_cmp);
        let least_per_s = per_second.iter().copied().fold(f64::INFINITY, f64::min);
        let most_per_s = per_second.iter().copied().fold(0.0, f64::max);
        Self { scrapes, missed, off_ms, least_per_s, most_per_s }
    }

    /// The deviation below which this share of them lies.
    fn off_ms(&self, share: f64) -> f64 {
        let last = self.off_ms.len().saturating_sub(1);
        let at = ((self.off_ms.len() as f64 * share) as usize).min(last);
        self.off_ms.get(at).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(arrivals: &[&[u64]]) -> Schedule {
        let times = |ms: &&[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let arrivals: Arrivals = arrivals.iter().map(times).collect();
        Schedule::of(&arrivals, 10.0..20.0, 2.0)
    }

    #[test]
    fn a_kept_schedule_misses_nothing() {
        let kept = schedule(&[&[9_000, 11_000, 13_000, 15_001, 17_000, 19_000, 21_000]]);
        assert_eq!((kept.scrapes, kept.missed), (5, 0));
        assert!((kept.off_ms(1.0) - 1.0).abs() < 1e-6, "{:?}", kept.off_ms);
        assert_eq!((kept.least_per_s, kept.most_per_s), (0.0, 1.0));
    }

    #[test]
    fn what_is_left_out_is_missed() {
        assert_eq!(schedule(&[&[11_000, 13_000, 17_000, 19_000]]).missed, 1);
        assert_eq!(schedule(&[&[11_000, 13_000, 15_000]]).missed, 2, "it stopped");
        assert_eq!(schedule(&[&[]]).missed, 4, "it never came, the edges aside");
    }
}
