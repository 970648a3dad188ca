//! An application of Node.js with the client library that npm has, `prom-client`: every series has the value that the library says,
//! from its text and from its `OpenMetrics`, whose exemplars are found.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::components::{Component, node};
use crate::harness::{Tidemark, Vector, api, eventually, value, vector};

/// The formats of the application, each at a path of its own.
const FORMATS: [&str; 2] = ["text", "openmetrics"];

fn job(application: &Component, format: &str) -> String {
    let address = application.address();
    format!(
        "- {{job_name: {format}, metrics_path: /{format}, static_configs: [{{targets: ['{address}']}}]}}\n"
    )
}

/// A number as the library has it, which is a text where JSON has no word for it.
fn number(value: &Value) -> f64 {
    let text = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"));
    value.as_f64().unwrap_or_else(|| text(value.as_str().unwrap_or_default()))
}

/// What the library says that its series are.
fn said(application: &Component, format: &str) -> Vector {
    let answer = application.server.client().get(&format!("/{format}/json")).expect("an answer");
    let families: Vec<Value> = serde_json::from_slice(&answer.body).expect("JSON");
    let mut all = Vector::new();
    for family in &families {
        // In OpenMetrics the suffix of a counter belongs to its sample, and JSON does not have it.
        let suffix = if family["name"] == "sold" { "_total" } else { "" };
        let name = format!("{}{suffix}", family["name"].as_str().unwrap_or_default());
        for sample in family["values"].as_array().into_iter().flatten() {
            let metric = sample["metricName"].as_str().unwrap_or(&name).to_owned();
            let mut labels = BTreeMap::from([("__name__".to_owned(), metric)]);
            for (label, value) in sample["labels"].as_object().into_iter().flatten() {
                let bound = ["le", "quantile"].contains(&&**label);
                let text = match value.as_str() {
                    Some(text) => text.to_owned(),
                    None if bound => format!("{:?}", number(value)),
                    None => value.to_string(),
                };
                labels.insert(label.clone(), text);
            }
            all.insert(labels, number(&sample["value"]));
        }
    }
    all
}

/// What Tidemark has of a job, but for what it says itself.
fn stored(tidemark: &Tidemark, job: &str) -> Vector {
    let query = format!("{{job=\"{job}\", __name__!~\"up|scrape_.*\"}}");
    let own = |mut labels: BTreeMap<String, String>| {
        labels.retain(|name, _| !["instance", "job"].contains(&&**name));
        labels
    };
    vector(tidemark.url(), &query).into_iter().map(|(labels, value)| (own(labels), value)).collect()
}

#[test]
fn an_application_with_prom_client_is_scraped() {
    let application = node("prom_client/app.js", "/text");
    let jobs: String = FORMATS.iter().map(|format| job(&application, format)).collect();
    let tidemark = Tidemark::start(&format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{jobs}"
    ));
    for format in FORMATS {
        let up = format!("up{{job=\"{format}\"}} == 1");
        eventually(&up, || value(tidemark.url(), &up));
        let (stored, said) = (stored(&tidemark, format), said(&application, format));
        assert_eq!(said.len(), 16, "{said:?}");
        assert_eq!(stored.keys().collect::<Vec<_>>(), said.keys().collect::<Vec<_>>(), "{format}");
        for (labels, value) in said {
            let same = stored[&labels].to_bits() == value.to_bits();
            assert!(same || (value.is_nan() && stored[&labels].is_nan()), "{format}: {labels:?}");
        }
    }
    exemplars_are_found(&tidemark);
    let metadata = api(tidemark.url(), "/api/v1/metadata", &[]);
    assert_eq!(metadata["sold_total"][0]["help"], "Sold \"things\" \\ all.\nYes.");
    assert_eq!(metadata["answer_seconds"][0]["type"], "histogram");
}

fn exemplars_are_found(tidemark: &Tidemark) {
    let found = |query: &str| {
        let query = [("query", query), ("start", "0"), ("end", "9999999999")];
        let found = api(tidemark.url(), "/api/v1/query_exemplars", &query);
        let mut traces = Vec::new();
        for series in found.as_array().into_iter().flatten() {
            assert_eq!(series["seriesLabels"]["job"], "openmetrics");
            for exemplar in series["exemplars"].as_array().into_iter().flatten() {
                let trace = exemplar["labels"]["trace_id"].as_str().unwrap_or_default();
                traces.push((trace.to_owned(), number(&exemplar["value"])));
            }
        }
        traces.sort_by(|a, b| a.0.cmp(&b.0));
        traces
    };
    assert_eq!(found("sold_total{what=\"book\"}"), [("abc".to_owned(), 3.0)]);
    let buckets = found("answer_seconds_bucket");
    assert_eq!(buckets, [("def".to_owned(), 0.5), ("ghi".to_owned(), 7.0)]);
}
