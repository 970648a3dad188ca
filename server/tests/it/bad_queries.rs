//! Queries that no one should send: the same answer as a Prometheus beside it, in bounded time, and nobody else notices.

use std::time::Instant;

use serde_json::Value;
use tidemark_bench::http::Client;
use tidemark_bench::process::Server;

use crate::components::{prometheus, prometheus_with};
use crate::harness::{SOON, Tidemark, now_ms, value};
use crate::remote_write;

/// Status and kind of error of a query.
fn ask(server: &Server, query: &str, more: &str) -> (u16, String) {
    let mut client: Client = server.client();
    let path = if more.is_empty() { "/api/v1/query" } else { "/api/v1/query_range" };
    let form: String = url_encoded(query);
    let body = format!("query={form}{more}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let began = Instant::now();
    let answer = client.request("POST", path, &headers, body.as_bytes()).expect("an answer");
    assert!(began.elapsed() < SOON, "{:.80} took {:?}", query, began.elapsed());
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, said["errorType"].as_str().unwrap_or("").to_owned())
}

fn url_encoded(text: &str) -> String {
    tidemark_bench::http::path("", &[("", text)]).trim_start_matches("?=").to_owned()
}

#[test]
fn outrageous_queries_are_answered_as_by_prometheus() {
    let (tidemark, peer) = (Tidemark::start(""), prometheus(""));
    let long = |part: &str| part.repeat(1_000_000 / part.len());
    let steps = |count: i64| format!("&start=0&end={count}&step=1");
    let cases: Vec<(&str, String, String)> = vec![
        ("a matcher of a megabyte", format!("up{{job=\"{}\"}}", long("x")), String::new()),
        ("a string of a megabyte", format!("\"{}\"", long("y")), String::new()),
        ("a megabyte of spaces", format!("up{}", long(" ")), String::new()),
        ("a megabyte of letters", long("z"), String::new()),
        ("a megabyte of nonsense", long("+-*/%"), String::new()),
        (
            "a regular expression that explodes",
            r#"up{a=~"((a{100}){100}){100}"}"#.into(),
            String::new(),
        ),
        (
            "a regular expression of a thousand repeats",
            r#"up{a=~"(a{1001})"}"#.into(),
            String::new(),
        ),
        (
            "a regular expression that backtracks elsewhere",
            r#"up{a=~"(a*)*b(x+x+)+y"}"#.into(),
            String::new(),
        ),
        ("a range of too many steps", "up".into(), steps(11_001)),
        ("a range of the most steps", "vector(1)".into(), steps(11_000)),
        ("a range that ends before it starts", "up".into(), "&start=5&end=4&step=1".into()),
        ("times that are none", "up".into(), "&start=x&end=NaN&step=".into()),
        ("subqueries in subqueries", format!("vector(1){}", "[1m:1s]".repeat(2)), String::new()),
        ("topk of everything", "topk(1e9, vector(1))".into(), String::new()),
        ("topk of more than everything", "topk(1e30, vector(1))".into(), String::new()),
        ("quantiles of nothing", "quantile(NaN, up)".into(), String::new()),
        ("an offset before all time", "up offset 290y".into(), String::new()),
        ("a time after all time", "up @ 1e18".into(), String::new()),
        ("a zero byte", "up{a=\"\0\"}".into(), String::new()),
    ];
    for (title, query, more) in &cases {
        let [ours, theirs] =
            [&tidemark.server, &peer.server].map(|server| ask(server, query, more));
        assert_eq!(ours, theirs, "{title}");
    }
    // What a Prometheus works on for many seconds is refused at once: how deep and how high an expression may be, and how much it
    // would compute.
    for (query, kind) in [
        (format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000)), "bad_data"),
        ("(".repeat(1_000_000), "bad_data"),
        (format!("{}1", "-".repeat(10_000)), "bad_data"),
        (format!("up{}", " or up".repeat(100_000)), "bad_data"),
        (format!("{}up{}", "sum(".repeat(10_000), ")".repeat(10_000)), "bad_data"),
        ("sum_over_time(vector(1)[10y:1ms])".to_owned(), "execution"),
    ] {
        assert_eq!(ask(&tidemark.server, &query, "").1, kind, "{query:.60}");
    }
    assert_eq!(value(tidemark.url(), "vector(7)"), Some(7.0));
    let peak = tidemark.server.usage().rss_peak_bytes;
    assert!(peak < 1 << 30, "it took {peak} bytes");
}

/// Series of the second test: each value once, in two halves.
const SERIES: usize = 2_000;

#[test]
fn queries_that_multiply_series_are_answered_as_by_prometheus() {
    let flags = ["--web.enable-remote-write-receiver"];
    let (tidemark, peer) = (Tidemark::start(""), prometheus_with("", &flags));
    let now = now_ms();
    for server in [&tidemark.server, &peer.server] {
        let series = (0..SERIES).map(|i| {
            let (number, half) = (i.to_string(), (i % 2).to_string());
            let labels = [("__name__", "many"), ("half", half.as_str()), ("i", number.as_str())];
            remote_write::series(&labels, &[(now, i as f64)])
        });
        remote_write::write(&mut server.client(), series.collect());
    }
    let ten = |text: &str| text.repeat(10);
    let mut different = Vec::new();
    let time = (now / 1_000 + 1).to_string();
    for query in [
        "many * on () many".to_owned(),
        "many * on (half) group_left () many".to_owned(),
        "many * on () group_left () many".to_owned(),
        "many * ignoring (i) many".to_owned(),
        "count(many * on (i) group_right (half) many)".to_owned(),
        "count(many * on () group_left () count(many))".to_owned(),
        "count(many and on () many) + count(many or on () many)".to_owned(),
        "count(many unless on (i) many)".to_owned(),
        "count(count_values(\"v\", many))".to_owned(),
        "count(count_values without (v) (\"v\", many))".to_owned(),
        "count_values(\"\", many)".to_owned(),
        "count(topk(1e9, many)) + count(bottomk(1e18, many))".to_owned(),
        "topk(1e19, many)".to_owned(),
        "topk(NaN, many)".to_owned(),
        "topk(-1, many)".to_owned(),
        "quantile(NaN, many)".to_owned(),
        "quantile_over_time(NaN, many{i=\"7\"}[5m])".to_owned(),
        "histogram_quantile(NaN, many)".to_owned(),
        "count(clamp(many, NaN, NaN)) + count(round(many, NaN)) + count(many > bool NaN)"
            .to_owned(),
        "predict_linear(many[5m], NaN) + many % NaN".to_owned(),
        "vector(NaN) == NaN or vector(NaN) != NaN".to_owned(),
        "many{i=\"7\"}[5m:1ms]".to_owned(),
        "count(many offset -290y) or vector(7)".to_owned(),
        format!("count(label_replace(many, \"x\", \"{}\", \"i\", \"(.*)\"))", ten("$1-")),
        "label_replace(many, \"i\", \"\", \"i\", \".*\")".to_owned(),
        "label_replace(many, \"x\", \"$1\", \"i\", \"((a{100}){100}){100}\")".to_owned(),
        "count(label_replace(many, \"x\", \"$1\", \"i\", \"((.*)*)*y\"))".to_owned(),
        format!("count(label_join(many, \"x\", \"-\"{}))", ten(", \"i\"")),
        format!("count({{__name__=~\"{}many\"}})", ten("m?a?n?y?|")),
    ] {
        let form = [("query", query.as_str()), ("time", time.as_str())];
        let [ours, theirs] = [&tidemark.server, &peer.server].map(|server| {
            let path = tidemark_bench::http::path("/api/v1/query", &form);
            let began = Instant::now();
            let answer = server.client().request("GET", &path, &[], &[]).expect("an answer");
            assert!(began.elapsed() < SOON, "{query:.80} took {:?}", began.elapsed());
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let many = said["data"]["result"].as_array().map_or(0, Vec::len);
            let result = if many < 5 { said["data"].clone() } else { Value::from(many) };
            (answer.status, said["errorType"].as_str().unwrap_or("").to_owned(), result)
        });
        if ours != theirs {
            different.push(format!("{query:.200}: {ours:?} is not {theirs:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(value(tidemark.url(), "vector(7)"), Some(7.0));
    let peak = tidemark.server.usage().rss_peak_bytes;
    assert!(peak < 1 << 30, "it took {peak} bytes");
}
