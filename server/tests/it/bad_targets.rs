//! Targets that fail: each shows in its own `up` and `lastError`, and touches nothing else.

use std::time::Duration;

use crate::exporter::{Answer, Exporter};
use crate::harness::{Tidemark, eventually, value};

/// What a target does, and what its `lastError` must speak of.
fn bad_targets() -> Vec<(&'static str, Exporter, &'static str)> {
    let text = Exporter::with_text;
    let raw = |bytes: &str| {
        let bytes = bytes.as_bytes().to_vec();
        Exporter::start(move |_| Answer::Raw(bytes.clone()))
    };
    let gzip_bomb = Exporter::start(|_| {
        let zeros = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!";
        Answer::Raw(zeros.as_bytes().to_vec())
    });
    let endless = Exporter::start(|_| Answer::Metrics("endless 1\n".repeat(200_000)));
    vec![
        ("no_value", text("fine 1\nbroken{a=\"b\"}\n"), "2"),
        ("no_number", text("fine 1\nbroken twelve\n"), "2"),
        ("no_quote", text("broken{a=\"b} 1\n"), "1"),
        ("nan_time", text("broken 1 NaN\n"), "1"),
        ("label_twice", text("broken{a=\"1\",a=\"2\"} 1\n"), ""),
        ("long_label", text(&format!("broken{{a=\"{}\"}} 1\n", "x".repeat(10 << 20))), ""),
        (
            "not_utf8",
            Exporter::start(|_| {
                Answer::Body("text/plain".to_owned(), b"a{b=\"\xff\"} 1\n".to_vec())
            }),
            "",
        ),
        ("status", raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), "503"),
        ("no_http", raw("hello\r\n\r\n"), ""),
        ("cut_off", raw("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nfine 1\n"), ""),
        ("not_gzip", gzip_bomb, ""),
        ("too_large", endless, "body"),
        ("silent", Exporter::start(|_| Answer::Silence(Duration::from_secs(30))), ""),
    ]
}

#[test]
fn a_failing_target_shows_in_up_and_last_error_and_nowhere_else() {
    let good = Exporter::with_text("# TYPE good counter\ngood{a=\"b\"} 1\n");
    let bad = bad_targets();
    let job = |name: &str, address: &str| {
        format!(
            "- {{job_name: {name}, body_size_limit: 1MB, static_configs: [{{targets: ['{address}']}}]}}\n"
        )
    };
    let mut config =
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
    config += &job("good", good.address());
    config += &job("refused", "127.0.0.1:1");
    config += &job("unresolved", "no-such-host.invalid:80");
    config.extend(bad.iter().map(|(name, exporter, _)| job(name, exporter.address())));
    let tidemark = Tidemark::start(&config);

    let expected: Vec<(&str, &str)> = [("refused", ""), ("unresolved", "")]
        .into_iter()
        .chain(bad.iter().map(|(name, _, word)| (*name, *word)))
        .collect();
    for (name, word) in &expected {
        let up = format!("up{{job=\"{name}\"}}");
        eventually(name, || (value(tidemark.url(), &up)? == 0.0).then_some(()));
        let target = eventually(name, || {
            let target = tidemark.target(name);
            (target["health"] == "down").then_some(target)
        });
        let said = target["lastError"].as_str().unwrap_or_default();
        assert!(said.len() > 3 && said.len() < 2_000 && said.contains(word), "{name}: {said:?}");
        let left =
            value(tidemark.url(), &format!("count({{job=\"{name}\", __name__=~\"fine|broken\"}})"));
        assert_eq!(left, None, "{name}: a failed scrape leaves no samples");
    }
    eventually("the good target was scraped all the time", || {
        (value(tidemark.url(), "count_over_time(good[1h])")? >= 3.0).then_some(())
    });
    assert_eq!(value(tidemark.url(), "min_over_time(up{job=\"good\"}[1h])"), Some(1.0));
    assert_eq!(tidemark.target("good")["lastError"], "");
}

#[test]
fn a_target_that_comes_back_is_up_again_and_its_absence_was_stale() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let broken = Arc::new(AtomicBool::new(false));
    let exporter = Exporter::start({
        let broken = Arc::clone(&broken);
        move |_| {
            let text = if broken.load(Ordering::Relaxed) { "comes{" } else { "comes 1\n" };
            Answer::Metrics(text.to_owned())
        }
    });
    let tidemark = Tidemark::start(&format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: moody, static_configs: [{{targets: ['{}']}}]}}]",
        exporter.address()
    ));
    eventually("it is there", || value(tidemark.url(), "comes"));
    broken.store(true, Ordering::Relaxed);
    eventually("it is stale", || value(tidemark.url(), "comes").is_none().then_some(()));
    assert_eq!(value(tidemark.url(), "up"), Some(0.0));
    broken.store(false, Ordering::Relaxed);
    eventually("it is there again", || value(tidemark.url(), "comes"));
    assert_eq!(value(tidemark.url(), "up"), Some(1.0));
}
