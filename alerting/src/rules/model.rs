//! Groups and rules, checked: names are valid, expressions parsed, durations in milliseconds.

use std::collections::BTreeMap;
use std::fmt;

use tidemark_query::parser::ast::Expr;

/// The groups of one file, in its order.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    /// The file, as it was named.
    pub name: String,
    /// Its groups.
    pub groups: Vec<RuleGroup>,
}

impl RuleFile {
    /// How many rules in all.
    pub fn rule_count(&self) -> usize {
        self.groups.iter().map(|group| group.rules.len()).sum()
    }
}

/// Rules that are evaluated one after the other, at the same moment.
#[derive(Clone, Debug)]
pub struct RuleGroup {
    /// Its name, unique in the file.
    pub name: String,
    /// Time between evaluations; the server's default when absent.
    pub interval_ms: Option<i64>,
    /// How far in the past the rules look; the server's default when absent.
    pub query_offset_ms: Option<i64>,
    /// Most alerts or series a rule of it may give; 0 for no limit.
    pub limit: u64,
    /// Labels of every rule, unless the rule has its own.
    pub labels: BTreeMap<String, String>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The series it records, or the alert's name.
    pub name: String,
    /// The expression as written.
    pub expr_text: String,
    /// The expression.
    pub expr: Expr,
    /// Labels of what it gives; of an alerting rule, templates.
    pub labels: BTreeMap<String, String>,
    /// What becomes of the result.
    pub kind: RuleKind,
}

/// What becomes of a rule's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// It is stored as series.
    Recording,
    /// Each of its series is an alert.
    Alerting {
        /// How long a series must be there before the alert fires.
        for_ms: i64,
        /// How long the alert goes on firing after the series went away.
        keep_firing_for_ms: i64,
        /// Texts of the alert: templates.
        annotations: BTreeMap<String, String>,
    },
}

/// What is wrong with a rule file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// The file, as it was named.
    pub file: String,
    /// Line and column, from 1; none where the whole file is meant.
    pub place: Option<(u64, u64)>,
    /// What, in Prometheus' words.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}
