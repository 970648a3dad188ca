//! What a query costs: told by `stats=all` and `explain`, bounded in memory, and nothing any more once nobody waits for it.

use std::rc::Rc;

use tidemark_core::runtime::{self, Queue, sim, spawn_into};
use tidemark_query::engine::{EngineOptions, QueryOptions};
use tidemark_query::value::{ErrorType, QueryStats};

use crate::distribution::{SECOND, bench, options};

/// As in Prometheus' own tests of statistics.
const METRICS: &str = "load 10s
  one 1+1x100
  three{a=\"1\",b=\"1\"} 1+1x100
  three{a=\"2\",b=\"2\"} 1+1x100
  three{a=\"3\",b=\"2\"} 1+1x100
";

async fn stats(query: &str, start_s: i64, end_s: i64, step_s: i64) -> QueryStats {
    let bench = bench(METRICS, 2, options()).await;
    let query_options = QueryOptions { step_stats: true, ..QueryOptions::default() };
    let engine = bench.engine();
    let (start, end, step) = (start_s * SECOND, end_s * SECOND, step_s * SECOND);
    let answer = match step_s {
        0 => engine.instant(query, start, &query_options).await,
        _ => engine.range(query, start, end, step, &query_options).await,
    };
    answer.unwrap_or_else(|error| panic!("{query}: {error}")).stats
}

#[test]
fn samples_of_each_step_are_those_of_prometheus() {
    sim::run(1, async {
        for (query, (start, end, step), total, per_step) in [
            ("one", (21, 21, 0), 1, vec![(21, 1)]),
            ("one", (22, 22, 0), 1, vec![(22, 1)]),
            ("one offset 10s", (21, 21, 0), 1, vec![(21, 1)]),
            ("one @ 15", (21, 21, 0), 1, vec![(21, 1)]),
            ("one[60s]", (201, 201, 0), 6, vec![(201, 6)]),
            ("max_over_time(one[59s])[20s:5s]", (201, 201, 0), 24, vec![(201, 24)]),
            ("max_over_time(one[60s])", (201, 201, 0), 6, vec![(201, 6)]),
            ("max_over_time(one[60s:5s])", (201, 201, 0), 24, vec![(201, 24)]),
            (
                "sum(max_over_time(three[60s])) + sum(max_over_time(three[60s]))",
                (201, 201, 0),
                36,
                vec![(201, 36)],
            ),
            ("sum by (b) (max_over_time(three[60s:5s]))", (201, 201, 0), 72, vec![(201, 72)]),
            ("three", (201, 220, 5), 12, vec![(201, 3), (206, 3), (211, 3), (216, 3)]),
            ("one @ 30", (201, 220, 5), 4, vec![(201, 1), (206, 1), (211, 1), (216, 1)]),
            ("timestamp(three)", (201, 220, 5), 12, vec![(201, 3), (206, 3), (211, 3), (216, 3)]),
            (
                "max_over_time(three[20s] @ 15)",
                (201, 220, 5),
                24,
                vec![(201, 6), (206, 6), (211, 6), (216, 6)],
            ),
            (
                "max_over_time(one[20s])",
                (201, 220, 5),
                8,
                vec![(201, 2), (206, 2), (211, 2), (216, 2)],
            ),
            (
                "sum by (b) (max_over_time(three[60s:5s]))",
                (201, 220, 5),
                189,
                vec![(201, 36), (206, 36), (211, 36), (216, 81)],
            ),
        ] {
            let stats = stats(query, start, end, step).await;
            let seen: Vec<_> =
                stats.samples_per_step.unwrap().iter().map(|(t, n)| (t / SECOND, *n)).collect();
            assert_eq!((stats.samples_total, seen), (total, per_step), "{query}");
        }
    });
}

#[test]
fn a_plan_is_explained_node_by_node() {
    sim::run(1, async {
        let bench = bench(METRICS, 2, options()).await;
        let query = "sum by (b) (rate(three[1m])) / on () group_left () max(one @ 100) > 0.001";
        let explain = QueryOptions { explain: true, ..QueryOptions::default() };
        let engine = bench.engine();
        let answer = engine.range(query, 0, 200 * SECOND, 20 * SECOND, &explain).await.unwrap();
        let root = answer.stats.explain.expect("it was asked for");
        assert_eq!((root.node, root.text.as_str(), root.series), ("cells", ">(..., ...)", 2));
        // Scalar arguments come first.
        let [number, binary] = &root.children[..] else { panic!("{root:?}") };
        assert_eq!((binary.node, number.node), ("vector binary", "number"));
        assert_eq!(binary.text, "... / on () ...");
        let [sum, max] = &binary.children[..] else { panic!("{binary:?}") };
        assert_eq!((sum.node, sum.text.as_str()), ("aggregate", "sum by (b) (...)"));
        assert_eq!((sum.series, sum.samples), (2, 20));
        let [shards] = &sum.children[..] else { panic!("{sum:?}") };
        assert_eq!(shards.text, "rate({__name__=\"three\"}[1m])");
        assert_eq!((shards.shards.len(), shards.series, shards.samples), (2, 3, 63));
        assert_eq!((max.node, max.samples), ("once", 11));
        let plain = engine.instant(query, 0, &QueryOptions::default()).await.unwrap();
        assert!(plain.stats.explain.is_none());
    });
}

#[test]
fn memory_is_bounded_where_samples_are_few() {
    sim::run(1, async {
        let options = EngineOptions { bytes_max: 50_000, ..options() };
        let bench = bench(METRICS, 2, options).await;
        let query = QueryOptions::default();
        let range = |text, steps| bench.engine().range(text, 0, steps * SECOND, SECOND, &query);
        for text in ["three", "sum by (a) (three)", "quantile by (a) (0.5, three)", "vector(1)"] {
            assert!(range(text, 300).await.is_ok(), "{text}");
            // The series end after 1,000 seconds and a lookback; their columns go on.
            let error = range(text, 20_000).await.unwrap_err();
            assert_eq!(error.kind, ErrorType::Execution, "{text}");
            assert_eq!(
                error.message,
                "query processing would load too many samples into memory in query execution"
            );
        }
    });
}

#[test]
fn what_a_few_words_multiply_is_bounded() {
    sim::run(1, async {
        let options = EngineOptions { bytes_max: 8 << 20, ..options() };
        let bench = bench(METRICS, 2, options).await;
        let query = QueryOptions::default();
        // Each level makes ten labels of one, a terabyte at last.
        let mut replaced = "label_replace(three, \"x\", \"0123456789\", \"a\", \".*\")".to_owned();
        let mut joined = replaced.clone();
        for _ in 0..11 {
            replaced = format!(
                "label_replace({replaced}, \"x\", \"{}\", \"x\", \"(.*)\")",
                "$1".repeat(10)
            );
            joined = format!("label_join({joined}, \"x\", \"\"{})", ", \"x\"".repeat(10));
        }
        let megabytes = |count: usize| format!("\"{}\"", "y".repeat(count << 20));
        for (text, end, words) in [
            (replaced, 0, "label_replace() would make a label value of up to 10000020 bytes"),
            (joined, 0, "label_join() would make a label value of up to 10000000 bytes"),
            (
                format!("label_join(three, \"x\", {}, \"a\", \"b\")", megabytes(3)),
                0,
                "too many samples",
            ),
            // A group for each second, each as long as all seconds.
            ("count_values(\"v\", vector(time()))".to_owned(), 900_000, "too many samples"),
            ("sum by (a) (three @ 0) and on () vector(1)".to_owned(), 900_000, "too many samples"),
            // Columns of hundreds of megabytes, several on each shard.
            ("max_over_time(sum(three)[578d:1s])".to_owned(), 0, "too many samples"),
            ("max_over_time((three > 5)[578d:1s])".to_owned(), 0, "too many samples"),
        ] {
            let error = bench.engine().range(&text, 0, end * SECOND, SECOND, &query).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind, ErrorType::Execution, "{text:.80}");
            assert!(error.message.contains(words), "{text:.80}: {:.200}", error.message);
        }
        let text = format!("label_join(one, \"x\", {}, \"a\", \"b\")", megabytes(1));
        assert!(bench.engine().instant(&text, 10 * SECOND, &query).await.is_ok());
    });
}

/// Some hundred series, so that a query has many chances to stop.
fn many_series() -> String {
    let line = |i| format!("  m{{i=\"{i}\"}} 0+1x500\n");
    format!("load 1s\n{}", (0..400).map(line).collect::<String>())
}

#[test]
fn shards_stop_when_nobody_waits() {
    sim::run(1, async {
        let bench = bench(&many_series(), 2, options()).await;
        let engine = bench.engine().clone();
        let idle: Vec<usize> = engine.shards().mine().iter().map(Rc::strong_count).collect();
        let holders = || engine.shards().mine().iter().map(Rc::strong_count).collect::<Vec<_>>();
        let asking = engine.clone();
        let query = spawn_into(Queue::Query, async move {
            let options = QueryOptions::default();
            asking.range("quantile(0.5, m)", 0, 500 * SECOND, SECOND, &options).await
        });
        while holders() == idle {
            runtime::yield_now().await;
        }
        // Under way on the shards: the client goes.
        drop(query);
        for _ in 0..100 {
            runtime::yield_now().await;
        }
        assert_eq!(holders(), idle, "a fragment holds its shard as long as it runs");
    });
}
