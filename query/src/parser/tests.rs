//! What the parser takes and what it says of the rest. Each row of [`ANSWERS`] is a text and either its canonical form or
//! Prometheus' error; all were compared with the parser of Prometheus 3.14.

use proptest::prelude::*;

use super::{ParserOptions, parse, parse_metric, parse_metric_selector};
use crate::limits::{NESTING_MAX, TREE_HEIGHT_MAX};

fn answer(source: &str, options: ParserOptions) -> String {
    match parse(source, &options) {
        Ok(expr) => expr.to_string(),
        Err(error) => error.to_string(),
    }
}

fn check(rows: &[(&str, &str)], options: ParserOptions) {
    for (source, expected) in rows {
        assert_eq!(answer(source, options), *expected, "{source}");
    }
}

#[test]
fn the_first_mistake_between_braces_is_told() {
    let error = parse(r#"a{b=~"(", c d}"#, &ParserOptions::ALL).unwrap_err().to_string();
    assert!(
        error.starts_with("1:3: parse error: error parsing regexp: missing closing )"),
        "{error}"
    );
}

#[test]
fn answers() {
    check(ANSWERS, ParserOptions::ALL);
}

#[test]
fn canonical_text() {
    check(CANONICAL, ParserOptions::ALL);
}

#[test]
fn what_flags_hide() {
    let rows = [
        (
            "limitk(1, up)",
            "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
        ("max_of(1, 2)", r#"1:1: parse error: function "max_of" is not enabled"#),
        (
            "a + fill(1) b",
            "1:1: parse error: binop fill modifiers are experimental and not enabled",
        ),
        ("a smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"),
        ("a[5m] anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
        ("fill + fill_left", "fill + fill_left"),
        ("a[step()]", "a[step()]"),
    ];
    check(&rows, ParserOptions::default());
    let none = ParserOptions { duration_expressions: false, ..ParserOptions::default() };
    let message = "1:3: parse error: experimental duration expression is not enabled";
    check(&[("a[step()]", message), ("a[5m*2]", message), ("a[5m]", "a[5m]")], none);
}

#[test]
fn selectors_alone() {
    let selector = |source| parse_metric_selector(source).map_err(|e| e.to_string());
    assert_eq!(selector(r#"up{job="a"}"#).map(|m| m.len()), Ok(2));
    assert_eq!(selector("{}").map(|m| m.len()), Ok(0));
    assert_eq!(selector("up[5m]"), Err(r#"1:3: parse error: unexpected "[""#.to_owned()));
    assert_eq!(selector("1"), Err(r#"1:1: parse error: unexpected number "1""#.to_owned()));
    assert_eq!(
        selector(""),
        Err("unknown position: parse error: unexpected end of input".to_owned())
    );
    let metric = |source| parse_metric(source).map(|m| m.to_string()).map_err(|e| e.to_string());
    assert_eq!(metric(r#"up{b="2", a="1",}"#), Ok(r#"up{a="1", b="2"}"#.to_owned()));
    assert_eq!(metric(r#"{"a.b", "c d"='x'}"#), Ok(r#"{"a.b", "c d"="x"}"#.to_owned()));
    assert_eq!(metric("{}"), Ok("{}".to_owned()));
    assert_eq!(
        metric(r#"up{a!="1"}"#),
        Err(r#"1:5: parse error: unexpected <op:!=> in label set, expected "=""#.to_owned())
    );
}

#[test]
fn positions_cover_the_text() {
    let source = "  sum by (a) (rate(b{c=\"d\"}[5m] offset 1m @ end())) / (-e)  # f";
    let mut texts = Vec::new();
    let expr = parse(source, &ParserOptions::ALL).unwrap();
    super::walk::walk(&expr, &mut |node, _| {
        texts.push(&source[node.pos().start..node.pos().end]);
        true
    });
    let whole = "sum by (a) (rate(b{c=\"d\"}[5m] offset 1m @ end())) / (-e)";
    let call = "rate(b{c=\"d\"}[5m] offset 1m @ end())";
    let matrix = "b{c=\"d\"}[5m] offset 1m @ end()";
    assert_eq!(texts, [whole, &whole[..49], call, matrix, "(-e)", "-e", "e"]);
}

/// Runs what recurses on the stack of a thread by default.
fn on_thread_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work);
    thread.unwrap().join().unwrap();
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    on_thread_stack(|| {
        let options = ParserOptions::ALL;
        for (before, open, inner, close, after) in [
            ("", "(", "1", ")", ""),
            ("", "-", "a", "", ""),
            ("", "1^", "1", "", ""),
            ("", "abs(", "a", ")", ""),
            ("", "sum by (x) (", "a", ")", ""),
            ("", "a + on(x) (", "a", ")", ""),
            ("a[", "(", "5m", ")", "]"),
            ("a offset ", "min_of(1, ", "5m", ")", ""),
        ] {
            let deep =
                |n: usize| format!("{before}{}{inner}{}{after}", open.repeat(n), close.repeat(n));
            let error = answer(&deep(10_000), options);
            assert!(error.contains("nested deeper than"), "{error}");
            let fits = answer(&deep(NESTING_MAX / 2 - 2), options);
            assert_eq!(answer(&fits, options), fits);
        }
    });
}

#[test]
fn long_chains_are_bounded_and_fast() {
    on_thread_stack(|| {
        let chain = |n: usize| vec!["a"; n].join(" or ");
        let options = ParserOptions::ALL;
        let fits = parse(&chain(TREE_HEIGHT_MAX), &options).unwrap();
        assert_eq!(fits.clone().to_string(), chain(TREE_HEIGHT_MAX));
        assert!(answer(&chain(TREE_HEIGHT_MAX + 1), options).contains("chained operators"));
        assert!(answer(&chain(200_000), options).contains("chained operators"));
    });
}

#[test]
fn a_megabyte_is_read() {
    let matchers = vec![r#"label_name!="some value""#; 40_000].join(",");
    let wide = format!("sum(up{{{matchers}}})");
    assert!(wide.len() > 1_000_000);
    assert_eq!(answer(&wide, ParserOptions::ALL).len(), wide.len());
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(answer(&text, ParserOptions::ALL), text);
    let spaces = " ".repeat(1 << 20) + "1 1";
    assert!(answer(&spaces, ParserOptions::ALL).ends_with(r#"unexpected number "1""#));
}

/// Texts that come close to the grammar: words and signs in any order.
fn near_promql() -> impl Strategy<Value = String> {
    let words = prop::sample::select(WORDS);
    prop::collection::vec(words, 1..24).prop_map(|words| words.join(" "))
}

/// Expressions that are mostly valid, grown from small ones.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop::sample::select(OPERATORS), inner.clone())
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (prop::sample::select(WRAPPERS), inner)
                .prop_map(|(wrapper, a)| wrapper.replace('%', &a)),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(source in ".{0,60}") {
        answer(&source, ParserOptions::ALL);
    }

    #[test]
    fn no_words_panic(source in near_promql()) {
        answer(&source, ParserOptions::ALL);
    }

    #[test]
    fn printed_text_reads_the_same(source in expression()) {
        if let Ok(expr) = parse(&source, &ParserOptions::ALL) {
            let printed = expr.to_string();
            let again = parse(&printed, &ParserOptions::ALL).map(|e| e.to_string());
            prop_assert_eq!(again.as_deref(), Ok(printed.as_str()), "{}", source);
        }
    }
}

const WORDS: &[&str] = &[
    "a",
    "b:c",
    "sum",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "offset",
    "start",
    "end",
    "step",
    "range",
    "min_of",
    "fill",
    "anchored",
    "smoothed",
    "and",
    "atan2",
    "rate",
    "inf",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "@",
    "=",
    "!=",
    "=~",
    "==",
    "</",
    ">/",
    "+",
    "-",
    "*",
    "^",
    "5m",
    "1",
    "0x1F",
    "\"s\"",
    "'",
    "#",
];

const LEAVES: &[&str] = &[
    "1",
    "0x1F",
    "5m",
    "NaN",
    "a",
    "sum",
    "a{b=\"c\",d!~'e'}",
    "{\"a.b\"}",
    "a offset -5m",
    "a @ end()",
    "a @ -1.5",
    "a anchored",
    "scalar(a)",
    "time()",
    "\"s\\n\"",
    "step()",
];

const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "==",
    "== bool",
    ">= on (x)",
    "</",
    ">/",
    "and",
    "or",
    "unless ignoring (x)",
    "* on (x) group_left (y)",
    "+ ignoring (x) group_right",
    "- fill (1)",
    "+ fill_left (-2) fill_right (3)",
];

const WRAPPERS: &[&str] = &[
    "(%)",
    "-%",
    "+(%)",
    "sum(%)",
    "sum by (x, \"y z\") (%)",
    "topk without () (3, %)",
    "rate((%)[5m:])",
    "(%)[1h:step() * 2] offset (1h - 30m)",
    "abs(%)",
    "count_values(\"l\", %)",
    "(%)[1d12h:30s] @ start()",
    "label_replace(%, \"a\", \"$1\", \"b\", \"(.*)\")",
    "max_over_time(%[max_of(5m, range() / 2):])",
];

/// Canonical forms that the rows of [`ANSWERS`] do not show.
const CANONICAL: &[(&str, &str)] = &[
    ("1", "1"),
    ("-1", "-1"),
    ("+1", "1"),
    ("1.5e3", "1500"),
    ("0x1F", "31"),
    ("017", "15"),
    ("1_000.5", "1000.5"),
    ("NaN", "NaN"),
    ("-Inf", "-Inf"),
    ("5m", "5m"),
    ("90d", "90d"),
    ("-1h30m", "-1h30m"),
    ("a offset 300", "a offset 5m"),
    ("a offset 0", "a"),
    ("a offset -5m", "a offset -5m"),
    ("a[1.5]", "a[1s500ms]"),
    ("a[0.00025]", "a[0.00025]"),
    ("a offset 5m * 2", "a offset 5m * 2"),
    ("a offset (5m * 2)", "a offset (5m * 2)"),
    ("a offset (5m) * 2", "a offset (5m) * 2"),
    ("a offset -(5m) * 2", "a offset -(5m) * 2"),
    ("a offset -step()", "a offset -step()"),
    ("a offset max_of(1m, step()) + b", "a offset max_of(1m, step()) + b"),
    ("a[-(-5m)]", "a[-(-5m)]"),
    ("a[((5m))]", "a[(5m)]"),
    ("a[2 ^ 3 ^ 2]", "a[2 ^ 3 ^ 2]"),
    ("a[(1h - 5m) / 2:step() % 7]", "a[(1h - 5m) / 2:step() % 7]"),
    ("a @ 1", "a @ 1.000"),
    ("a @ 1.2345", "a @ 1.235"),
    ("a @ -1m", "a @ -60.000"),
    ("a @ start() offset 5m", "a @ start() offset 5m"),
    ("a offset 5m @ end()", "a @ end() offset 5m"),
    ("a[5m] @ end() anchored", "a[5m] anchored @ end()"),
    ("a smoothed offset 5m @ 1", "a @ 1.000 smoothed offset 5m"),
    ("a[5m:1m] offset 5m @ 1", "a[5m:1m] @ 1.000 offset 5m"),
    (r#"{"a"}"#, r#"{__name__="a"}"#),
    (r#"{"a", b="c"}"#, r#"{__name__="a",b="c"}"#),
    (r#"{b="c", __name__="a"}"#, r#"{__name__="a",b="c"}"#),
    (r#"a{c="d", b!="e", "f g"=~`h`}"#, r#"a{"f g"=~"h",b!="e",c="d"}"#),
    (r#"a{offset="x", sum!~'y'}"#, r#"a{offset="x",sum!~"y"}"#),
    ("sum(a) by (b)", "sum by (b) (a)"),
    ("SUM WITHOUT (b) (a)", "sum without (b) (a)"),
    ("sum by () (a)", "sum(a)"),
    ("sum without () (a)", "sum without () (a)"),
    ("topk by (c) (5, a)", "topk by (c) (5, a)"),
    (r#"sum by ("a.b", c) (a)"#, r#"sum by ("a.b", c) (a)"#),
    ("a + ignoring() b", "a + b"),
    ("a + on() b", "a + on () b"),
    ("a * on(x) group_left b", "a * on (x) group_left () b"),
    (r#"a * ignoring(x) group_right(y, "z w") b"#, r#"a * ignoring (x) group_right (y, "z w") b"#),
    ("a > bool 1", "a > bool 1"),
    ("a + fill(1e6) b", "a + fill (1e+06) b"),
    ("a + fill_left(-1) b", "a + fill_left (-1) b"),
    ("a + fill_right(1) fill_left(2) b", "a + fill_left (2) fill_right (1) b"),
    ("a + fill(NaN) b", "a + fill_left (NaN) fill_right (NaN) b"),
    ("1 + 2 * 3 ^ 4 ^ 5 - -2", "1 + 2 * 3 ^ 4 ^ 5 - -2"),
    ("-a ^ 2", "-a ^ 2"),
    ("-1 ^ 2", "-1 ^ 2"),
    ("2 ^ -1 * 3", "2 ^ -1 * 3"),
    ("a and b or c unless d", "a and b or c unless d"),
    ("a </ 1 >/ b", "a </ 1 >/ b"),
    ("a atan2 b", "a atan2 b"),
    ("-(1)", "-(1)"),
    ("+a", "+a"),
    ("--1", "1"),
    ("(-1)", "(-1)"),
    (r#""a'b\"c""#, r#""a'b\"c""#),
    (r#"'a"b'"#, r#""a\"b""#),
    (r"`a\b`", r#""a\\b""#),
    (r#""\xff\u00e9""#, r#""\xffé""#),
    (r#"rate(foo{a="b"}[5m] offset 1m)"#, r#"rate(foo{a="b"}[5m] offset 1m)"#),
    ("start() + end() + range() + step()", "start() + end() + range() + step()"),
    ("min_of(step(), 5)", "min_of(step(), 5)"),
    (
        "sum + avg by + offset",
        r#"1:14: parse error: unexpected <op:+> in grouping opts, expected "(""#,
    ),
    ("and + or", "and + or"),
    ("fill(1)", r#"1:5: parse error: unexpected "(""#),
    ("fill + 1", "fill + 1"),
    (r#"label_join(a, "b", ",", "c", "d", "e")"#, r#"label_join(a, "b", ",", "c", "d", "e")"#),
    (r#"histogram_quantiles(a, "q", 0.5, 0.9)"#, r#"histogram_quantiles(a, "q", 0.5, 0.9)"#),
    ("info(a)", "info(a)"),
    (r#"info(a, {b=""})"#, r#"info(a, {b=""})"#),
    ("year()", "year()"),
    ("info(a, {})", "info(a, {})"),
];

const ANSWERS: &[(&str, &str)] = &[
    ("1 +", "1:4: parse error: unexpected end of input"),
    ("up up", r#"1:4: parse error: unexpected identifier "up""#),
    ("sum", "sum"),
    ("sum(up) foo", r#"1:9: parse error: unexpected identifier "foo""#),
    ("sum by up", r#"1:8: parse error: unexpected identifier "up" in grouping opts, expected "(""#),
    (
        "sum by (job up)",
        r#"1:13: parse error: unexpected identifier "up" in grouping opts, expected "," or ")""#,
    ),
    ("sum by (job,) (up)", "sum by (job) (up)"),
    (
        "sum by (1) (up)",
        r#"1:9: parse error: unexpected number "1" in grouping opts, expected label"#,
    ),
    (r#"sum by ("") (up)"#, r#"1:9: parse error: invalid label name for grouping: """#),
    (
        "topk(up)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    ),
    (
        "topk(1, 2, up)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 3",
    ),
    ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
    (
        "sum(1)",
        "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
    ),
    (
        r#"topk("a", up)"#,
        "1:6: parse error: expected type scalar in aggregation parameter, got string",
    ),
    (
        "count_values(1, up)",
        "1:14: parse error: expected type string in aggregation parameter, got scalar",
    ),
    (
        "rate(up)",
        r#"1:6: parse error: expected type range vector in call to function "rate", got instant vector"#,
    ),
    ("rate(up[5m], 1)", r#"1:1: parse error: expected 1 argument(s) in call to "rate", got 2"#),
    ("round()", r#"1:1: parse error: expected at least 1 argument(s) in call to "round", got 0"#),
    (
        "round(up, 1, 2)",
        r#"1:1: parse error: expected at most 2 argument(s) in call to "round", got 3"#,
    ),
    (
        r#"label_join(up, "a")"#,
        r#"1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 2"#,
    ),
    ("nope(up)", r#"1:1: parse error: unknown function with name "nope""#),
    ("Rate(up[5m])", r#"1:1: parse error: unknown function with name "Rate""#),
    ("abs(up,)", "1:7: parse error: trailing commas not allowed in function call args"),
    ("up{", "1:4: parse error: unexpected end of input inside braces"),
    ("up{job", "1:7: parse error: unexpected end of input inside braces"),
    ("up{job=", "1:8: parse error: unexpected end of input inside braces"),
    (r#"up{job="a""#, "1:11: parse error: unexpected end of input inside braces"),
    (
        r#"up{job="a" instance="b"}"#,
        r#"1:12: parse error: unexpected identifier "instance" in label matching, expected "," or "}""#,
    ),
    (
        r#"up{job="a",,}"#,
        r#"1:12: parse error: unexpected "," in label matching, expected identifier or "}""#,
    ),
    (r#"up{job>"a"}"#, "1:7: parse error: unexpected character inside braces: '>'"),
    (r#"up{1="a"}"#, "1:4: parse error: unexpected character inside braces: '1'"),
    ("up{job=1}", "1:8: parse error: unexpected character inside braces: '1'"),
    (
        r#"up{__name__="down"}"#,
        r#"1:1: parse error: metric name must not be set twice: "up" or "down""#,
    ),
    ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    (
        r#"{job=~".*"}"#,
        "1:1: parse error: vector selector must contain at least one non-empty matcher",
    ),
    (
        r#"{job=""}"#,
        "1:1: parse error: vector selector must contain at least one non-empty matcher",
    ),
    ("up[5m", "1:6: parse error: unclosed left bracket"),
    ("up[5m]]", "1:7: parse error: unexpected right bracket ']'"),
    (
        "up[]",
        r#"1:4: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
    ),
    ("up[5]", "up[5s]"),
    ("up[0]", "1:4: parse error: duration must be greater than 0"),
    ("up[-1m]", "1:4: parse error: duration must be greater than 0"),
    ("up[5m:", "1:7: parse error: unclosed left bracket"),
    ("up[5m:]", "up[5m:]"),
    ("up[5m:0]", "1:7: parse error: duration must be greater than 0"),
    ("up[5m:1m:1m]", "1:9: parse error: unexpected colon ':'"),
    (
        "up[5m 1m]",
        r#"1:7: parse error: unexpected duration "1m" in subquery or range, expected ":" or "]""#,
    ),
    ("up[abc]", "1:4: parse error: unexpected character in duration expression: 'a'"),
    ("up[5m][5m]", "1:7: parse error: ranges only allowed for vector selectors"),
    ("up offset 5m [5m]", "1:14: parse error: no offset modifiers allowed before range"),
    ("up @ 1 [5m]", "1:8: parse error: no @ modifiers allowed before range"),
    ("(up)[5m]", "1:5: parse error: ranges only allowed for vector selectors"),
    ("rate(up[5m:])", "rate(up[5m:])"),
    ("1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"),
    (
        r#""a"[5m:]"#,
        "1:1: parse error: subquery is only allowed on instant vector, got string instead",
    ),
    (
        "up[5m][5m:]",
        "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
    ),
    (
        "up offset",
        "1:10: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    (
        "up offset foo",
        r#"1:11: parse error: unexpected identifier "foo" in offset, expected number, duration, step(), or range()"#,
    ),
    ("up offset 5m offset 5m", "1:1: parse error: offset may not be set multiple times"),
    (
        "1 offset 5m",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    (
        "(up) offset 5m",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    ("up @", "1:5: parse error: unexpected end of input in @, expected timestamp"),
    ("up @ foo", r#"1:6: parse error: unexpected identifier "foo" in @, expected timestamp"#),
    ("up @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
    ("up @ start", "1:11: parse error: unexpected end of input in @, expected timestamp"),
    ("up @ start(", "1:12: parse error: unclosed left parenthesis"),
    ("up @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
    (
        "sum(up) @ 1",
        "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    (
        "up offset (5m * )",
        r#"1:17: parse error: unexpected ")" in offset, expected number, duration, step(), or range()"#,
    ),
    (
        "up[5m*]",
        r#"1:7: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
    ),
    ("up[5m/0]", "1:6: parse error: division by zero"),
    ("up[5m%0]", "1:6: parse error: modulo by zero"),
    ("up offset 1e12", "1:11: parse error: duration out of range"),
    ("up + bool up", "1:4: parse error: bool modifier can only be used on comparison operators"),
    ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("1 == bool 1", "1 == bool 1"),
    (
        r#"up == bool "a""#,
        "1:12: parse error: binary expression must contain only scalar and instant vector types",
    ),
    ("up and 1", r#"1:1: parse error: set operator "and" not allowed in binary scalar expression"#),
    ("1 or 2", r#"1:1: parse error: set operator "or" not allowed in binary scalar expression"#),
    (
        "up and on(job) group_left up",
        r#"1:1: parse error: no grouping allowed for "and" operation"#,
    ),
    (
        "up + on up",
        r#"1:9: parse error: unexpected identifier "up" in grouping opts, expected "(""#,
    ),
    (
        "up + on(job) group_left(job) up",
        r#"1:4: parse error: label "job" must not occur in ON and GROUP clause at once"#,
    ),
    ("1 + on(job) up", "1:1: parse error: vector matching only allowed between instant vectors"),
    ("up fill(1) up", "1:4: parse error: unexpected <fill>"),
    (
        "up * fill(1) 2",
        "1:1: parse error: filling in missing series only allowed between instant vectors",
    ),
    (
        "up and fill(1) up",
        "1:1: parse error: filling in missing series not allowed for set operators",
    ),
    ("up + group_left up", "1:6: parse error: unexpected <group_left>"),
    ("up + on(job) group_left)", "1:25: parse error: unexpected right parenthesis ')'"),
    (
        r#"-"a""#,
        r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "string""#,
    ),
    (
        "-up[5m]",
        r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "range vector""#,
    ),
    (
        r#""a" + 1"#,
        "1:1: parse error: binary expression must contain only scalar and instant vector types",
    ),
    (
        "up[5m] + 1",
        "1:1: parse error: binary expression must contain only scalar and instant vector types",
    ),
    ("(up", "1:4: parse error: unclosed left parenthesis"),
    ("up)", "1:4: parse error: unexpected right parenthesis ')'"),
    ("up}", "1:3: parse error: unexpected character: '}'"),
    ("up]", "1:3: parse error: unexpected right bracket ']'"),
    ("'unterminated", "1:1: parse error: unterminated quoted string"),
    (r#""a\q""#, "1:1: parse error: unknown escape sequence U+0071 'q'"),
    (r#""\xzz""#, "1:1: parse error: illegal character U+007A 'z' in escape sequence"),
    (r#""\ud800""#, "1:1: parse error: escape sequence is an invalid Unicode code point"),
    ("`raw", "1:1: parse error: unterminated raw string"),
    ("1..2", r#"1:1: parse error: bad number or duration syntax: "1..""#),
    (
        "0x",
        r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "0x": invalid syntax"#,
    ),
    ("08", "8"),
    ("1__0", r#"1:1: parse error: bad number or duration syntax: "1__""#),
    (
        "1e999",
        r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "1e999": value out of range"#,
    ),
    ("5mm", r#"1:1: parse error: bad number or duration syntax: "5mm""#),
    ("1m1h", r#"1:1: parse error: not a valid duration string: "1m1h""#),
    ("5x", r#"1:1: parse error: bad number or duration syntax: "5""#),
    ("=", r#"1:1: parse error: unexpected "=""#),
    ("!", "1:1: parse error: unexpected character after '!': '�'"),
    ("a =~ b", "1:3: parse error: unexpected character after '=': '~'"),
    ("a ! b", "1:3: parse error: unexpected character after '!': ' '"),
    ("a & b", "1:3: parse error: unexpected character: '&'"),
    ("$", "1:1: parse error: unexpected character: '$'"),
    ("é", "1:1: parse error: unexpected character: 'é'"),
    (r#"up{é="a"}"#, "1:4: parse error: unexpected character inside braces: 'é'"),
    (
        "info(up, foo)",
        "1:10: parse error: expected label selectors only, got vector selector instead",
    ),
    (
        "info(up, 1)",
        r#"1:1: parse error: expected type instant vector in call to function "info", got scalar"#,
    ),
    ("info(up, (up))", "1:10: parse error: expected label selectors only"),
    (r#"info(up, {a=""})"#, r#"info(up, {a=""})"#),
    (
        "up anchored smoothed",
        "1:1: parse error: anchored and smoothed modifiers cannot be used together",
    ),
    ("up[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
    ("1 smoothed", "1:1: parse error: smoothed modifier not implemented"),
    ("start()", "start()"),
    ("max_of(1)", r#"1:1: parse error: expected 2 argument(s) in call to "max_of", got 1"#),
    ("bool", "1:1: parse error: unexpected <bool>"),
    ("on", "1:1: parse error: unexpected <on>"),
    ("sum without (sum, by, on) (up)", "sum without (sum, by, on) (up)"),
    ("up by", "1:4: parse error: unexpected <by>"),
    ("without(up)", r#"1:8: parse error: unexpected "(""#),
    ("max_of", "max_of"),
    ("# only a comment", "1:1: parse error: no expression found in input"),
    ("foo # comment", "foo"),
    ("foo +", "1:6: parse error: unexpected end of input"),
    ("  bar +", "1:8: parse error: unexpected end of input"),
    ("", "unknown position: parse error: no expression found in input"),
    ("  \n ", "1:1: parse error: no expression found in input"),
    ("a +\n\n  bar ++ ]", "3:10: parse error: unexpected right bracket ']'"),
];
