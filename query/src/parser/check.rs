//! The checks on a finished tree: types of operands and arguments, and what the grammar alone lets through.
//!
//! Errors come in the order in which Prometheus finds them, since only the first is shown: a node's children first,
//! with the exceptions that its own type checker makes.

use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::matcher::Matcher;

use super::ast::{
    AggregateExpr, BinaryExpr, Call, Cardinality, Expr, PosRange, ValueType, VectorSelector,
};
use super::error::ParseError;
use super::quote::quoted;
use crate::functions::signature::{Function, Variadic};

/// Checks the tree, and sets the cardinality of set operators and the absence of matching between non-vectors.
pub(super) fn check(source: &str, expr: &mut Expr) -> Checked<ValueType> {
    Checker { source }.expr(expr)
}

struct Checker<'a> {
    source: &'a str,
}

type Checked<T> = Result<T, Box<ParseError>>;

impl Checker<'_> {
    fn fail<T>(&self, pos: PosRange, message: impl Into<String>) -> Checked<T> {
        Err(ParseError::new(self.source, pos, message))
    }

    fn expr(&self, expr: &mut Expr) -> Checked<ValueType> {
        let pos = expr.pos();
        match expr {
            Expr::Number(_) => Ok(ValueType::Scalar),
            Expr::String(_) => Ok(ValueType::String),
            Expr::Vector(selector) => {
                self.selector(selector, pos)?;
                Ok(ValueType::Vector)
            }
            Expr::Matrix(matrix) => {
                self.selector(&matrix.selector, pos)?;
                Ok(ValueType::Matrix)
            }
            Expr::Paren(paren) => self.expr(&mut paren.expr),
            Expr::Unary(unary) => match self.expr(&mut unary.expr)? {
                kind @ (ValueType::Scalar | ValueType::Vector) => Ok(kind),
                kind => self.fail(
                    pos,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant \
                         vector, got {}",
                        quoted(kind.documented())
                    ),
                ),
            },
            Expr::Subquery(subquery) => match self.expr(&mut subquery.expr)? {
                ValueType::Vector => Ok(ValueType::Matrix),
                kind => self.fail(
                    pos,
                    format!(
                        "subquery is only allowed on instant vector, got {} instead",
                        kind.as_str()
                    ),
                ),
            },
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            Expr::Binary(binary) => self.binary(binary),
        }
    }

    fn selector(&self, selector: &VectorSelector, pos: PosRange) -> Checked<()> {
        if let (false, Some((_, inside))) =
            (selector.name.is_empty(), selector.matchers.split_last())
        {
            return match inside.iter().find(|m| m.name() == METRIC_NAME) {
                Some(second) => self.fail(
                    pos,
                    format!(
                        "metric name must not be set twice: {} or {}",
                        quoted(&selector.name),
                        quoted(second.value())
                    ),
                ),
                None => Ok(()),
            };
        }
        // Else a slip of the pen selects everything.
        if selector.matchers.iter().all(Matcher::matches_empty) {
            return self.fail(pos, "vector selector must contain at least one non-empty matcher");
        }
        Ok(())
    }

    fn expect(&self, expr: &mut Expr, want: ValueType, place: &str) -> Checked<()> {
        let got = self.expr(expr)?;
        if got == want {
            return Ok(());
        }
        let (want, got) = (want.documented(), got.documented());
        self.fail(expr.pos(), format!("expected type {want} in {place}, got {got}"))
    }

    fn aggregate(&self, aggregate: &mut AggregateExpr) -> Checked<ValueType> {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
        if let (Some(param), Some(want)) = (&mut aggregate.param, aggregate.op.param_type()) {
            self.expect(param, want, "aggregation parameter")?;
        }
        Ok(ValueType::Vector)
    }

    fn call(&self, call: &mut Call) -> Checked<ValueType> {
        let signature = call.function.signature();
        self.argument_count(call)?;
        if call.function == Function::Info {
            self.info_labels(call)?;
        }
        let place = format!("call to function {}", quoted(signature.name));
        for (i, arg) in call.args.iter_mut().enumerate() {
            let is_info_labels = call.function == Function::Info && i == 1;
            if let (Some(want), false) = (signature.arg_type(i), is_info_labels) {
                self.expect(arg, want, &place)?;
            }
        }
        Ok(signature.returns)
    }

    fn argument_count(&self, call: &Call) -> Checked<()> {
        let signature = call.function.signature();
        let got = call.args.len();
        let (bound, wanted) = match signature.args_max() {
            _ if got < signature.args_min() && signature.variadic != Variadic::No => {
                ("at least ", signature.args_min())
            }
            Some(max) if got > max && signature.variadic != Variadic::No => ("at most ", max),
            Some(exact) if got != exact && signature.variadic == Variadic::No => ("", exact),
            _ => return Ok(()),
        };
        let name = quoted(signature.name);
        self.fail(
            call.pos,
            format!("expected {bound}{wanted} argument(s) in call to {name}, got {got}"),
        )
    }

    /// The second argument of `info` is a bare list of label matchers, which may all match the empty string.
    fn info_labels(&self, call: &Call) -> Checked<()> {
        let Some(labels) = call.args.get(1) else {
            return Ok(());
        };
        let kind = labels.value_type();
        if kind != ValueType::Vector {
            return self.fail(
                call.pos,
                format!(
                    "expected type {} in call to function \"info\", got {}",
                    ValueType::Vector.documented(),
                    kind.documented()
                ),
            );
        }
        match labels {
            Expr::Vector(selector) if selector.name.is_empty() => Ok(()),
            Expr::Vector(_) => self
                .fail(labels.pos(), "expected label selectors only, got vector selector instead"),
            _ => self.fail(labels.pos(), "expected label selectors only"),
        }
    }

    fn binary(&self, binary: &mut BinaryExpr) -> Checked<ValueType> {
        let left = self.expr(&mut binary.lhs)?;
        let right = self.expr(&mut binary.rhs)?;
        let op = binary.op;
        let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
        if binary.return_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return self.fail(self.operator(binary), message);
        }
        if op.is_comparison() && !binary.return_bool && both_scalar {
            let message = "comparisons between scalars must use BOOL modifier";
            return self.fail(self.operator(binary), message);
        }
        self.matching_labels(binary)?;
        for (side, kind) in [(&binary.lhs, left), (&binary.rhs, right)] {
            if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.fail(side.pos(), message);
            }
        }
        if left == ValueType::Vector && right == ValueType::Vector {
            self.set_operator(binary)?;
            return Ok(ValueType::Vector);
        }
        self.no_matching(binary)?;
        if op.is_set() {
            let message = format!(
                "set operator {} not allowed in binary scalar expression",
                quoted(op.as_str())
            );
            return self.fail(binary.pos, message);
        }
        Ok(if both_scalar { ValueType::Scalar } else { ValueType::Vector })
    }

    fn matching_labels(&self, binary: &BinaryExpr) -> Checked<()> {
        let Some(matching) = binary.matching.as_ref().filter(|matching| matching.on) else {
            return Ok(());
        };
        match matching.labels.iter().find(|label| matching.include.contains(label)) {
            Some(label) => self.fail(
                self.operator(binary),
                format!("label {} must not occur in ON and GROUP clause at once", quoted(label)),
            ),
            None => Ok(()),
        }
    }

    /// Rules for `and`, `or` and `unless` between vectors, which are always many to many.
    fn set_operator(&self, binary: &mut BinaryExpr) -> Checked<()> {
        let (op, pos) = (binary.op, binary.pos);
        let Some(matching) = binary.matching.as_mut().filter(|_| op.is_set()) else {
            return Ok(());
        };
        if matching.cardinality != Cardinality::OneToOne {
            let message = format!("no grouping allowed for {} operation", quoted(op.as_str()));
            return self.fail(pos, message);
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            return self.fail(pos, "filling in missing series not allowed for set operators");
        }
        matching.cardinality = Cardinality::ManyToMany;
        Ok(())
    }

    /// Where a side is no vector, nothing is matched.
    fn no_matching(&self, binary: &mut BinaryExpr) -> Checked<()> {
        let Some(matching) = binary.matching.take() else {
            return Ok(());
        };
        if !matching.labels.is_empty() {
            let message = "vector matching only allowed between instant vectors";
            return self.fail(binary.pos, message);
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            let message = "filling in missing series only allowed between instant vectors";
            return self.fail(binary.pos, message);
        }
        Ok(())
    }

    /// Where the operator stands: what is between the sides, without the white space at its ends.
    fn operator(&self, binary: &BinaryExpr) -> PosRange {
        let (start, end) = (binary.lhs.pos().end, binary.rhs.pos().start);
        let between = &self.source[start..end];
        let blank = between.len() - between.trim_start().len();
        PosRange::new(start + blank, start + between.trim_end().len().max(blank))
    }
}
