//! Anchored regular expressions, and the many that need no regex engine.
//!
//! Selectors mostly hold `a|b|c`, `prefix.*`, `.+`. Such an expression is recognized once, when the matcher is built,
//! and answered by comparing; an index looks its literals up instead of trying every value.

use regex::Regex;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Dot, Hir, HirKind};

use super::matcher::{BadRegex, REGEX_BYTES_MAX};
use super::re2::{fail, translate};
use crate::limits::REGEX_LITERALS_MAX;

/// A compiled expression, in the cheapest form that answers it.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// `.*`
    Everything,
    /// `.+`
    NotEmpty,
    /// Finitely many strings, sorted.
    Literals(Vec<String>),
    /// A literal and then `.*`.
    Prefix(String),
    /// The rest; every match begins with `prefix`.
    Regex { regex: Regex, prefix: String },
}

/// The values that a pattern may match, for an index to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates<'a> {
    /// Any value.
    Any,
    /// Exactly these.
    Literals(&'a [String]),
    /// Only such as begin so.
    Prefix(&'a str),
}

impl Pattern {
    /// Compiles `source` anchored at both ends, with `.` matching newlines.
    pub(super) fn new(source: &str) -> Result<Self, BadRegex> {
        let regex = anchored(source)?;
        let parsed = regex_syntax::ParserBuilder::new()
            .dot_matches_new_line(true)
            .build()
            .parse(&translate(source)?)
            .map_err(|_| refused(source))?;
        Ok(recognize(&parsed).unwrap_or_else(|| Pattern::Regex { regex, prefix: prefix(&parsed) }))
    }

    /// Whether all of `value` matches.
    #[inline]
    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Pattern::Everything => true,
            Pattern::NotEmpty => !value.is_empty(),
            Pattern::Literals(set) => set.binary_search_by(|s| s.as_str().cmp(value)).is_ok(),
            Pattern::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Pattern::Regex { regex, prefix } => {
                value.starts_with(prefix.as_str()) && regex.is_match(value)
            }
        }
    }

    /// What it may match.
    pub(super) fn candidates(&self) -> Candidates<'_> {
        match self {
            Pattern::Everything | Pattern::NotEmpty => Candidates::Any,
            Pattern::Literals(set) => Candidates::Literals(set),
            Pattern::Prefix(prefix) | Pattern::Regex { prefix, .. } if prefix.is_empty() => {
                Candidates::Any
            }
            Pattern::Prefix(prefix) | Pattern::Regex { prefix, .. } => Candidates::Prefix(prefix),
        }
    }
}

/// Compiles `source`, in RE2's syntax, anchored at both ends, with `.` matching newlines.
pub fn anchored(source: &str) -> Result<Regex, BadRegex> {
    regex::RegexBuilder::new(&format!("^(?s:{})$", translate(source)?))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|_| refused(source))
}

/// Of a well-formed expression the crate refuses only what nests too deep or compiles to too much.
fn refused(source: &str) -> BadRegex {
    fail("expression too large", source)
}

/// The forms that need no engine.
fn recognize(hir: &Hir) -> Option<Pattern> {
    if let Some(min) = repeated_dot(hir) {
        return match min {
            0 => Some(Pattern::Everything),
            1 => Some(Pattern::NotEmpty),
            _ => None,
        };
    }
    if let HirKind::Concat(parts) = hir.kind()
        && let [first, rest] = &parts[..]
        && repeated_dot(rest) == Some(0)
        && let HirKind::Literal(literal) = first.kind()
    {
        return String::from_utf8(literal.0.to_vec()).ok().map(Pattern::Prefix);
    }
    literals(hir).map(Pattern::Literals)
}

/// The least number of repetitions, if `hir` is `.` repeated without an upper bound.
fn repeated_dot(hir: &Hir) -> Option<u32> {
    match hir.kind() {
        HirKind::Capture(capture) => repeated_dot(&capture.sub),
        HirKind::Repetition(repetition)
            if repetition.max.is_none() && *repetition.sub == Hir::dot(Dot::AnyChar) =>
        {
            Some(repetition.min)
        }
        _ => None,
    }
}

/// All strings that match, if they are few.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let mut extractor = Extractor::new();
    extractor
        .limit_class(REGEX_LITERALS_MAX)
        .limit_total(REGEX_LITERALS_MAX)
        .limit_literal_len(usize::MAX);
    let found = extractor.extract(hir);
    let all = found.literals().filter(|_| found.is_exact())?;
    let mut set = all
        .iter()
        .map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok())
        .collect::<Option<Vec<_>>>()?;
    set.sort_unstable();
    set.dedup();
    Some(set)
}

/// What every match begins with.
fn prefix(hir: &Hir) -> String {
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix);
    let found = extractor.extract(hir);
    let common = found.longest_common_prefix().unwrap_or_default();
    // A prefix may end inside a character; what is left of it is still a prefix.
    let valid = common.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(source: &str) -> String {
        match Pattern::new(source).unwrap() {
            Pattern::Everything => "everything".to_owned(),
            Pattern::NotEmpty => "not empty".to_owned(),
            Pattern::Literals(set) => set.join("|"),
            Pattern::Prefix(prefix) => format!("{prefix}*"),
            Pattern::Regex { prefix, .. } => format!("regex {prefix}"),
        }
    }

    #[test]
    fn common_forms_need_no_engine() {
        for (source, expected) in [
            (".*", "everything"),
            (".+", "not empty"),
            ("(.*)", "everything"),
            ("a|b|c", "a|b|c"),
            ("(prod|dev)-[12]", "dev-1|dev-2|prod-1|prod-2"),
            ("", ""),
            ("a?", "|a"),
            ("(?i)ab", "AB|Ab|aB|ab"),
            ("node_.*", "node_*"),
            ("node_.+", "regex node_"),
            ("node_[a-z]+_total", "regex node_"),
            ("é.+", "regex é"),
            ("[éè].+", "regex "),
            ("a$", "regex a"),
            ("\\d+", "regex "),
        ] {
            assert_eq!(form(source), expected, "{source}");
        }
    }

    proptest! {
        #[test]
        fn every_form_agrees_with_the_engine(
            source in "(\\(\\?i\\))?[abAB.*+?|()\\[\\]^$]{0,9}",
            values in proptest::collection::vec("[abAB\n]{0,5}", 1..20),
        ) {
            let Ok(pattern) = Pattern::new(&source) else { return Ok(()) };
            let regex = anchored(&source).unwrap();
            for value in &values {
                prop_assert_eq!(pattern.matches(value), regex.is_match(value), "{:?} on {:?}", source, value);
                let candidate = match pattern.candidates() {
                    Candidates::Any => true,
                    Candidates::Literals(set) => set.contains(value),
                    Candidates::Prefix(prefix) => value.starts_with(prefix),
                };
                prop_assert!(candidate || !pattern.matches(value));
            }
        }
    }
}
