//! The nodes of a plan: what remains of an expression once the query's window is known.

use std::sync::Arc;

use tidemark_core::model::histogram::FloatHistogram;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimestampMs;

use crate::functions::signature::Function;
use crate::parser::ast::{AggregateOp, BinaryOp, EdgeMode, PosRange, VectorMatching};

/// A part of a plan.
#[derive(Clone, Debug)]
pub enum Node {
    /// A scalar that is known.
    Number(f64),
    /// A string.
    Text(String),
    /// An instant vector selector.
    Select(Select),
    /// A range vector selector, by itself.
    Range(RangeSelect),
    /// A subquery, by itself.
    Subquery(Subquery),
    /// A function of a range vector.
    Window(WindowCall),
    /// A function or operator that looks at one cell at a time.
    Cells(CellCall),
    /// A function that needs whole vectors, or no vector at all.
    Call(Call),
    /// An operator between two scalars.
    ScalarBinary(ScalarBinary),
    /// An operator between two instant vectors.
    VectorBinary(VectorBinary),
    /// An aggregation.
    Aggregate(Aggregate),
    /// Something that is the same at every step: evaluated at the first, repeated at the others.
    Invariant(Box<Node>),
    /// Something that the query says more than once.
    Shared(Shared),
}

/// A part of a query that reads the same elsewhere in it.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Parts that read the same have the same number.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    /// Of histograms only count and sum are looked at, here.
    pub stats_only: bool,
    /// What it is.
    pub node: Box<Node>,
}

/// What is taken of the sample that an instant selector finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Itself.
    Value,
    /// Its time in seconds: `timestamp(selector)`.
    Timestamp,
    /// Its start time in seconds: `start_timestamp(selector)`.
    StartTimestamp,
    /// Its time in seconds if it is a float, else NaN: for `info`, whose series must be floats.
    FloatTimestamp,
}

/// `name{matchers} offset d @ t`.
#[derive(Clone, Debug)]
pub struct Select {
    /// Which series.
    pub matchers: Arc<[Matcher]>,
    /// How far back from the step.
    pub offset_ms: i64,
    /// At which moment, whatever the step.
    pub at_ms: Option<TimestampMs>,
    /// `anchored`, `smoothed`.
    pub edges: EdgeMode,
    /// What of the sample.
    pub take: Take,
    /// Of histograms only count and sum are looked at.
    pub stats_only: bool,
    /// Where.
    pub pos: PosRange,
}

impl Select {
    /// Whether all series have one metric name, so that dropping it can make no two series equal.
    pub fn has_one_name(&self) -> bool {
        use tidemark_core::model::labels::METRIC_NAME;
        use tidemark_core::model::matcher::MatchOp;
        self.matchers.iter().any(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal)
    }
}

/// `selector[range]`.
#[derive(Clone, Debug)]
pub struct RangeSelect {
    /// The selector.
    pub select: Select,
    /// Length of the window.
    pub range_ms: i64,
}

/// `expr[range:step]`.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated.
    pub node: Box<Node>,
    /// Length of the window.
    pub range_ms: i64,
    /// Distance of the evaluations, which are at its multiples.
    pub step_ms: i64,
    /// How far back from the step.
    pub offset_ms: i64,
    /// At which moment, whatever the step.
    pub at_ms: Option<TimestampMs>,
}

/// What a window slides over.
#[derive(Clone, Debug)]
pub enum WindowInput {
    /// The samples of series.
    Range(RangeSelect),
    /// The values of an expression.
    Subquery(Subquery),
}

/// A function of a range vector, such as `rate`.
#[derive(Clone, Debug)]
pub struct WindowCall {
    /// Which.
    pub function: Function,
    /// The range vector.
    pub input: WindowInput,
    /// Its scalar arguments, in order.
    pub args: Vec<Node>,
    /// Where annotations point to.
    pub pos: PosRange,
}

/// What is done with each cell of a vector.
#[derive(Clone, Copy, Debug)]
pub enum CellFunction {
    /// A function of a float; histograms give nothing.
    Float(fn(f64) -> f64),
    /// `round` to the first argument.
    Round,
    /// `clamp` between the first and the second argument.
    Clamp,
    /// A number that a histogram knows; floats give nothing.
    Histogram(fn(&FloatHistogram) -> f64),
    /// The time of the step in seconds: `timestamp` of an expression.
    StepTime,
    /// Unary minus.
    Negate,
    /// An operator with the first argument, a scalar.
    Binary {
        /// Which operator.
        op: BinaryOp,
        /// Whether the scalar is its left side.
        scalar_left: bool,
        /// `bool`
        return_bool: bool,
    },
}

/// A function or operator that looks at one cell at a time.
#[derive(Clone, Debug)]
pub struct CellCall {
    /// What is done.
    pub function: CellFunction,
    /// The vector.
    pub input: Box<Node>,
    /// Scalar arguments.
    pub args: Vec<Node>,
    /// Where annotations point to.
    pub pos: PosRange,
}

/// A function that needs whole vectors, or no vector at all.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which.
    pub function: Function,
    /// Its arguments.
    pub args: Vec<Node>,
    /// Where each argument is.
    pub arg_pos: Vec<PosRange>,
    /// Where the call is.
    pub pos: PosRange,
    /// The labels that `absent` and `absent_over_time` give.
    pub absent_labels: Labels,
}

/// An operator between two scalars.
#[derive(Clone, Debug)]
pub struct ScalarBinary {
    /// Which.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Box<Node>,
    /// Right side.
    pub rhs: Box<Node>,
}

/// An operator between two instant vectors.
#[derive(Clone, Debug)]
pub struct VectorBinary {
    /// Which.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Box<Node>,
    /// Right side.
    pub rhs: Box<Node>,
    /// `bool`
    pub return_bool: bool,
    /// How series are paired.
    pub matching: VectorMatching,
    /// Where.
    pub pos: PosRange,
}

/// Which labels make a group.
#[derive(Clone, Debug, Default)]
pub struct Grouping {
    /// The labels of `by` or `without`, sorted.
    pub labels: Vec<String>,
    /// `without`
    pub without: bool,
}

/// An aggregation.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// Which labels make a group.
    pub grouping: Grouping,
    /// The parameter, a scalar or a string.
    pub param: Option<Box<Node>>,
    /// Where the parameter is.
    pub param_pos: PosRange,
    /// The vector.
    pub input: Box<Node>,
    /// Where the vector is.
    pub input_pos: PosRange,
    /// Where the aggregation is.
    pub pos: PosRange,
}

impl Node {
    /// Whether it evaluates to one number a step.
    pub fn is_scalar(&self) -> bool {
        use crate::parser::ast::ValueType;
        match self {
            Node::Number(_) | Node::ScalarBinary(_) => true,
            Node::Call(call) => call.function.signature().returns == ValueType::Scalar,
            Node::Invariant(inner) => inner.is_scalar(),
            Node::Shared(shared) => shared.node.is_scalar(),
            Node::Cells(call) => call.input.is_scalar(),
            _ => false,
        }
    }
}
