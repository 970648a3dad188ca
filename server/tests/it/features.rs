//! What is switched on and off, over HTTP: experimental parts of the language, native histograms, exemplars.

use prost::Message as _;
use serde_json::Value;

use crate::components::{prometheus_with, python};
use crate::harness::{Tidemark, api, eventually, now_ms, try_api, value};
use crate::import::histograms;
use crate::remote_write::{compress, post};

/// Everything that can be switched on.
const ALL: &str = "--enable-feature=promql-experimental-functions,promql-extended-range-selectors,\
                   promql-binop-fill-modifiers,promql-delayed-name-removal";

#[test]
fn experimental_parts_answer_where_they_are_switched_on() {
    let (plain, experimental) = (Tidemark::start(""), Tidemark::start_with("", &[ALL]));
    let switch = "is experimental and must be enabled with \
                  --enable-feature=promql-experimental-functions";
    for (query, expected) in [
        (
            "mad_over_time(up[5m])",
            "1:1: parse error: function \"mad_over_time\" is not enabled".to_owned(),
        ),
        (
            "1 + sort_by_label(up, \"a\")",
            "1:5: parse error: function \"sort_by_label\" is not enabled".to_owned(),
        ),
        ("limitk(1, up)", format!("1:1: parse error: limitk() {switch}")),
        ("limit_ratio(0.5, up)", format!("1:1: parse error: limit_ratio() {switch}")),
        (
            "rate(up[5m] smoothed)",
            "1:6: parse error: smoothed modifier is experimental and not enabled".to_owned(),
        ),
        ("up + fill(0) up", "binop fill modifiers are experimental and not enabled".to_owned()),
    ] {
        let refused = try_api(plain.url(), "/api/v1/query", &[("query", query)]).unwrap_err();
        let refused: Value = serde_json::from_str(&refused).expect("JSON");
        assert_eq!(refused["errorType"], "bad_data", "{query}");
        let said = refused["error"].as_str().unwrap_or_default();
        let words = expected.rsplit(": ").next().unwrap_or_default();
        assert!(said.ends_with(words), "{query}: {said}");
        assert!(said.starts_with("invalid parameter \"query\": "), "{query}: {said}");
        let answered = api(experimental.url(), "/api/v1/query", &[("query", query)]);
        assert_eq!(answered["resultType"], "vector", "{query}");
    }
    let on = |server: &Tidemark| {
        let features = api(server.url(), "/api/v1/features", &[]);
        let functions = &features["promql_functions"];
        [&functions["mad_over_time"], &features["promql"]["smoothed"]].map(|on| on == true)
    };
    assert_eq!((on(&plain), on(&experimental)), ([false; 2], [true; 2]));
}

#[test]
fn native_histograms_are_answered_as_by_prometheus() {
    let theirs = prometheus_with(
        "",
        &["--enable-feature=native-histograms", "--web.enable-remote-write-receiver"],
    );
    let ours = Tidemark::start("");
    let end_ms = now_ms() / 60_000 * 60_000;
    let body = compress(&histograms(end_ms).encode_to_vec());
    for server in [&ours.server, &theirs.server] {
        let answer = post(&mut server.client(), &body).expect("an answer");
        assert!(answer.is_success(), "{}: {}", answer.status, answer.text());
    }
    let time = (end_ms / 1000).to_string();
    let start = (end_ms / 1000 - 600).to_string();
    // What changed after 2.42 is left to Prometheus' own acceptance scripts: products of histograms and numbers, their mean, rates
    // of young histograms, quantiles and fractions, which 3 interpolates exponentially.
    for query in [
        "past_latency",
        "sum(past_latency)",
        "histogram_count(past_latency)",
        "histogram_sum(past_latency) / histogram_count(past_latency)",
        "count_over_time(past_latency[299s])",
        "past_latency + past_latency",
    ] {
        let both = |call: &str, parameters: &[(&str, &str)]| {
            [ours.url(), theirs.url()].map(|url| api(url, call, parameters))
        };
        let [a, b] = both("/api/v1/query", &[("query", query), ("time", &time)]);
        assert!(a["result"].as_array().is_some_and(|all| !all.is_empty()), "{query}");
        assert_close(query, &a, &b);
        let range = [("query", query), ("start", &start), ("end", &time), ("step", "37")];
        let [a, b] = both("/api/v1/query_range", &range);
        assert_close(query, &a, &b);
    }
    // The raw samples of a range, too.
    let raw = [("query", "past_latency[599s]"), ("time", &time[..])];
    let [a, b] = [ours.url(), theirs.url()].map(|url| api(url, "/api/v1/query", &raw));
    assert_close("raw samples", &a, &b);
    assert!(a["result"][0]["histograms"].as_array().is_some_and(|all| all.len() > 10), "{a}");
}

/// The same but for the last digits of numbers.
fn assert_close(place: &str, ours: &Value, theirs: &Value) {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| assert_close(place, a, b));
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            for (name, a) in a {
                assert_close(&format!("{place} {name}"), a, b.get(name).unwrap_or(&Value::Null));
            }
        }
        (a, b) => match (number(a), number(b)) {
            (Some(a), Some(b)) => {
                let same = a == b || (a.is_nan() && b.is_nan());
                let near = (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
                assert!(same || near, "{place}: {a} and {b}");
            }
            _ => assert_eq!(a, b, "{place}"),
        },
    }
}

/// An application with exemplars, by Prometheus' own client library.
const APPLICATION: &str = "
import sys, time
from prometheus_client import Counter, Histogram, start_http_server
sold = Counter('sold', 'Sold.', ['what'])
sold.labels('book').inc(3, {'trace_id': 'abc', 'span_id': '7'})
seconds = Histogram('answer_seconds', 'Long.', buckets=[0.1, 1])
seconds.observe(0.5, {'trace_id': 'def'})
start_http_server(int(sys.argv[1]), '127.0.0.1')
time.sleep(3600)
";

#[test]
fn exemplars_of_an_application_are_found() {
    let application = python(APPLICATION);
    let tidemark = Tidemark::start(&format!(
        "scrape_configs: [{{job_name: shop, scrape_interval: 1s, scrape_timeout: 1s, \
         static_configs: [{{targets: ['{}']}}]}}]",
        application.address()
    ));
    eventually("it is scraped", || value(tidemark.url(), "sold_total"));
    let exemplars = |query: &str| -> Vec<Value> {
        let found = api(tidemark.url(), "/api/v1/query_exemplars", &[("query", query)]);
        found.as_array().cloned().unwrap_or_default()
    };
    let sold = exemplars("sum(rate(sold_total{what=\"book\"}[5m]))");
    assert_eq!(sold.len(), 1, "{sold:?}");
    assert_eq!(sold[0]["seriesLabels"]["job"], "shop");
    let exemplar = &sold[0]["exemplars"][0];
    assert_eq!(exemplar["labels"]["trace_id"], "abc");
    assert_eq!(exemplar["value"], "3");
    let age = now_ms() as f64 / 1e3 - exemplar["timestamp"].as_f64().unwrap_or_default();
    assert!((0.0..300.0).contains(&age), "{exemplar}");
    let buckets = exemplars("histogram_quantile(0.9, rate(answer_seconds_bucket[5m]))");
    assert_eq!(buckets.len(), 1, "of the bucket that it fell into: {buckets:?}");
    assert_eq!(buckets[0]["seriesLabels"]["le"], "1.0");
    assert_eq!(exemplars("answer_seconds_sum + 1"), Vec::<Value>::new());
    // Scraped again and again, it is one.
    eventually("more scrapes", || value(tidemark.url(), "count_over_time(up[1m]) > 2"));
    assert_eq!(exemplars("sold_total")[0]["exemplars"].as_array().map(Vec::len), Some(1));
}
