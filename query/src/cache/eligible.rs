//! Which queries are the same at a step whatever the range around it.
//!
//! Not so: what looks at the range itself (`@`, `start()`, durations with `range()`), what reads further than it says (extended
//! windows, `info`), parameters that change from step to step, and series that could become the same by losing different
//! names, which is an error of the whole range.

use crate::functions::signature::Function;
use crate::parser::ast::{AggregateExpr, DurationExpr, EdgeMode, Expr, ValueType, VectorSelector};
use crate::parser::walk::children;
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::matcher::MatchOp;

/// How far ahead of a step the query looks at samples, in ms, if its steps know nothing of the range.
pub fn ahead_ms(expr: &Expr) -> Option<i64> {
    let own = match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Paren(_) | Expr::Unary(_) | Expr::Binary(_) => 0,
        Expr::Vector(e) => of_selector(e)?,
        Expr::Matrix(e) => {
            e.range.literal_ms()?;
            of_selector(&e.selector)?
        }
        Expr::Subquery(e) => {
            let fixed = e.at.is_none() && is_literal(e.step.as_ref());
            if !fixed || e.range.literal_ms().is_none() || !has_one_name(&e.expr) {
                return None;
            }
            of_offset(e.offset.as_ref())?
        }
        Expr::Aggregate(e) => of_aggregate(e)?,
        Expr::Call(e) => match e.function {
            Function::Start | Function::End | Function::Range | Function::Step | Function::Info => {
                return None;
            }
            _ => 0,
        },
    };
    let mut below = 0;
    for child in children(expr) {
        below = ahead_ms(child)?.max(below);
    }
    Some(own + below)
}

fn of_selector(selector: &VectorSelector) -> Option<i64> {
    let named = |m: &tidemark_core::model::matcher::Matcher| {
        m.name() == METRIC_NAME && m.op() == MatchOp::Equal
    };
    let fixed = selector.at.is_none() && selector.edges == EdgeMode::Plain;
    (fixed && selector.matchers.iter().any(named)).then(|| of_offset(selector.offset.as_ref()))?
}

fn of_offset(offset: Option<&DurationExpr>) -> Option<i64> {
    match offset {
        None => Some(0),
        Some(offset) => Some((-offset.literal_ms()?).max(0)),
    }
}

fn is_literal(duration: Option<&DurationExpr>) -> bool {
    duration.is_none_or(|duration| duration.literal_ms().is_some())
}

fn of_aggregate(e: &AggregateExpr) -> Option<i64> {
    let fixed = match e.param.as_deref().map(Expr::unparenthesized) {
        None | Some(Expr::Number(_) | Expr::String(_)) => true,
        Some(_) => false,
    };
    fixed.then_some(0)
}

/// Whether all series of a vector have the same metric name, or none.
fn has_one_name(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(_) => true,
        Expr::Call(e) if matches!(e.function, Function::LabelReplace | Function::LabelJoin) => {
            false
        }
        Expr::Binary(e) => {
            let is_vector = |e: &Expr| e.value_type() == ValueType::Vector;
            !(is_vector(&e.lhs) && is_vector(&e.rhs)) && children(expr).all(has_one_name)
        }
        _ => children(expr).all(has_one_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ParserOptions, parse};

    #[test]
    fn what_depends_on_the_range_is_told() {
        for (text, expected) in [
            ("m", Some(0)),
            ("sum by (a) (rate(m{b!=\"\"}[5m] offset 1m)) / on (a) n > 3", Some(0)),
            ("m offset -30s", Some(30_000)),
            ("max_over_time(rate(m[5m] offset -1s)[10m:1m] offset -2s)", Some(3_000)),
            ("max_over_time(sum(m)[10m:1m])", Some(0)),
            ("topk(3, m)", Some(0)),
            ("time() - timestamp(m)", Some(0)),
            ("m @ 10", None),
            ("m @ end()", None),
            ("m * start()", None),
            ("m[5m]", Some(0)),
            ("rate(m[range()])", None),
            ("rate(m[5m] anchored)", None),
            ("{a=\"1\"}", None),
            ("rate({__name__=~\"m.*\"}[5m])", None),
            ("topk(scalar(m), m)", None),
            ("max_over_time((m or n)[10m:1m])", None),
            (
                "max_over_time(label_replace(m, \"__name__\", \"$1\", \"a\", \"(.*)\")[10m:1m])",
                None,
            ),
            ("info(m)", None),
        ] {
            let expr = parse(text, &ParserOptions::ALL).unwrap();
            assert_eq!(ahead_ms(&expr), expected, "{text}");
        }
    }
}
