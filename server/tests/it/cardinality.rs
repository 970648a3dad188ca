//! A label that explodes: what exists is not touched, the offender is named, and the explorer shows who has how much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::exporter::{Answer, Exporter};
use crate::harness::{Tidemark, api, eventually, try_api, value};

const CONFIG: &str = "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n";

fn job(name: &str, exporter: &Exporter, more: &str) -> String {
    let address = exporter.address();
    format!("- {{job_name: {name}, static_configs: [{{targets: ['{address}']}}]{more}}}\n")
}

#[test]
fn an_exploding_label_touches_nothing_that_exists() {
    let scrapes = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&scrapes);
    let exploding = Exporter::start(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let lines = (0..50).map(|i| format!("hits{{session=\"{n}-{i}\"}} 1\n"));
        Answer::Metrics(format!("steady {n}\n{}", lines.collect::<String>()))
    });
    let calm = Exporter::with_text("calm 1\n");
    let config = format!("{CONFIG}{}{}", job("exploding", &exploding, ""), job("calm", &calm, ""));
    let limits =
        ["--cardinality.limit=label=session:active=60", "--cardinality.limit=job=calm:active=1000"];
    let tidemark = Tidemark::start_with(&config, &limits);
    let url = tidemark.url();
    let refused = eventually("something is refused", || {
        let status = api(url, "/api/v1/cardinality/limits", &[]);
        status["limits"][0]["refused"].as_u64().filter(|refused| *refused > 100)
    });
    assert!(refused > 0);
    let before = value(url, "steady").expect("a series of the exploding target");
    eventually("it keeps flowing", || value(url, "steady").filter(|now| *now > before + 2.0));
    assert_eq!(value(url, r#"up{job="exploding"}"#), Some(1.0));
    assert_eq!(value(url, "calm"), Some(1.0));
    let status = api(url, "/api/v1/cardinality/limits", &[]);
    assert_eq!(status["limits"][0]["limit"], "label=session:active=60");
    assert_eq!(status["limits"][1]["refused"], 0);
    assert_eq!(status["limits"][0]["offenders"][0]["name"], "metric hits of job exploding");
    let refused = tidemark.get("/metrics").text();
    let line = refused.lines().find(|l| l.contains("cardinality_limit")).expect("a counter");
    assert!(!line.ends_with(" 0"), "{line}");
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
