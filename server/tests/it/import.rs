//! `tidemark import`: the past of a real Prometheus, and the file that it was made of, answer as Prometheus does.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::components::{program, prometheus_at};
use crate::harness::{Tidemark, assert_same, binary, now_ms, vector_at};
use crate::remote_write::{Label, compress, post};

/// Time between two samples.
const STEP_MS: i64 = 30_000;

/// Samples of each series: five hours, so that there are blocks of several windows.
const STEPS: i64 = 600;

/// What is asked of both.
const QUERIES: &[&str] = &[
    "past_requests_total",
    "sum by (code) (rate(past_requests_total[10m]))",
    "count_over_time(past_level[1h])",
    "max_over_time(past_level[20m]) - min_over_time(past_level[20m])",
    "sum(past_level)",
];

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs it, fails unless it succeeds, and gives what it printed.
fn printed(command: &mut Command) -> String {
    let output = run(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn import(kind: &str, source: &Path, data: &Path) -> String {
    let storage = format!("--storage.path={}", data.display());
    printed(Command::new(binary()).args(["import", kind]).arg(source).arg(storage))
}

/// Some series with samples up to `end_ms`.
fn exposition(end_ms: i64) -> String {
    let mut text = "# TYPE past_requests counter\n".to_owned();
    let time = |step: i64| (end_ms - (STEPS - step) * STEP_MS) as f64 / 1_000.0;
    for code in ["200", "404", "500"] {
        for step in 0..STEPS {
            let value = step * 7 % 400 + code.len() as i64;
            let labels = format!("{{code=\"{code}\"}}");
            writeln!(text, "past_requests_total{labels} {value} {}", time(step)).expect("a string");
        }
    }
    text.push_str("# TYPE past_level gauge\n");
    for room in 0..20 {
        for step in (0..STEPS).step_by(1 + room as usize % 3) {
            let value = ((step * 7_919 + room) % 1_000) as f64 / 10.0;
            writeln!(text, "past_level{{room=\"{room}\"}} {value} {}", time(step))
                .expect("a string");
        }
    }
    text.push_str("# EOF\n");
    text
}

#[test]
fn the_past_of_a_prometheus_answers_as_it_did_there() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let (file, blocks) = (directory.path().join("past.txt"), directory.path().join("blocks"));
    let end_ms = now_ms() / STEP_MS * STEP_MS - 6 * 3_600_000;
    std::fs::write(&file, exposition(end_ms)).expect("the file is written");
    let mut promtool = Command::new(program("promtool"));
    printed(promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(&blocks));

    let samples = 3 * STEPS + 7 * (STEPS + STEPS / 2) + 6 * (STEPS / 3);
    // It may compact what it serves: it gets a copy.
    let served = directory.path().join("served");
    printed(Command::new("cp").arg("-r").arg(&blocks).arg(&served));
    let theirs = prometheus_at(&served, &[]);
    for (kind, source) in [("prometheus", &blocks), ("openmetrics", &file)] {
        let mut tidemark = Tidemark::start("");
        assert!(tidemark.server.stop().expect("it ends").success());
        let data = tidemark.config().with_file_name("data");
        let said = import(kind, source, &data);
        assert!(said.contains(&format!("{samples} samples imported")), "{kind}: {said}");
        let again = import(kind, source, &data);
        assert!(again.contains(", 0 samples imported"), "{kind}: {again}");
        tidemark.start_again();
        for query in QUERIES {
            for back in [0, 1, 77, STEPS / 2, STEPS - 3] {
                // Between two samples: whether the first millisecond of a range belongs to it depends on the version.
                let time_ms = end_ms - back * STEP_MS - STEP_MS / 3;
                let title = format!("{kind}: {query} at {time_ms}");
                let ours = vector_at(tidemark.url(), query, time_ms);
                assert_same(&title, &ours, &vector_at(theirs.url(), query, time_ms));
            }
        }
    }
}

/// A native histogram and its series, as remote write has them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, tag = "6")]
    zero_count: u64,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Histograms that grow, and begin anew half way.
pub(crate) fn histograms(end_ms: i64) -> WriteRequest {
    let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
    let histogram = |step: i64| {
        let n = step % (STEPS / 20) + 1;
        let counts = [3 * n, n, n * n, 2 * n];
        let before = |i: usize| i.checked_sub(1).map_or(0, |i| counts[i]);
        Histogram {
            count: (n + counts.iter().sum::<i64>()) as u64,
            sum: n as f64 * 1.7,
            zero_threshold: 0.001,
            zero_count: n as u64,
            positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 3, length: 2 }],
            positive_deltas: counts.iter().enumerate().map(|(i, c)| c - before(i)).collect(),
            timestamp: end_ms - (STEPS / 10 - step) * STEP_MS,
        }
    };
    let labels = vec![label("__name__", "past_latency"), label("job", "made")];
    let histograms = (0..STEPS / 10).map(histogram).collect();
    WriteRequest { timeseries: vec![TimeSeries { labels, histograms }] }
}

#[test]
fn native_histograms_come_too() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let data = directory.path().join("data");
    let theirs = prometheus_at(
        &data,
        &[
            "--enable-feature=native-histograms",
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
        ],
    );
    let end_ms = now_ms() / STEP_MS * STEP_MS;
    let body = compress(&prost::Message::encode_to_vec(&histograms(end_ms)));
    let mut client = theirs.server.client();
    let response = post(&mut client, &body).expect("an answer");
    assert!(response.is_success(), "{}: {}", response.status, response.text());
    let response = client.request("POST", "/api/v1/admin/tsdb/snapshot", &[], &[]);
    let snapshot: serde_json::Value =
        serde_json::from_slice(&response.expect("an answer").body).expect("JSON");
    let name = snapshot["data"]["name"].as_str().expect("a snapshot").to_owned();

    let mut tidemark = Tidemark::start("");
    assert!(tidemark.server.stop().expect("it ends").success());
    let source = data.join("snapshots").join(name);
    import("prometheus", &source, &tidemark.config().with_file_name("data"));
    tidemark.start_again();
    // Versions interpolate within a bucket and extrapolate rates differently: what is stored is asked for, at bounds of buckets.
    for query in [
        "histogram_count(past_latency)",
        "histogram_sum(past_latency)",
        "histogram_fraction(0.5, 1, past_latency)",
        "histogram_fraction(1, 16, past_latency)",
    ] {
        for back in [0, 3, STEPS / 20, STEPS / 15] {
            let time_ms = end_ms - back * STEP_MS - STEP_MS / 3;
            let ours = vector_at(tidemark.url(), query, time_ms);
            let theirs = vector_at(theirs.url(), query, time_ms);
            assert!(!theirs.is_empty(), "{query}");
            assert_same(&format!("{query} at {time_ms}"), &ours, &theirs);
        }
    }
}

#[test]
fn what_cannot_be_imported_is_named_with_its_place() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("bad.txt");
    for (text, expected) in [
        ("a 1 5\na 2\n# EOF\n", "bad.txt: line 2: a sample without a timestamp"),
        ("a 1 5\n{\n# EOF\n", "bad.txt: line 2:"),
        ("a 1 5\n", "it does not end with # EOF"),
    ] {
        std::fs::write(&file, text).expect("the file is written");
        let storage = format!("--storage.path={}", directory.path().join("data").display());
        let mut command = Command::new(binary());
        let output = run(command.args(["import", "openmetrics"]).arg(&file).arg(&storage));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
        let output =
            run(Command::new(binary()).args(["import", "prometheus"]).arg(&file).arg(storage));
        assert!(!output.status.success());
    }
}
