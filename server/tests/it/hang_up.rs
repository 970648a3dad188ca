//! A client that hangs up ends its query: nobody works for someone who is gone.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tidemark_bench::http::path;

use crate::harness::{Tidemark, api, eventually, now_ms};
use crate::remote_write::{series, write};

/// Cores that a server without work may use meanwhile, with room for a busy machine's accounting.
const IDLE_CPU_S: f64 = 0.3;

#[test]
fn a_query_ends_when_its_client_hangs_up() {
    let log = tempfile::NamedTempFile::new().expect("a scratch file");
    let config = format!("global: {{query_log_file: '{}'}}", log.path().display());
    let tidemark = Tidemark::start(&config);
    let now = now_ms();
    let one = |number: i64| {
        let samples: Vec<_> =
            (0..600).map(|i| (now - (600 - i) * 1_000, (i * number) as f64)).collect();
        series(&[("__name__", "m"), ("number", &number.to_string())], &samples)
    };
    write(&mut tidemark.server.client(), (0..2_000).map(one).collect());

    // Minutes of work: two thousand series, hundreds of windows each, sorted anew for every one.
    let query = "quantile_over_time(0.3, m[5m])";
    let (start, end) = (((now - 300_000) / 1000).to_string(), (now / 1000).to_string());
    let mut parameters =
        vec![("query", query), ("start", &*start), ("end", &*end), ("step", "0.1")];
    parameters.push(("timeout", "1h"));
    let mut client =
        TcpStream::connect(tidemark.url().trim_start_matches("http://")).expect("a connection");
    let request =
        format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path("/api/v1/query_range", &parameters));
    client.write_all(request.as_bytes()).expect("the request is sent");
    let active = || -> Vec<Value> {
        let list = api(tidemark.url(), "/api/v1/status/active_queries", &[]);
        list.as_array().cloned().unwrap_or_default()
    };
    let listed = eventually("the query is under way", || active().into_iter().next());
    assert_eq!((&listed["query"], &listed["step"]), (&query.into(), &100.into()));
    drop(client);
    eventually("the query ends", || active().is_empty().then_some(()));

    let before = tidemark.server.usage().cpu_s;
    std::thread::sleep(Duration::from_secs(1));
    let used = tidemark.server.usage().cpu_s - before;
    assert!(used < IDLE_CPU_S, "somebody still works: {used} s of CPU in a second");

    let top = api(tidemark.url(), "/api/v1/status/top_queries", &[("topN", "1")]);
    assert_eq!(top["topBySumDuration"][0]["query"], query);
    let line = eventually("the query is logged", || {
        let text = fs::read_to_string(log.path()).ok()?;
        text.lines().find(|line| line.contains("quantile_over_time")).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(line["error"], "the client went away");
    assert_eq!(line["httpRequest"]["path"], "/api/v1/query_range");
}
