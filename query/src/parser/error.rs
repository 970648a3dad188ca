//! The parser's one error: what is wrong and where, in Prometheus' words.

use std::fmt;

use super::ast::PosRange;

/// Why a text is not PromQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The bytes that are wrong.
    pub pos: PosRange,
    /// What is wrong with them, without the position.
    pub message: String,
    /// Line and column of the first byte, both from 1, columns in bytes; `None` in an empty text.
    pub line_column: Option<(usize, usize)>,
}

impl ParseError {
    /// Boxed, so that the results of the functions that recurse stay small.
    #[allow(clippy::unnecessary_box_returns, reason = "every result wants it boxed")]
    pub(super) fn new(source: &str, pos: PosRange, message: impl Into<String>) -> Box<Self> {
        let line_column = (!source.is_empty()).then(|| line_column(source, pos.start));
        Box::new(ParseError { pos, message: message.into(), line_column })
    }
}

/// Line and column of byte `at`, both from 1, the column in bytes, as Prometheus counts.
pub fn line_column(source: &str, at: usize) -> (usize, usize) {
    let before = &source.as_bytes()[..at.min(source.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (line, before.len() - line_start + 1)
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line_column {
            Some((line, column)) => write!(f, "{line}:{column}: parse error: {}", self.message),
            None => write!(f, "unknown position: parse error: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}

impl From<Box<ParseError>> for ParseError {
    fn from(boxed: Box<ParseError>) -> Self {
        *boxed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns() {
        let source = "a +\n  b";
        assert_eq!(line_column(source, 0), (1, 1));
        assert_eq!(line_column(source, 3), (1, 4));
        assert_eq!(line_column(source, 4), (2, 1));
        assert_eq!(line_column(source, 6), (2, 3));
        assert_eq!(line_column(source, 99), (2, 4));
    }
}
