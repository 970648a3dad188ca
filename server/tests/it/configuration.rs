//! A file that uses every field loads as it is, and `/api/v1/status/config` says what a real Prometheus says of it.

use serde_json::Value;

use crate::components::prometheus;
use crate::harness::{Tidemark, api};

const EVERYTHING: &str = include_str!("everything.yml");

/// Where Prometheus 3, which we follow, writes something else than 2.42 does; ends of places.
const OTHERWISE_IN_3: &[&str] = &[
    // Defaults that 2.42 does not have.
    ".scrape_protocols",
    ".metric_name_validation_scheme",
    ".metric_name_escaping_scheme",
    ".always_scrape_classic_histograms",
    ".convert_classic_histograms_to_nhcb",
    ".enable_compression",
    ".runtime",
    ".otlp",
    ".protobuf_message",
    ".chunked_read_limit",
    ".match_first_network",
    // Another default.
    ".remote_write[0].enable_http2",
    // 2.42 leaves a `false` out though the default is `true`.
    ".filter_external_labels",
    // 2.42 writes the default expression, an empty name, a number for a name, and an internal field.
    ".regex",
    ".client_secret_file",
    ".min_version",
    ".outofordertimewindow",
];

fn effective(url: &str) -> (String, Value) {
    let text = api(url, "/api/v1/status/config", &[])["yaml"].as_str().unwrap_or("").to_owned();
    let value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    (text, value)
}

/// Every difference, by its place in the file.
fn differences(place: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                let ours = b.get(key).unwrap_or(&Value::Null);
                differences(&format!("{place}.{key}"), value, ours, found);
            }
            let more = b.keys().filter(|key| !a.contains_key(*key));
            found.extend(more.map(|key| format!("{place}.{key}: only ours, {}", b[key])));
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (theirs, ours)) in a.iter().zip(b).enumerate() {
                differences(&format!("{place}[{i}]"), theirs, ours, found);
            }
        }
        _ if theirs == ours => {}
        _ => found.push(format!("{place}: theirs {theirs}, ours {ours}")),
    }
}

#[test]
fn a_file_with_every_field_reads_as_prometheus_reads_it() {
    let tidemark = Tidemark::start(EVERYTHING);
    let prometheus = prometheus(EVERYTHING);
    let ((text, ours), (_, theirs)) = (effective(tidemark.url()), effective(prometheus.url()));
    for secret in (1..=7).map(|i| format!("secret{i}")).chain(["hunter2".to_owned()]) {
        assert!(!text.contains(&secret), "{secret} is shown");
    }
    let directory = |value: Value, of: &str| {
        // Relative names are joined to where the file lies, which is elsewhere for each.
        serde_json::from_str::<Value>(&value.to_string().replace(of, "/dir")).expect("JSON")
    };
    let ours = directory(ours, &directory_of(&text));
    let theirs_text = theirs.to_string();
    let theirs = directory(theirs.clone(), &directory_of(&theirs_text));
    let mut found = Vec::new();
    differences("", &theirs, &ours, &mut found);
    let otherwise = |line: &String| {
        let place = line.split(": ").next().unwrap_or_default();
        OTHERWISE_IN_3.iter().any(|end| place.ends_with(end))
    };
    found.retain(|line| !otherwise(line));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Where the file was, by one of the names that it was joined to.
fn directory_of(text: &str) -> String {
    let end = text.find("/ca.pem").expect("a relative file name");
    let start = text[..end].rfind([' ', '"']).map_or(0, |i| i + 1);
    text[start..end].to_owned()
}
