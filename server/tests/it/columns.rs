//! Answers in columns, read by `pyarrow`: the same series, times and values as in JSON.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use tidemark_bench::http::path;

use crate::components::{interpreter, repository};
use crate::harness::{Tidemark, now_ms};
use crate::remote_write::{self, series};

const STEP_MS: i64 = 15_000;
const SAMPLES: i64 = 120;
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Series by labels: times in ms, and the bits of the values. One NaN is as good as another.
type Matrix = BTreeMap<BTreeMap<String, String>, Vec<(i64, u64)>>;

fn same_nan(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

/// Numbers of every kind, a series that ends and begins again, labels with everything in them.
fn write(tidemark: &Tidemark, first_ms: i64) {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 0.1, 1e21];
    let one = |number: i64, host: &str| {
        let sample = |i: i64| {
            let value = match number {
                0 => special[i as usize % special.len()],
                1 if i % 40 == 20 => STALE,
                _ => (i * number) as f64 / 7.0,
            };
            (first_ms + i * STEP_MS, value)
        };
        // The second is silent for longer than the lookback.
        let samples = (0..SAMPLES).filter(|i| number != 1 || !(50..80).contains(i)).map(sample);
        series(&[("__name__", "m"), ("host", host)], &samples.collect::<Vec<_>>())
    };
    let hosts = ["plain", "é\"\\\n{}", "日本", "d"];
    let all = (0..).zip(hosts).map(|(number, host)| one(number, host)).collect();
    remote_write::write(&mut tidemark.server.client(), all);
}

/// What JSON says.
fn matrix(body: &Value) -> Matrix {
    let mut out = Matrix::new();
    let value = |pair: &Value| {
        let text = pair[1].as_str().expect("a value");
        let ms = (pair[0].as_f64().expect("a time") * 1_000.0).round() as i64;
        let number = text.replace("Inf", "inf").parse::<f64>().expect("a number");
        (ms, same_nan(number))
    };
    let data = &body["data"];
    if data["resultType"] == "scalar" {
        return Matrix::from([(BTreeMap::new(), vec![value(&data["result"])])]);
    }
    for one in data["result"].as_array().expect("a list") {
        let labels = one["metric"].as_object().expect("labels");
        let label = |(n, v): (&String, &Value)| (n.clone(), v.as_str().expect("text").to_owned());
        let samples = match one["values"].as_array() {
            Some(values) => values.iter().map(value).collect(),
            None => vec![value(&one["value"])],
        };
        out.insert(labels.iter().map(label).collect(), samples);
    }
    out
}

/// What pyarrow found, of one line of its script.
fn columns(line: &Value) -> Matrix {
    let rows = line["rows"].as_array().expect("rows");
    let row = |row: &Value| {
        let labels = serde_json::from_value(row[0].clone()).expect("labels");
        let samples: Vec<(i64, u64)> = serde_json::from_value(row[1].clone()).expect("samples");
        (labels, samples.into_iter().map(|(t, v)| (t, same_nan(f64::from_bits(v)))).collect())
    };
    rows.iter().map(row).collect()
}

#[test]
fn pyarrow_reads_what_json_says() {
    let tidemark = Tidemark::start("");
    let first_ms = now_ms() / STEP_MS * STEP_MS - SAMPLES * STEP_MS;
    write(&tidemark, first_ms);
    let seconds = |i: i64| format!("{:.3}", (first_ms + i * STEP_MS) as f64 / 1_000.0);
    let (start, end) = (seconds(0), seconds(SAMPLES));
    let range = |query| {
        let parameters = [("query", query), ("start", &*start), ("end", &*end), ("step", "5")];
        path("/api/v1/query_range", &parameters)
    };
    let instant = |query, i| path("/api/v1/query", &[("query", query), ("time", &*seconds(i))]);
    let calls = [
        (range("m"), "matrix", 4),
        (range("sum by (host) (rate(m[1m]))"), "matrix", 4),
        (range("m * NaN"), "matrix", 4),
        (range("none"), "matrix", 0),
        (range("1 / 0"), "matrix", 1),
        (instant("m", 30), "vector", 4),
        // In the gap of one of them.
        (instant("m", 75), "vector", 3),
        (instant("m[10m]", 30), "matrix", 4),
        (instant("rate(nowhere[5m])", 30), "vector", 0),
        (instant("-1 / 0", 30), "scalar", 1),
    ];
    let urls = calls.iter().map(|(call, ..)| format!("{}{call}", tidemark.url()));
    let script = repository().join("server/tests/it/columns/read.py");
    let output = Command::new(interpreter()).arg(script).args(urls).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    assert_eq!(lines.lines().count(), calls.len());
    for ((call, kind, found), line) in calls.iter().zip(lines.lines()) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["type"], "application/vnd.apache.arrow.stream", "{call}");
        assert_eq!(line["metadata"]["resultType"], *kind, "{call}");
        let answer = tidemark.get(call);
        let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let (ours, theirs) = (matrix(&said), columns(&line));
        assert_eq!(ours.len(), *found, "{call}");
        assert_eq!(ours, theirs, "{call}");
        let notes = |name: &str| said.get(name).map_or("[]".to_owned(), Value::to_string);
        assert_eq!(line["metadata"]["infos"], notes("infos"), "{call}");
        assert_eq!(line["metadata"]["warnings"], notes("warnings"), "{call}");
    }
}
