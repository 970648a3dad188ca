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

use std::fmt;

use memchr::{memchr, memchr_iter, memchr2};
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::{Metadata, MetricType};
use tidemark_core::model::time::TimestampMs;

use super::number::{parse_float, parse_integer};
use crate::label_set::LabelSet;
use crate::limits::{LINE_BYTES_MAX, SAMPLES_PER_BODY_MAX, excerpt};
use crate::rows::{Rows, is_timestamp_in_range};

/// What is wrong with a text body, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Byte within the line, from 1.
    pub column: usize,
    /// What was expected, what was found.
    pub message: String,
}

/// What is wrong, at a byte of the body; becomes a [`SyntaxError`] once lines are counted.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Fault { at, message: message.into() }
    }

    /// `expected` against what stands in `bytes` at `at`.
    pub(crate) fn expected(expected: &str, bytes: &[u8], at: usize) -> Self {
        Fault::new(
            at,
            format!("expected {expected}, got {}", Found(bytes.get(at..).unwrap_or(b""))),
        )
    }

    pub(crate) fn locate(self, body: &[u8]) -> SyntaxError {
        let before = &body[..self.at.min(body.len())];
        let start = memchr::memrchr(b'\n', before).map_or(0, |i| i + 1);
        SyntaxError {
            line: memchr_iter(b'\n', before).count() + 1,
            column: before.len() - start + 1,
            message: self.message,
        }
    }
}

/// The next word of the input as an error message shows it.
struct Found<'a>(&'a [u8]);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|b| b" \t\n".contains(b)).unwrap_or(self.0.len());
        match &self.0[..end] {
            [] if self.0.first().is_none_or(|b| *b == b'\n') => f.write_str("end of line"),
            [] => f.write_str("white space"),
            word => write!(f, "{:?}", excerpt(&String::from_utf8_lossy(word))),
        }
    }
}

/// One line that says something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    /// `# TYPE`
    Type(MetricName<'a>, MetricType),
    /// `# HELP`, its text still escaped: see [`unescape_help`].
    Help(MetricName<'a>, &'a [u8]),
    /// A sample.
    Sample(SampleLine<'a>),
}

/// A metric name as it stands in the body: bare, or the inside of quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricName<'a> {
    raw: &'a str,
    quoted: bool,
}

impl MetricName<'_> {
    /// Appends the name to `out`, unescaped.
    pub fn write(self, out: &mut String) {
        if self.quoted { unescape_into(self.raw, out) } else { out.push_str(self.raw) }
    }
}

impl fmt::Display for MetricName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = String::new();
        self.write(&mut name);
        f.write_str(&name)
    }
}

/// One sample and the bytes that name its series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleLine<'a> {
    /// Metric name and labels just as they are written: the same bytes are the same series.
    pub series: &'a [u8],
    /// The value; a NaN is the normal one.
    pub value: f64,
    /// The explicit timestamp, if there is one.
    pub timestamp_ms: Option<TimestampMs>,
    /// Where `series` begins in the body.
    offset: usize,
}

impl SampleLine<'_> {
    /// Reads the labels into `out`, after what it holds already, metric name included. The error's place is within
    /// `body`, the whole.
    pub fn labels(&self, body: &[u8], out: &mut LabelSet) -> Result<(), SyntaxError> {
        read_series(self.series, out)
            .map_err(|f| Fault { at: self.offset + f.at, ..f }.locate(body))
    }

    /// A [`SyntaxError`] at the start of this line.
    pub fn error(&self, body: &[u8], message: impl Into<String>) -> SyntaxError {
        Fault::new(self.offset, message).locate(body)
    }
}

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
            let length = memchr(b'\n', rest).unwrap_or(rest.len());
            self.position = start + length + 1;
            let entry = if length > LINE_BYTES_MAX {
                let message = format!("line has {length} bytes, more than {LINE_BYTES_MAX}");
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
            Entry::Help(name, text) => families.at(name, rows).help = unescape_help(text),
            Entry::Sample(line) => {
                labels.clear();
                line.labels(body, &mut labels)?;
                if rows.sample_count() == SAMPLES_PER_BODY_MAX {
                    let message = format!("more than {SAMPLES_PER_BODY_MAX} samples in one body");
                    return Err(line.error(body, message));
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
        if std::str::from_utf8(text).is_err() {
            return Err(Fault::new(end, "help text is not valid UTF-8"));
        }
        return Ok(Some(Entry::Help(name, text)));
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

/// A metric name in a comment: bare or in quotes. Returns it and where it ends.
fn read_metric_name(line: &[u8], start: usize) -> Result<(MetricName<'_>, usize), Fault> {
    if line.get(start) == Some(&b'"') {
        let end = closing_quote(line, start)?;
        let raw = utf8(line, start + 1, end, "metric name")?;
        return Ok((MetricName { raw, quoted: true }, end + 1));
    }
    let end = name_end(line, start, is_metric_byte);
    if end == start || line[start].is_ascii_digit() {
        return Err(Fault::expected("metric name", line, start));
    }
    Ok((MetricName { raw: utf8(line, start, end, "metric name")?, quoted: false }, end))
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
    Ok(SampleLine { series: &line[start..end], value, timestamp_ms, offset: offset + start })
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

/// Reads `name{label="value",...}` or `{"name",label="value"}` into `out`.
pub(crate) fn read_series(series: &[u8], out: &mut LabelSet) -> Result<(), Fault> {
    let end = name_end(series, 0, is_metric_byte);
    let mut named = end > 0;
    if named {
        if series[0].is_ascii_digit() {
            return Err(Fault::expected("metric name", series, 0));
        }
        out.push(METRIC_NAME, utf8(series, 0, end, "metric name")?);
    }
    let mut at = skip_blanks(series, end);
    if at == series.len() {
        return Ok(());
    }
    at = skip_blanks(series, at + 1);
    while series.get(at) != Some(&b'}') {
        at = read_label(series, at, &mut named, out)?;
        at = skip_blanks(series, at);
        if series.get(at) == Some(&b',') {
            at = skip_blanks(series, at + 1);
        }
    }
    Ok(())
}

/// Reads one `name="value"` or a quoted metric name; returns where it ends.
fn read_label(
    series: &[u8],
    start: usize,
    named: &mut bool,
    out: &mut LabelSet,
) -> Result<usize, Fault> {
    let quoted = series.get(start) == Some(&b'"');
    let (name, after_name) = if quoted {
        let end = closing_quote(series, start)?;
        (utf8(series, start + 1, end, "label name")?, end + 1)
    } else {
        let end = name_end(series, start, is_label_byte);
        if end == start || series[start].is_ascii_digit() {
            return Err(Fault::expected("label name", series, start));
        }
        (utf8(series, start, end, "label name")?, end)
    };
    let equal = skip_blanks(series, after_name);
    if quoted && matches!(series.get(equal), Some(b',' | b'}')) {
        if std::mem::replace(named, true) {
            return Err(Fault::new(start, format!("metric name already set: {:?}", excerpt(name))));
        }
        out.push_with(METRIC_NAME, |text| unescape_into(name, text));
        return Ok(equal);
    }
    if series.get(equal) != Some(&b'=') {
        return Err(Fault::expected("equal sign", series, equal));
    }
    let open = skip_blanks(series, equal + 1);
    if series.get(open) != Some(&b'"') {
        return Err(Fault::expected("label value in quotes", series, open));
    }
    let close = closing_quote(series, open)?;
    let value = utf8(series, open + 1, close, "label value")?;
    if quoted && name.contains('\\') {
        let mut unescaped = String::new();
        unescape_into(name, &mut unescaped);
        out.push_with(&unescaped, |text| unescape_into(value, text));
    } else {
        out.push_with(name, |text| unescape_into(value, text));
    }
    Ok(close + 1)
}

fn utf8<'a>(line: &'a [u8], from: usize, to: usize, what: &str) -> Result<&'a str, Fault> {
    std::str::from_utf8(&line[from..to])
        .map_err(|e| Fault::new(from + e.valid_up_to(), format!("{what} is not valid UTF-8")))
}

#[inline]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[inline]
pub(crate) fn skip_blanks(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|b| is_blank(*b)) {
        at += 1;
    }
    at
}

#[inline]
pub(crate) fn word_end(line: &[u8], start: usize) -> usize {
    line[start..].iter().position(|b| is_blank(*b)).map_or(line.len(), |i| start + i)
}

#[inline]
pub(crate) fn name_end(line: &[u8], start: usize, is_name: fn(u8) -> bool) -> usize {
    line[start..].iter().position(|b| !is_name(*b)).map_or(line.len(), |i| start + i)
}

#[inline]
pub(crate) fn is_metric_byte(byte: u8) -> bool {
    is_label_byte(byte) || byte == b':'
}

#[inline]
pub(crate) fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The quote that closes the one at `open`, past escaped ones.
pub(crate) fn closing_quote(line: &[u8], open: usize) -> Result<usize, Fault> {
    let mut at = open + 1;
    while let Some(i) = memchr2(b'"', b'\\', line.get(at..).unwrap_or_default()) {
        at += i;
        if line[at] == b'"' {
            return Ok(at);
        }
        at += 2;
    }
    Err(Fault::new(open, "quote is not closed on its line"))
}

/// The brace that closes the one at `open`, past those in quotes.
pub(crate) fn closing_brace(line: &[u8], open: usize) -> Result<usize, Fault> {
    let mut at = open + 1;
    while let Some(i) = memchr2(b'}', b'"', &line[at..]) {
        at += i;
        if line[at] == b'}' {
            return Ok(at);
        }
        at = closing_quote(line, at)? + 1;
    }
    Err(Fault::new(open, "brace is not closed on its line"))
}

/// Appends `raw` with `\\`, `\"` and `\n` replaced; any other escape stays as it is written.
pub(crate) fn unescape_into(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(i) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..i]);
        let replaced = match rest.as_bytes().get(i + 1) {
            Some(b'\\') => "\\",
            Some(b'"') => "\"",
            Some(b'n') => "\n",
            _ => {
                out.push('\\');
                rest = &rest[i + 1..];
                continue;
            }
        };
        out.push_str(replaced);
        rest = &rest[i + 2..];
    }
    out.push_str(rest);
}

/// Help text with `\\` and `\n` replaced.
pub fn unescape_help(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\\')) => out.push('\\'),
            ('\\', Some('n')) => out.push('\n'),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

#[cfg(test)]
mod tests;
