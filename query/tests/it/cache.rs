//! Answers that are kept change nothing: engines with and without them agree, whatever comes late.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::{self, Queue, sim};
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};
use tidemark_query::promqltest::run::Bench;
use tidemark_query::value::Value;

use crate::distribution::{SECOND, options};

const SERIES: usize = 8;

const EXPRESSIONS: [&str; 16] = [
    "a_total",
    "rate(a_total[1m])",
    "sum(rate(a_total[1m])) by (x)",
    "sum by (y) (a_total) / on (y) b_total",
    "max_over_time(sum(a_total)[2m:30s])",
    "avg_over_time(b_total[90s] offset 30s)",
    "a_total offset -45s",
    "topk(1, a_total)",
    "count_values(\"v\", b_total)",
    "absent(b_total{x=\"3\"})",
    "a_total > 20 or b_total",
    "quantile(0.3, a_total)",
    "histogram_quantile(0.5, a_total)",
    "rate(b_total[1m]) * time()",
    "timestamp(a_total)",
    "a_total @ 120 + a_total",
];

#[derive(Clone, Debug)]
enum Act {
    /// A series gets so many samples more.
    Append { series: usize, samples: usize },
    /// A series gets a sample so many seconds before its newest one.
    Late { series: usize, seconds: i64 },
    /// A series loses its samples of so many seconds before its newest one.
    Delete { series: usize, seconds: i64 },
    /// The first or the second of two expressions, over a window that ends so many steps after the beginning.
    Ask { expression: usize, last_step: i64, steps: i64, step_s: i64 },
    /// Time passes, so that what came before is told from what comes after.
    Sleep,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..SERIES, 1_usize..6).prop_map(|(series, samples)| Act::Append { series, samples }),
        1 => (0..SERIES, 1_i64..200).prop_map(|(series, seconds)| Act::Late { series, seconds }),
        1 => (0..SERIES, 1_i64..200).prop_map(|(series, seconds)| Act::Delete { series, seconds }),
        4 => (0..2_usize, 0_i64..30, 0_i64..20, prop_oneof![Just(15_i64), Just(40)])
            .prop_map(|(expression, last_step, steps, step_s)| Act::Ask {
                expression,
                last_step,
                steps,
                step_s
            }),
        2 => Just(Act::Sleep),
    ]
}

/// Each series with its own newest sample: who is behind the others comes late.
struct Writer {
    shards: Shards,
    newest: [i64; SERIES],
}

impl Writer {
    async fn append(&mut self, series: usize, samples: usize) {
        let first = self.newest[series] + 15 * SECOND;
        self.newest[series] += 15 * SECOND * samples as i64;
        let times = (0..samples as i64).map(|i| first + 15 * SECOND * i);
        self.write(series, times).await;
    }

    async fn delete(&self, series: usize, seconds: i64) {
        let newest = self.newest[series];
        let range = TimeRange::new(newest - seconds * SECOND, newest);
        let matchers: Arc<[Matcher]> =
            labels(series).iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let delete = move |shard: Rc<Shard>| {
            let matchers = Arc::clone(&matchers);
            async move { shard.delete_series(&matchers, range).await }.boxed_local()
        };
        for deleted in
            self.shards.scatter(Queue::Background, delete).await.expect("no shard closes")
        {
            deleted.expect("the disk works");
        }
    }

    async fn write(&self, series: usize, times: impl Iterator<Item = i64>) {
        let labels = labels(series);
        let mut batch = AppendBatch::new();
        batch.push_series(labels.fingerprint(), labels.encoded());
        for t in times {
            batch.push_sample(t, ((t / SECOND * 7 + series as i64 * 3) % 50) as f64);
        }
        let owner = self.shards.owner(labels.fingerprint());
        self.shards.append(vec![(owner, batch)]).await.expect("samples are taken");
    }
}

fn labels(series: usize) -> Labels {
    let name = if series.is_multiple_of(3) { "b_total" } else { "a_total" };
    let (x, y) = ((series % 2).to_string(), (series / 2).to_string());
    Labels::from_pairs([("__name__", name), ("x", &x), ("y", &y)])
}

/// An answer as text, every bit of every float told.
async fn shown(engine: &Engine, expression: &str, (start, end, step): (i64, i64, i64)) -> String {
    let answer = engine.range(expression, start, end, step, &QueryOptions::default()).await;
    match answer {
        Err(error) => error.to_string(),
        Ok(answer) => {
            let Value::Matrix(series) = &answer.value else { panic!("{:?}", answer.value) };
            let series = series.iter().map(|s| {
                let floats = s.floats.iter().map(|f| (f.timestamp_ms, f.value.to_bits()));
                (s.labels.to_string(), floats.collect::<Vec<_>>(), s.histograms.len())
            });
            format!("{:?} {:?}", series.collect::<Vec<_>>(), (answer.warnings, answer.infos))
        }
    }
}

async fn agree(acts: Vec<Act>, expressions: [usize; 2]) -> Result<(), TestCaseError> {
    let on = EngineOptions { cache_bytes: 1 << 20, ..options() };
    let bench = Bench::new(2, on).await.expect("an empty storage opens");
    let (on, shards) = (bench.engine(), bench.engine().shards().clone());
    let off = Engine::new(shards.clone(), options());
    let mut writer = Writer { shards, newest: [0; SERIES] };
    for act in acts {
        match act {
            Act::Append { series, samples } => writer.append(series, samples).await,
            Act::Late { series, seconds } => {
                // Off the others' times, so that none has one twice.
                let t = writer.newest[series] - seconds * SECOND - 1;
                writer.write(series, std::iter::once(t)).await;
            }
            Act::Delete { series, seconds } => writer.delete(series, seconds).await,
            Act::Sleep => runtime::sleep(Duration::from_millis(1)).await,
            Act::Ask { expression, last_step, steps, step_s } => {
                let (text, step) = (EXPRESSIONS[expressions[expression]], step_s * SECOND);
                let end = last_step * step;
                let range = (end - steps * step, end, step);
                prop_assert_eq!(
                    shown(on, text, range).await,
                    shown(&off, text, range).await,
                    "{}",
                    text
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn kept_answers_change_nothing(
        acts in proptest::collection::vec(act(), 1..100),
        expressions in [0..EXPRESSIONS.len(), 0..EXPRESSIONS.len()],
    ) {
        sim::run(1, agree(acts, expressions))?;
    }
}

#[test]
fn what_holds_is_not_evaluated_again() {
    sim::run(1, async {
        let on = EngineOptions { cache_bytes: 1 << 20, ..options() };
        let bench = Bench::new(2, on).await.unwrap();
        let shards = bench.engine().shards().clone();
        let mut writer = Writer { shards, newest: [0; SERIES] };
        let mut read = Vec::new();
        for round in 0..5 {
            for series in 0..SERIES {
                writer.append(series, if round == 0 { 100 } else { 1 }).await;
            }
            runtime::sleep(Duration::from_secs(15)).await;
            let (end, options) = (1_500 * SECOND + round * 15 * SECOND, QueryOptions::default());
            let start = end - 900 * SECOND;
            let sum = "sum(rate(a_total[1m]))";
            let answer = bench.engine().range(sum, start, end, 15 * SECOND, &options).await;
            read.push(answer.unwrap().stats.samples_read);
        }
        // Asked, kept, then a minute or two of each of the five series.
        assert_eq!(read[0], read[1]);
        assert!(read[0] > 300 && read[2..].iter().all(|read| (1..60).contains(read)), "{read:?}");
        // Late by ten minutes: what is after it is evaluated again. Nothing of it is taken with nocache.
        let end = 1_560 * SECOND;
        let no_cache = QueryOptions { no_cache: true, ..QueryOptions::default() };
        let ask = |options| async move {
            let sum = "sum(rate(a_total[1m]))";
            let answer = bench.engine().range(sum, end - 900 * SECOND, end, 15 * SECOND, options);
            answer.await.unwrap().stats.samples_read
        };
        assert!(ask(&no_cache).await > 300);
    });
}
