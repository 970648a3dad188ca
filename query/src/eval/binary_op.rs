//! Binary operators between two values.

use std::sync::Arc;

use tidemark_core::model::histogram::{FloatHistogram, Keep, ResetHint};

use super::batch::Cell;
use super::notes::{NoteKind, Notes};
use crate::parser::ast::{BinaryOp, PosRange};

/// An operator between two floats: of a comparison, 1 or 0.
#[inline]
pub fn scalars(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => power(a, b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::from(u8::from(compares(op, a, b))),
    }
}

/// Whether a comparison holds; operators that compare nothing always do.
#[inline]
pub fn compares(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessOrEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterOrEqual => a >= b,
        _ => true,
    }
}

/// As Go: `pow(-1, ±Inf)` is 1.
fn power(a: f64, b: f64) -> f64 {
    a.powf(b)
}

/// A value on one side of an operator.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(&'a Arc<FloatHistogram>),
}

/// What an operator gives: the value, and whether it is kept where a comparison filters.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The value; of a comparison, that of the left side.
    pub value: Cell,
    /// Whether the comparison holds.
    pub keep: bool,
}

/// An operator between two values of any kind. `None` if they do not go together, which is noted.
pub fn operands(
    op: BinaryOp,
    lhs: Operand<'_>,
    rhs: Operand<'_>,
    notes: &mut Notes,
    pos: PosRange,
) -> Option<Outcome> {
    use Operand::{Float, Histogram};
    let kept = |value: FloatHistogram| Some(Outcome { value: value.into(), keep: true });
    match (lhs, op, rhs) {
        (Float(a), op, Float(b)) if !matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => {
            let value = if op.is_comparison() { a } else { scalars(op, a, b) };
            Some(Outcome { value: Cell::Float(value), keep: compares(op, a, b) })
        }
        (Float(factor), BinaryOp::Mul, Histogram(h))
        | (Histogram(h), BinaryOp::Mul, Float(factor)) => kept(changed(h, |h| h.scale(factor))),
        (Histogram(h), BinaryOp::Div, Float(divisor)) => kept(changed(h, |h| h.divide(divisor))),
        (Histogram(h), BinaryOp::TrimUpper, Float(value)) => kept(trimmed(h, value, Keep::Below)),
        (Histogram(h), BinaryOp::TrimLower, Float(value)) => kept(trimmed(h, value, Keep::Above)),
        (Histogram(a), BinaryOp::Add | BinaryOp::Sub, Histogram(b)) => {
            add_or_sub(op, a, b, notes, pos)
                .map(|value| Outcome { value: value.into(), keep: true })
        }
        (Histogram(a), BinaryOp::Equal, Histogram(b)) => {
            Some(Outcome { value: Cell::Histogram(Arc::clone(a)), keep: a.same(b) })
        }
        (Histogram(a), BinaryOp::NotEqual, Histogram(b)) => {
            Some(Outcome { value: Cell::Histogram(Arc::clone(a)), keep: !a.same(b) })
        }
        _ => {
            let kind = |operand| match operand {
                Float(_) => "float",
                Histogram(_) => "histogram",
            };
            let name = op.as_str();
            let subject = format!("\"{name}\": {} {name} {}", kind(lhs), kind(rhs));
            notes.add(NoteKind::IncompatibleTypes, &subject, pos);
            None
        }
    }
}

fn changed(h: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> FloatHistogram {
    let mut out = h.clone();
    change(&mut out);
    out.compact();
    out
}

fn trimmed(h: &FloatHistogram, value: f64, keep: Keep) -> FloatHistogram {
    let mut out = h.clone();
    out.trim(value, keep);
    out
}

fn add_or_sub(
    op: BinaryOp,
    a: &FloatHistogram,
    b: &FloatHistogram,
    notes: &mut Notes,
    pos: PosRange,
) -> Option<FloatHistogram> {
    let mut out = a.clone();
    let subtract = op == BinaryOp::Sub;
    let operation = if subtract { "subtraction" } else { "addition" };
    let Ok(reconciled) = (if subtract { out.sub(b) } else { out.add(b) }) else {
        notes.add(NoteKind::IncompatibleBucketLayout, op.as_str(), pos);
        return None;
    };
    if subtract {
        out.hint = ResetHint::Gauge;
    }
    if reconciled.reset_collision {
        notes.add(NoteKind::ResetCollision, operation, pos);
    }
    if reconciled.bounds {
        notes.add(NoteKind::MismatchedBounds, operation, pos);
    }
    out.compact();
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_follow_ieee() {
        assert_eq!(scalars(BinaryOp::Mod, -7.0, 3.0), -1.0);
        assert_eq!(scalars(BinaryOp::Pow, -1.0, f64::INFINITY), 1.0);
        assert!(scalars(BinaryOp::Div, 0.0, 0.0).is_nan());
        assert_eq!(scalars(BinaryOp::Less, 1.0, f64::NAN), 0.0);
        assert_eq!(scalars(BinaryOp::NotEqual, f64::NAN, f64::NAN), 1.0);
    }

    #[test]
    fn what_does_not_go_together_is_noted() {
        let h = Arc::new(FloatHistogram::default());
        let mut notes = Notes::default();
        let pos = PosRange::new(0, 1);
        let outcome =
            operands(BinaryOp::Add, Operand::Float(1.0), Operand::Histogram(&h), &mut notes, pos);
        assert!(outcome.is_none());
        assert_eq!(
            notes.texts("1 + h").1,
            [
                "PromQL info: incompatible sample types encountered for binary operator \"+\": float + histogram (1:1)"
            ]
        );
    }
}
