//! A request's parameters: those of the URL and those of a form in the body, and their meanings.
//!
//! Where both name a parameter, the body counts, as with Go's `FormValue`. A part of the text that is not well-formed is
//! left out; [`Params::malformed`] keeps the first complaint for the one endpoint that makes it.

use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimestampMs;

use super::time::{parse_duration_ns, parse_time_ms};
use crate::parser::parse_metric_selector;
use crate::parser::quote::quoted;
use crate::value::{ErrorType, QueryError};

/// Names and values in order: the body's, then the URL's.
#[derive(Clone, Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    malformed: Option<String>,
}

type Result<T> = std::result::Result<T, QueryError>;

/// An error of kind `bad_data`.
pub(super) fn bad_data(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorType::BadData, message)
}

/// The error of one parameter.
pub(super) fn invalid(name: &str, problem: impl std::fmt::Display) -> QueryError {
    bad_data(format!("invalid parameter {}: {problem}", quoted(name)))
}

impl Params {
    /// Reads the query of a URL (without `?`) and the body of a form (empty if there is none).
    pub fn parse(url_query: &str, form: &[u8]) -> Self {
        let mut params = Params::default();
        params.read(&String::from_utf8_lossy(form));
        params.read(url_query);
        params
    }

    fn read(&mut self, text: &str) {
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if part.contains(';') {
                self.complain("invalid semicolon separator in query".to_owned());
                continue;
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match (unescape(name), unescape(value)) {
                (Ok(name), Ok(value)) => self.pairs.push((name, value)),
                (Err(bad), _) | (_, Err(bad)) => {
                    self.complain(format!("invalid URL escape {}", quoted(&bad)));
                }
            }
        }
    }

    fn complain(&mut self, problem: String) {
        self.malformed.get_or_insert(problem);
    }

    /// What is wrong with the text the parameters were read from.
    pub fn malformed(&self) -> Option<&str> {
        self.malformed.as_deref()
    }

    /// The first value of `name`; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A time that must be given.
    pub fn time(&self, name: &str) -> Result<TimestampMs> {
        parse_time_ms(self.get(name)).map_err(|problem| invalid(name, problem))
    }

    /// A time that may be left out.
    pub fn time_or(&self, name: &str, default: TimestampMs) -> Result<TimestampMs> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(default);
        }
        parse_time_ms(text)
            .map_err(|problem| invalid(name, format!("invalid time value for '{name}': {problem}")))
    }

    /// A duration that must be given, in nanoseconds.
    pub fn duration_ns(&self, name: &str) -> Result<i64> {
        parse_duration_ns(self.get(name)).map_err(|problem| invalid(name, problem))
    }

    /// A duration that may be left out, in nanoseconds.
    pub fn duration_ns_if_given(&self, name: &str) -> Result<Option<i64>> {
        if self.get(name).is_empty() { Ok(None) } else { self.duration_ns(name).map(Some) }
    }

    /// A boolean that may be left out.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_bool(text).ok_or_else(|| {
                bad_data(format!("invalid {name} {}: must be boolean", quoted(text)))
            }),
        }
    }

    /// The greatest number of results; `None` for no limit, which 0 and nothing mean too.
    pub fn limit(&self) -> Result<Option<usize>> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(None);
        }
        match parse_int(text) {
            Ok(n) if n < 0 => Err(invalid("limit", "limit must be non-negative")),
            Ok(n) => Ok(usize::try_from(n).ok().filter(|n| *n > 0)),
            Err(problem) => Err(invalid("limit", problem)),
        }
    }

    /// The selectors of `match[]`, each of which must hold a matcher that does not match the empty string.
    pub fn selectors(&self) -> Result<Vec<Vec<Matcher>>> {
        let mut selectors = Vec::new();
        for text in self.get_all("match[]") {
            selectors.push(parse_metric_selector(text).map_err(|e| bad_data(e.to_string()))?);
        }
        if selectors.iter().any(|matchers| matchers.iter().all(Matcher::matches_empty)) {
            return Err(bad_data("match[] must contain at least one non-empty matcher"));
        }
        Ok(selectors)
    }
}

/// What Go takes for a boolean.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// An integer, with the errors of Go's `strconv.Atoi`.
pub(super) fn parse_int(text: &str) -> std::result::Result<i64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse::<i64>().map_err(|error| {
        let problem = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {}: {problem}", quoted(text))
    })
}

/// Resolves `%xx` and `+`. Gives the first escape that is none.
fn unescape(text: &str) -> std::result::Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |i: usize| after.get(i).and_then(|b| char::from(*b).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let shown = &after[..after.len().min(2)];
                    return Err(format!("%{}", String::from_utf8_lossy(shown)));
                };
                out.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            byte => out.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_counts_first() {
        let params =
            Params::parse("query=url&match[]=a&x", b"query=up%7Bjob%3D%22a+b%22%7D&match%5B%5D=b");
        assert_eq!(params.get("query"), r#"up{job="a b"}"#);
        assert_eq!(params.get_all("match[]").collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(params.get("x"), "");
        assert_eq!(params.malformed(), None);
        let bad = Params::parse("a=%zz&b=%4&c=1", b"");
        assert_eq!(bad.malformed(), Some(r#"invalid URL escape "%zz""#));
        assert_eq!(bad.get("c"), "1");
    }

    #[test]
    fn errors_are_those_of_prometheus() {
        let params = Params::parse("start=x&end=1&limit=-1&step=&match[]={}&time=y", b"");
        let message = |error: QueryError| error.message;
        assert_eq!(
            params.time("start").map_err(message),
            Err(r#"invalid parameter "start": cannot parse "x" to a valid timestamp"#.to_owned())
        );
        assert_eq!(
            params.time_or("time", 0).map_err(message),
            Err(r#"invalid parameter "time": invalid time value for 'time': cannot parse "y" to a valid timestamp"#.to_owned())
        );
        assert_eq!(params.time("end").map_err(message), Ok(1000));
        assert_eq!(
            params.limit().map_err(message),
            Err(r#"invalid parameter "limit": limit must be non-negative"#.to_owned())
        );
        assert_eq!(
            params.duration_ns("step").map_err(message),
            Err(r#"invalid parameter "step": cannot parse "" to a valid duration"#.to_owned())
        );
        assert_eq!(
            params.selectors().map_err(message),
            Err("match[] must contain at least one non-empty matcher".to_owned())
        );
        assert_eq!(
            Params::parse("limit=1e3", b"").limit().map_err(message),
            Err(r#"invalid parameter "limit": strconv.Atoi: parsing "1e3": invalid syntax"#
                .to_owned())
        );
        assert_eq!(Params::parse("limit=0", b"").limit().map_err(message), Ok(None));
    }
}
