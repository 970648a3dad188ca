//! The text format: every shape of sample, the place that an error names, and text that is nearly right.

use super::*;
use proptest::prelude::*;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::NORMAL_NAN_BITS;

const NOW_MS: TimestampMs = 1_700_000_000_000;

/// Every series as `labels value @timestamp`, in order of arrival.
fn decoded(body: &str) -> Result<Vec<String>, String> {
    let mut rows = Rows::new();
    decode(body.as_bytes(), NOW_MS, &mut rows).map_err(|e| e.to_string())?;
    let line = |row: crate::rows::SeriesRow<'_>| {
        let labels = Labels::from_encoded(row.labels).unwrap();
        format!("{labels} {} @{}", row.samples[0].value, row.samples[0].timestamp_ms - NOW_MS)
    };
    Ok(rows.iter().map(line).collect())
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(decoded(body).unwrap(), expected, "{body}");
}

#[track_caller]
fn refuse(body: &str, expected: &str) {
    assert_eq!(decoded(body).unwrap_err(), expected, "{body}");
}

#[test]
fn samples_of_every_shape() {
    check("up 1", &["up 1 @0"]);
    check("up 1\n", &["up 1 @0"]);
    check("  up\t 1 \n\n\t\nup2   2\n", &["up 1 @0", "up2 2 @0"]);
    check("up 1 1700000000005\nx 2 1699999999999 ", &["up 1 @5", "x 2 @-1"]);
    check("a:b_c9{} 1", &["a:b_c9 1 @0"]);
    check(r#"m{z="1",a="2",} 3"#, &[r#"m{a="2", z="1"} 3 @0"#]);
    check(r#"m { z = "1" , a="2" } 3"#, &[r#"m{a="2", z="1"} 3 @0"#]);
    check(r#"m{a="}{ ,=",b="\"\\\n\x"} 1"#, &[r#"m{a="}{ ,=", b="\"\\\n\\x"} 1 @0"#]);
    check(r#"m{a="",b="é"} 1"#, &[r#"m{b="é"} 1 @0"#]);
    check("m +Inf\nm -inf\nm NaN\nm 1e-3", &["m inf @0", "m -inf @0", "m NaN @0", "m 0.001 @0"]);
}

#[test]
fn quoted_names() {
    check(r#"{"a.b"} 1"#, &[r#"{"a.b"} 1 @0"#]);
    check(r#"{"a.b",c="d"} 1"#, &[r#"{"a.b", c="d"} 1 @0"#]);
    check(r#"{c="d","a.b"} 1"#, &[r#"{"a.b", c="d"} 1 @0"#]);
    check(r#"{"a\"b", "c d"="e"} 1"#, &[r#"{"a\"b", "c d"="e"} 1 @0"#]);
    check(r#"m{"c.d"="e"} 1"#, &[r#"m{"c.d"="e"} 1 @0"#]);
    refuse(r#"m{"other"} 1"#, r#"line 1, column 3: metric name already set: "other""#);
}

#[test]
fn metadata_is_gathered_by_family() {
    let body = "# HELP a Help \\\\ of\\n a.\n# TYPE a counter\na 1\n#TYPE no comment\n# TYPE b untyped\n\
                # nothing\n#\n# HELP \"c.d\"  two\n# HELPFUL x\n# HELP e\n";
    let mut rows = Rows::new();
    decode(body.as_bytes(), NOW_MS, &mut rows).unwrap();
    let seen: Vec<_> =
        rows.metadata().iter().map(|(n, m)| (n.as_str(), m.kind, m.help.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("a", MetricType::Counter, "Help \\ of\n a."),
            ("b", MetricType::Unknown, ""),
            ("c.d", MetricType::Unknown, " two"),
            ("e", MetricType::Unknown, ""),
        ]
    );
}

#[test]
fn errors_name_their_place() {
    refuse("ok 1\nup x", r#"line 2, column 4: expected a number as value, got "x""#);
    refuse("up", "line 1, column 3: expected value after metric, got end of line");
    refuse(
        "up 1 x",
        r#"line 1, column 6: expected timestamp in milliseconds or new record, got "x""#,
    );
    refuse("up 1 1 1", r#"line 1, column 8: expected next entry after timestamp, got "1""#);
    refuse(
        "up 1 NaN",
        r#"line 1, column 6: expected timestamp in milliseconds or new record, got "NaN""#,
    );
    refuse(
        "up 1 9223372036854775807",
        "line 1, column 6: timestamp 9223372036854775807 ms is not within the years 1 to 9999",
    );
    refuse("9up 1", r#"line 1, column 1: expected metric name, got "9up""#);
    refuse("-up 1", r#"line 1, column 1: expected metric name, got "-up""#);
    refuse("m{a=\"1\" 1", "line 1, column 2: brace is not closed on its line");
    refuse("m{a=\"1} 1\n\"", "line 1, column 5: quote is not closed on its line");
    refuse("m{a=1} 1", r#"line 1, column 5: expected label value in quotes, got "1}""#);
    refuse("m{a\"1\"} 1", r#"line 1, column 4: expected equal sign, got "\"1\"}""#);
    refuse("m{,} 1", r#"line 1, column 3: expected label name, got ",}""#);
    refuse("m{a:b=\"1\"} 1", r#"line 1, column 4: expected equal sign, got ":b=\"1\"}""#);
    refuse("m{a=\"1\",a=\"2\"} 1", r#"line 1, column 1: label name "a" is not unique"#);
    refuse("m{\"\"=\"2\"} 1", "line 1, column 1: label name is empty");
    refuse("# TYPE m thing\n", r#"line 1, column 10: invalid metric type "thing""#);
    refuse("# TYPE 9 counter\n", r#"line 1, column 8: expected metric name, got "9""#);
    refuse("{a=\"1\"} 1", "line 1, column 1: the series has no metric name");
    refuse("up 1e999", r#"line 1, column 4: expected a number as value, got "1e999""#);
    let mut rows = Rows::new();
    let error = decode(b"m{a=\"x\xff\"} 1", NOW_MS, &mut rows).unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 7: label value is not valid UTF-8");
}

#[test]
fn hostile_lengths_are_refused() {
    let value = "x".repeat(10 << 20);
    let error = decoded(&format!("ok 1\nm{{a=\"{value}\"}} 1")).unwrap_err();
    assert!(error.starts_with("line 2, column 1: line has "), "{error}");
    let value = "x".repeat(100 << 10);
    let error = decoded(&format!("m{{a=\"{value}\"}} 1")).unwrap_err();
    assert!(error.contains("value of label \"a\" has 102400 bytes"), "{error}");
}

#[test]
fn every_nan_is_the_normal_one() {
    let mut parser = Parser::new(b"m nan");
    let Ok(Some(Entry::Sample(line))) = parser.next_entry() else { panic!("a sample") };
    assert_eq!(line.value.to_bits(), NORMAL_NAN_BITS);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut rows = Rows::new();
        let _ = decode(&bytes, NOW_MS, &mut rows);
    }

    #[test]
    fn nearly_right_text_does_not_panic(text in "([a-z#{}\"\\\\ =,0-9\n]|TYPE |HELP |[\\PC]){0,80}") {
        let mut rows = Rows::new();
        let _ = decode(text.as_bytes(), NOW_MS, &mut rows);
    }

    #[test]
    fn what_is_written_is_read(
        pairs in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,5}", ".{1,12}", 0..6),
        value in any::<f64>(),
        timestamp_ms in -1_000_000_i64..1_000_000,
    ) {
        let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = pairs.iter().map(|(n, v)| format!("{n}=\"{}\"", escaped(v))).collect();
        let body = format!("m{{{}}} {value} {timestamp_ms}\n", labels.join(","));
        let mut rows = Rows::new();
        decode(body.as_bytes(), NOW_MS, &mut rows).unwrap();
        let row = rows.iter().next().unwrap();
        let expected = Labels::from_pairs(
            pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("__name__", "m")]),
        );
        prop_assert_eq!(row.labels, expected.encoded());
        prop_assert_eq!(row.samples[0].timestamp_ms, timestamp_ms);
        prop_assert!(row.samples[0].value == value || value.is_nan());
    }
}
