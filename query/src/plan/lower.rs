//! Lowering: a syntax tree and the window of a query become a plan.
//!
//! What is *step-invariant* (pinned by `@`, or made of literals only) is found on the way, exactly where Prometheus finds
//! it, since a pinned expression is evaluated at the first step only and that can be seen.

use std::cell::Cell;

use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use tidemark_core::model::matcher::{MatchOp, Matcher};
use tidemark_core::model::time::TimestampMs;

use super::node::{
    Aggregate, Call, CellCall, CellFunction, Grouping, Node, RangeSelect, ScalarBinary, Select,
    Shared, Subquery, Take, VectorBinary, WindowCall, WindowInput,
};
use super::repeats::{Repeat, Repeats};
use crate::functions::signature::Function;
use crate::functions::{depends_on_step, math, takes_anchored, takes_smoothed, time};
use crate::parser::ast::{
    self, AggregateOp, AtModifier, BinaryOp, EdgeMode, Expr, PosRange, UnaryOp, ValueType,
};
use crate::parser::duration::{DurationError, DurationSign, QueryWindow};

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct LowerOptions {
    /// First step.
    pub start_ms: TimestampMs,
    /// End of the query.
    pub end_ms: TimestampMs,
    /// Distance of the steps; 0 for an instant query.
    pub step_ms: i64,
    /// Distance of the evaluations of subqueries that do not say.
    pub subquery_step_ms: i64,
}

/// Why an expression has no plan for a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// A duration expression has no value.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// `anchored` under a function that does not know it.
    #[error(
        "anchored modifier can only be used with: changes, delta, increase, rate, resets - not with {0}"
    )]
    Anchored(&'static str),
    /// A label name that is no UTF-8, quoted.
    #[error("invalid {0}")]
    LabelName(String),
    /// `smoothed` under a function that does not know it.
    #[error("smoothed modifier can only be used with: delta, increase, rate - not with {0}")]
    Smoothed(&'static str),
}

/// Lowers a checked tree.
pub fn lower(expr: &Expr, options: LowerOptions) -> Result<Node, LowerError> {
    let lowering = Lowering {
        options,
        stats: Cell::new(0),
        buckets: Cell::new(0),
        repeats: Repeats::find(expr),
        enclosing: Cell::new(1),
    };
    Ok(lowering.expr(expr)?.wrapped())
}

struct Lowering {
    options: LowerOptions,
    /// How many functions of a histogram's count and sum alone the expression at hand is inside of.
    stats: Cell<u32>,
    /// How many that need its buckets, subqueries among them, which must find counter resets by themselves.
    buckets: Cell<u32>,
    /// What the query says more than once.
    repeats: Repeats,
    /// How often it says what the expression at hand stands in.
    enclosing: Cell<u32>,
}

/// Counts one up while something below is lowered.
fn within<T>(depth: &Cell<u32>, counts: bool, lower: impl FnOnce() -> T) -> T {
    depth.set(depth.get() + u32::from(counts));
    let lowered = lower();
    depth.set(depth.get() - u32::from(counts));
    lowered
}

/// A node and what is known of it.
struct Lowered {
    node: Node,
    /// It is the same at every step.
    invariant: bool,
    /// If it is not part of something larger that is invariant, it is worth marking.
    wrap: bool,
}

impl Lowered {
    fn literal(node: Node) -> Self {
        Lowered { node, invariant: true, wrap: false }
    }

    fn varying(node: Node) -> Self {
        Lowered { node, invariant: false, wrap: false }
    }

    fn wrapped(self) -> Node {
        if self.wrap { Node::Invariant(Box::new(self.node)) } else { self.node }
    }
}

type Result<T, E = LowerError> = std::result::Result<T, E>;

impl Lowering {
    /// Lowers an expression, and marks it if it repeats by itself.
    fn expr(&self, expr: &Expr) -> Result<Lowered> {
        let Some(Repeat { number, count }) = self.repeats.get(expr) else {
            return self.unmarked(expr);
        };
        let enclosing = self.enclosing.replace(count);
        let lowered = self.unmarked(expr);
        self.enclosing.set(enclosing);
        let mut lowered = lowered?;
        if count > enclosing {
            let node = Box::new(lowered.node);
            let stats_only = self.stats_only();
            lowered.node = Node::Shared(Shared { number, count, stats_only, node });
        }
        Ok(lowered)
    }

    fn unmarked(&self, expr: &Expr) -> Result<Lowered> {
        match expr {
            Expr::Number(e) => Ok(Lowered::literal(Node::Number(e.value))),
            Expr::String(e) => Ok(Lowered::literal(Node::Text(e.value.clone()))),
            Expr::Paren(e) => self.expr(&e.expr),
            Expr::Vector(e) => {
                let select = self.select(e, Take::Value)?;
                let invariant = select.at_ms.is_some();
                Ok(Lowered { node: Node::Select(select), invariant, wrap: invariant })
            }
            Expr::Matrix(e) => {
                let range = self.range(e)?;
                let invariant = range.select.at_ms.is_some();
                Ok(Lowered { node: Node::Range(range), invariant, wrap: false })
            }
            Expr::Subquery(e) => {
                let subquery = self.subquery(e)?;
                let invariant = subquery.at_ms.is_some();
                Ok(Lowered { node: Node::Subquery(subquery), invariant, wrap: false })
            }
            Expr::Unary(e) => {
                let inner = self.expr(&e.expr)?;
                if e.op == UnaryOp::Plus {
                    return Ok(inner);
                }
                let node = match inner.node {
                    Node::Number(v) => Node::Number(-v),
                    node => cells(CellFunction::Negate, node, Vec::new(), e.pos),
                };
                Ok(Lowered { node, ..inner })
            }
            Expr::Binary(e) => self.binary(e),
            Expr::Aggregate(e) => self.aggregate(e),
            Expr::Call(e) => self.call(e),
        }
    }

    fn window(&self) -> QueryWindow {
        QueryWindow {
            range_ms: self.options.end_ms - self.options.start_ms,
            step_ms: self.options.step_ms,
        }
    }

    fn duration(&self, duration: Option<&ast::DurationExpr>, sign: DurationSign) -> Result<i64> {
        Ok(duration.map_or(Ok(0), |d| d.resolve_ms(self.window(), sign))?)
    }

    fn at(&self, at: Option<AtModifier>) -> Option<TimestampMs> {
        at.map(|at| match at {
            AtModifier::Timestamp(t) => t,
            AtModifier::Start => self.options.start_ms,
            AtModifier::End => self.options.end_ms,
        })
    }

    /// Whether of histograms only count and sum are looked at.
    fn stats_only(&self) -> bool {
        self.stats.get() > 0 && self.buckets.get() == 0
    }

    fn select(&self, e: &ast::VectorSelector, take: Take) -> Result<Select> {
        Ok(Select {
            matchers: e.matchers.clone().into(),
            offset_ms: self.duration(e.offset.as_ref(), DurationSign::Any)?,
            at_ms: self.at(e.at),
            edges: e.edges,
            take,
            stats_only: self.stats_only(),
            pos: e.pos,
        })
    }

    fn range(&self, e: &ast::MatrixSelector) -> Result<RangeSelect> {
        let mut select = self.select(&e.selector, Take::Value)?;
        select.pos = e.pos;
        Ok(RangeSelect { select, range_ms: self.duration(Some(&e.range), DurationSign::Positive)? })
    }

    fn subquery(&self, e: &ast::SubqueryExpr) -> Result<Subquery> {
        let inner = within(&self.buckets, true, || self.expr(&e.expr))?;
        let node = Lowered { wrap: inner.invariant, ..inner }.wrapped();
        let step_ms = match &e.step {
            Some(step) => self.duration(Some(step), DurationSign::Positive)?,
            None => 0,
        };
        Ok(Subquery {
            node: Box::new(node),
            range_ms: self.duration(Some(&e.range), DurationSign::Positive)?,
            step_ms: if step_ms > 0 { step_ms } else { self.options.subquery_step_ms },
            offset_ms: self.duration(e.offset.as_ref(), DurationSign::Any)?,
            at_ms: self.at(e.at),
        })
    }

    fn binary(&self, e: &ast::BinaryExpr) -> Result<Lowered> {
        let trims = matches!(e.op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
        let (lhs, rhs) = within(&self.buckets, trims, || (self.expr(&e.lhs), self.expr(&e.rhs)));
        let (lhs, rhs) = (lhs?, rhs?);
        let invariant = lhs.invariant && rhs.invariant;
        let part = |side: Lowered| if invariant { side.node } else { side.wrapped() };
        let (lhs, rhs) = (part(lhs), part(rhs));
        let node = match (lhs.is_scalar(), rhs.is_scalar()) {
            (true, true) => {
                Node::ScalarBinary(ScalarBinary { op: e.op, lhs: lhs.into(), rhs: rhs.into() })
            }
            (false, false) => Node::VectorBinary(VectorBinary {
                op: e.op,
                lhs: lhs.into(),
                rhs: rhs.into(),
                return_bool: e.return_bool,
                matching: e.matching.clone().unwrap_or_default(),
                pos: e.pos,
            }),
            (scalar_left, _) => {
                let function =
                    CellFunction::Binary { op: e.op, scalar_left, return_bool: e.return_bool };
                let (scalar, vector) = if scalar_left { (lhs, rhs) } else { (rhs, lhs) };
                cells(function, vector, vec![scalar], e.pos)
            }
        };
        Ok(Lowered { node, invariant, wrap: invariant })
    }

    fn aggregate(&self, e: &ast::AggregateExpr) -> Result<Lowered> {
        let input = self.expr(&e.expr)?;
        if let (AggregateOp::CountValues, Some(Expr::String(label))) =
            (e.op, e.param.as_deref().map(Expr::unparenthesized))
        {
            check_utf8(label, "label name ")?;
        }
        let param = e.param.as_deref().map(|p| self.expr(p)).transpose()?;
        let mut labels = e.grouping.clone();
        labels.sort_unstable();
        labels.dedup();
        let node = Node::Aggregate(Aggregate {
            op: e.op,
            grouping: Grouping { labels, without: e.without },
            param_pos: e.param.as_deref().map_or(e.pos, |p| p.unparenthesized().pos()),
            param: param.map(|p| Box::new(p.node)),
            input_pos: e.expr.unparenthesized().pos(),
            input: Box::new(input.node),
            pos: e.pos,
        });
        Ok(Lowered { node, invariant: input.invariant, wrap: input.wrap })
    }

    fn call(&self, e: &ast::Call) -> Result<Lowered> {
        if let Some(value) = self.constant(e.function) {
            return Ok(Lowered::literal(Node::Number(value)));
        }
        if let (Some(take), Some(Expr::Vector(selector))) =
            (taken(e.function), e.args.first().map(Expr::unparenthesized))
        {
            let select = self.select(selector, take)?;
            let invariant = select.at_ms.is_some();
            return Ok(Lowered { node: Node::Select(select), invariant, wrap: invariant });
        }
        check_label_names(e)?;
        let args = || e.args.iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>>>();
        let args = || within(&self.buckets, needs_buckets(e.function), args);
        let mut args = within(&self.stats, needs_stats(e.function), args)?;
        let invariant = !depends_on_step(e.function) && args.iter().all(|arg| arg.invariant);
        if invariant {
            for arg in &mut args {
                arg.wrap = false;
            }
        }
        let args: Vec<Node> = args.into_iter().map(Lowered::wrapped).collect();
        let node = function(e, args)?;
        Ok(if invariant { Lowered { node, invariant, wrap: true } } else { Lowered::varying(node) })
    }

    /// Functions of the query alone.
    fn constant(&self, function: Function) -> Option<f64> {
        let options = &self.options;
        Some(match function {
            Function::Start => options.start_ms as f64 / 1000.0,
            Function::End => options.end_ms as f64 / 1000.0,
            Function::Range => (options.end_ms - options.start_ms) as f64 / 1000.0,
            Function::Step if options.start_ms == options.end_ms => 0.0,
            Function::Step => options.step_ms as f64 / 1000.0,
            _ => return None,
        })
    }
}

fn function(e: &ast::Call, mut args: Vec<Node>) -> Result<Node> {
    if e.function.signature().args.contains(&ValueType::Matrix) {
        return window(e, args);
    }
    let arg_pos: Vec<PosRange> = e.args.iter().map(|a| a.unparenthesized().pos()).collect();
    if let Some((function, defaults)) = cell_function(e.function)
        && !args.is_empty()
    {
        let vector = args.remove(0);
        let args = match defaults {
            CellArgs::None => Vec::new(),
            CellArgs::One(default) if args.is_empty() => vec![Node::Number(default)],
            CellArgs::One(_) | CellArgs::AsWritten => args,
            CellArgs::UpTo => vec![Node::Number(f64::NEG_INFINITY), args.remove(0)],
            CellArgs::DownTo => vec![args.remove(0), Node::Number(f64::INFINITY)],
        };
        return Ok(cells(function, vector, args, e.pos));
    }
    let absent_labels = match e.args.first().map(Expr::unparenthesized) {
        Some(Expr::Vector(selector)) if e.function == Function::Absent => {
            absent_labels(&selector.matchers)
        }
        _ => Labels::empty(),
    };
    Ok(Node::Call(Call { function: e.function, args, arg_pos, pos: e.pos, absent_labels }))
}

/// Functions that look at nothing but the count and the sum of a histogram.
fn needs_stats(function: Function) -> bool {
    matches!(function, Function::HistogramCount | Function::HistogramSum | Function::HistogramAvg)
}

/// Functions that look at the buckets of a histogram.
fn needs_buckets(function: Function) -> bool {
    use Function::{HistogramFraction, HistogramQuantile, HistogramQuantiles};
    matches!(function, HistogramQuantile | HistogramQuantiles | HistogramFraction)
}

/// Refuses labels to be set whose names are no UTF-8.
fn check_label_names(e: &ast::Call) -> Result<()> {
    let sources = match e.function {
        Function::LabelReplace => 0,
        Function::LabelJoin => 3,
        _ => return Ok(()),
    };
    for (i, arg) in e.args.iter().enumerate() {
        if let Expr::String(label) = arg.unparenthesized() {
            if sources > 0 && i >= sources {
                check_utf8(label, &format!("source label name in {}(): ", e.function.name()))?;
            } else if i == 1 {
                check_utf8(label, &format!("destination label name in {}(): ", e.function.name()))?;
            }
        }
    }
    Ok(())
}

fn check_utf8(label: &ast::StringLiteral, what: &str) -> Result<()> {
    match &label.invalid_utf8 {
        Some(text) => Err(LowerError::LabelName(format!("{what}{text}"))),
        None => Ok(()),
    }
}

fn cells(function: CellFunction, input: Node, args: Vec<Node>, pos: PosRange) -> Node {
    Node::Cells(CellCall { function, input: Box::new(input), args, pos })
}

/// `timestamp` and its kin look at samples themselves when given a selector.
fn taken(function: Function) -> Option<Take> {
    match function {
        Function::Timestamp => Some(Take::Timestamp),
        Function::StartTimestamp => Some(Take::StartTimestamp),
        _ => None,
    }
}

/// How the scalar arguments of a function of cells become those of its kernel.
enum CellArgs {
    None,
    /// One, with a default.
    One(f64),
    AsWritten,
    /// Only the upper of two bounds was written.
    UpTo,
    /// Only the lower.
    DownTo,
}

fn cell_function(function: Function) -> Option<(CellFunction, CellArgs)> {
    let float = math::unary(function).or_else(|| time::calendar(function));
    if let Some(kernel) = float {
        return Some((CellFunction::Float(kernel), CellArgs::None));
    }
    Some(match function {
        Function::Round => (CellFunction::Round, CellArgs::One(1.0)),
        Function::Clamp => (CellFunction::Clamp, CellArgs::AsWritten),
        Function::ClampMax => (CellFunction::Clamp, CellArgs::UpTo),
        Function::ClampMin => (CellFunction::Clamp, CellArgs::DownTo),
        Function::Timestamp => (CellFunction::StepTime, CellArgs::None),
        Function::HistogramCount => (CellFunction::Histogram(|h| h.count), CellArgs::None),
        Function::HistogramSum => (CellFunction::Histogram(|h| h.sum), CellArgs::None),
        Function::HistogramAvg => (CellFunction::Histogram(|h| h.sum / h.count), CellArgs::None),
        Function::HistogramStdvar => {
            (CellFunction::Histogram(FloatHistogram::variance), CellArgs::None)
        }
        Function::HistogramStddev => {
            (CellFunction::Histogram(|h| h.variance().sqrt()), CellArgs::None)
        }
        _ => return None,
    })
}

/// A function of a range vector; one argument is the range, the others are scalars.
fn window(e: &ast::Call, args: Vec<Node>) -> Result<Node> {
    let name = e.function.name();
    let mut input = None;
    let mut scalars = Vec::new();
    for arg in args {
        match arg {
            Node::Range(range) => input = Some(WindowInput::Range(range)),
            Node::Subquery(subquery) => input = Some(WindowInput::Subquery(subquery)),
            scalar => scalars.push(scalar),
        }
    }
    let input = input.expect("the parser checked that the argument is a range vector");
    // Prometheus has no position for the materialized result of a subquery.
    let mut pos = PosRange::default();
    let mut absent = Labels::empty();
    if let WindowInput::Range(range) = &input {
        match range.select.edges {
            EdgeMode::Anchored if !takes_anchored(e.function) => {
                return Err(LowerError::Anchored(name));
            }
            EdgeMode::Smoothed if !takes_smoothed(e.function) => {
                return Err(LowerError::Smoothed(name));
            }
            _ => {}
        }
        pos = e.args[0].unparenthesized().pos();
        absent = absent_labels(&range.select.matchers);
    } else if scalars.len() < e.args.len() && matches!(e.function, Function::QuantileOverTime) {
        pos = e.args[0].unparenthesized().pos();
    }
    let call = Node::Window(WindowCall { function: e.function, input, args: scalars, pos });
    Ok(if e.function == Function::AbsentOverTime {
        Node::Call(Call {
            function: e.function,
            args: vec![call],
            arg_pos: vec![pos],
            pos: e.pos,
            absent_labels: absent,
        })
    } else {
        call
    })
}

/// The labels that a selector pins to one value. After an equality, any other matcher of the same label takes it back, as
/// in Prometheus.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::new();
    let mut pinned: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        if m.op() == MatchOp::Equal && !pinned.contains(&m.name()) {
            builder.set(m.name(), m.value());
            pinned.push(m.name());
        } else {
            builder.remove(m.name());
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ParserOptions, parse};

    fn lowered(query: &str) -> Node {
        let options = LowerOptions {
            start_ms: 100_000,
            end_ms: 200_000,
            step_ms: 10_000,
            subquery_step_ms: 60_000,
        };
        let expr = parse(query, &ParserOptions::ALL).unwrap();
        lower(&expr, options).unwrap()
    }

    #[test]
    fn what_is_pinned_is_invariant_as_a_whole() {
        assert!(matches!(lowered("rate(x[5m] @ end())"), Node::Invariant(_)));
        assert!(matches!(lowered("1 + pi()"), Node::Invariant(_)));
        assert!(matches!(lowered("sum(x @ 10) + 1"), Node::Invariant(_)));
        assert!(matches!(lowered("predict_linear(x[5m] @ 10, 60)"), Node::Window(_)));
        let Node::VectorBinary(b) = lowered("x + y @ 10") else { panic!() };
        assert!(matches!(*b.lhs, Node::Select(_)) && matches!(*b.rhs, Node::Invariant(_)));
    }

    #[test]
    fn the_query_itself_is_known() {
        assert!(matches!(lowered("start()"), Node::Number(100.0)));
        assert!(matches!(lowered("-range()"), Node::Number(-100.0)));
        assert!(matches!(lowered("step()"), Node::Number(10.0)));
        let Node::Invariant(inner) = lowered("x @ start() offset (2 * step())") else { panic!() };
        let Node::Select(select) = *inner else { panic!() };
        assert_eq!((select.at_ms, select.offset_ms), (Some(100_000), 20_000));
    }

    #[test]
    fn labels_of_what_is_absent() {
        let Node::Call(call) = lowered(r#"absent((x{a="1", b!="2", c="3", c="4", d=~"5"}))"#)
        else {
            panic!()
        };
        assert_eq!(call.absent_labels.to_string(), r#"{a="1"}"#);
    }

    #[test]
    fn edges_need_functions_that_know_them() {
        let expr = parse("sum_over_time(x[5m] anchored)", &ParserOptions::ALL).unwrap();
        let options = LowerOptions { start_ms: 0, end_ms: 0, step_ms: 0, subquery_step_ms: 60_000 };
        assert_eq!(lower(&expr, options).unwrap_err(), LowerError::Anchored("sum_over_time"));
    }
}
