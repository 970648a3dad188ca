//! The OpenMetrics text format, versions 0.0.1 and 1.0.0.
//!
//! ```text
//! # TYPE request_seconds histogram
//! # UNIT request_seconds seconds
//! request_seconds_bucket{le="0.5"} 17 1520879607.789 # {trace_id="KOO5S4vxi0o"} 0.67
//! request_seconds_count 17
//! # EOF
//! ```
//!
//! Stricter than [`super::text`]: single blanks, no comments but the four, `# EOF` at the end (a body without it was cut
//! off on its way). Timestamps are seconds with a fraction. Created timestamps (`_created`) are samples like any other.

use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::time::TimestampMs;

use super::lines::{
    Entry, Exemplar, Fault, Grammar, HelpText, MetricName, SampleLine, SyntaxError, closing_brace,
    is_metric_byte, line_length, name_end, read_metric_name, read_series, utf8, word_end,
};
use super::number::parse_float;
use crate::label_set::LabelSet;
use crate::limits::{LINE_BYTES_MAX, excerpt};
use crate::rows::is_timestamp_in_range;

/// Pulls entries out of a body; see the module's page.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    body: &'a [u8],
    position: usize,
    ended: bool,
}

impl<'a> Parser<'a> {
    /// Begins at the first line.
    pub fn new(body: &'a [u8]) -> Self {
        Parser { body, position: 0, ended: false }
    }

    /// The next entry, or `None` once `# EOF` was read. After an error there is nothing more to pull.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, SyntaxError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.position;
        let rest = &self.body[start..];
        match self.next_line(rest, start) {
            Ok(entry) => Ok(entry),
            Err(fault) => {
                self.ended = true;
                Err(Fault { at: start + fault.at, ..fault }.locate(self.body))
            }
        }
    }

    #[inline]
    fn next_line(&mut self, rest: &'a [u8], start: usize) -> Result<Option<Entry<'a>>, Fault> {
        let length = line_length(rest);
        let line = &rest[..length.unwrap_or(rest.len())];
        if line == b"# EOF" {
            self.ended = true;
            let after = line.len() + 1;
            return match rest.get(after..) {
                Some([_, ..]) => Err(Fault::new(after, "unexpected data after # EOF")),
                _ => Ok(None),
            };
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(Fault::new(0, format!("line has more than {LINE_BYTES_MAX} bytes")));
        }
        if length.is_none() {
            return Err(Fault::new(rest.len(), "data does not end with # EOF"));
        }
        self.position = start + line.len() + 1;
        match line.strip_prefix(b"# ") {
            Some(_) => parse_comment(line).map(Some),
            None => parse_sample(line, start).map(|sample| Some(Entry::Sample(sample))),
        }
    }
}

/// `# HELP name text`, `# TYPE name type`, `# UNIT name unit`.
fn parse_comment(line: &[u8]) -> Result<Entry<'_>, Fault> {
    const NAME: usize = "# TYPE ".len();
    let keyword = line.get(..NAME).unwrap_or_default();
    if ![&b"# HELP "[..], b"# TYPE ", b"# UNIT "].contains(&keyword) {
        return Err(Fault::expected("HELP, TYPE, UNIT or EOF", line, 2));
    }
    let (name, end) = read_metric_name(line, NAME)?;
    if line.get(end) != Some(&b' ') {
        return Err(Fault::expected("a blank and text", line, end));
    }
    let text = utf8(line, end + 1, line.len(), "text")?;
    match keyword[2] {
        b'H' => Ok(Entry::Help(name, HelpText { raw: text, grammar: Some(Grammar::OpenMetrics) })),
        b'T' => metric_type(text)
            .map(|kind| Entry::Type(name, kind))
            .ok_or_else(|| Fault::new(end + 1, format!("invalid metric type {:?}", excerpt(text)))),
        _ => parse_unit(name, text).map_err(|message| Fault::new(end + 1, message)),
    }
}

/// The types that this format knows.
fn metric_type(name: &str) -> Option<MetricType> {
    if name == "untyped" { None } else { MetricType::from_name(name) }
}

/// A unit must be the last word of the name.
fn parse_unit<'a>(name: MetricName<'a>, unit: &'a str) -> Result<Entry<'a>, String> {
    let family = name.to_string();
    let is_suffix = family.strip_suffix(unit).is_some_and(|front| front.ends_with('_'));
    if unit.is_empty() || is_suffix {
        return Ok(Entry::Unit(name, unit));
    }
    Err(format!("unit {:?} not a suffix of metric {:?}", excerpt(unit), excerpt(&family)))
}

#[inline]
fn parse_sample(line: &[u8], offset: usize) -> Result<SampleLine<'_>, Fault> {
    let mut end = name_end(line, 0, is_metric_byte);
    if line.get(end) == Some(&b'{') {
        end = closing_brace(line, end)? + 1;
    } else if end == 0 {
        return Err(Fault::expected("metric name", line, 0));
    }
    let (value, value_end) = read_number(line, end, "value after metric")?;
    let mut at = value_end;
    let mut timestamp_ms = None;
    if at < line.len() && !line[at..].starts_with(b" # {") {
        let (timestamp, stamp_end) = read_timestamp(line, at)?;
        (timestamp_ms, at) = (Some(timestamp), stamp_end);
    }
    let exemplar = match line.get(at..) {
        Some([_, ..]) => Some(read_exemplar(line, at)?),
        _ => None,
    };
    Ok(SampleLine {
        series: &line[..end],
        value,
        timestamp_ms,
        exemplar,
        offset,
        grammar: Grammar::OpenMetrics,
    })
}

/// A blank and a number; returns it and where it ends.
#[inline]
fn read_number(line: &[u8], at: usize, what: &str) -> Result<(f64, usize), Fault> {
    if line.get(at) != Some(&b' ') || line.get(at + 1).is_none_or(|b| *b == b' ') {
        return Err(Fault::expected(what, line, at));
    }
    let end = word_end(line, at + 1);
    let value =
        parse_float(&line[at + 1..end]).ok_or_else(|| Fault::expected("a number", line, at + 1))?;
    Ok((value, end))
}

/// A blank and seconds since the epoch; returns milliseconds and where they end.
fn read_timestamp(line: &[u8], at: usize) -> Result<(TimestampMs, usize), Fault> {
    let (seconds, end) = read_number(line, at, "timestamp, exemplar or new record")?;
    let timestamp_ms = (seconds * 1000.0) as TimestampMs;
    if !seconds.is_finite() || !is_timestamp_in_range(timestamp_ms) {
        let message = format!("timestamp {seconds} s is not within the years 1 to 9999");
        return Err(Fault::new(at + 1, message));
    }
    Ok((timestamp_ms, end))
}

/// ` # {labels} value [timestamp]` at the end of a line.
fn read_exemplar(line: &[u8], at: usize) -> Result<Exemplar<'_>, Fault> {
    if !line[at..].starts_with(b" # {") {
        return Err(Fault::expected("exemplar or new record after timestamp", line, at));
    }
    let open = at + 3;
    let close = closing_brace(line, open)? + 1;
    let labels = &line[open..close];
    let mut set = LabelSet::new();
    read_series(labels, Grammar::OpenMetrics, &mut set)
        .map_err(|fault| Fault { at: open + fault.at, ..fault })?;
    let (value, mut end) = read_number(line, close, "value of the exemplar")?;
    let mut timestamp_ms = None;
    if end < line.len() {
        let (timestamp, stamp_end) = read_timestamp(line, end)?;
        (timestamp_ms, end) = (Some(timestamp), stamp_end);
    }
    if end < line.len() {
        return Err(Fault::expected("new record after exemplar", line, end));
    }
    Ok(Exemplar { labels, value, timestamp_ms })
}

#[cfg(test)]
mod tests;
