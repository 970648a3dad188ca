//! Label matchers: `=`, `!=`, `=~`, `!~`.
//!
//! A label that a series does not have is matched as if its value were empty, as in Prometheus. Regular expressions
//! are RE2's syntax, anchored at both ends, and `.` matches newlines.

use std::fmt;

use super::pattern::Pattern;
pub use super::pattern::{Candidates, anchored};

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// A regular expression that is not one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct BadRegex(pub String);

/// Largest compiled size of one regular expression, in bytes; past it the matcher is refused.
pub const REGEX_BYTES_MAX: usize = 10 << 20;

/// One condition on one label.
#[derive(Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Option<Pattern>,
}

impl Matcher {
    /// Compiles the expression of the two regex kinds.
    pub fn new(
        op: MatchOp,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, BadRegex> {
        let (name, value) = (name.into(), value.into());
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Pattern::new(&value)?),
        };
        Ok(Matcher { name, op, value, pattern })
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: None }
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of comparison.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What is compared with: a literal or the source of the regular expression.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with this value passes.
    pub fn matches(&self, value: &str) -> bool {
        let found = match &self.pattern {
            Some(pattern) => pattern.matches(value),
            None => self.value == value,
        };
        found != self.is_negated()
    }

    /// Whether it is `!=` or `!~`: passes what its value or expression does not match.
    pub fn is_negated(&self) -> bool {
        matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex)
    }

    /// The values that its value or expression may match, before any negation.
    pub fn candidates(&self) -> Candidates<'_> {
        match &self.pattern {
            Some(pattern) => pattern.candidates(),
            None => Candidates::Literals(std::slice::from_ref(&self.value)),
        }
    }

    /// The values that it may match, before any negation, if they are few enough to be written out.
    pub fn literals(&self) -> &[String] {
        match self.candidates() {
            Candidates::Literals(literals) => literals,
            Candidates::Any | Candidates::Prefix(_) => &[],
        }
    }

    /// Whether a series without the label passes.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if super::labels::is_legacy_label_name(&self.name) {
            write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
        } else {
            write!(f, "{:?}{}{:?}", self.name, self.op.as_str(), self.value)
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_kinds() {
        let cases = [
            (MatchOp::Equal, "a", "a", true),
            (MatchOp::Equal, "a", "", false),
            (MatchOp::NotEqual, "a", "", true),
            (MatchOp::Regex, "a|b", "b", true),
            (MatchOp::Regex, "a|b", "ab", false),
            (MatchOp::Regex, "a.b", "a\nb", true),
            (MatchOp::Regex, ".*", "", true),
            (MatchOp::NotRegex, "a.*", "b", true),
            (MatchOp::NotRegex, "a.*", "ab", false),
        ];
        for (op, pattern, value, expected) in cases {
            let matcher = Matcher::new(op, "l", pattern).unwrap();
            assert_eq!(matcher.matches(value), expected, "{matcher} on {value:?}");
        }
        assert!(Matcher::new(MatchOp::Regex, "l", "(").is_err());
    }
}
