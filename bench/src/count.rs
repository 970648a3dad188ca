//! Completeness: how many samples a server finds by itself, by PromQL.

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dataset::STEP_MS;
use crate::http::{Client, path};

/// How long samples that were acknowledged may stay invisible to queries.
const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

/// The samples that the server has of these metrics, of steps from `from_ms` up to, not including, `to_ms`.
pub fn count(client: &mut Client, metrics: &[&str], from_ms: i64, to_ms: i64) -> io::Result<u64> {
    if to_ms <= from_ms {
        return Ok(0);
    }
    // Both ends lie half a step beside a sample: whether a window's ends belong to it differs between systems.
    let window = to_ms - from_ms;
    let mut found = 0;
    for metric in metrics {
        let query = format!("sum(count_over_time({metric}{{job=\"node-exporter\"}}[{window}ms]))");
        found += ask(client, &query, to_ms - STEP_MS / 2)?;
    }
    Ok(found)
}

/// The whole number that a query answers with at a time; 0 if with nothing.
fn ask(client: &mut Client, query: &str, time_ms: i64) -> io::Result<u64> {
    let time = format!("{:.3}", time_ms as f64 / 1_000.0);
    let parameters = [("query", query), ("time", &*time), ("nocache", "1"), ("timeout", "300s")];
    let response = client.get(&path("/api/v1/query", &parameters))?;
    let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if answer["status"] != "success" {
        let text = format!("{query}: {}: {}", response.status, response.text());
        return Err(io::Error::other(text));
    }
    let value = answer["data"]["result"][0]["value"][1].as_str();
    Ok(value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0) as u64)
}

/// Waits until so many series of a metric are seen at a time, or have had the time to become visible.
pub fn wait_for_series(
    client: &mut Client,
    metric: &str,
    time_ms: i64,
    series: u64,
) -> io::Result<()> {
    let began = Instant::now();
    let query = format!("count({metric})");
    while ask(client, &query, time_ms)? < series && began.elapsed() < VISIBLE_WITHIN {
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Counts until at least `expected` samples are found, or they have had the time to become visible.
pub fn count_until(
    client: &mut Client,
    metrics: &[&str],
    (from_ms, to_ms): (i64, i64),
    expected: u64,
) -> io::Result<u64> {
    let began = Instant::now();
    loop {
        let found = count(client, metrics, from_ms, to_ms)?;
        if found >= expected || began.elapsed() > VISIBLE_WITHIN {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
