//! What the line-based formats have in common: entries, names, labels, and errors with their place.
//!
//! A parser ([`super::text`], [`super::openmetrics`]) cuts a line into the bytes that name the series and what follows.
//! The labels in those bytes are read here, and only on demand.

use std::fmt;

use memchr::{memchr, memchr_iter, memchr2};
use tidemark_core::model::exemplar;
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::metadata::MetricType;
use tidemark_core::model::time::TimestampMs;

use super::exemplars::exemplar;
use crate::label_set::LabelSet;
use crate::limits::{LINE_BYTES_MAX, excerpt};

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
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Fault { at, message: message.into() }
    }

    /// `expected` against what stands in `bytes` at `at`.
    pub(super) fn expected(expected: &str, bytes: &[u8], at: usize) -> Self {
        Fault::new(
            at,
            format!("expected {expected}, got {}", Found(bytes.get(at..).unwrap_or(b""))),
        )
    }

    pub(super) fn locate(self, body: &[u8]) -> SyntaxError {
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
    /// `# HELP`
    Help(MetricName<'a>, HelpText<'a>),
    /// `# UNIT`
    Unit(MetricName<'a>, &'a str),
    /// A sample.
    Sample(SampleLine<'a>),
}

/// A metric name as it stands in the body: bare, or the inside of quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricName<'a> {
    raw: &'a str,
    quoted: bool,
}

impl<'a> MetricName<'a> {
    /// A name without escapes.
    pub fn verbatim(raw: &'a str) -> Self {
        MetricName { raw, quoted: false }
    }
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

/// The text of `# HELP` as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelpText<'a> {
    /// With its escapes.
    pub raw: &'a str,
    /// The format whose escapes they are; none if there are none.
    pub(super) grammar: Option<Grammar>,
}

impl<'a> HelpText<'a> {
    /// A text without escapes.
    pub fn verbatim(raw: &'a str) -> Self {
        HelpText { raw, grammar: None }
    }

    /// The text itself. Both formats escape backslash and line feed, OpenMetrics the double quote as well.
    pub fn unescaped(self) -> String {
        let Some(grammar) = self.grammar else { return self.raw.to_owned() };
        let mut out = String::with_capacity(self.raw.len());
        unescape(self.raw, grammar == Grammar::OpenMetrics, &mut out);
        out
    }
}

/// Which of the two formats: they differ in how strict they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Blanks may stand between all words, and commas between labels are optional.
    Text,
    /// Single blanks where there must be one, commas between labels.
    OpenMetrics,
}

impl Grammar {
    fn skip_blanks(self, line: &[u8], at: usize) -> usize {
        if self == Grammar::Text { skip_blanks(line, at) } else { at }
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
    /// An example of what was counted.
    pub exemplar: Option<Exemplar<'a>>,
    /// Where `series` begins in the body.
    pub(super) offset: usize,
    pub(super) grammar: Grammar,
}

/// One observation that stands for many: a trace to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Its labels as they are written, in braces.
    pub labels: &'a [u8],
    /// What was observed.
    pub value: f64,
    /// When, if that is said.
    pub timestamp_ms: Option<TimestampMs>,
}

impl SampleLine<'_> {
    /// Reads the labels into `out`, after what it holds already, metric name included. The error's place is within
    /// `body`, the whole.
    pub fn labels(&self, body: &[u8], out: &mut LabelSet) -> Result<(), SyntaxError> {
        read_series(self.series, self.grammar, out)
            .map_err(|f| Fault { at: self.offset + f.at, ..f }.locate(body))
    }

    /// The exemplar of this line, if it has one that is no longer than exemplars may be; without a time of its own it gets
    /// `sample_ms`.
    pub fn read_exemplar(&self, sample_ms: TimestampMs) -> Option<exemplar::Exemplar> {
        let written = self.exemplar?;
        let mut labels = LabelSet::new();
        read_series(written.labels, self.grammar, &mut labels).ok()?;
        exemplar(&labels, written.value, written.timestamp_ms, sample_ms)
    }

    /// A [`SyntaxError`] at the start of this line.
    pub fn error(&self, body: &[u8], message: impl Into<String>) -> SyntaxError {
        Fault::new(self.offset, message).locate(body)
    }
}

/// Where the line that `rest` begins with ends; looked for no further than a line may be long.
#[inline]
pub(super) fn line_length(rest: &[u8]) -> Option<usize> {
    memchr(b'\n', rest.get(..LINE_BYTES_MAX + 1).unwrap_or(rest))
}

/// A metric name in a comment: bare or in quotes. Returns it and where it ends.
pub(super) fn read_metric_name(
    line: &[u8],
    start: usize,
) -> Result<(MetricName<'_>, usize), Fault> {
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

/// Reads `name{label="value",...}` or `{"name",label="value"}` into `out`.
pub(super) fn read_series(
    series: &[u8],
    grammar: Grammar,
    out: &mut LabelSet,
) -> Result<(), Fault> {
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
    at = grammar.skip_blanks(series, at + 1);
    while series.get(at) != Some(&b'}') {
        at = read_label(series, at, grammar, &mut named, out)?;
        at = grammar.skip_blanks(series, at);
        if series.get(at) == Some(&b',') {
            at = grammar.skip_blanks(series, at + 1);
        } else if grammar == Grammar::OpenMetrics && series.get(at) != Some(&b'}') {
            return Err(Fault::expected("comma or closing brace", series, at));
        }
    }
    Ok(())
}

/// Reads one `name="value"` or a quoted metric name; returns where it ends.
fn read_label(
    series: &[u8],
    start: usize,
    grammar: Grammar,
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
    let equal = grammar.skip_blanks(series, after_name);
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
    let open = grammar.skip_blanks(series, equal + 1);
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

pub(super) fn utf8<'a>(
    line: &'a [u8],
    from: usize,
    to: usize,
    what: &str,
) -> Result<&'a str, Fault> {
    std::str::from_utf8(&line[from..to])
        .map_err(|e| Fault::new(from + e.valid_up_to(), format!("{what} is not valid UTF-8")))
}

#[inline]
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[inline]
pub(super) fn skip_blanks(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|b| is_blank(*b)) {
        at += 1;
    }
    at
}

#[inline]
pub(super) fn word_end(line: &[u8], start: usize) -> usize {
    line[start..].iter().position(|b| is_blank(*b)).map_or(line.len(), |i| start + i)
}

#[inline]
pub(super) fn name_end(line: &[u8], start: usize, is_name: fn(u8) -> bool) -> usize {
    line[start..].iter().position(|b| !is_name(*b)).map_or(line.len(), |i| start + i)
}

#[inline]
pub(super) fn is_metric_byte(byte: u8) -> bool {
    is_label_byte(byte) || byte == b':'
}

#[inline]
pub(super) fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The quote that closes the one at `open`, past escaped ones.
pub(super) fn closing_quote(line: &[u8], open: usize) -> Result<usize, Fault> {
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
pub(super) fn closing_brace(line: &[u8], open: usize) -> Result<usize, Fault> {
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
fn unescape_into(raw: &str, out: &mut String) {
    unescape(raw, true, out);
}

/// The same; `\"` is replaced only if `quotes`.
fn unescape(raw: &str, quotes: bool, out: &mut String) {
    let mut rest = raw;
    while let Some(i) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..i]);
        let (replaced, length) = match rest.as_bytes().get(i + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'"') if quotes => ('"', 2),
            Some(b'n') => ('\n', 2),
            _ => ('\\', 1),
        };
        out.push(replaced);
        rest = &rest[i + length..];
    }
    out.push_str(rest);
}
