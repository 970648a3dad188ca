//! OpenMetrics: every kind of entry, the place that an error names, and text that is nearly right.

use std::fmt::Write as _;

use super::*;
use proptest::prelude::*;
use tidemark_core::model::labels::Labels;

/// Every entry in words, or the error.
fn read(body: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(body.as_bytes());
    let mut entries = Vec::new();
    let mut labels = LabelSet::new();
    while let Some(entry) = parser.next_entry().map_err(|e| e.to_string())? {
        entries.push(match entry {
            Entry::Type(name, kind) => format!("type {name} {}", kind.as_str()),
            Entry::Help(name, text) => format!("help {name} {}", text.unescaped()),
            Entry::Unit(name, unit) => format!("unit {name} {unit}"),
            Entry::Sample(line) => {
                labels.clear();
                line.labels(body.as_bytes(), &mut labels).map_err(|e| e.to_string())?;
                let mut text = format!("{} {}", Labels::from_pairs(labels.iter()), line.value);
                if let Some(t) = line.timestamp_ms {
                    let _ = write!(text, " @{t}");
                }
                if let Some(e) = line.exemplar {
                    let labels = String::from_utf8_lossy(e.labels);
                    let _ = write!(text, " # {labels} {} {:?}", e.value, e.timestamp_ms);
                }
                text
            }
        });
    }
    Ok(entries)
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(read(&format!("{body}\n# EOF\n")).unwrap(), expected);
}

#[track_caller]
fn refuse(body: &str, expected: &str) {
    assert_eq!(read(body).unwrap_err(), expected, "{body}");
}

#[test]
fn entries_of_every_kind() {
    check(
        "# HELP lat_seconds Say \\\"hi\\\" \\\\ to\\nall.\n# TYPE lat_seconds histogram\n# UNIT lat_seconds seconds",
        &[
            "help lat_seconds Say \"hi\" \\ to\nall.",
            "type lat_seconds histogram",
            "unit lat_seconds seconds",
        ],
    );
    check("# TYPE \"a.b\" gauge\n{\"a.b\",c=\"d\"} 1", &["type a.b gauge", r#"{"a.b", c="d"} 1"#]);
    check(
        "m 1\nm{} 2 3.5\nm{b=\"1\",a=\"}\",} -Inf",
        &["m 1", "m 2 @3500", r#"m{a="}", b="1"} -inf"#],
    );
    check("m 1 -1.5e3", &["m 1 @-1500000"]);
    check(
        "b_bucket{le=\"1.0\"} 8 # {trace_id=\"KOO\"} 0.67\nb_total 1 2 # {a=\"x # y\"} 0.5 1520879607.789",
        &[
            r#"b_bucket{le="1.0"} 8 # {trace_id="KOO"} 0.67 None"#,
            r#"b_total 1 @2000 # {a="x # y"} 0.5 Some(1520879607789)"#,
        ],
    );
    for kind in ["unknown", "gaugehistogram", "stateset", "info"] {
        check(&format!("# TYPE m {kind}"), &[&format!("type m {kind}")]);
    }
    assert_eq!(read("# EOF"), Ok(vec![]));
}

#[test]
fn errors_name_their_place() {
    refuse("m 1\n", "line 2, column 1: data does not end with # EOF");
    refuse("m 1", "line 1, column 4: data does not end with # EOF");
    refuse("", "line 1, column 1: data does not end with # EOF");
    refuse("# EOF\nm 1\n", "line 2, column 1: unexpected data after # EOF");
    refuse("\n# EOF\n", "line 1, column 1: expected metric name, got end of line");
    refuse("# a comment\n# EOF", r#"line 1, column 3: expected HELP, TYPE, UNIT or EOF, got "a""#);
    refuse("#m\n# EOF", r##"line 1, column 1: expected metric name, got "#m""##);
    refuse("# TYPE m untyped\n# EOF", "line 1, column 10: invalid metric type \"untyped\"");
    refuse("# TYPE m\n# EOF", "line 1, column 9: expected a blank and text, got end of line");
    refuse(
        "# UNIT m_s seconds\n# EOF",
        "line 1, column 12: unit \"seconds\" not a suffix of metric \"m_s\"",
    );
    refuse("m  1\n# EOF", "line 1, column 2: expected value after metric, got white space");
    refuse("m\t1\n# EOF", "line 1, column 2: expected value after metric, got white space");
    refuse("m {a=\"1\"} 1\n# EOF", r#"line 1, column 3: expected a number, got "{a=\"1\"}""#);
    refuse(
        "m{a=\"1\"b=\"2\"} 1\n# EOF",
        r#"line 1, column 8: expected comma or closing brace, got "b=\"2\"}""#,
    );
    refuse(
        "m{a=\"1\", b=\"2\"} 1\n# EOF",
        "line 1, column 9: expected label name, got white space",
    );
    refuse("m 1 NaN\n# EOF", "line 1, column 5: timestamp NaN s is not within the years 1 to 9999");
    refuse(
        "m 1 1e300\n# EOF",
        &format!("line 1, column 5: timestamp {} s is not within the years 1 to 9999", 1e300),
    );
    refuse(
        "m 1 2 3\n# EOF",
        "line 1, column 6: expected exemplar or new record after timestamp, got white space",
    );
    refuse(
        "m 1 # {a=\"1\"}\n# EOF",
        "line 1, column 14: expected value of the exemplar, got end of line",
    );
    refuse("m 1 # {a} 1\n# EOF", r#"line 1, column 9: expected equal sign, got "}""#);
    refuse(
        "m 1 # {a=\"1\"} 1 2 3\n# EOF",
        "line 1, column 18: expected new record after exemplar, got white space",
    );
    refuse(
        "m 1 \n# EOF",
        "line 1, column 4: expected timestamp, exemplar or new record, got white space",
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(text in "([a-z#{}\"\\\\ =,0-9\n.]|# TYPE |# UNIT | # \\{|# EOF|[\\PC]){0,60}") {
        let _ = read(&text);
        let _ = read(&format!("{text}\n# EOF\n"));
    }
}
