//! The same expression for both versions: what changed between Prometheus 2.42 and 3 and can be said in the older language is
//! said in it, so that the answers have to be equal.
//!
//! | what changed | how it is said to 2.42 |
//! |---|---|
//! | windows and the lookback leave their left edge out | they are a millisecond shorter; `--query.lookback-delta` too |
//! | `holt_winters` is called `double_exponential_smoothing` | by its old name |

/// The expression as Tidemark gets it.
pub(super) fn ours(expression: &str) -> String {
    expression.replace(['‹', '›'], "")
}

/// The expression as a Prometheus 2.42 gets it.
pub(super) fn theirs(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some((before, (duration, after))) =
        rest.split_once('‹').and_then(|(before, rest)| Some((before, rest.split_once('›')?)))
    {
        out.push_str(before);
        out.push_str(&shorter(duration));
        rest = after;
    }
    out.push_str(rest);
    out.replace("double_exponential_smoothing", "holt_winters")
}

/// A duration less one millisecond.
fn shorter(duration: &str) -> String {
    let (mut ms, mut number) = (0, 0);
    for c in duration.chars() {
        let unit = match c {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            digit => {
                number = number * 10 + u64::from(digit.to_digit(10).expect("a digit or a unit"));
                continue;
            }
        };
        ms += std::mem::take(&mut number) * unit;
    }
    format!("{}ms", ms - 1)
}

#[test]
fn ranges_get_shorter_for_the_older_version() {
    let text = "max_over_time(a[‹5m›]) + double_exponential_smoothing(b[‹7m30s›:30s], 0.1, 0.2)";
    assert_eq!(
        ours(text),
        "max_over_time(a[5m]) + double_exponential_smoothing(b[7m30s:30s], 0.1, 0.2)"
    );
    assert_eq!(
        theirs(text),
        "max_over_time(a[299999ms]) + holt_winters(b[449999ms:30s], 0.1, 0.2)"
    );
}
