//! Replacement templates: `$1`, `${1}`, `$name`, `${name}`, `$$`, as Go's `regexp` package expands them.
//!
//! A name without braces is the longest run of letters, digits and underscores, so `$1x` is the group called `1x`. A
//! group that does not exist or did not match is empty; a `$` that begins none of these stands for itself.

use std::borrow::Cow;

use regex::{Captures, Regex};

/// A template taken apart once.
#[derive(Clone, Debug)]
pub(super) enum Template {
    /// Nothing to expand.
    Literal(String),
    Parts(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(String),
    Group(usize),
}

/// Group numbers at and past this bound are taken for names, as in Go.
const GROUP_MAX: usize = 100_000_000;

impl Template {
    /// Reads `source`, whose names are those of `regex`.
    pub(super) fn new(source: &str, regex: &Regex) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
            } else if let Some((name, after)) = reference(after) {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.extend(group(name, regex).map(Part::Group));
                rest = after;
            } else {
                literal.push('$');
                rest = after;
            }
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Template::Literal(literal);
        }
        parts.push(Part::Literal(literal));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Template::Parts(parts)
    }

    /// The template with what the groups captured.
    pub(super) fn expand<'a>(&'a self, captures: &Captures<'_>) -> Cow<'a, str> {
        match self {
            Template::Literal(text) => Cow::Borrowed(text),
            Template::Parts(parts) => {
                let mut out = String::new();
                for part in parts {
                    match part {
                        Part::Literal(text) => out.push_str(text),
                        Part::Group(i) => out.push_str(captures.get(*i).map_or("", |m| m.as_str())),
                    }
                }
                Cow::Owned(out)
            }
        }
    }
}

/// Splits the name of a group off what follows a `$`.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let end = inner.find(|c| !is_name_char(c)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    let rest = if braced.is_some() { rest.strip_prefix('}')? } else { rest };
    Some((name, rest))
}

/// Letters, decimal digits and the underscore.
fn is_name_char(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_ascii_digit()
}

/// The index of a group by number or name.
fn group(name: &str, regex: &Regex) -> Option<usize> {
    let number = name.bytes().all(|b| b.is_ascii_digit()).then(|| name.parse().ok()).flatten();
    match number {
        Some(n) if n < GROUP_MAX && (name.len() == 1 || !name.starts_with('0')) => {
            (n < regex.captures_len()).then_some(n)
        }
        _ => regex.capture_names().position(|n| n == Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let regex = Regex::new("^(a)(?P<second>b)(?P<x1>c)?(z)?$").unwrap();
        let captures = regex.captures("abc").unwrap();
        assert_eq!(Template::new(template, &regex).expand(&captures), expected, "{template}");
    }

    #[test]
    fn expands_as_go_does() {
        check("plain", "plain");
        check("$1-$2", "a-b");
        check("${1}x", "ax");
        check("$1x", "");
        check("${second}$second", "bb");
        check("$x1", "c");
        check("$4|$9|$0", "||abc");
        check("$01", "");
        check("$$1 $", "$1 $");
        check("${1", "${1");
        check("${}", "${}");
        check("$-$1", "$-a");
        check("${1-2}", "${1-2}");
    }
}
