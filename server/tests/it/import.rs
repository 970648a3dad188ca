//! `tidemark import`: the past of a real Prometheus, and the file that it was made of, answer as Prometheus does.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::components::{program, prometheus_at};
use crate::harness::{Tidemark, assert_same, binary, now_ms, vector_at};

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
    let theirs = prometheus_at(&served);
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
