//! The same question over one shard and over several has the same answer; and queries keep to their budget.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tidemark_core::runtime::sim;
use tidemark_query::engine::{EngineOptions, QueryOptions};
use tidemark_query::parser::ParserOptions;
use tidemark_query::promqltest::run::Bench;
use tidemark_query::promqltest::script::{Command, parse};
use tidemark_query::value::{ErrorType, QueryError, SampleValue, Value};

pub(crate) const SECOND: i64 = 1_000;

pub(crate) fn options() -> EngineOptions {
    EngineOptions { parser: ParserOptions::ALL, ..EngineOptions::default() }
}

/// A storage that holds what a script loads.
pub(crate) async fn bench(script: &str, shards: u32, options: EngineOptions) -> Bench {
    let bench = Bench::new(shards, options).await.expect("an empty storage opens");
    for command in parse(script).expect("the script is sound") {
        let Command::Load(load) = command else { continue };
        bench.load(&load).await.expect("the samples are sound");
    }
    bench
}

/// An answer as text, floats to twelve digits: partial sums may differ in the last ones.
fn shown(answer: Result<Value, QueryError>) -> String {
    let mut text = String::new();
    let float = |v: f64| if v == 0.0 { "0".to_owned() } else { format!("{v:.11e}") };
    match answer {
        Err(error) => text = error.to_string(),
        Ok(Value::Vector(samples)) => {
            for s in samples {
                let value = match s.value {
                    SampleValue::Float(v) => float(v),
                    SampleValue::Histogram(h) => h.to_string(),
                };
                let _ = writeln!(text, "{} {value}", s.labels);
            }
        }
        Ok(Value::Matrix(series)) => {
            for s in series {
                let _ = write!(text, "{}", s.labels);
                for f in s.floats {
                    let _ = write!(text, " {}@{}", float(f.value), f.timestamp_ms);
                }
                for (t, h) in s.histograms {
                    let _ = write!(text, " {h}@{t}");
                }
                text.push('\n');
            }
        }
        Ok(other) => text = format!("{other:?}"),
    }
    text
}

/// Some series of a few metrics with whole numbers, gaps, resets and ends.
pub(crate) fn script() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        8 => (0..50_i32).prop_map(|v| v.to_string()),
        2 => Just("_".to_owned()),
        1 => Just("stale".to_owned()),
        3 => (0..9_i32, 1..5_i32).prop_map(|(v, d)| format!("{v}+{d}x4")),
    ];
    let values = proptest::collection::vec(item, 1..8).prop_map(|items| items.join(" "));
    let series = ("[ab]", "[xyz]", "[12]", values).prop_map(|(name, job, host, values)| {
        format!("  {name}_total{{job=\"{job}\",host=\"{host}\"}} {values}\n")
    });
    proptest::collection::vec(series, 1..14)
        .prop_map(|lines| format!("load 15s\n{}", lines.concat()))
}

/// An expression whose values do not tell in which order they were summed: the last digits would decide which is the larger, and
/// what a label says.
fn exact(expression: &str) -> String {
    let inexact = ["rate", "increase", "avg", "stddev", "quantile", "/"];
    if inexact.iter().any(|word| expression.contains(word)) {
        format!("round({expression}, 0.001)")
    } else {
        expression.to_owned()
    }
}

/// Expressions over those metrics.
pub(crate) fn expression() -> impl Strategy<Value = String> {
    let selector = prop_oneof![
        Just("a_total".to_owned()),
        Just("b_total{job!=\"y\"}".to_owned()),
        Just("{__name__=~\"[ab]_total\"}".to_owned()),
    ];
    let window = (
        "(rate|increase|max_over_time|last_over_time|resets|count_over_time|quantile_over_time)",
        selector.clone(),
    )
        .prop_map(|(function, selector)| match function.as_str() {
            "quantile_over_time" => format!("quantile_over_time(0.5, {selector}[1m])"),
            _ => format!("{function}({selector}[1m])"),
        });
    let leaf = prop_oneof![selector, window, Just("a_total offset 30s".to_owned())];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (
                "(sum|avg|min|max|count|group|stddev|quantile)",
                "(by|without)",
                "(job|host|job, host)?",
                inner.clone()
            )
                .prop_map(|(op, by, labels, inner)| match op.as_str() {
                    "quantile" => format!("quantile {by} ({labels}) (0.5, {inner})"),
                    _ => format!("{op} {by} ({labels}) ({inner})"),
                }),
            ("(by|without)", "(job|host|job, host)?", inner.clone()).prop_map(
                |(by, labels, inner)| format!(
                    "count_values {by} ({labels}) (\"v\", {})",
                    exact(&inner)
                )
            ),
            ("(by|without)", "(job|host)?", "-?0\\.[37]", inner.clone()).prop_map(
                |(by, labels, ratio, inner)| format!(
                    "limit_ratio {by} ({labels}) ({ratio}, {inner})"
                )
            ),
            ("(sort|sort_desc)", inner.clone())
                .prop_map(|(sort, inner)| format!("{sort}({})", exact(&inner))),
            ("(topk|bottomk|limitk)", "[123]", inner.clone())
                .prop_map(|(op, k, inner)| format!("{op} by (job) ({k}, {})", exact(&inner))),
            (inner.clone(), "(\\+|/|>|== bool|and|or|unless)", inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            inner.clone().prop_map(|inner| format!("abs({inner}) * 2")),
            inner.clone().prop_map(|inner| format!("max_over_time(({inner})[45s:15s])")),
            inner.clone().prop_map(|inner| format!("-({inner})")),
            inner.prop_map(|inner| format!("absent({inner})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn one_shard_and_five_agree(
        script in script(),
        expressions in proptest::collection::vec(expression(), 1..6),
        delayed_name_removal in any::<bool>(),
    ) {
        let options = EngineOptions { delayed_name_removal, ..options() };
        sim::run(1, async {
            let one = bench(&script, 1, options.clone()).await;
            let five = bench(&script, 5, options.clone()).await;
            let query = QueryOptions::default();
            for expression in &expressions {
                let mut answers = Vec::new();
                for bench in [&one, &five] {
                    let engine = bench.engine();
                    let instant = engine.instant(expression, 75 * SECOND, &query).await;
                    let range = engine.range(expression, 0, 150 * SECOND, 25 * SECOND, &query).await;
                    answers.push([instant, range].map(|a| shown(a.map(|a| a.value))));
                }
                prop_assert_eq!(&answers[0], &answers[1], "{}\n{}", expression, script);
            }
            Ok(())
        })?;
    }
}

#[test]
fn groups_come_in_one_order_whoever_picked() {
    // At the instant, x is the smaller value of its group, z the first row of its; before the shards have picked, the first row
    // of all belongs to z.
    const JOBS: &str = "load 15s\n  b_total{job=\"z\",host=\"1\"} 0+1x4\n  \
        b_total{job=\"z\",host=\"2\"} 5\n  b_total{job=\"x\",host=\"2\"} 0\n";
    sim::run(1, async {
        let query = QueryOptions::default();
        for expression in [
            r#"-(abs(topk by (job) (1, b_total{job!="y"})) * 2)"#,
            "topk by (job) (1, b_total)",
            "bottomk by (job) (2, b_total)",
            "topk without (host) (1, rate(b_total[1m]) or b_total)",
            "limitk by (job) (1, b_total)",
            "limit_ratio by (job) (0.7, b_total)",
            "sort(bottomk by (job) (1, b_total * 0))",
            "sort_desc(topk by (job) (2, b_total * 0))",
        ] {
            let mut answers = Vec::new();
            for shards in [1, 2, 5] {
                let bench = bench(JOBS, shards, options()).await;
                let answer = bench.engine().instant(expression, 75 * SECOND, &query).await;
                answers.push(shown(answer.map(|a| a.value)));
            }
            assert_eq!(answers[0], answers[1], "{expression}");
            assert_eq!(answers[0], answers[2], "{expression}");
        }
    });
}

const THOUSAND: &str = "load 1s\n  m{a=\"1\"} 0+1x999\n  m{a=\"2\"} 0+1x999\n";

#[test]
fn too_many_samples_end_a_query() {
    sim::run(1, async {
        let options = EngineOptions { samples_max: 1_500, ..options() };
        let bench = bench(THOUSAND, 2, options).await;
        let query = QueryOptions::default();
        for expression in ["m", "rate(m[5s])", "m + m", "vector(1) or m"] {
            let answer = bench.engine().range(expression, 0, 999 * SECOND, SECOND, &query).await;
            let error = answer.unwrap_err();
            assert_eq!(error.kind, ErrorType::Execution);
            assert_eq!(
                error.message,
                "query processing would load too many samples into memory in query execution"
            );
        }
        // Groups are few, whatever they are made of.
        let answer =
            bench.engine().range("sum(rate(m[5s]))", 0, 999 * SECOND, SECOND, &query).await;
        assert!(answer.is_ok());
        let answer = bench.engine().instant("m[1h]", 999 * SECOND, &query).await;
        assert!(answer.is_err());
    });
}

#[test]
fn series_that_became_the_same_are_an_error_whatever_follows() {
    const TWINS: &str = "load 1s\n  a{x=\"1\"} 0+1x60\n  b{x=\"1\"} 0+1x60\n";
    sim::run(1, async {
        let bench = bench(TWINS, 2, options()).await;
        let query = QueryOptions::default();
        for (text, fails) in [
            (r#"{x="1"} * 2"#, true),
            (r#"({x="1"} * 2) == -1"#, true),
            (r#"-1 == -({x="1"} ^ 2)"#, true),
            (r#"max_over_time((-{x="1"})[2s:1s])"#, true),
            (r#"count(clamp(-{x="1"}, 1, 0))"#, true),
            (r#"{x="1"} == -1"#, false),
            (r#"({x="1"} == -1) * 2"#, false),
            (r#"absent_over_time({x="1"}[5s])"#, false),
        ] {
            let answer = bench.engine().instant(text, 30 * SECOND, &query).await;
            let message = answer.err().map(|error| error.message);
            let expected = "vector cannot contain metrics with the same labelset";
            assert_eq!(message.as_deref(), fails.then_some(expected), "{text}");
        }
    });
}

#[test]
fn time_ends_a_query() {
    sim::run(1, async {
        let bench = bench(THOUSAND, 2, options()).await;
        let query = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
        let error = bench.engine().instant("m", 999 * SECOND, &query).await.unwrap_err();
        assert_eq!(error.kind, ErrorType::Timeout);
        assert_eq!(error.message, "query timed out in query execution");
    });
}

#[test]
fn a_dropped_query_leaves_nothing_behind() {
    sim::run(1, async {
        let bench = bench(THOUSAND, 2, options()).await;
        let query = QueryOptions::default();
        // Polled once, then nobody waits any more.
        let answer = bench.engine().range("sum(rate(m[5s]))", 0, 999 * SECOND, SECOND, &query);
        assert!(answer.now_or_never().is_none_or(|answer| answer.is_ok()));
        let again = bench.engine().instant("count(m)", 999 * SECOND, &query).await.unwrap();
        assert!(matches!(&again.value, Value::Vector(samples) if samples.len() == 1));
    });
}
