//! Queries that no one should send: the same answer as a Prometheus beside it, in bounded time, and nobody else notices.

use std::time::Instant;

use serde_json::Value;
use tidemark_bench::http::Client;
use tidemark_bench::process::Server;

use crate::components::prometheus;
use crate::harness::{SOON, Tidemark, value};

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
