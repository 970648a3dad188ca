//! Discovery beside a real Prometheus: the same configuration in both gives the same targets with the same labels.
//!
//! What they discover from is real where it can be (files), and else a small server with recorded answers.

mod clouds;
mod dns;
mod kubernetes;
mod recorded;
mod refreshed;
mod services;
mod zookeeper;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::components::{Component, prometheus};
use crate::exporter::{Answer, Exporter};
use crate::harness::{SOON, Tidemark, api, eventually, value, within};

/// Labels that Prometheus has since a version that Debian does not have yet.
const NEWER: [&str; 4] = [
    "__meta_docker_container_image",
    "__meta_docker_container_image_id",
    "__meta_ec2_default_ipv6_address",
    "__meta_ec2_primary_ipv6_addresses",
];

/// What each active target of a server was made of and has become, as text.
fn targets(url: &str) -> BTreeSet<String> {
    let all = api(url, "/api/v1/targets", &[("state", "active")]);
    all["activeTargets"].as_array().expect("a list").iter().map(shown).collect()
}

fn shown(target: &Value) -> String {
    let mut target = target.clone();
    let discovered = target["discoveredLabels"].as_object_mut().expect("labels");
    discovered.retain(|name, _| !NEWER.contains(&name.as_str()));
    let text =
        format!("{} {} {}", target["scrapeUrl"], target["discoveredLabels"], target["labels"]);
    // Prometheus 2 adds the port of the scheme where the address has none, Prometheus 3 leaves it as it is.
    match target["discoveredLabels"]["__address__"].as_str() {
        Some(address) if !address.contains(':') => text.replace(&format!("{address}:80"), address),
        _ => text,
    }
}

/// Tidemark and Prometheus with one configuration.
pub(crate) struct Pair {
    pub(crate) tidemark: Tidemark,
    pub(crate) prometheus: Component,
}

impl Pair {
    pub(crate) fn start(config: &str) -> Self {
        Pair { tidemark: Tidemark::start(config), prometheus: prometheus(config) }
    }

    /// Waits until both have so many targets, and these are the same; gives them.
    #[track_caller]
    pub(crate) fn agree(&self, what: &str, number: usize) -> BTreeSet<String> {
        let mut last = [BTreeSet::new(), BTreeSet::new()];
        let look = || {
            last = [targets(self.tidemark.url()), targets(self.prometheus.url())];
            (last[0] == last[1] && last[0].len() == number).then(|| last[0].clone())
        };
        let found = catch_unwind(AssertUnwindSafe(|| within(SOON, what, look)));
        found.unwrap_or_else(|_| {
            let [ours, theirs] = &last;
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                a.difference(b).cloned().collect::<Vec<_>>().join("\n  ")
            };
            panic!(
                "{what}: {number} targets wanted, {} and {} found\nours alone:\n  {}\ntheirs alone:\n  {}",
                ours.len(),
                theirs.len(),
                only(ours, theirs),
                only(theirs, ours)
            )
        })
    }
}

/// Waits until Tidemark has so many targets; gives them. For what Debian's Prometheus was built without.
pub(crate) fn found(tidemark: &Tidemark, number: usize) -> BTreeSet<String> {
    eventually("its targets", || {
        let found = targets(tidemark.url());
        (found.len() == number).then_some(found)
    })
}

/// A job whose targets come from `discovery`, written as flow YAML. The targets need not answer.
pub(crate) fn job(discovery: &str) -> String {
    format!("scrape_configs:\n- job_name: found\n  scrape_interval: 1m\n  {discovery}\n")
}

/// Replaces a file as a careful writer does.
fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text).expect("it is written");
    std::fs::rename(&temporary, path).expect("it is renamed");
}

#[test]
fn files_of_targets_are_watched() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| directory.path().join(name);
    replace(&at("a.json"), r#"[{"targets": ["127.0.0.1:1", "[::1]:2"], "labels": {"x": "1"}}]"#);
    replace(
        &at("b.yml"),
        "- targets: ['127.0.0.1:3']\n  labels: {instance: own, __metrics_path__: /m}\n",
    );
    let pattern = format!("'{}', '{}'", at("*.json").display(), at("b.yml").display());
    let both = Pair::start(&job(&format!(
        "file_sd_configs: [{{files: [{pattern}], refresh_interval: 1h}}]"
    )));
    let first = both.agree("the files at the start", 3);
    assert!(first.iter().any(|target| target.contains("__meta_filepath")), "{first:?}");

    replace(&at("a.json"), r#"[{"targets": ["127.0.0.1:1"]}, {"targets": ["127.0.0.1:5"]}]"#);
    replace(&at("c.json"), r#"[{"targets": ["127.0.0.1:6"]}]"#);
    both.agree("a replaced file and a new one", 4);

    std::fs::write(at("c.json"), "[{").expect("it is written");
    std::fs::remove_file(at("b.yml")).expect("it is removed");
    let kept = both.agree("a broken file keeps its targets, a removed one does not", 3);
    assert!(kept.iter().any(|target| target.contains("127.0.0.1:6")), "{kept:?}");
    let metric = |name: &str| {
        let text = both.tidemark.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert!(metric("prometheus_sd_file_read_errors_total").is_some_and(|errors| errors >= 1.0));
    assert_eq!(metric("prometheus_sd_discovered_targets"), Some(3.0));
}

#[test]
fn target_groups_over_http() {
    let phase = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&phase);
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let server = Exporter::start(move |_| {
        *count.lock().expect("no panic") += 1;
        let json = |text: &str| Answer::Body("application/json; charset=utf-8".into(), text.into());
        match now.load(Ordering::Relaxed) {
            0 => json(
                r#"[{"targets": ["127.0.0.1:1", "127.0.0.1:2"], "labels": {"a": "b"}}, {"targets": ["127.0.0.1:3"]}]"#,
            ),
            1 => Answer::Raw(
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec(),
            ),
            2 => json("[{]"),
            3 => Answer::Raw(b"garbage\r\n\r\n".to_vec()),
            _ => json(r#"[{"targets": ["127.0.0.1:1"]}]"#),
        }
    });
    let both = Pair::start(&job(&format!(
        "http_sd_configs: [{{url: 'http://{}/targets', refresh_interval: 500ms}}]",
        server.address()
    )));
    let first = both.agree("what the URL gives", 3);
    for bad in 1..=3 {
        phase.store(bad, Ordering::Relaxed);
        let before = *asked.lock().expect("no panic");
        eventually("both ask again, twice", || {
            (*asked.lock().expect("no panic") > before + 4).then_some(())
        });
        assert_eq!(targets(both.tidemark.url()), first, "bad answer {bad} changes nothing");
    }
    phase.store(4, Ordering::Relaxed);
    both.agree("another answer", 1);
    let metrics = both.tidemark.get("/metrics").text();
    let failures =
        metrics.lines().find_map(|line| line.strip_prefix("prometheus_sd_http_failures_total "));
    assert!(failures.and_then(|n| n.parse::<u64>().ok()) >= Some(3), "{failures:?}");
}

#[test]
fn a_reload_restarts_only_what_changed() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let server = Exporter::start(move |path| {
        log.lock().expect("no panic").push(path.to_owned());
        let text = format!(r#"[{{"targets": ["127.0.0.1:1"], "labels": {{"path": "{path}"}}}}]"#);
        Answer::Body("application/json".into(), text.into_bytes())
    });
    let config = |paths: &[&str]| {
        let url = |path: &&str| {
            format!("{{url: 'http://{}/{path}', refresh_interval: 1h}}", server.address())
        };
        let urls: Vec<_> = paths.iter().map(url).collect();
        job(&format!("http_sd_configs: [{}]", urls.join(", ")))
    };
    let tidemark = Tidemark::start(&config(&["a", "b"]));
    found(&tidemark, 2);
    std::fs::write(tidemark.config(), config(&["b", "c"])).expect("it is written");
    tidemark.server.client().request("POST", "/-/reload", &[], &[]).expect("it reloads");
    eventually("a is gone, c is there", || {
        let found = targets(tidemark.url());
        let has = |path: &str| found.iter().any(|target| target.contains(path));
        (!has("\"/a\"") && has("\"/b\"") && has("\"/c\"")).then_some(())
    });
    std::fs::write(tidemark.config(), "scrape_configs: [{job_name: found}]")
        .expect("it is written");
    tidemark.server.client().request("POST", "/-/reload", &[], &[]).expect("it reloads");
    found(&tidemark, 0);
    let mut all = asked.lock().expect("no panic").clone();
    all.sort();
    assert_eq!(all, ["/a", "/b", "/c"], "each was asked once");
    assert_eq!(value(tidemark.url(), "vector(1)"), Some(1.0), "and it answers");
}
