//! Short cuts give what the long way gives: parts that repeat are evaluated once, shards pick and count before the query does, and
//! wide windows are told from the figures of chunks.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::STALE_NAN;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_core::wal::WalOptions;
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};
use tidemark_query::parser::ParserOptions;
use tidemark_query::promqltest::run::Bench;
use tidemark_query::value::{Explain, QueryResult};

use crate::distribution::{SECOND, bench, expression, options, script};

const MINUTE: i64 = 60_000;
const MINUTES: usize = 14 * 60;

/// The functions that figures tell of.
const FUNCTIONS: [&str; 15] = [
    "absent_over_time",
    "ts_of_first_over_time",
    "count_over_time",
    "present_over_time",
    "first_over_time",
    "last_over_time",
    "min_over_time",
    "max_over_time",
    "ts_of_last_over_time",
    "sum_over_time",
    "avg_over_time",
    "resets",
    "rate",
    "increase",
    "delta",
];

async fn range(bench: &Bench, text: &str, options: &QueryOptions) -> Result<QueryResult, String> {
    let answer = bench.engine().range(text, 0, 150 * SECOND, 25 * SECOND, options).await;
    answer.map_err(|error| error.to_string())
}

/// An answer bit for bit, with its annotations and the number of samples that were looked at.
fn exact(answer: Result<QueryResult, String>) -> Result<String, String> {
    let QueryResult { value, warnings, infos, stats } = answer?;
    Ok(format!("{value:?} {warnings:?} {infos:?} {}", stats.samples_total))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn parts_that_repeat_are_the_same_each_time(
        script in script(),
        parts in proptest::collection::vec(expression(), 1..4),
        operator in "(\\+|/|>|and|or|unless)",
    ) {
        sim::run(1, async {
            let bench = bench(&script, 2, options()).await;
            // Where the samples of each step are counted, nothing is shared.
            let (shared, apart) = (
                QueryOptions::default(),
                QueryOptions { step_stats: true, ..QueryOptions::default() },
            );
            for part in &parts {
                for text in [
                    format!("({part}) {operator} ({part})"),
                    format!("({part}) {operator} (({part}) + abs({part}))"),
                    format!("max_over_time(({part})[50s:25s]) {operator} max_over_time(({part})[50s:25s])"),
                ] {
                    let answers = [range(&bench, &text, &shared).await, range(&bench, &text, &apart).await];
                    let [a, b] = answers.map(exact);
                    assert_eq!(a, b, "{text}");
                }
            }
        });
    }
}

fn kinds(explain: &Explain, found: &mut Vec<String>) {
    found.push(explain.node.to_owned());
    explain.children.iter().for_each(|child| kinds(child, found));
}

#[test]
fn what_repeats_is_read_once() {
    sim::run(1, async {
        let bench = bench("load 15s\n  a 0+1x10\n  b 0+2x10\n", 2, options()).await;
        let explain = QueryOptions { explain: true, ..QueryOptions::default() };
        for (text, read, asked) in [
            ("sum(a) / (sum(a) + sum(b))", 22, 2),
            ("a / (a + b)", 22, 2),
            ("rate(a[1m]) + rate(a[1m]) + rate(a[1m])", 33, 3),
            ("sum(a) / sum(b)", 22, 2),
        ] {
            let stats = range(&bench, text, &explain).await.unwrap().stats;
            let mut found = Vec::new();
            kinds(&stats.explain.unwrap(), &mut found);
            let shards = found.iter().filter(|kind| *kind == "shards").count();
            assert_eq!((stats.samples_read, shards), (read, asked), "{text}: {found:?}");
        }
    });
}

#[test]
fn what_shards_pick_or_count_is_what_is_picked_or_counted_of_all() {
    let mut script = "load 15s\n".to_owned();
    for i in 0..2_000 {
        let (value, step) = (i * 7_919 % 2_003, i % 5);
        let _ = writeln!(script, "  m{{i=\"{i}\",g=\"{}\"}} {value}+{step}x10", i % 3);
    }
    sim::run(1, async {
        let bench = bench(&script, 2, options()).await;
        let query = QueryOptions::default();
        for pick in [
            "topk(3,",
            "bottomk by (g) (2,",
            "limitk by (g) (2,",
            "limit_ratio(0.01,",
            "count_values(\"v\",",
            "count_values without (i) (\"v\", 1 *",
        ] {
            let texts = [format!("{pick} m)"), format!("{pick} m or m)")];
            let mut answers = Vec::new();
            for text in &texts {
                let instant = bench.engine().instant(text, 60 * SECOND, &query).await.unwrap();
                let range = range(&bench, text, &query).await.unwrap();
                answers.push(format!("{:?} {:?}", instant.value, range.value));
            }
            assert_eq!(answers[0], answers[1], "{pick}");
        }
    });
}

/// Fourteen hours of some series, one sample a minute, the oldest of them in blocks.
async fn stored(series: &[Vec<f64>]) -> Engine {
    let wal = WalOptions { segment_bytes: 1 << 20, ..WalOptions::default() };
    let options = ShardOptions { wal, future_ms_max: i64::MAX, ..ShardOptions::default() };
    let disk = SimDisk::new(1).disk();
    let shard =
        Shard::open(disk, Path::new("/shard"), options).await.expect("a disk without faults");
    for (i, values) in series.iter().enumerate() {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]);
        let mut batch = AppendBatch::new();
        batch.push_series(labels.fingerprint(), labels.encoded());
        for (minute, value) in values.iter().cycle().take(MINUTES).enumerate() {
            batch.push_sample(minute as i64 * MINUTE + i as i64, *value);
        }
        shard.append(batch).await.expect("a disk without faults");
    }
    shard.tick().await.expect("a disk without faults");
    shard.maintain().await.expect("a disk without faults");
    assert!(shard.stats().blocks > 0);
    Engine::new(
        Shards::local(vec![shard]),
        EngineOptions { parser: ParserOptions::ALL, ..EngineOptions::default() },
    )
}

/// A stretch of values that repeats: whole numbers, which fall where it begins anew, or anything.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let whole = proptest::collection::vec((-3_i32..20).prop_map(f64::from), 1..400);
    let rising = proptest::collection::vec(0_u32..9, 1..700).prop_map(|steps| {
        let mut sum = 0.0;
        steps
            .into_iter()
            .map(|step| {
                sum += f64::from(step);
                sum
            })
            .collect()
    });
    let any = prop_oneof![
        30 => -2.0_f64..2.0,
        2 => Just(-0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(STALE_NAN),
        1 => Just(9e15),
    ];
    prop_oneof![whole, rising, proptest::collection::vec(any, 1..900), Just(vec![0.1])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn figures_tell_what_samples_give(
        series in proptest::collection::vec(values(), 1..5),
        minutes in prop_oneof![Just(240_i64), 240_i64..800],
        (end, step) in (600_i64..900, prop_oneof![Just(120_i64), 1_i64..200]),
        offset in prop_oneof![Just(0_i64), -30_i64..200],
    ) {
        sim::run(1, async {
            let engine = stored(&series).await;
            // Where the samples of each step are counted, all of them are read.
            let (told, read) = (
                QueryOptions::default(),
                QueryOptions { step_stats: true, ..QueryOptions::default() },
            );
            for function in FUNCTIONS {
                let text = format!("{function}(m[{minutes}m] offset {offset}m) * 2");
                let mut answers = Vec::new();
                for options in [&told, &read] {
                    let instant = engine.instant(&text, end * MINUTE, options).await;
                    let range = engine.range(&text, (end - 300) * MINUTE, end * MINUTE, step * MINUTE, options);
                    let both = [instant, range.await].map(|a| exact(a.map_err(|e| e.to_string())));
                    answers.push(both);
                }
                assert_eq!(answers[0], answers[1], "{text}");
            }
        });
    }
}

#[test]
fn chunks_inside_wide_windows_are_not_read() {
    sim::run(1, async {
        let engine = stored(&[vec![1.0, 5.0, 3.0]]).await;
        for function in FUNCTIONS {
            let text = format!("{function}(m[13h])");
            let answer = engine.instant(&text, 12 * 60 * MINUTE, &QueryOptions::default()).await;
            let stats = answer.expect("a disk without faults").stats;
            assert_eq!(stats.samples_total, 721, "{text}");
            assert!(stats.samples_read < 480, "{text}: {} are read", stats.samples_read);
        }
    });
}
