//! Canonical text: the tree as Prometheus prints it, which parses to the same tree again.

use std::fmt::{self, Display, Formatter, Write};

use tidemark_core::model::labels::{METRIC_NAME, is_legacy_label_name};
use tidemark_core::model::matcher::{MatchOp, Matcher};

use super::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Cardinality, DurationExpr, EdgeMode, Expr,
    MatrixSelector, NumberLiteral, SubqueryExpr, UnaryOp, VectorMatching, VectorSelector,
};
use super::duration::format_duration_ms;
use super::number::{Fixed, General, Plain};
use super::quote::quoted;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(literal) => literal.fmt(f),
            Expr::String(literal) => match &literal.invalid_utf8 {
                Some(text) => f.write_str(text),
                None => quoted(&literal.value).fmt(f),
            },
            Expr::Vector(selector) => selector.fmt(f),
            Expr::Matrix(matrix) => matrix.fmt(f),
            Expr::Subquery(subquery) => subquery.fmt(f),
            Expr::Unary(unary) => write!(f, "{}{}", unary.op, unary.expr),
            Expr::Binary(binary) => binary.fmt(f),
            Expr::Aggregate(aggregate) => aggregate.fmt(f),
            Expr::Call(call) => call.fmt(f),
            Expr::Paren(paren) => write!(f, "({})", paren.expr),
        }
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char(match self {
            UnaryOp::Plus => '+',
            UnaryOp::Minus => '-',
        })
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            f.write_str(&format_duration_ms((self.value * 1e3).round() as i64))
        } else {
            Plain(self.value).fmt(f)
        }
    }
}

/// A matcher with its value quoted as Go does.
struct Printed<'a>(&'a Matcher);

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let matcher = self.0;
        write_label(f, matcher.name())?;
        write!(f, "{}{}", matcher.op().as_str(), quoted(matcher.value()))
    }
}

fn write_label(f: &mut Formatter<'_>, label: &str) -> fmt::Result {
    if is_legacy_label_name(label) { f.write_str(label) } else { quoted(label).fmt(f) }
}

fn write_labels(f: &mut Formatter<'_>, before: &str, labels: &[String]) -> fmt::Result {
    write!(f, "{before} (")?;
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write_label(f, label)?;
    }
    f.write_char(')')
}

impl VectorSelector {
    /// The name and the matchers, in order of their text.
    fn write_matchers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_name = |m: &&Matcher| {
            m.name() == METRIC_NAME
                && m.op() == MatchOp::Equal
                && m.value() == self.name
                && !self.name.is_empty()
        };
        let mut texts: Vec<String> =
            self.matchers.iter().filter(|m| !is_name(m)).map(|m| Printed(m).to_string()).collect();
        f.write_str(&self.name)?;
        if texts.is_empty() {
            // Prometheus prints nothing for `{}`, which nobody can read.
            return f.write_str(if self.name.is_empty() { "{}" } else { "" });
        }
        texts.sort_unstable();
        write!(f, "{{{}}}", texts.join(","))
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_matchers(f)?;
        write_at(f, self.at)?;
        write_edges(f, self.edges)?;
        write_offset(f, self.offset.as_ref())
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let selector = &self.selector;
        selector.write_matchers(f)?;
        f.write_char('[')?;
        write_duration(f, &self.range)?;
        f.write_char(']')?;
        write_edges(f, selector.edges)?;
        write_at(f, selector.at)?;
        write_offset(f, selector.offset.as_ref())
    }
}

/// What stands behind the inner expression of a subquery.
pub(super) struct SubquerySuffix<'a>(pub &'a SubqueryExpr);

impl Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let subquery = self.0;
        f.write_char('[')?;
        write_duration(f, &subquery.range)?;
        f.write_char(':')?;
        if let Some(step) = &subquery.step {
            write_duration(f, step)?;
        }
        f.write_char(']')?;
        write_at(f, subquery.at)?;
        write_offset(f, subquery.offset.as_ref())
    }
}

impl Display for SubqueryExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, SubquerySuffix(self))
    }
}

fn write_edges(f: &mut Formatter<'_>, edges: EdgeMode) -> fmt::Result {
    f.write_str(match edges {
        EdgeMode::Plain => "",
        EdgeMode::Anchored => " anchored",
        EdgeMode::Smoothed => " smoothed",
    })
}

fn write_at(f: &mut Formatter<'_>, at: Option<AtModifier>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(AtModifier::Start) => f.write_str(" @ start()"),
        Some(AtModifier::End) => f.write_str(" @ end()"),
        Some(AtModifier::Timestamp(ms)) => {
            write!(f, " @ {}", Fixed { value: ms as f64 / 1000.0, decimals: 3 })
        }
    }
}

fn write_offset(f: &mut Formatter<'_>, offset: Option<&DurationExpr>) -> fmt::Result {
    let Some(offset) = offset else {
        return Ok(());
    };
    f.write_str(" offset ")?;
    write_duration(f, offset)
}

/// A whole duration: a plain number is written with units too, unless it is less than the smallest of them.
fn write_duration(f: &mut Formatter<'_>, duration: &DurationExpr) -> fmt::Result {
    match duration.literal_ms() {
        Some(ms) if ms != 0 => f.write_str(&format_duration_ms(ms)),
        _ => duration.fmt(f),
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Literal(literal) => literal.fmt(f),
            DurationExpr::Step(_) => f.write_str("step()"),
            DurationExpr::Range(_) => f.write_str("range()"),
            DurationExpr::Extreme(e) => {
                write!(f, "{}({}, {})", if e.max { "max_of" } else { "min_of" }, e.lhs, e.rhs)
            }
            DurationExpr::Unary(u) => write!(f, "{}{}", u.op, u.expr),
            DurationExpr::Binary(b) => write!(f, "{} {} {}", b.lhs, b.op.as_str(), b.rhs),
            DurationExpr::Paren(p) => write!(f, "({})", p.expr),
        }
    }
}

/// A binary operator and its modifiers.
pub(super) struct BinaryOperator<'a>(pub &'a BinaryExpr);

impl Display for BinaryOperator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        self.0.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(f))
    }
}

impl Display for BinaryExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.lhs, BinaryOperator(self), self.rhs)
    }
}

impl Display for VectorMatching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some(" group_left"),
            Cardinality::OneToMany => Some(" group_right"),
            _ => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            write_labels(f, if self.on { " on" } else { " ignoring" }, &self.labels)?;
        }
        if let Some(group) = group {
            write_labels(f, group, &self.include)?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left == right => write!(f, " fill ({})", General(left)),
            (left, right) => {
                for (word, value) in [("fill_left", left), ("fill_right", right)] {
                    if let Some(value) = value {
                        write!(f, " {word} ({})", General(value))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// An aggregation's operator and its grouping, with a space behind the latter.
pub(super) struct AggregateOperator<'a>(pub &'a AggregateExpr);

impl Display for AggregateOperator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let aggregate = self.0;
        f.write_str(aggregate.op.as_str())?;
        let word = match (aggregate.without, aggregate.grouping.is_empty()) {
            (true, _) => " without",
            (false, false) => " by",
            (false, true) => return Ok(()),
        };
        write_labels(f, word, &aggregate.grouping)?;
        f.write_char(' ')
    }
}

impl Display for AggregateExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        AggregateOperator(self).fmt(f)?;
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            arg.fmt(f)?;
        }
        f.write_char(')')
    }
}
