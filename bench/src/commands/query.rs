//! `query`: what dashboards ask of a day of samples, as instant queries and as ranges; warm, without a result cache.

use std::io;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::{Common, Outcome, cpu_each, disk, note, percentile_ms, steps_ago, usage};
use crate::count::count_until;
use crate::dataset::{Dataset, STEP_MS};
use crate::expressions::{EXPRESSIONS, METADATA};
use crate::http::{Client, path};
use crate::load::{Plan, Until};
use crate::report::{Cell, Row, figure, name};
use crate::systems::Target;

/// Samples of each series in a request while loading.
const LOAD_STEPS: usize = 80;

/// How the expressions are asked.
#[derive(Clone, Copy)]
pub(super) struct Form {
    name: &'static str,
    /// Seconds between the first and the last step; zero asks for one instant.
    range_s: i64,
    step_s: i64,
}

pub(super) const HOUR: Form = Form { name: "1 h, step 15 s", range_s: 3_600, step_s: 15 };
const FORMS: &[Form] = &[
    Form { name: "instant", range_s: 0, step_s: 0 },
    HOUR,
    Form { name: "6 h, step 60 s", range_s: 6 * 3_600, step_s: 60 },
    Form { name: "24 h, step 300 s", range_s: 24 * 3_600, step_s: 300 },
];

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) common: Common,
    /// Series to load.
    #[arg(long, default_value_t = 20_000)]
    series: usize,
    /// Hours to load; longer forms than this are left out.
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Measured passes over the expressions, after one that warms up.
    #[arg(long, default_value_t = 5)]
    passes: u32,
    /// A row for each expression instead of each form.
    #[arg(long)]
    each: bool,
    /// Stop the server afterwards and look what the samples take on disk: one loading serves both.
    #[arg(long)]
    disk: bool,
    /// Seconds to wait after loading in that case, for merges that run in the background.
    #[arg(long, default_value_t = 30)]
    settle_seconds: u64,
}

pub(super) fn run(options: &Options, target: &mut Target) -> Outcome {
    let dataset = Dataset::new();
    let fresh = usage(target);
    let history = load_history(options.series, options.hours * 240, 0, &dataset, target)?;
    if options.disk {
        thread::sleep(Duration::from_secs(options.settle_seconds));
    }
    let loading = (fresh, usage(target));
    let mut client = Client::new(&target.url)?;
    let mut rows = Vec::new();
    for form in FORMS.iter().filter(|form| form.range_s <= options.hours as i64 * 3_600) {
        note(&format!("{}: {}", target.name, form.name));
        rows.extend(measure(options, *form, &history, target, &mut client)?);
    }
    if options.disk {
        rows.push(disk::stopped(&history, loading, target)?);
    }
    Ok(rows)
}

/// What was loaded.
pub(super) struct History {
    /// Samples that were acknowledged.
    pub(super) samples: u64,
    /// Samples that queries found.
    found: u64,
    /// The time of the first sample.
    pub(super) first_ms: i64,
    /// The time of the last sample.
    pub(super) end_ms: i64,
}

impl History {
    /// Samples that were acknowledged and not found.
    pub(super) fn lost(&self) -> Cell {
        figure(self.samples as f64 - self.found as f64, 0)
    }
}

/// Sends so many steps of history, ending `spare` steps ago, and looks until all of it is found.
pub(super) fn load_history(
    series: usize,
    steps: u64,
    spare: u64,
    dataset: &Dataset,
    target: &Target,
) -> Result<History, Box<dyn std::error::Error>> {
    let plan = Plan { series, steps: LOAD_STEPS, samples_per_request: 10_000, connections: 4 };
    let rounds = steps.div_ceil(LOAD_STEPS as u64);
    let first_ms = steps_ago(rounds * LOAD_STEPS as u64 + spare + 4);
    let mut load = plan.streamed(dataset, first_ms);
    let began = Instant::now();
    let sent = load.send(&target.url, Until::Rounds(rounds), None, &AtomicBool::new(false));
    if let Some(error) = sent.error {
        return Err(format!("{}: {error}", target.name).into());
    }
    let end_ms = load.round_start_ms(rounds);
    let mut client = Client::new(&target.url)?;
    let found =
        count_until(&mut client, &dataset.metric_names(), (first_ms, end_ms), sent.samples)?;
    note(&format!("{}: {found} samples loaded in {:.1?}", target.name, began.elapsed()));
    Ok(History { samples: sent.samples, found, first_ms, end_ms: end_ms - STEP_MS })
}

/// One row for the form, or one for each expression.
fn measure(
    options: &Options,
    form: Form,
    history: &History,
    target: &Target,
    client: &mut Client,
) -> Outcome {
    let end_ms = history.end_ms;
    let mut failures = 0;
    let mut points = Vec::new();
    for (title, expression) in EXPRESSIONS {
        let answer = ask(client, form, expression, end_ms);
        points.push(answer.and_then(|answer| answer.points()).unwrap_or_else(|error| {
            note(&format!("{}: {title}: {error}", target.name));
            failures += 1;
            0
        }));
    }
    let mut latencies = vec![Vec::new(); EXPRESSIONS.len()];
    let before = usage(target);
    for _ in 0..options.passes {
        for (at, (_, expression)) in EXPRESSIONS.iter().enumerate() {
            // A failure was reported by the first pass.
            if let Ok(answer) = ask(client, form, expression, end_ms) {
                latencies[at].push(answer.took);
            }
        }
        if form.range_s == 0 {
            for (call, parameters) in METADATA {
                client.get(&path(call, parameters))?;
            }
        }
    }
    let after = usage(target);
    for one in &mut latencies {
        one.sort_unstable();
    }
    if options.each {
        let row = |(at, (title, _)): (usize, &(&str, &str))| -> Row {
            vec![
                ("system", name(&target.name)),
                ("form", name(form.name)),
                ("expression", name(*title)),
                ("points", figure(points[at] as f64, 0)),
                ("p50_ms", percentile_ms(&latencies[at], 0.50)),
                ("p99_ms", percentile_ms(&latencies[at], 0.99)),
                ("lost", history.lost()),
            ]
        };
        return Ok(EXPRESSIONS.iter().enumerate().map(row).collect());
    }
    let slowest = latencies.iter().max_by_key(|one| one.last());
    let slowest = slowest.map_or(Cell::Unknown, |one| percentile_ms(one, 0.99));
    let wall: Duration = latencies.iter().flatten().sum();
    let mut all: Vec<Duration> = latencies.into_iter().flatten().collect();
    all.sort_unstable();
    Ok(vec![vec![
        ("system", name(&target.name)),
        ("form", name(form.name)),
        ("cpu_ms", cpu_each(before, after, 1e-3, f64::from(options.passes), 0)),
        ("wall_ms", figure(wall.as_secs_f64() * 1e3 / f64::from(options.passes), 0)),
        ("p50_ms", percentile_ms(&all, 0.50)),
        ("p99_ms", percentile_ms(&all, 0.99)),
        ("slowest_expression_p99_ms", slowest),
        ("points", figure(points.iter().sum::<usize>() as f64, 0)),
        ("failed", figure(f64::from(failures), 0)),
        ("lost", history.lost()),
    ]])
}

/// What came of one expression.
pub(super) struct Answered {
    /// From the request to the last byte of the answer: what a client makes of it is the client's own time.
    pub(super) took: Duration,
    body: Vec<u8>,
}

impl Answered {
    /// How many points it has.
    fn points(&self) -> io::Result<usize> {
        let body: Value = serde_json::from_slice(&self.body)?;
        let series = body["data"]["result"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(series.iter().map(|one| one["values"].as_array().map_or(1, Vec::len)).sum())
    }
}

/// Asks one expression, and takes the whole answer.
pub(super) fn ask(
    client: &mut Client,
    form: Form,
    expression: &str,
    end_ms: i64,
) -> io::Result<Answered> {
    let seconds = |ms: i64| format!("{:.3}", ms as f64 / 1e3);
    let (end, start) = (seconds(end_ms), seconds(end_ms - form.range_s * 1_000));
    let step = form.step_s.to_string();
    let request = if form.range_s == 0 {
        path("/api/v1/query", &[("query", expression), ("time", &end), ("nocache", "1")])
    } else {
        let range = [("start", &*start), ("end", &*end), ("step", &*step), ("nocache", "1")];
        path("/api/v1/query_range", &[&[("query", expression)], &range[..]].concat())
    };
    let began = Instant::now();
    let answer = client.get(&request)?;
    let took = began.elapsed();
    if !answer.is_success() {
        let text = answer.text();
        return Err(io::Error::other(format!(
            "{}: {}",
            answer.status,
            text.lines().next().unwrap_or("")
        )));
    }
    Ok(Answered { took, body: answer.body })
}
