//! Random queries and calls of the API, made to Tidemark and to a real Prometheus that hold the same series.
//!
//! Everything follows from a seed: the data, the queries, the order. Two answers must agree in status, kind of error, its words,
//! labels, times, and values to one part in 10^9; what is meant to differ stands by name in [`differences`].
//! `scripts/conformance` runs it with other seeds, and for as long as wanted.

mod call;
mod compare;
mod dialect;
mod differences;
mod expression;
mod store;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidemark_core::runtime::sim::Random;

use crate::components::prometheus_with;
use crate::harness::Tidemark;
use crate::remote_write;
use call::{Call, Calls, Check};
use compare::Said;
use differences::DIFFERENCES;
use store::Stored;

/// Calls of a run that is told neither for how long nor how many.
const CALLS: u64 = 2_000;

/// Differences that are shown in full.
const SHOWN_MAX: usize = 40;

fn environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn random_calls_are_answered_as_prometheus_answers_them() {
    let seed = environment("TIDEMARK_CONFORMANCE_SEED").unwrap_or(1);
    let time = environment("TIDEMARK_CONFORMANCE_SECONDS").map(Duration::from_secs);
    let calls_max = environment("TIDEMARK_CONFORMANCE_CALLS").unwrap_or(CALLS);
    let mut random = Random::new(seed);
    let stored = store::all(&mut random.fork());
    let tidemark = Tidemark::start_with(
        "global: {evaluation_interval: 1m}",
        &["--storage.retention.time=36500d", "--enable-feature=promql-experimental-functions"],
    );
    let prometheus = prometheus_with(
        "global: {evaluation_interval: 1m}",
        &[
            "--web.enable-remote-write-receiver",
            "--web.enable-lifecycle",
            "--storage.tsdb.retention.time=100y",
            "--query.lookback-delta=299999ms",
        ],
    );
    let (mut ours, mut theirs) = (tidemark.server.client(), prometheus.server.client());
    store::write(&mut ours, &stored);
    store::write(&mut theirs, &stored);

    let mut calls = Calls { random: random.fork(), stored: &stored };
    let (mut made, mut shown) = (0_u64, Vec::new());
    let mut explained = BTreeMap::<&str, u64>::new();
    let mut unexplained = 0_u64;
    let began = Instant::now();
    while time.map_or(made < calls_max, |time| began.elapsed() < time) {
        let call = calls.next();
        made += 1;
        let a = Said::new(&call.make(&mut ours, dialect::ours));
        let b = Said::new(&call.make(&mut theirs, dialect::theirs));
        let Some(difference) = compare::difference(&a, &b, call.check) else { continue };
        if let Some(known) = DIFFERENCES.iter().find(|known| (known.explains)(&call, &a, &b)) {
            *explained.entry(known.name).or_default() += 1;
            continue;
        }
        unexplained += 1;
        if shown.len() < SHOWN_MAX {
            shown.push(format!("call {made}: {call}\n  {difference}\n"));
        }
    }
    println!("seed {seed}: {made} calls, {unexplained} differ without a reason");
    for known in DIFFERENCES {
        if let Some(count) = explained.get(known.name) {
            println!("  {count:5} {}: {}", known.name, known.reason);
        }
    }
    assert!(unexplained == 0, "repeat with scripts/conformance --seed {seed}\n{}", shown.concat());
}

/// Queries of a run that is not told for how long.
const KEPT_QUERIES: u64 = 120;

/// Samples that come later than those around them, some in the last hour of the data.
fn write_late(tidemark: &Tidemark, stored: &[Stored], random: &mut Random) {
    for _ in 0..3 {
        let one = &stored[random.below(stored.len() as u64) as usize];
        let ago = random.below(50 * 60_000) as i64;
        let labels: Vec<_> = one.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let sample = (store::END_MS - ago, random.below(1_000) as f64);
        let body = remote_write::encode(vec![remote_write::series(&labels, &[sample])]);
        let answer = remote_write::post(&mut tidemark.server.client(), &body).expect("an answer");
        // One on another sample's time, or of a series that ended long ago, is refused.
        assert!(matches!(answer.status, 204 | 400), "{}: {}", answer.status, answer.text());
    }
}

#[test]
fn kept_answers_are_those_that_are_computed_anew() {
    let seed = environment("TIDEMARK_CONFORMANCE_SEED").unwrap_or(1);
    let time = environment("TIDEMARK_CONFORMANCE_SECONDS").map(Duration::from_secs);
    let mut random = Random::new(seed);
    let stored = store::all(&mut random.fork());
    let tidemark = Tidemark::start_with(
        "global: {evaluation_interval: 1m}\nstorage: {tsdb: {out_of_order_time_window: 1h}}",
        &["--storage.retention.time=36500d", "--enable-feature=promql-experimental-functions"],
    );
    let mut client = tidemark.server.client();
    store::write(&mut client, &stored);
    let mut calls = Calls { random: random.fork(), stored: &stored };
    let (mut made, mut compared) = (0, 0);
    let began = Instant::now();
    while time.map_or(made < KEPT_QUERIES, |time| began.elapsed() < time) {
        let call = calls.range();
        made += 1;
        // A window that slides: forwards, where it was, far ahead, back.
        for (round, shift) in [0, 1, 2, 2, 9, 0].into_iter().enumerate() {
            let window = shifted(&call, shift);
            if round == 3 {
                write_late(&tidemark, &stored, &mut random);
            }
            let kept = Said::new(&window.make(&mut client, dialect::ours));
            let mut anew = window.clone();
            anew.parameters.push(("nocache", "1".to_owned()));
            let anew = Said::new(&anew.make(&mut client, dialect::ours));
            compared += 1;
            let difference = compare::difference(&kept, &anew, Check::Value);
            let exact = kept.body["data"]["result"] == anew.body["data"]["result"];
            assert!(
                difference.is_none() && (exact || !kept.is_success()),
                "repeat with scripts/conformance --seed {seed}\nquery {made}, round {round}: {window}\n{}",
                difference.unwrap_or_else(|| format!("{}\n{}", kept.body, anew.body))
            );
        }
    }
    println!("seed {seed}: {made} queries, {compared} kept answers compared, all equal");
}

/// The same query, so many steps later.
fn shifted(call: &Call, steps: i64) -> Call {
    let mut window = call.clone();
    let step: f64 = call.parameter("step").parse().expect("a step");
    for (name, value) in &mut window.parameters {
        if matches!(*name, "start" | "end") {
            let moment: f64 = value.parse().expect("seconds");
            *value = format!("{:.3}", moment + step * steps as f64);
        }
    }
    window
}
