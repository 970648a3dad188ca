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
use call::Calls;
use compare::Said;
use differences::DIFFERENCES;

/// Calls of a run that is not told for how long.
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
    while time.map_or(made < CALLS, |time| began.elapsed() < time) {
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
