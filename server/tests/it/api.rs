//! The API as dashboards and people's tools use it: what they ask first, long answers, searches, events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tidemark_bench::http::{Response, path};

use crate::harness::{SOON, Tidemark, api, now_ms};
use crate::remote_write::{series, write};

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

/// A server that holds `count` series of a metric, a sample a second for the last so many seconds.
fn filled(arguments: &[&str], count: usize, seconds: i64) -> (Tidemark, i64) {
    let tidemark = Tidemark::start_with("", arguments);
    let now = now_ms() / 1000 * 1000;
    let one = |number: usize| {
        let value = |i: i64| number as f64 + i as f64 / 8.0;
        let samples: Vec<_> = (0..seconds).map(|i| (now - i * 1_000, value(i))).rev().collect();
        series(&[("__name__", "requests_total"), ("pod", &format!("pod-{number}"))], &samples)
    };
    let mut client = tidemark.server.client();
    for first in (0..count).step_by(200) {
        write(&mut client, (first..count.min(first + 200)).map(one).collect());
    }
    (tidemark, now)
}

fn json_of(response: &Response) -> Value {
    assert!(response.is_success(), "{}: {}", response.status, response.text());
    serde_json::from_slice(&response.body).expect("JSON")
}

#[test]
fn a_dashboard_finds_its_way() {
    let (tidemark, now) = filled(&[], 3, 60);
    let mut client = tidemark.server.client();
    let mut post = |call: &str, form: &str| {
        json_of(&client.request("POST", call, &FORM, form.as_bytes()).expect("an answer"))
    };
    // What a data source is tested with, then what it asks about the server.
    let health = post("/api/v1/query", "query=1%2B1&time=4");
    assert_eq!(health["data"], json!({"resultType": "scalar", "result": [4, "2"]}));
    let build = api(tidemark.url(), "/api/v1/status/buildinfo", &[]);
    assert!(build["version"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert!(build.get("features").is_none(), "that is how a Mimir is told");
    // The browser of labels, and the editor that completes names.
    let (start, end) = ((now - 60_000).to_string(), now.to_string());
    let (start, end) = (&start[..start.len() - 3], &end[..end.len() - 3]);
    let labels = post("/api/v1/labels", &format!("start={start}&end={end}&limit=40000"));
    assert_eq!(labels["data"], json!(["__name__", "pod"]));
    let selector = "match%5B%5D=%7B__name__%3D%22requests_total%22%7D";
    let series = post("/api/v1/series", &format!("{selector}&start={start}&end={end}&limit=2"));
    assert_eq!(series["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(series["warnings"], json!(["results truncated due to limit"]));
    let selected = [("match[]", "{__name__=\"requests_total\"}"), ("limit", "40000")];
    let values = api(tidemark.url(), "/api/v1/label/pod/values", &selected);
    assert_eq!(values, json!(["pod-0", "pod-1", "pod-2"]));
    assert_eq!(api(tidemark.url(), "/api/v1/metadata", &[("limit", "40000")]), json!({}));
    assert_eq!(api(tidemark.url(), "/api/v1/rules", &[]), json!({"groups": []}));
    // A panel, its exemplars, and the query that counts what it drew.
    let range = format!("query=sum(rate(requests_total%5B30s%5D))&start={start}&end={end}&step=15");
    let panel = post("/api/v1/query_range", &range);
    assert_eq!(panel["data"]["resultType"], "matrix");
    assert_eq!(panel["data"]["result"].as_array().map(Vec::len), Some(1));
    let exemplars = post("/api/v1/query_exemplars", &range);
    assert_eq!(exemplars, json!({"status": "success", "data": []}));
    let stats = post("/api/v1/query_range", &format!("{range}&stats=all"));
    assert!(stats["data"]["stats"]["samples"]["totalQueryableSamples"].as_u64() > Some(0));
}

#[test]
fn a_search_completes_names() {
    let (tidemark, now) = filled(&["--enable-feature=search-api"], 12, 10);
    let mut client = tidemark.server.client();
    let other = series(&[("__name__", "http_latency"), ("zone", "a")], &[(now, 1.0)]);
    write(&mut client, vec![other]);
    let mut lines = |call: &str, parameters: &[(&str, &str)]| -> Vec<Value> {
        let answer = client.get(&path(call, parameters)).expect("an answer");
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson; charset=utf-8"));
        let text = answer.text();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let over = json!({"status": "success", "has_more": false});
    let metrics = lines("/api/v1/search/metric_names", &[("search[]", "rqst")]);
    assert_eq!(metrics, [json!({"results": [{"name": "requests_total"}]}), over.clone()]);
    let labels = lines("/api/v1/search/label_names", &[]);
    assert_eq!(
        labels[0]["results"],
        json!([{"name": "__name__"}, {"name": "pod"}, {"name": "zone"}])
    );
    let of_pod = [("label", "pod"), ("search[]", "pod-1"), ("sort_by", "score"), ("limit", "2")];
    let values = lines("/api/v1/search/label_values", &of_pod);
    assert_eq!(values[0]["results"], json!([{"value": "pod-1"}, {"value": "pod-10"}]));
    assert_eq!(values[1], json!({"status": "success", "has_more": true}));
    let batches = lines("/api/v1/search/label_values", &[("label", "pod"), ("batch_size", "5")]);
    let sizes: Vec<_> =
        batches.iter().filter_map(|line| line["results"].as_array().map(Vec::len)).collect();
    assert_eq!(sizes, [5, 5, 2]);
    let selected = [("label", "pod"), ("match[]", "http_latency")];
    assert_eq!(lines("/api/v1/search/label_values", &selected), [json!({"results": []}), over]);
    let answer = tidemark.get("/api/v1/search/label_values");
    assert_eq!(
        (answer.status, &json_error(&answer)[..]),
        (400, "missing required parameter \"label\"")
    );
    assert_eq!(api(tidemark.url(), "/api/v1/features", &[])["api"]["search"], true);
}

fn json_error(response: &Response) -> String {
    let said: Value = serde_json::from_slice(&response.body).expect("JSON");
    said["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_switched_off_says_so() {
    let tidemark = Tidemark::start("scrape_configs: [{job_name: a}]");
    let answer = tidemark.get("/api/v1/search/metric_names");
    assert_eq!((answer.status, &json_error(&answer)[..]), (503, "search API disabled"));
    let described = tidemark.get("/api/v1/openapi.yaml");
    assert_eq!(described.header("content-type"), Some("application/yaml; charset=utf-8"));
    assert!(described.text().contains("\n  /api/v1/query_range:\n"));
    assert_eq!(api(tidemark.url(), "/api/v1/status/tsdb/blocks", &[]), json!({"blocks": []}));
    let pattern = [("metric_name_pattern", "tidemark_build_info|tidemark_http_.*")];
    let metrics = api(tidemark.url(), "/api/v1/status/self_metrics", &pattern);
    assert_eq!(metrics[0]["metric"][0]["gauge"], json!({"value": 1.0}), "{metrics}");
    assert!(metrics.as_array().is_some_and(|all| all.len() < 10));
    assert_eq!(tidemark.get("/api/v1/status/self_metrics?metric_name_pattern=(").status, 400);
    let pool = api(tidemark.url(), "/api/v1/scrape_pools/config", &[("scrapePool", "a")]);
    assert!(pool["yaml"].as_str().is_some_and(|yaml| yaml.starts_with("job_name: a\n")), "{pool}");
    let answer = tidemark.get("/api/v1/scrape_pools/config?scrapePool=b");
    let expected = "error retrieving scrape config: scrape pool \"b\" not found";
    assert_eq!((answer.status, &json_error(&answer)[..]), (400, expected));
}

/// Sends a GET and gives back the connection.
fn asked(tidemark: &Tidemark, call: &str) -> BufReader<TcpStream> {
    asked_by("GET", tidemark, call)
}

fn asked_by(method: &str, tidemark: &Tidemark, call: &str) -> BufReader<TcpStream> {
    let address = tidemark.url().trim_start_matches("http://");
    let mut client = TcpStream::connect(address).expect("a connection");
    client.set_read_timeout(Some(SOON)).expect("a socket");
    client
        .write_all(format!("{method} {call} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .expect("sent");
    BufReader::new(client)
}

#[test]
fn a_listener_hears_what_happens() {
    let mut tidemark = Tidemark::start_with("", &["--web.max-notifications-subscribers=1"]);
    let cores = std::thread::available_parallelism().expect("a number").get();
    let mut listener = asked(&tidemark, "/api/v1/notifications/live");
    let mut line = |prefix: &str| loop {
        let mut line = String::new();
        assert!(listener.read_line(&mut line).expect("an event") > 0, "no {prefix}");
        if let Some((_, rest)) = line.split_once(prefix) {
            return rest.trim().to_owned();
        }
    };
    assert_eq!(line("HTTP/1.1 "), "200 OK");
    assert_eq!(line("content-type: "), "text/event-stream");
    let mut event = || -> Value { serde_json::from_str(&line("data: ")).expect("JSON") };
    // All open at once: each core has one place, and connections are shared out.
    let ask = |_| asked(&tidemark, "/api/v1/notifications/live");
    let mut others: Vec<_> = (0..cores * 4).map(ask).collect();
    let statuses: Vec<String> = others
        .iter_mut()
        .map(|connection| {
            let mut status = String::new();
            connection.read_line(&mut status).expect("a status");
            status
        })
        .collect();
    let taken = statuses.iter().filter(|status| status.contains("200")).count();
    assert_eq!(taken, cores - 1, "{statuses:?}");
    let reload = |config: &str| {
        std::fs::write(tidemark.config(), config).expect("the configuration is written");
        tidemark.server.client().request("POST", "/-/reload", &[], &[]).expect("an answer").status
    };
    assert_eq!(reload("nonsense: ["), 500);
    let failed = event();
    assert_eq!(
        (&failed["text"], &failed["active"]),
        (&json!("Configuration reload has failed."), &json!(true))
    );
    let listed = api(tidemark.url(), "/api/v1/notifications", &[]);
    assert_eq!(listed, json!([failed]));
    assert_eq!(reload(""), 200);
    assert_eq!(event()["active"], false);
    let stopping = std::time::Instant::now();
    tidemark.server.signal("TERM").expect("a signal");
    assert!(event()["text"].as_str().is_some_and(|text| text.contains("shutting down")));
    tidemark.server.stop().expect("it stops");
    assert!(stopping.elapsed() < Duration::from_secs(9), "a listener holds up the stop");
}

/// What a range over everything makes: 1,000 series of 600 samples, about 15 MB of JSON.
const EVERYTHING: &str = "/api/v1/query?query=requests_total%5B11m%5D";

#[test]
fn long_answers_are_sent_as_they_are_made() {
    let (tidemark, _) = filled(&[], 1_000, 600);
    for (coding, header) in [("identity", None), ("gzip", Some("gzip")), ("zstd", Some("zstd"))] {
        let headers = [("Accept-Encoding", coding)];
        let mut client = tidemark.server.client();
        let answer = client.request("GET", EVERYTHING, &headers, &[]).expect("an answer");
        assert_eq!(answer.header("content-encoding"), header);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        let mut plain = Vec::new();
        match coding {
            "gzip" => drop(flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut plain)),
            "zstd" => plain = zstd::stream::decode_all(&*answer.body).expect("zstd"),
            _ => plain = answer.body,
        }
        let said: Value = serde_json::from_slice(&plain).expect("JSON");
        let series = said["data"]["result"].as_array().expect("series");
        assert_eq!(series.len(), 1_000);
        assert!(series.iter().all(|s| s["values"].as_array().map(Vec::len) == Some(600)));
    }
    assert!(tidemark.get("/api/v1/labels").header("content-length").is_some(), "a short one");
    let mut head = asked_by("HEAD", &tidemark, EVERYTHING);
    let (mut status, mut line) = (String::new(), String::from("-"));
    head.read_line(&mut status).expect("a status");
    while line != "\r\n" {
        line.clear();
        head.read_line(&mut line).expect("a header");
    }
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    head.get_ref().set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    assert!(head.read(&mut [0; 1]).is_err(), "a body");
}

#[test]
fn clients_that_do_not_read_cost_no_text() {
    let (tidemark, _) = filled(&[], 1_000, 600);
    let resident = || tidemark.server.usage().rss_peak_bytes as i64;
    let before = resident();
    let mut slow = asked(&tidemark, EVERYTHING);
    let mut status = String::new();
    slow.read_line(&mut status).expect("an answer begins");
    assert!(status.contains("200"), "{status}");
    // The others are answered meanwhile.
    assert_eq!(crate::harness::value(tidemark.url(), "vector(7)"), Some(7.0));
    drop(slow);
    let (values, grown) = (1_000 * 600 * 16, resident() - before);
    assert!(grown < values * 4, "{grown} bytes for {values} of values");
}
