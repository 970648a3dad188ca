//! A label that explodes: what exists is not touched, the offender is named, and the explorer shows who has how much.
//!
//! `TIDEMARK_EXPLOSION_PER_MINUTE` says how many new values the label has in a minute, `TIDEMARK_EXPLOSION_SECONDS` how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exporter::{Answer, Exporter};
use crate::harness::{Tidemark, api, eventually, try_api, value};

const CONFIG: &str = "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n";

fn job(name: &str, exporter: &Exporter, more: &str) -> String {
    let address = exporter.address();
    format!("- {{job_name: {name}, static_configs: [{{targets: ['{address}']}}]{more}}}\n")
}

/// Series of the calm target, each of which a query must see all the time.
const CALM: usize = 100;

/// What the server may hold at most while a label explodes, well above what it holds at rest.
const RSS_BYTES_MAX: u64 = 900 << 20;

fn asked(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A target with a label that has `values` new values in every scrape, and one that stays as it is; the configuration of both.
fn explosion(values: u64) -> (String, [Exporter; 2]) {
    let scrapes = AtomicU64::new(0);
    let exploding = Exporter::start(move |_| {
        let n = scrapes.fetch_add(1, Ordering::Relaxed);
        let lines = (0..values).map(|i| format!("hits{{session=\"{n}-{i}\"}} 1\n"));
        Answer::Metrics(format!("steady {n}\n{}", lines.collect::<String>()))
    });
    let lines = (0..CALM).map(|i| format!("calm{{i=\"{i}\"}} 1\n"));
    let calm = Exporter::with_text(&lines.collect::<String>());
    let config = format!("{CONFIG}{}{}", job("exploding", &exploding, ""), job("calm", &calm, ""));
    (config, [exploding, calm])
}

#[test]
fn an_exploding_label_touches_nothing_that_exists() {
    let per_scrape = asked("TIDEMARK_EXPLOSION_PER_MINUTE", 6_000) / 120;
    let lasting = Duration::from_secs(asked("TIDEMARK_EXPLOSION_SECONDS", 3));
    let (config, _targets) = explosion(per_scrape);
    let session = format!("label=session:active={}", per_scrape + 10);
    let limits =
        [&*format!("--cardinality.limit={session}"), "--cardinality.limit=job=calm:active=1000"];
    let tidemark = Tidemark::start_with(&config, &limits);
    let url = tidemark.url();
    let status = || api(url, "/api/v1/cardinality/limits", &[])["limits"].clone();
    eventually("values are refused", || {
        status()[0]["refused"].as_u64().filter(|refused| *refused > 2 * per_scrape)
    });
    eventually("the calm target is scraped", || value(url, "calm"));
    let before = value(url, "steady").expect("a series of the exploding target");
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < lasting {
        let asked = Instant::now();
        assert_eq!(value(url, "sum(calm)"), Some(CALM as f64));
        slowest = slowest.max(asked.elapsed());
        assert!(tidemark.server.usage().rss_bytes < RSS_BYTES_MAX);
        std::thread::sleep(Duration::from_millis(50));
    }
    eventually("it keeps flowing", || value(url, "steady").filter(|now| *now > before + 2.0));
    assert_eq!(value(url, r#"up{job="exploding"}"#), Some(1.0));
    let status = status();
    assert_eq!(status[0]["limit"], session);
    assert_eq!(status[1]["refused"], 0);
    assert_eq!(status[0]["offenders"][0]["name"], "metric hits of job exploding");
    let log = tidemark.server.log();
    assert!(
        log.contains("past a cardinality limit") && log.contains("metric hits of job exploding")
    );
    let metrics = tidemark.get("/metrics").text();
    let line = metrics.lines().find(|l| l.contains("cardinality_limit")).expect("a counter");
    assert!(!line.ends_with(" 0"), "{line}");
    let peak_mib = tidemark.server.usage().rss_peak_bytes >> 20;
    println!(
        "{per_scrape} new values a scrape: {} refused, slowest query {slowest:?}, peak {peak_mib} MiB",
        status[0]["refused"]
    );
}

#[test]
fn the_explorer_counts_heads_and_selections() {
    let exporter = Exporter::with_text("a{x=\"1\"} 1\na{x=\"2\"} 1\nb{x=\"1\"} 1\n");
    let tidemark = Tidemark::start(&format!("{CONFIG}{}", job("j", &exporter, "")));
    let url = tidemark.url();
    eventually("scraped", || value(url, "count(a)").filter(|n| *n == 2.0));
    let rows = |path: &str, parameters: &[(&str, &str)]| {
        api(url, &format!("/api/v1/cardinality/{path}"), parameters)["rows"].clone()
    };
    let of = |rows: &Value, name: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
        row.unwrap_or_default()["value"].clone()
    };
    for parameters in [&[][..], &[("match[]", r#"{job="j"}"#)]] {
        assert_eq!(of(&rows("metric_names", parameters), "a"), 2);
        assert_eq!(of(&rows("label_pairs", parameters), "x=1"), 2);
        let mut label = parameters.to_vec();
        label.push(("label_name", "x"));
        assert_eq!(rows("label_values", &label)[0], json!({ "name": "1", "value": 2 }));
    }
    let churn = api(url, "/api/v1/cardinality/churn", &[])["rows"].clone();
    let a = churn.as_array().unwrap().iter().find(|row| row["name"] == "a").cloned().unwrap();
    assert!(a["day"] == 2 && a["lastQueried"].is_string(), "{a}");
    let metrics = rows("metric_names", &[]);
    let queried = |name: &str| {
        let row = metrics.as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
        row.unwrap_or_default()["lastQueried"].is_string()
    };
    assert!(queried("a") && !queried("scrape_series_added"));
    let names = rows("label_names", &[("match[]", "a"), ("limit", "9")]);
    assert_eq!((of(&names, "x"), of(&names, "job")), (json!(2), json!(1)));
    for (path, parameters) in [
        ("label_values", &[][..]),
        ("metric_names", &[("limit", "0")]),
        ("metric_names", &[("match[]", "{")]),
    ] {
        let error = try_api(url, &format!("/api/v1/cardinality/{path}"), parameters).unwrap_err();
        assert!(error.contains("bad_data"), "{error}");
    }
}

#[test]
fn relabelling_is_shown_step_by_step() {
    let exporter = Exporter::with_text("");
    let rules = ", relabel_configs: [{source_labels: [__address__], target_label: host}, {action: drop, source_labels: [host], regex: 'b.*'}]";
    let tidemark = Tidemark::start(&format!("{CONFIG}{}", job("j", &exporter, rules)));
    let steps = |labels: &str| {
        let parameters = [("scrapePool", "j"), ("labels", labels)];
        api(tidemark.url(), "/api/v1/targets/relabel_steps", &parameters)["steps"].clone()
    };
    let kept = steps(r#"{"__address__":"a:1"}"#);
    assert_eq!(kept[1]["output"], json!({ "__address__": "a:1", "host": "a:1" }));
    assert_eq!(kept[1]["keep"], true);
    assert_eq!(kept[0]["rule"]["target_label"], "host");
    let dropped = steps(r#"{"__address__":"b:1"}"#);
    assert_eq!((&dropped[0]["keep"], &dropped[1]["keep"]), (&json!(true), &json!(false)));
    assert_eq!(dropped[1]["output"], json!({}));
    let unknown = [("scrapePool", "k"), ("labels", "{}")];
    let error = try_api(tidemark.url(), "/api/v1/targets/relabel_steps", &unknown).unwrap_err();
    assert!(error.contains("not found"), "{error}");
}
