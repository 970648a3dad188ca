//! What comes in over HTTP and should not: each gets a clear refusal, and the next sender notices nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{Tidemark, now_ms, try_api, value, vector};
use crate::remote_write::{Label, Sample, TimeSeries, compress, encode, post, series, write};

/// Still alive, still writing, still answering.
fn assert_unharmed(tidemark: &Tidemark, after: &str) {
    let time_ms = now_ms();
    let labels = [("__name__", "unharmed"), ("after", after)];
    write(&mut tidemark.server.client(), vec![series(&labels, &[(time_ms, 7.0)])]);
    let query = format!("unharmed{{after={after:?}}}");
    assert_eq!(value(tidemark.url(), &query), Some(7.0), "after {after}");
}

#[test]
fn malformed_remote_writes_are_refused_with_a_reason() {
    let tidemark = Tidemark::start("");
    let mut client = tidemark.server.client();
    let good = encode(vec![series(&[("__name__", "good")], &[(now_ms(), 1.0)])]);
    let mut flipped = compress(&[0x0a, 0x7f, 1, 2, 3]);
    flipped.push(0xff);
    let cases: &[(&str, Vec<u8>)] = &[
        ("nothing at all", vec![]),
        ("not snappy", b"this is not a snappy block".to_vec()),
        ("snappy that is cut off", good[..good.len() - 3].to_vec()),
        ("snappy that declares 4 GiB", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
        ("snappy with a copy before its start", vec![8, 0x1d, 0xff]),
        ("bytes behind the end", flipped),
        ("protobuf with a length beyond the end", compress(&[0x0a, 0x7f, 1, 2, 3])),
        ("protobuf with an endless varint", compress(&[0x0a; 40])),
        ("protobuf with an unknown wire type", compress(&[0x0f, 1, 2, 3])),
    ];
    for (title, body) in cases {
        let response = post(&mut client, body).expect("an answer");
        assert_eq!(response.status, 400, "{title}: {}", response.text());
        assert!(response.text().len() > 5, "{title}: no reason");
    }
    let wrong = |headers: &[(&str, &str)]| {
        tidemark
            .server
            .client()
            .request("POST", "/api/v1/write", headers, &good)
            .expect("an answer")
            .status
    };
    assert_eq!(wrong(&[("Content-Type", "text/plain"), ("Content-Encoding", "snappy")]), 415);
    assert_eq!(
        wrong(&[("Content-Type", "application/x-protobuf"), ("Content-Encoding", "br")]),
        415
    );
    assert_unharmed(&tidemark, "malformed bodies");
}

#[test]
fn series_that_may_not_be_are_refused_by_name_and_others_kept() {
    let tidemark = Tidemark::start("");
    let time_ms = now_ms();
    let raw = |pairs: &[(&[u8], &[u8])]| TimeSeries {
        labels: pairs.iter().map(|(n, v)| Label { name: n.to_vec(), value: v.to_vec() }).collect(),
        samples: vec![Sample { value: 1.0, timestamp: time_ms }],
    };
    let long = "x".repeat(10 << 20);
    let cases: Vec<(&str, TimeSeries)> = vec![
        ("no metric name", raw(&[(b"a", b"b")])),
        ("an empty label name", raw(&[(b"", b"x"), (b"__name__", b"bad")])),
        ("a label twice", raw(&[(b"__name__", b"bad"), (b"a", b"1"), (b"a", b"2")])),
        ("a value that is not UTF-8", raw(&[(b"__name__", b"bad"), (b"a", &[0xff, 0xfe])])),
        ("10 MB of one label", series(&[("__name__", "bad"), ("a", &long)], &[(time_ms, 1.0)])),
        ("a time before time", series(&[("__name__", "bad")], &[(i64::MIN, 1.0)])),
        ("a time after time", series(&[("__name__", "bad")], &[(i64::MAX, 1.0)])),
    ];
    for (title, bad) in cases {
        let good = series(&[("__name__", "neighbour"), ("of", title)], &[(time_ms, 1.0)]);
        let response =
            post(&mut tidemark.server.client(), &encode(vec![good, bad])).expect("an answer");
        assert_eq!(response.status, 400, "{title}: {}", response.text());
        assert!((5..2_000).contains(&response.text().len()), "{title}: {}", response.text());
    }
    assert!(vector(tidemark.url(), "bad").is_empty());

    // Labels in another order are the same series.
    let mut client = tidemark.server.client();
    write(
        &mut client,
        vec![series(&[("z", "1"), ("__name__", "sorted"), ("a", "2")], &[(time_ms, 1.0)])],
    );
    write(
        &mut client,
        vec![series(&[("__name__", "sorted"), ("a", "2"), ("z", "1")], &[(time_ms + 1, 2.0)])],
    );
    assert_eq!(value(tidemark.url(), "count(count_over_time(sorted[5m]))"), Some(1.0));
    assert_unharmed(&tidemark, "bad series");
}

#[test]
fn requests_that_are_too_large_are_refused_before_they_are_read() {
    let tidemark = Tidemark::start("");
    let head = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n\
                Content-Encoding: snappy\r\nContent-Length: 9000000000\r\n\r\n";
    assert!(answer_to(&tidemark, head.as_bytes()).starts_with("HTTP/1.1 413"));
    let long =
        format!("GET /api/v1/query?query={} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let answer = answer_to(&tidemark, long.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_unharmed(&tidemark, "large requests");
}

#[test]
fn http_that_is_none_is_refused() {
    let tidemark = Tidemark::start("");
    for nonsense in
        ["\r\n\r\n\r\n", "HELLO\r\n\r\n", "GET /\u{0} HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
    {
        let answer = answer_to(&tidemark, nonsense.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{nonsense:?}: {answer}");
    }
    assert_eq!(tidemark.get("/no/such/page").status, 404);
    let response =
        tidemark.server.client().request("DELETE", "/api/v1/query", &[], &[]).expect("an answer");
    assert_eq!(response.status, 405);
    for (call, parameters) in [
        ("/api/v1/query", &[("query", "sum((")][..]),
        ("/api/v1/query", &[("query", "up"), ("time", "yesterday")]),
        ("/api/v1/query_range", &[("query", "up"), ("start", "2"), ("end", "1"), ("step", "1")]),
        ("/api/v1/query_range", &[("query", "up"), ("start", "0"), ("end", "9e9"), ("step", "1")]),
        ("/api/v1/series", &[("match[]", "{")]),
    ] {
        let error = try_api(tidemark.url(), call, parameters).expect_err("an error");
        assert!(error.contains("\"errorType\":\"bad_data\""), "{call} {parameters:?}: {error}");
    }
    assert_unharmed(&tidemark, "nonsense");
}

/// Slow and vanishing clients, many at once, while a good one goes on working.
#[test]
fn slow_and_vanishing_clients_hold_nobody_up() {
    let tidemark = Tidemark::start("");
    let address = tidemark.url().trim_start_matches("http://").to_owned();
    let open = |text: &str| {
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream.write_all(text.as_bytes()).expect("written");
        stream
    };
    let half_a_body = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\n\
                       Content-Type: application/x-protobuf\r\nContent-Length: 100000\r\n\r\nhalf";
    let slow: Vec<_> = (0..40).map(|_| open("GET /metrics HT")).collect();
    let waiting: Vec<_> = (0..40).map(|_| open(half_a_body)).collect();
    for _ in 0..100 {
        drop(open(half_a_body));
        drop(open("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    let began = Instant::now();
    assert_unharmed(&tidemark, "slow and vanished clients");
    assert!(began.elapsed() < Duration::from_secs(5), "held up for {:?}", began.elapsed());

    // Who does not get on with a request is let go.
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(40))).expect("set");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the server ends the connection by itself");
    }
    drop(waiting);
    assert_unharmed(&tidemark, "their end");
}

/// Sends bytes on a connection of its own and reads until the server ends it or pauses.
fn answer_to(tidemark: &Tidemark, request: &[u8]) -> String {
    let address = tidemark.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("set");
    // The server may answer and hang up before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = vec![0; 4_096];
    let read = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}
