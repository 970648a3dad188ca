//! Short cuts give what the long way gives: parts that repeat are evaluated once, and shards pick before the query does.

use std::fmt::Write as _;

use proptest::prelude::*;
use tidemark_core::runtime::sim;
use tidemark_query::engine::QueryOptions;
use tidemark_query::promqltest::run::Bench;
use tidemark_query::value::{Explain, QueryResult};

use crate::distribution::{SECOND, bench, expression, options, script};

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
fn what_shards_pick_is_what_is_picked_of_all() {
    let mut script = "load 15s\n".to_owned();
    for i in 0..2_000 {
        let (value, step) = (i * 7_919 % 2_003, i % 5);
        let _ = writeln!(script, "  m{{i=\"{i}\",g=\"{}\"}} {value}+{step}x10", i % 3);
    }
    sim::run(1, async {
        let bench = bench(&script, 2, options()).await;
        let query = QueryOptions::default();
        for pick in ["topk(3,", "bottomk by (g) (2,", "limitk by (g) (2,", "limit_ratio(0.01,"] {
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
