//! Native histograms as text: `schema:1 sum:3 count:2 buckets:[1 1]`.

use std::fmt::Write as _;

use tidemark_core::model::histogram::{Buckets, FloatHistogram, GoFloat, ResetHint};

use super::series::take_number;

/// A histogram that was written down.
#[derive(Clone, Debug, Default)]
pub struct HistogramLiteral {
    /// The histogram.
    pub histogram: FloatHistogram,
    /// Whether its counter reset hint was written.
    pub hint_written: bool,
}

const HINTS: [(&str, ResetHint); 4] = [
    ("unknown", ResetHint::Unknown),
    ("reset", ResetHint::Reset),
    ("not_reset", ResetHint::NotReset),
    ("gauge", ResetHint::Gauge),
];

/// Reads what stands between `{{` and `}}`.
pub fn parse_histogram(text: &str) -> Result<HistogramLiteral, String> {
    let mut out = HistogramLiteral::default();
    let h = &mut out.histogram;
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let (mut offset, mut negative_offset) = (0, 0);
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or_else(|| format!("no value in {rest:?}"))?;
        if seen.contains(&key) {
            return Err(format!("key {key:?} is repeated"));
        }
        seen.push(key);
        let (value, next) = if let Some(list) = after.strip_prefix('[') {
            list.split_once(']').ok_or_else(|| format!("list {after:?} is not closed"))?
        } else {
            after.split_at(after.find(char::is_whitespace).unwrap_or(after.len()))
        };
        rest = next.trim_start();
        let number = || number(value);
        let integer = || value.parse::<i32>().map_err(|e| format!("{value:?}: {e}"));
        match key {
            "schema" => h.schema = integer()?,
            "sum" => h.sum = number()?,
            "count" => h.count = number()?,
            "z_bucket" => h.zero_count = number()?,
            "z_bucket_w" => h.zero_threshold = number()?,
            "buckets" => positive = numbers(value)?,
            "n_buckets" => negative = numbers(value)?,
            "offset" => offset = integer()?,
            "n_offset" => negative_offset = integer()?,
            "custom_values" => h.custom_bounds = Some(numbers(value)?.into()),
            "counter_reset_hint" => {
                let hint = HINTS.iter().find(|(name, _)| *name == value);
                h.hint = hint.ok_or_else(|| format!("unknown hint {value:?}"))?.1;
                out.hint_written = true;
            }
            _ => return Err(format!("unknown key {key:?}")),
        }
    }
    h.positive = consecutive(offset, &positive);
    h.negative = consecutive(negative_offset, &negative);
    Ok(out)
}

fn consecutive(offset: i32, counts: &[f64]) -> Buckets {
    (offset..).zip(counts.iter().copied()).collect()
}

fn number(text: &str) -> Result<f64, String> {
    match take_number(text)? {
        (value, "") => Ok(value),
        _ => Err(format!("not a number: {text:?}")),
    }
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    text.split_whitespace().map(number).collect()
}

/// Writes a histogram, empty buckets within filled in, for messages.
pub fn histogram_text(h: &FloatHistogram) -> String {
    let mut text =
        format!("{{{{schema:{} count:{} sum:{}", h.schema, GoFloat(h.count), GoFloat(h.sum));
    if h.zero_count != 0.0 || h.zero_threshold != 0.0 {
        let _ = write!(
            text,
            " z_bucket:{} z_bucket_w:{}",
            GoFloat(h.zero_count),
            GoFloat(h.zero_threshold)
        );
    }
    if h.is_custom() {
        let _ = write!(text, " custom_values:{:?}", h.bounds());
    }
    for (side, name) in [(&h.positive, "buckets"), (&h.negative, "n_buckets")] {
        if !side.is_empty() {
            let _ = write!(text, " {name}:{:?}", side.iter().collect::<Vec<_>>());
        }
    }
    let (hint, _) = HINTS[h.hint as usize];
    let _ = write!(text, " counter_reset_hint:{hint}}}}}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys() {
        let literal = parse_histogram(
            "schema:1 sum:-0.3 count:3.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10 7] offset:-3 \
             n_buckets:[4.1 5] n_offset:-5 counter_reset_hint:gauge",
        )
        .unwrap();
        let h = literal.histogram;
        assert!(literal.hint_written);
        assert_eq!(
            (h.schema, h.sum, h.count, h.zero_count, h.zero_threshold),
            (1, -0.3, 3.1, 7.1, 0.05)
        );
        assert_eq!(h.positive.iter().collect::<Vec<_>>(), [(-3, 5.1), (-2, 10.0), (-1, 7.0)]);
        assert_eq!(h.negative.indexes(), [-5, -4]);
        assert_eq!(h.hint, ResetHint::Gauge);
        assert!(parse_histogram("").is_ok());
        for bad in ["x:1", "sum:1 sum:2", "buckets:[1", "sum", "schema:1.5"] {
            assert!(parse_histogram(bad).is_err(), "{bad}");
        }
    }
}
