//! Another Prometheus gets what is stored here: by remote read, as chunks and as samples, and by federation.

use prost::Message;
use tidemark_bench::http::{Client, path};

use crate::components::{prometheus, prometheus_with};
use crate::harness::{Tidemark, assert_same, now_ms, vector_at};
use crate::remote_write::{self, series};

const SERIES: i64 = 30;
const SAMPLES: i64 = 300;
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Writes series of integers and fractions that end now, one of which has ended a while ago.
fn write(client: &mut Client, now: i64) {
    let one = |number: i64| {
        let sample = |i: i64| (now - (SAMPLES - i) * 1_000, (i * number) as f64 / 7.0);
        let mut samples: Vec<_> = (0..SAMPLES).map(sample).collect();
        if number == 0 {
            samples.last_mut().expect("there are samples").1 = STALE;
        }
        let (name, instance) = (format!("metric_{}", number % 3), format!("é\"{number}\\"));
        series(&[("__name__", &name), ("host", &instance), ("job", "a")], &samples)
    };
    remote_write::write(client, (0..SERIES).map(one).collect());
}

#[test]
fn a_prometheus_queries_what_is_stored_here() {
    let tidemark = Tidemark::start("global: {external_labels: {site: here}}");
    let now = now_ms();
    write(&mut tidemark.server.client(), now);
    let reader = prometheus(&format!(
        "remote_read: [{{url: '{}/api/v1/read', read_recent: true}}]",
        tidemark.url()
    ));
    for query in ["metric_0", "sum(rate(metric_1[2m]))", "count_over_time({job=\"a\"}[10m])"] {
        let time = now - 500;
        let (ours, theirs) =
            (vector_at(tidemark.url(), query, time), vector_at(reader.url(), query, time));
        assert!(!ours.is_empty(), "{query}");
        let without_site = theirs.into_iter().map(|(mut labels, value)| {
            labels.remove("site");
            (labels, value)
        });
        assert_same(query, &ours, &without_site.collect());
    }
    let outside = vector_at(reader.url(), "count by (site) (metric_0{site=\"here\"})", now - 500);
    let labels = outside.keys().next().expect("a group");
    assert_eq!(labels["site"], "here", "external labels go along");
}

/// The messages of remote read by another encoder, as far as this test looks.
#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<ReadQuery>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadQuery {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<ReadMatcher>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadMatcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<remote_write::WriteRequest>,
}

#[test]
fn samples_are_given_to_who_takes_no_chunks() {
    let (tidemark, writer) =
        (Tidemark::start(""), prometheus_with("", &["--web.enable-remote-write-receiver"]));
    let now = now_ms();
    let matchers =
        vec![ReadMatcher { kind: 2, name: "__name__".into(), value: "metric_[12]".into() }];
    let query = ReadQuery { start: now - 100_000, end: now, matchers };
    let nothing = ReadQuery { start: 0, end: 1, ..query.clone() };
    let request = ReadRequest { queries: vec![query, nothing] };
    let body = remote_write::compress(&request.encode_to_vec());
    let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy")];
    let [ours, theirs] = [&tidemark.server, &writer.server].map(|server| {
        let mut client = server.client();
        write(&mut client, now);
        let answer = client.request("POST", "/api/v1/read", &headers, &body).expect("an answer");
        assert!(answer.is_success(), "{}", answer.text());
        assert_eq!(answer.header("content-encoding"), Some("snappy"));
        let plain = snap::raw::Decoder::new().decompress_vec(&answer.body).expect("snappy");
        ReadResponse::decode(&*plain).expect("a response")
    });
    assert_eq!(ours.results[0].timeseries.len(), SERIES as usize / 3 * 2);
    assert_eq!(ours, theirs);
    let broken = tidemark.server.client().request("POST", "/api/v1/read", &headers, b"\x05");
    assert_eq!(broken.expect("an answer").status, 400);
}

#[test]
fn federation_gives_the_newest_samples() {
    let config = "global: {external_labels: {site: here, job: never}}";
    let tidemark = Tidemark::start(config);
    let writer = prometheus_with(config, &["--web.enable-remote-write-receiver"]);
    let now = now_ms();
    for server in [&tidemark.server, &writer.server] {
        write(&mut server.client(), now);
    }
    for selectors in [
        &["{job=\"a\"}"][..],
        &["metric_1", "metric_2{host=~\".*5.*\"}"],
        &["{x=\"y\"}"],
        &[],
        &["{"],
        &["{}"],
    ] {
        let parameters: Vec<_> = selectors.iter().map(|selector| ("match[]", *selector)).collect();
        let [ours, theirs] = [&tidemark.server, &writer.server]
            .map(|server| server.client().get(&path("/federate", &parameters)).expect("an answer"));
        assert_eq!(ours.status, theirs.status, "{selectors:?}");
        // Of series of one name Prometheus promises no order.
        let lines = |text: String| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(ours.text()), lines(theirs.text()), "{selectors:?}");
    }
}
