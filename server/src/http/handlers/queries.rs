//! `/api/v1/status/active_queries` and `top_queries`: what is asked now, and what was asked most and took longest.

use std::collections::HashMap;
use std::rc::Rc;

use http::StatusCode;
use serde_json::{Value, json};
use tidemark_query::api::time::parse_duration_ns;

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;
use crate::queries::Past;
use tidemark_core::runtime::clock;

/// Rows of each list unless `topN` says otherwise.
const TOP_DEFAULT: usize = 20;

/// Rows at most.
const TOP_MAX: usize = 1_000;

/// The queries under way on all cores, the oldest first.
pub(crate) async fn active(node: Rc<Node>, _: Request) -> Answer {
    let each = |node: &Node| (node.core(), node.queries.active());
    let all = match node.on_every_core(each).await {
        Ok(all) => all,
        Err(error) => return error.answer(),
    };
    let mut rows = Vec::new();
    for (core, active) in all {
        for query in active {
            let seconds = query.began.elapsed().as_secs_f64();
            let (asked, client) = (&query.asked, query.asked.client);
            let row = json!({
                "id": format!("{core}-{}", query.number),
                "query": asked.query,
                "start": asked.start_ms,
                "end": asked.end_ms,
                "step": asked.step_ms,
                "remote_addr": client.map(|c| c.to_string()).unwrap_or_default(),
                "durationSeconds": seconds,
            });
            rows.push((seconds, row));
        }
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    Answer::data(&rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}

/// The texts asked most often, longest on average, and longest in all; `topN` of each, of those that were asked within
/// `maxLifetime`.
pub(crate) async fn top(node: Rc<Node>, request: Request) -> Answer {
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let bad = |message: &str| Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message);
    let rows = match params.get("topN") {
        "" => TOP_DEFAULT,
        text => match text.parse() {
            Ok(rows @ 1..=TOP_MAX) => rows,
            _ => return bad(&format!("topN must be a number from 1 to {TOP_MAX}")),
        },
    };
    let since_ms = match params.get("maxLifetime") {
        "" => i64::MIN,
        text => match parse_duration_ns(text) {
            Ok(ns) => clock::now_ms().saturating_sub(ns / 1_000_000),
            Err(error) => return bad(&format!("invalid parameter \"maxLifetime\": {error}")),
        },
    };
    match node.on_every_core(|node| node.queries.past()).await {
        Ok(all) => Answer::data(&lists(all.into_iter().flatten(), rows, since_ms)),
        Err(error) => error.answer(),
    }
}

fn lists(all: impl Iterator<Item = Past>, rows: usize, since_ms: i64) -> Value {
    let mut merged: HashMap<(String, i64), Past> = HashMap::new();
    for past in all.filter(|past| past.last_ms >= since_ms) {
        let key = (past.query.clone(), past.range_seconds);
        match merged.get_mut(&key) {
            Some(known) => {
                known.count += past.count;
                known.seconds += past.seconds;
            }
            None => drop(merged.insert(key, past)),
        }
    }
    let average = |past: &Past| past.seconds / past.count as f64;
    let top = |by: &dyn Fn(&Past) -> f64, name: &str| -> Vec<Value> {
        let mut sorted: Vec<_> = merged.values().collect();
        sorted.sort_by(|a, b| by(b).total_cmp(&by(a)).then_with(|| a.query.cmp(&b.query)));
        let row = |past: &&Past| {
            let mut row = json!({
                "query": past.query,
                "timeRangeSeconds": past.range_seconds,
                "count": past.count,
            });
            if !name.is_empty() {
                row[name] = json!(by(past));
            }
            row
        };
        sorted.iter().take(rows).map(row).collect()
    };
    json!({
        "topByCount": top(&|past| past.count as f64, ""),
        "topByAvgDuration": top(&average, "avgDurationSeconds"),
        "topBySumDuration": top(&|past| past.seconds, "sumDurationSeconds"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_add_up_over_cores() {
        let past = |query: &str, count, seconds, last_ms| Past {
            query: query.to_owned(),
            range_seconds: 60,
            count,
            seconds,
            last_ms,
        };
        let all = [
            past("a", 3, 1.0, 10),
            past("b", 2, 5.0, 10),
            past("a", 1, 1.0, 20),
            past("c", 9, 9.0, 1),
        ];
        let lists = lists(all.into_iter(), 1, 5);
        assert_eq!(
            lists["topByCount"],
            json!([{"query": "a", "timeRangeSeconds": 60, "count": 4}])
        );
        assert_eq!(lists["topByAvgDuration"][0]["avgDurationSeconds"], 2.5);
        assert_eq!(lists["topBySumDuration"][0]["query"], "b");
    }
}
