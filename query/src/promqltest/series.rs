//! The notation of series: labels, then values with repetitions.

use std::sync::Arc;

use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::STALE_NAN;

use super::histogram_text::{HistogramLiteral, parse_histogram};
use crate::parser::duration::parse_duration_ms;
use crate::parser::number::parse_number;
use crate::parser::parse_metric;

/// One value of a series.
#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// A float.
    Float(f64),
    /// A histogram, and whether its counter reset hint was written.
    Histogram(Arc<FloatHistogram>, bool),
}

type Result<T> = std::result::Result<T, String>;
type Values = Vec<Option<SequenceValue>>;

/// Most values of one item.
const REPEAT_MAX: usize = 1_000_000;

/// Reads `labels values...`.
pub fn parse_line(line: &str) -> Result<(Labels, Values)> {
    let end = metric_end(line);
    let labels = parse_metric(line[..end].trim()).map_err(|e| format!("{line:?}: {e}"))?;
    Ok((labels, parse_values(&line[end..]).map_err(|e| format!("{line:?}: {e}"))?))
}

/// Where the labels end: after the closing brace, or at the first space if there is none.
fn metric_end(line: &str) -> usize {
    let bytes = line.as_bytes();
    let name_end = line.find([' ', '\t', '{']).unwrap_or(line.len());
    let brace = line[name_end..].find(|c| c != ' ' && c != '\t').map(|i| name_end + i);
    let Some(open) = brace.filter(|&i| bytes[i] == b'{' && bytes.get(i + 1) != Some(&b'{')) else {
        return name_end;
    };
    let mut quote = None;
    let mut i = open;
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (Some(q), b'\\') if q != b'`' => i += 1,
            (Some(q), b) if b == q => quote = None,
            (None, b @ (b'"' | b'\'' | b'`')) => quote = Some(b),
            (None, b'}') => return i + 1,
            _ => {}
        }
        i += 1;
    }
    line.len()
}

/// Reads values separated by spaces.
pub fn parse_values(text: &str) -> Result<Values> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = if rest.starts_with("{{") {
            histograms(rest, &mut values)?
        } else {
            let end = rest.find([' ', '\t']).unwrap_or(rest.len());
            floats(&rest[..end], &mut values)?;
            &rest[end..]
        };
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return Err(format!("unexpected {rest:?} after a value"));
        }
        rest = rest.trim_start();
    }
    Ok(values)
}

/// `xN` as N, or nothing.
fn repetition(text: &str) -> Result<Option<usize>> {
    if text.is_empty() {
        return Ok(None);
    }
    let times = text.strip_prefix('x').and_then(|n| n.parse().ok());
    match times.filter(|n| *n <= REPEAT_MAX) {
        Some(n) => Ok(Some(n)),
        None => Err(format!("invalid repetition {text:?}")),
    }
}

fn floats(item: &str, values: &mut Values) -> Result<()> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = repetition(rest)?.unwrap_or(1);
        values.extend(std::iter::repeat_n(None, count));
        return Ok(());
    }
    if item == "stale" {
        values.push(Some(SequenceValue::Float(STALE_NAN)));
        return Ok(());
    }
    let (mut value, rest) = take_number(item)?;
    let (step, rest) = match rest.as_bytes().first() {
        Some(b'+' | b'-') => take_number(rest)?,
        _ => (0.0, rest),
    };
    let times = repetition(rest)?.unwrap_or(0);
    values.push(Some(SequenceValue::Float(value)));
    for _ in 0..times {
        value += step;
        values.push(Some(SequenceValue::Float(value)));
    }
    Ok(())
}

/// A signed number and what follows it.
pub(super) fn take_number(text: &str) -> Result<(f64, &str)> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    let lower = digits.get(..3).unwrap_or("").to_ascii_lowercase();
    let end = if lower == "inf" || lower == "nan" { 3 } else { number_end(digits.as_bytes()) };
    let value = parse_number(&digits[..end]).map_err(|e| format!("{text:?}: {e}"))?;
    Ok((sign * value, &digits[end..]))
}

fn number_end(bytes: &[u8]) -> usize {
    let digit = |b: u8| b.is_ascii_digit() || b == b'_' || b == b'.';
    let mut end = bytes.iter().take_while(|b| digit(**b)).count();
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes[end + 1 + sign..].iter().take_while(|b| b.is_ascii_digit()).count();
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

fn take_histogram(text: &str) -> Result<(HistogramLiteral, &str)> {
    let end = text.find("}}").ok_or("a histogram is not closed")? + 2;
    Ok((parse_histogram(&text[2..end - 2])?, &text[end..]))
}

fn histograms<'a>(text: &'a str, values: &mut Values) -> Result<&'a str> {
    let (first, rest) = take_histogram(text)?;
    let (step, rest) = match rest.as_bytes() {
        [sign @ (b'+' | b'-'), ..] => {
            let (literal, rest) = take_histogram(&rest[1..])?;
            (Some((*sign == b'-', literal)), rest)
        }
        _ => (None, rest),
    };
    let end = rest.find([' ', '\t']).unwrap_or(rest.len());
    let times = repetition(&rest[..end])?.unwrap_or(0);
    let hint_written = step.as_ref().map_or(first.hint_written, |(_, step)| step.hint_written);
    let mut current = first.histogram;
    let push = |values: &mut Values, h: &FloatHistogram| {
        values.push(Some(SequenceValue::Histogram(Arc::new(h.clone()), hint_written)));
    };
    push(values, &current);
    for _ in 0..times {
        if let Some((minus, step)) = &step {
            if current.schema > step.histogram.schema {
                return Err(
                    "the schema of a histogram is greater than that of its increment".to_owned()
                );
            }
            let done =
                if *minus { current.sub(&step.histogram) } else { current.add(&step.histogram) };
            done.map_err(|e| e.to_string())?;
        }
        push(values, &current);
    }
    Ok(&rest[end..])
}

/// Reads `labels@st offsets...`; `None` if the line is none.
#[allow(clippy::type_complexity, reason = "what both callers take apart at once")]
pub fn parse_start_line(line: &str) -> Result<Option<(Labels, Vec<Option<i64>>)>> {
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let Some(metric) = line[..end].strip_suffix("@st") else { return Ok(None) };
    let labels = parse_metric(metric).map_err(|e| format!("{line:?}: {e}"))?;
    let mut starts = Vec::new();
    for item in line[end..].split_whitespace() {
        start_item(item, &mut starts).map_err(|e| format!("{item:?}: {e}"))?;
    }
    Ok(Some((labels, starts)))
}

fn start_item(item: &str, starts: &mut Vec<Option<i64>>) -> Result<()> {
    if let Some(rest) = item.strip_prefix('_') {
        starts.extend(std::iter::repeat_n(None, repetition(rest)?.unwrap_or(1)));
        return Ok(());
    }
    let (mut offset, rest) = take_duration(item)?;
    let (step, rest) = match rest.as_bytes().first() {
        Some(b'+' | b'-') => take_duration(rest)?,
        _ => (0, rest),
    };
    for _ in 0..=repetition(rest)?.unwrap_or(0) {
        starts.push(Some(offset));
        offset += step;
    }
    Ok(())
}

/// A signed duration of one unit and what follows it.
fn take_duration(text: &str) -> Result<(i64, &str)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let unit =
        unsigned[digits..].bytes().take_while(|b| b.is_ascii_alphabetic() && *b != b'x').count();
    let (duration, rest) = unsigned.split_at(digits + unit);
    Ok((sign * parse_duration_ms(duration)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        parse_values(text)
            .unwrap()
            .into_iter()
            .map(|v| match v {
                None => "_".to_owned(),
                Some(SequenceValue::Float(v)) => v.to_string(),
                Some(SequenceValue::Histogram(h, _)) => h.to_string(),
            })
            .collect()
    }

    #[test]
    fn values_and_repetitions() {
        assert_eq!(
            shown("1 _ 2x2 _x2 -1+2x2 1e2-.5x1"),
            ["1", "_", "2", "2", "2", "_", "_", "-1", "1", "3", "100", "99.5"]
        );
        assert_eq!(
            shown("Inf NaN -inf+0x1 1_000 010"),
            ["inf", "NaN", "-inf", "-inf", "1000", "8"]
        );
        assert_eq!(
            shown("{{count:1 sum:2 buckets:[1]}}+{{count:1 buckets:[1]}}x1 7"),
            ["{count:1, sum:2, (0.5,1]:1}", "{count:2, sum:2, (0.5,1]:2}", "7"]
        );
        for bad in ["x", "1x", "stalex3", "1+x3", "{{", "{{count:1}}y", "1+2xx"] {
            assert!(parse_values(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_end_where_values_begin() {
        for (line, labels, count) in [
            (r#"m{a="}",b='{'} 1 2"#, r#"m{a="}", b="{"}"#, 2),
            ("m 1", "m", 1),
            ("m", "m", 0),
            (r#"{a="1"} {{}}"#, r#"{a="1"}"#, 1),
            ("m {{}}", "m", 1),
            (r#"{"a.b", c="d"} _"#, r#"{"a.b", c="d"}"#, 1),
        ] {
            let (parsed, values) = parse_line(line).unwrap();
            assert_eq!((parsed.to_string().as_str(), values.len()), (labels, count), "{line}");
        }
    }

    #[test]
    fn start_timestamps() {
        let (_, starts) = parse_start_line(r#"m{a="1"}@st _ -1mx1 0s-30sx1"#).unwrap().unwrap();
        assert_eq!(starts, [None, Some(-60_000), Some(-60_000), Some(0), Some(-30_000)]);
        assert!(parse_start_line("m 1").unwrap().is_none());
    }
}
