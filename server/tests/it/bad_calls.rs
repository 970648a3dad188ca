//! Calls that no one should make: parameters of a megabyte, bytes that are no text, thousands of matchers, more queries than there
//! are turns, clients that hang up. The status and the kind of error are those of a Prometheus beside it, and memory stays bounded.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tidemark_bench::process::Server;

use crate::components::prometheus;
use crate::harness::{SOON, Tidemark, api, eventually, now_ms, value};
use crate::remote_write::{series, write};

/// More memory than any of this may take, in bytes.
const RSS_MAX: u64 = 1 << 30;

fn post(server: &Server, call: &str, form: &str) -> (u16, Value) {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let began = Instant::now();
    let answer = server.client().request("POST", call, &headers, form.as_bytes());
    let answer = answer.unwrap_or_else(|error| panic!("{call} {form:.80}: {error}"));
    assert!(began.elapsed() < SOON, "{call} {form:.80} took {:?}", began.elapsed());
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[test]
fn outrageous_parameters_are_answered_as_by_prometheus() {
    let (tidemark, peer) = (Tidemark::start(""), prometheus(""));
    let digits = "9".repeat(1_000_000);
    let letters = "x".repeat(1_000_000);
    let mut cases: Vec<(&str, String)> = Vec::new();
    for call in ["/api/v1/series", "/api/v1/labels"] {
        cases.push((call, format!("match[]={letters}")));
        cases.push((call, format!("match[]=up{{job=\"{letters}\"}}")));
        cases.push((call, format!("match[]={{job=~\"{}\"}}", "(".repeat(100_000))));
        cases.push((call, format!("match[]={}", "%ff".repeat(100_000))));
        cases.push((call, format!("match[]=up&start={digits}")));
        cases.push((call, format!("match[]=up&end={letters}")));
        cases.push((call, "match[]=up&".repeat(5_000)));
        cases.push((call, format!("match[]={{{}}}", "a!=\"b\",".repeat(5_000))));
        cases.push((call, "match[]=%zz".to_owned()));
        cases.push((call, "match[]=up;start=1".to_owned()));
    }
    for call in ["/api/v1/query", "/api/v1/query_range"] {
        let times = "time=1&start=1&end=2&step=1";
        cases.push((call, format!("query=up&{times}&timeout={letters}")));
        cases.push((call, format!("query=up&time={letters}&start={letters}&end=2&step=1")));
        cases.push((call, format!("query=up{{{}}}&{times}", "a!=\"b\",".repeat(5_000))));
        cases.push((call, format!("query=up{{a=~\"{}\"}}&{times}", "a|".repeat(20_000))));
        cases.push((call, format!("query=up{{a=~\"{}\"}}&{times}", "(a*)*".repeat(1_000))));
        cases.push((call, format!("query=up{{a=~\"(a%7B1000%7D)%7B1000%7D\"}}&{times}")));
        cases.push((call, format!("query=%00up&{times}")));
        cases.push((call, format!("query=label_replace(up,\"{letters}\",\"\",\"\",\"\")&{times}")));
    }
    cases.push(("/api/v1/query_exemplars", format!("query={letters}&start=1&end=2")));
    cases.push(("/api/v1/query_exemplars", "query=up&start=2&end=1".to_owned()));
    cases.push(("/api/v1/format_query", format!("query={}", "1%2B".repeat(100_000))));
    for (call, form) in &cases {
        let [ours, theirs] = [&tidemark.server, &peer.server].map(|server| {
            let (status, said) = post(server, call, form);
            (status, said["errorType"].clone())
        });
        assert_eq!(ours, theirs, "{call} {form:.100}");
    }
    // Bytes that are no text are a query that does not parse, not a broken connection.
    for query in ["up{a=\"%ff%fe\"}", "%c3%28", "%f0%9f"] {
        let (status, _) = post(&tidemark.server, "/api/v1/query", &format!("query={query}"));
        assert!(matches!(status, 200 | 400), "{query}: {status}");
    }
    assert_eq!(value(tidemark.url(), "vector(7)"), Some(7.0));
    let peak = tidemark.server.usage().rss_peak_bytes;
    assert!(peak < RSS_MAX, "it took {peak} bytes");
}

/// A server with so many series of five minutes, a sample a second.
fn filled(arguments: &[&str], count: i64) -> (Tidemark, i64) {
    let tidemark = Tidemark::start_with("", arguments);
    let now = now_ms();
    let one = |number: i64| {
        let samples: Vec<_> =
            (0..300).map(|i| (now - (300 - i) * 1_000, (i * number) as f64)).collect();
        series(&[("__name__", "m"), ("number", &number.to_string())], &samples)
    };
    write(&mut tidemark.server.client(), (0..count).map(one).collect());
    (tidemark, now)
}

#[test]
fn what_is_over_the_budget_ends_with_its_error() {
    let (tidemark, now) = filled(&["--query.max-samples=20000", "--query.timeout=30s"], 100);
    let time = format!("&time={}", now / 1000);
    let too_many = "query processing would load too many samples into memory in query execution";
    for query in ["m[5m]", "max_over_time(m[5m])[5m:1s]", "m[10m] offset 1s", "rate(m[5m])[5m:1s]"]
    {
        let (status, said) =
            post(&tidemark.server, "/api/v1/query", &format!("query={query}{time}"));
        assert_eq!((status, &said["error"]), (422, &too_many.into()), "{query}");
        assert_eq!(said["errorType"], "execution");
    }
    let (status, said) =
        post(&tidemark.server, "/api/v1/query", &format!("query=sum(m){time}&timeout=0.000001"));
    assert_eq!((status, &said["errorType"]), (503, &"timeout".into()), "{said}");
    let (status, said) = post(&tidemark.server, "/api/v1/query", &format!("query=sum(m){time}"));
    assert_eq!((status, &said["status"]), (200, &"success".into()));
}

#[test]
fn more_queries_than_turns_wait_and_are_answered() {
    let (tidemark, now) = filled(&["--query.max-concurrency=1"], 200);
    let form = format!(
        "query=quantile_over_time(0.5,m[1m])&start={}&end={}&step=5&nocache=1",
        now / 1000 - 200,
        now / 1000
    );
    let statuses: Vec<u16> = thread::scope(|scope| {
        let server = &tidemark.server;
        let ask = || post(server, "/api/v1/query_range", &form).0;
        let asking: Vec<_> = (0..24).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asking| asking.join().expect("an answer")).collect()
    });
    assert_eq!(statuses, [200; 24]);
}

#[test]
fn a_crowd_that_hangs_up_leaves_nothing_behind() {
    let (tidemark, now) = filled(&["--query.max-concurrency=4"], 500);
    let address = tidemark.url().trim_start_matches("http://");
    let heavy = format!(
        "/api/v1/query_range?query=quantile_over_time(0.3,m%5B5m%5D)&start={}&end={}&step=0.1",
        now / 1000 - 300,
        now / 1000
    );
    let crowd: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut client = TcpStream::connect(address).expect("a connection");
            let request = format!("GET {heavy} HTTP/1.1\r\nHost: x\r\n\r\n");
            client.write_all(request.as_bytes()).expect("the request is sent");
            client
        })
        .collect();
    let active = || api(tidemark.url(), "/api/v1/status/active_queries", &[]);
    let count = || active().as_array().map_or(0, Vec::len);
    eventually("some of them run", || (count() > 0).then_some(()));
    drop(crowd);
    eventually("all of them end", || (count() == 0).then_some(()));
    // Those that waited for a turn are gone too: the next one gets it at once.
    assert_eq!(value(tidemark.url(), "vector(7)"), Some(7.0));
    assert!(tidemark.server.usage().rss_peak_bytes < RSS_MAX);
}
