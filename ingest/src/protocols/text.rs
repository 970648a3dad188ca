//! The Prometheus text format, versions 0.0.4 and 1.0.0 (quoted UTF-8 names).
//!
//! ```text
//! # HELP http_requests_total Requests by code.
//! # TYPE http_requests_total counter
//! http_requests_total{code="200",method="get"} 1027 1395066363000
//! {"a name in UTF-8","a label"="x"} 3
//! ```
//!
//! [`Parser`] is pulled line by line. Of a sample it finds only where the series ends, then value and timestamp: who has
//! seen these very bytes before (a scrape has, nearly always) need not look at the labels again. [`SampleLine::labels`]
//! reads them where they are new. An error names line and column and ends the body.

use tidemark_core::model::metadata::{Metadata, MetricType};
use tidemark_core::model::time::TimestampMs;

use super::bounds;
pub use super::lines::{Entry, Exemplar, HelpText, MetricName, SampleLine, SyntaxError};
use super::lines::{
    Fault, Grammar, closing_brace, is_blank, is_metric_byte, line_length, name_end,
    read_metric_name, skip_blanks, utf8, word_end,
};
use super::number::{parse_float, parse_integer};
use crate::label_set::LabelSet;
use crate::limits::{LINE_BYTES_MAX, SAMPLES_PER_BODY_MAX, excerpt};
use crate::rows::{LabelError, Rows, is_timestamp_in_range};

/// Pulls entries out of a body; see the module's page.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> Parser<'a> {
    /// Begins at the first line. The last line may lack its line feed.
    pub fn new(body: &'a [u8]) -> Self {
        Parser { body, position: 0 }
    }

    /// The whole body.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The next entry, or `None` at the end. After an error there is nothing more to pull.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, SyntaxError> {
        while self.position < self.body.len() {
            let start = self.position;
            let rest = &self.body[start..];
            let length = line_length(rest).unwrap_or(rest.len());
            self.position = start + length + 1;
            let entry = if length > LINE_BYTES_MAX {
                let message = format!("line has more than {LINE_BYTES_MAX} bytes");
                Err(Fault::new(0, message))
            } else {
                parse_line(&rest[..length], start)
            };
            match entry {
                Ok(None) => {}
                Ok(entry) => return Ok(entry),
                Err(fault) => {
                    self.position = self.body.len();
                    return Err(Fault { at: start + fault.at, ..fault }.locate(self.body));
                }
            }
        }
        Ok(None)
    }
}

/// Decodes a whole body. Samples without a timestamp get `default_timestamp_ms`.
pub fn decode(
    body: &[u8],
    default_timestamp_ms: TimestampMs,
    rows: &mut Rows,
) -> Result<(), SyntaxError> {
    let (mut parser, mut labels) = (Parser::new(body), LabelSet::new());
    let mut families = Families::default();
    while let Some(entry) = parser.next_entry()? {
        match entry {
            Entry::Type(name, kind) => families.at(name, rows).kind = kind,
            Entry::Help(name, text) => families.at(name, rows).help = text.unescaped(),
            Entry::Unit(name, unit) => unit.clone_into(&mut families.at(name, rows).unit),
            Entry::Sample(line) => {
                labels.clear();
                line.labels(body, &mut labels)?;
                bounds::normalize(families.metadata.kind, &mut labels);
                if rows.sample_count() == SAMPLES_PER_BODY_MAX {
                    let message = format!("more than {SAMPLES_PER_BODY_MAX} samples in one body");
                    return Err(line.error(body, message));
                }
                if labels.metric_name().is_empty() {
                    return Err(line.error(body, LabelError::NoMetricName.to_string()));
                }
                rows.begin_series();
                let pushed =
                    labels.iter().try_for_each(|(name, value)| rows.push_label(name, value));
                rows.push_sample(line.timestamp_ms.unwrap_or(default_timestamp_ms), line.value);
                pushed
                    .and_then(|()| rows.end_series())
                    .map_err(|error| line.error(body, error.to_string()))?;
            }
        }
    }
    families.flush(rows);
    Ok(())
}

/// Puts together what neighbouring lines say of one family.
#[derive(Default)]
struct Families {
    name: String,
    metadata: Metadata,
}

impl Families {
    fn at(&mut self, name: MetricName<'_>, rows: &mut Rows) -> &mut Metadata {
        let mut next = String::new();
        name.write(&mut next);
        if next != self.name {
            self.flush(rows);
            self.name = next;
        }
        &mut self.metadata
    }

    fn flush(&mut self, rows: &mut Rows) {
        let metadata = std::mem::take(&mut self.metadata);
        if !self.name.is_empty() {
            rows.push_metadata(&self.name, metadata);
        }
    }
}

#[inline]
fn parse_line(line: &[u8], offset: usize) -> Result<Option<Entry<'_>>, Fault> {
    let start = skip_blanks(line, 0);
    match line.get(start) {
        None => Ok(None),
        Some(b'#') => parse_comment(line, start + 1),
        Some(_) => parse_sample(line, start, offset).map(|s| Some(Entry::Sample(s))),
    }
}

/// `# HELP name text`, `# TYPE name type`; every other comment is nothing.
fn parse_comment(line: &[u8], at: usize) -> Result<Option<Entry<'_>>, Fault> {
    let word = skip_blanks(line, at);
    if word == at {
        return Ok(None);
    }
    let is_help = line[word..].starts_with(b"HELP");
    let after = word + 4;
    let named = is_help || line[word..].starts_with(b"TYPE");
    if !named || !line.get(after).is_some_and(|b| is_blank(*b)) {
        return Ok(None);
    }
    let start = skip_blanks(line, after);
    let (name, end) = read_metric_name(line, start)?;
    let text = line.get(end..).unwrap_or_default();
    if text.first().is_some_and(|b| !is_blank(*b)) {
        return Err(Fault::expected("white space after the metric name", line, end));
    }
    let text = text.get(1..).unwrap_or_default();
    if is_help {
        let raw = utf8(line, line.len() - text.len(), line.len(), "help text")?;
        return Ok(Some(Entry::Help(name, HelpText { raw, grammar: Some(Grammar::Text) })));
    }
    let kind = std::str::from_utf8(text).ok().and_then(text_type).ok_or_else(|| {
        let word = excerpt(&String::from_utf8_lossy(text));
        Fault::new(end + 1, format!("invalid metric type {word:?}"))
    })?;
    Ok(Some(Entry::Type(name, kind)))
}

/// The types that this format knows.
fn text_type(name: &str) -> Option<MetricType> {
    let known =
        ["counter", "gauge", "histogram", "summary", "untyped"].contains(&name.trim_ascii());
    known.then(|| MetricType::from_name(name.trim_ascii())).flatten()
}

#[inline]
fn parse_sample(line: &[u8], start: usize, offset: usize) -> Result<SampleLine<'_>, Fault> {
    let mut end = name_end(line, start, is_metric_byte);
    let brace = skip_blanks(line, end);
    if line.get(brace) == Some(&b'{') {
        end = closing_brace(line, brace)? + 1;
    } else if end == start {
        return Err(Fault::expected("metric name", line, start));
    }
    let value_start = skip_blanks(line, end);
    let value_end = word_end(line, value_start);
    if value_start == value_end {
        return Err(Fault::expected("value after metric", line, value_start));
    }
    let value = parse_float(&line[value_start..value_end])
        .ok_or_else(|| Fault::expected("a number as value", line, value_start))?;
    let stamp_start = skip_blanks(line, value_end);
    let timestamp_ms = match line.get(stamp_start) {
        None => None,
        Some(_) => Some(parse_timestamp(line, stamp_start)?),
    };
    Ok(SampleLine {
        series: &line[start..end],
        value,
        timestamp_ms,
        exemplar: None,
        offset: offset + start,
        grammar: Grammar::Text,
    })
}

fn parse_timestamp(line: &[u8], start: usize) -> Result<TimestampMs, Fault> {
    let end = word_end(line, start);
    let timestamp_ms = parse_integer(&line[start..end])
        .ok_or_else(|| Fault::expected("timestamp in milliseconds or new record", line, start))?;
    if !is_timestamp_in_range(timestamp_ms) {
        let message = format!("timestamp {timestamp_ms} ms is not within the years 1 to 9999");
        return Err(Fault::new(start, message));
    }
    let rest = skip_blanks(line, end);
    if rest < line.len() {
        return Err(Fault::expected("next entry after timestamp", line, rest));
    }
    Ok(timestamp_ms)
}

#[cfg(test)]
mod tests;
