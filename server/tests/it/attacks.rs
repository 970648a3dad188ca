//! Targets that attack whoever scrapes them, many at once: memory stays bounded, each failure is in its own `lastError`, and the
//! targets beside them are scraped as ever. `TIDEMARK_ATTACKERS` says how many there are of each kind.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::exporter::{Answer, Exporter};
use crate::harness::{Tidemark, api, eventually, value};

const CONFIG: &str = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n";

/// What the server may hold at most, well above what it holds at rest.
const RSS_BYTES_MAX: u64 = 700 << 20;

fn attackers() -> usize {
    let asked = std::env::var("TIDEMARK_ATTACKERS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(40)
}

/// A job of `count` targets behind one address.
fn job(name: &str, address: &str, count: usize, more: &str) -> String {
    let groups = (0..count).map(|n| {
        format!("{{targets: ['{address}'], labels: {{__metrics_path__: '/{n}', instance: '{n}'}}}}")
    });
    let groups: Vec<_> = groups.collect();
    format!("- {{job_name: {name}{more}, static_configs: [{}]}}\n", groups.join(", "))
}

/// Takes connections and says nothing, ever.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().flatten().collect();
        drop(held);
    });
    address
}

/// Sends lines for as long as they are taken.
fn endless() -> Exporter {
    let lines: Arc<[u8]> = "endless 1\n".repeat(10_000).into_bytes().into();
    Exporter::start(move |_| {
        let lines = Arc::clone(&lines);
        Answer::Stream(Box::new(move |stream| {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
            if stream.write_all(head).is_ok() {
                while stream.write_all(&lines).is_ok() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }))
    })
}

fn gzipped(text: &[u8], kept: impl Fn(usize) -> usize) -> Exporter {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("to memory");
    let mut body = encoder.finish().expect("to memory");
    body.truncate(kept(body.len()));
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    Exporter::start(move |_| Answer::Raw(answer.clone()))
}

#[test]
fn crowds_of_attackers_hurt_nobody_beside_them() {
    let count = attackers();
    let good = Exporter::with_text("good 1\n");
    let bomb = gzipped(&vec![b'\n'; 64 << 20], |whole| whole);
    let half = gzipped("half 1\n".repeat(10_000).as_bytes(), |whole| whole / 2);
    let line = Exporter::start(|_| Answer::Metrics("x".repeat(2 << 20)));
    let endless = endless();
    let limited = ", body_size_limit: 1MB";
    let config = [
        CONFIG.to_owned(),
        job("good", good.address(), 3, ""),
        job("silent", &silent(), 5 * count, ""),
        // Each holds a thread of this test.
        job("endless", endless.address(), count.min(200), limited),
        job("bomb", bomb.address(), count, limited),
        job("half", half.address(), count, ""),
        job("line", line.address(), count.min(200), ""),
    ];
    let tidemark = Tidemark::start(&config.concat());
    let late = "deadline exceeded";
    // On a busy machine any of them may be late.
    for (job, words) in [
        ("silent", [late, late]),
        ("endless", ["body size limit exceeded", late]),
        ("bomb", ["body size limit exceeded", late]),
        ("half", ["cannot decompress", late]),
        ("line", ["line 1", late]),
    ] {
        let down = format!("count(up{{job=\"{job}\"}} == 0)");
        let wanted = if job == "silent" { 5 * count } else { 1 };
        eventually(&down, || value(tidemark.url(), &down).filter(|n| *n >= wanted as f64));
        let error = eventually(job, || {
            let error = tidemark.target(job)["lastError"].as_str().unwrap_or_default().to_owned();
            (!error.is_empty()).then_some(error)
        });
        let says_so = words.iter().any(|word| error.contains(word));
        assert!(says_so && error.len() < 1_000, "{job}: {error}");
    }
    eventually("good ones go on", || {
        (value(tidemark.url(), "min(count_over_time(good[1h]))")? >= 5.0).then_some(())
    });
    assert_eq!(value(tidemark.url(), r#"min(min_over_time(up{job="good"}[1h]))"#), Some(1.0));
    let ours = value(tidemark.url(), r#"count({__name__=~"endless|half|x+"})"#);
    assert_eq!(ours, None, "nothing of a failed scrape is stored");
    let usage = tidemark.server.usage();
    assert!(usage.rss_peak_bytes < RSS_BYTES_MAX, "{} bytes", usage.rss_peak_bytes);
}

#[test]
fn odd_samples_are_left_out_alone() {
    let next_year = SystemTime::now() + Duration::from_hours(24 * 365);
    let next_year =
        next_year.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let odd = Exporter::with_text(&format!(
        "# TYPE twice counter\ntwice 1\ntwice 2\nfuture 1 {next_year}\n\
         # TYPE torn histogram\ntorn_bucket{{le=\"oops\"}} 1\ntorn_count NaN\n# TYPE summed summary\nsummed{{quantile=\"no\"}} 1\nfine 1\n"
    ));
    let wrong = Exporter::with_text("# TYPE a nonsense\na 1\n");
    let config =
        [CONFIG.to_owned(), job("odd", odd.address(), 1, ""), job("wrong", wrong.address(), 1, "")];
    let tidemark = Tidemark::start(&config.concat());
    eventually("what is fine", || value(tidemark.url(), "fine"));
    assert_eq!(value(tidemark.url(), "up{job=\"odd\"}"), Some(1.0));
    assert_eq!(value(tidemark.url(), "twice"), Some(1.0), "the first counts");
    assert_eq!(value(tidemark.url(), "future"), None);
    let ahead = [("match[]", "future"), ("start", "0"), ("end", "99999999999")];
    assert_eq!(api(tidemark.url(), "/api/v1/series", &ahead).as_array().map(Vec::len), Some(0));
    let metrics = tidemark.get("/metrics").text();
    let refused =
        metrics.lines().find(|l| l.contains("reason=\"too_far_in_future\"")).expect("a counter");
    assert!(!refused.ends_with(" 0"), "{refused}");
    eventually("the wrong type", || {
        let error = tidemark.target("wrong")["lastError"].as_str().unwrap_or_default().to_owned();
        (error.contains("nonsense") || error.contains("type")).then_some(())
    });
}
