//! The series that both systems get: everything that makes the answers to queries differ where an engine is wrong.
//!
//! Times are never whole seconds nor half ones, and differ a little from sample to sample: so a window's edge falls on a sample
//! only where a query is made to do that.

use tidemark_bench::http::Client;
use tidemark_core::runtime::sim::Random;

use crate::remote_write::{self, TimeSeries, series};

/// The first moment, a whole hour; in ms.
pub(super) const START_MS: i64 = 1_700_006_400_000;

/// From one sample to the next, in ms.
pub(super) const STEP_MS: i64 = 15_000;

/// Samples of a series that has all of them.
const STEPS: i64 = 360;

/// The last moment, in ms.
pub(super) const END_MS: i64 = START_MS + STEPS * STEP_MS;

/// Samples of a series in one request: both systems want the series to advance side by side.
const STEPS_PER_REQUEST: usize = 60;

/// Prometheus' mark of a series that ended.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Where the upper bounds of the histograms' buckets are.
pub(super) const BOUNDS: [&str; 7] = ["0.01", "0.05", "0.1", "0.5", "1", "5", "+Inf"];

/// One series: labels, and a sample or none for each step.
pub(super) struct Stored {
    /// Its labels, the name first.
    pub(super) labels: Vec<(String, String)>,
    samples: Vec<(i64, f64)>,
}

/// How the values of a series move.
#[derive(Clone, Copy)]
enum Kind {
    /// Far from zero also after its resets, so that no extrapolation meets zero.
    Counter,
    /// From zero, and back to it.
    Young,
    Gauge,
    Integer,
    Constant,
    Odd,
}

/// What a random walk has reached.
struct Walk {
    kind: Kind,
    value: f64,
}

impl Walk {
    fn new(kind: Kind, random: &mut Random) -> Self {
        let value = match kind {
            Kind::Counter => 1e6 + random.below(100_000) as f64,
            Kind::Gauge => random.below(10_000) as f64 / 100.0,
            Kind::Integer => 1e6 + random.below(1 << 20) as f64,
            Kind::Constant => random.below(2) as f64,
            Kind::Young | Kind::Odd => 0.0,
        };
        Walk { kind, value }
    }

    fn next(&mut self, random: &mut Random) -> f64 {
        let reset = random.below(120) == 0;
        match self.kind {
            Kind::Counter if reset => self.value = 5e5 + random.below(1000) as f64,
            Kind::Young if reset => self.value = 0.0,
            Kind::Counter | Kind::Young => self.value += random.below(50) as f64,
            Kind::Gauge => self.value += (random.below(2001) as f64 - 1000.0) / 100.0,
            Kind::Integer => self.value += random.below(4096) as f64 - 2048.0,
            Kind::Constant => {}
            Kind::Odd => {
                const VALUES: [f64; 10] = [
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    0.0,
                    -0.0,
                    1e300,
                    1e-300,
                    -7.5,
                    3.0,
                    0.1,
                ];
                self.value = VALUES[random.below(10) as usize];
            }
        }
        self.value
    }
}

/// All series of a seed.
pub(super) fn all(random: &mut Random) -> Vec<Stored> {
    let mut out = Vec::new();
    for job in ["api", "web"] {
        for instance in ["a:80", "b:80"] {
            for method in ["GET", "PUT"] {
                for code in ["200", "404", "500"] {
                    let labels =
                        [("job", job), ("instance", instance), ("method", method), ("code", code)];
                    out.push(walk("requests_total", &labels, Kind::Counter, random));
                }
            }
            let place = [("job", job), ("instance", instance)];
            out.push(walk("memory_bytes", &place, Kind::Integer, random));
            out.push(walk("young_total", &place, Kind::Young, random));
            out.push(walk("up", &place, Kind::Constant, random));
            histogram(job, instance, random, &mut out);
        }
    }
    for instance in ["a:80", "b:80", "c:80"] {
        for zone in ["north", "south", "é \"x\\y"] {
            out.push(walk(
                "temperature",
                &[("instance", instance), ("zone", zone)],
                Kind::Gauge,
                random,
            ));
        }
    }
    for kind in ["x", "y"] {
        out.push(walk("odd", &[("kind", kind)], Kind::Odd, random));
    }
    out.push(walk("lonely", &[], Kind::Gauge, random));
    for pod in 0..12 {
        let mut short =
            walk("churn", &[("job", "web"), ("pod", &format!("p{pod}"))], Kind::Gauge, random);
        let first = random.below(300) as usize;
        short.samples = short.samples.into_iter().skip(first).take(40).collect();
        if let Some((t, _)) = short.samples.last().copied() {
            short.samples.push((t + STEP_MS, STALE));
        }
        out.push(short);
    }
    out
}

/// A series that walks at random, with gaps, and ends and begins again at random.
fn walk(name: &str, labels: &[(&str, &str)], kind: Kind, random: &mut Random) -> Stored {
    let mut walk = Walk::new(kind, random);
    let (mut samples, mut away, mut marked) = (Vec::new(), 0, false);
    for step in 0..STEPS {
        let value = walk.next(random);
        let jitter = 37 + 100 * random.below(20) as i64;
        if away == 0 && random.below(150) == 0 {
            away = random.below(40);
            marked = random.chance(50);
        }
        if away > 0 {
            away -= 1;
            if !std::mem::take(&mut marked) {
                continue;
            }
            samples.push((START_MS + step * STEP_MS + jitter, STALE));
        } else {
            samples.push((START_MS + step * STEP_MS + jitter, value));
        }
    }
    Stored { labels: named(name, labels), samples }
}

fn named(name: &str, labels: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = std::iter::once(("__name__", name)).chain(labels.iter().copied());
    let mut all: Vec<_> = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    all.sort();
    all
}

/// The buckets, sum and count of a classic histogram.
fn histogram(job: &str, instance: &str, random: &mut Random, out: &mut Vec<Stored>) {
    let place = [("job", job), ("instance", instance)];
    let mut counts = [1e5; BOUNDS.len()];
    let mut sum = 1e5;
    let mut samples = vec![Vec::new(); BOUNDS.len() + 1];
    for step in 0..STEPS {
        let t = START_MS + step * STEP_MS + 137;
        for _ in 0..random.below(20) {
            let bucket = random.below(BOUNDS.len() as u64) as usize;
            counts[bucket..].iter_mut().for_each(|count| *count += 1.0);
            sum += random.below(100) as f64 / 64.0;
        }
        for (samples, count) in samples.iter_mut().zip(counts) {
            samples.push((t, count));
        }
        samples[BOUNDS.len()].push((t, sum));
    }
    let total = samples[BOUNDS.len() - 1].clone();
    let sums = samples.pop().expect("the sum is last");
    for (bound, samples) in BOUNDS.iter().zip(samples) {
        let labels = [place[0], place[1], ("le", *bound)];
        out.push(Stored { labels: named("latency_seconds_bucket", &labels), samples });
    }
    out.push(Stored { labels: named("latency_seconds_sum", &place), samples: sums });
    out.push(Stored { labels: named("latency_seconds_count", &place), samples: total });
}

/// Writes everything to a system that takes remote write.
pub(super) fn write(client: &mut Client, all: &[Stored]) {
    let first_of = |slice: i64| START_MS + slice * STEPS_PER_REQUEST as i64 * STEP_MS;
    for slice in 0..=STEPS / STEPS_PER_REQUEST as i64 {
        let times = first_of(slice)..first_of(slice + 1);
        let part = |stored: &Stored| -> Option<TimeSeries> {
            let samples: Vec<_> =
                stored.samples.iter().copied().filter(|(t, _)| times.contains(t)).collect();
            let labels: Vec<_> =
                stored.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            (!samples.is_empty()).then(|| series(&labels, &samples))
        };
        let parts: Vec<_> = all.iter().filter_map(part).collect();
        if !parts.is_empty() {
            remote_write::write(client, parts);
        }
    }
}

/// The time of some sample, in ms.
pub(super) fn some_sample_ms(all: &[Stored], random: &mut Random) -> i64 {
    let filled: Vec<_> = all.iter().filter(|stored| !stored.samples.is_empty()).collect();
    let stored = filled[random.below(filled.len() as u64) as usize];
    stored.samples[random.below(stored.samples.len() as u64) as usize].0
}
