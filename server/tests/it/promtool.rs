//! Prometheus' own tool against the server: what it asks, and what it thinks of our metrics.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::components::program;
use crate::exporter::Exporter;
use crate::harness::{Tidemark, eventually, value};

fn promtool(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("promtool reads");
    child.wait_with_output().expect("promtool ends")
}

/// Runs promtool, fails unless it succeeds, and gives what it printed.
fn promtool_output(arguments: &[&str], input: &[u8]) -> String {
    let output = promtool(arguments, input);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {}\n{text}{error}", output.status);
    text
}

#[test]
fn our_metrics_pass_its_check() {
    let tidemark = Tidemark::start("");
    let metrics = tidemark.get("/metrics");
    assert!(metrics.is_success());
    promtool_output(&["check", "metrics"], &metrics.body);
}

#[test]
fn it_queries_us_as_it_queries_prometheus() {
    let exporter = Exporter::with_text("# TYPE answer gauge\nanswer{to=\"everything\"} 42\n");
    let tidemark = Tidemark::start(&format!(
        "scrape_configs: [{{job_name: made, scrape_interval: 1s, scrape_timeout: 1s, \
         static_configs: [{{targets: ['{}']}}]}}]",
        exporter.address()
    ));
    eventually("the sample is there", || value(tidemark.url(), "answer"));
    let url = tidemark.url();
    let instant = promtool_output(&["query", "instant", url, "answer + 1"], &[]);
    assert!(instant.contains("to=\"everything\"") && instant.contains("=> 43 @"), "{instant}");
    let range = promtool_output(&["query", "range", "--step=1s", url, "up"], &[]);
    assert!(range.contains("job=\"made\""), "{range}");
    let series = promtool_output(&["query", "series", "--match=answer", url], &[]);
    assert!(series.contains("__name__=\"answer\""), "{series}");
    let labels = promtool_output(&["query", "labels", url, "job"], &[]);
    assert!(labels.contains("made"), "{labels}");
    let bad = promtool(&["query", "instant", url, "sum(("], &[]);
    assert!(!bad.status.success());
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains("parse error"), "{said}");
}
