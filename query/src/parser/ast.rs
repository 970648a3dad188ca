//! The syntax tree of PromQL: what the parser gives and the planner lowers.
//!
//! Every node knows the bytes of the query it was read from ([`PosRange`]); errors and annotations point there. The
//! tree is exactly what was written: parentheses are nodes, durations are expressions that depend on the query's range
//! and step until the planner resolves them ([`DurationExpr::resolve_ms`](super::duration)). What is step-invariant is for
//! the planner to find.
//!
//! The parser bounds the height of every tree it gives ([`limits`](crate::limits)), so recursion over one is safe.

use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimestampMs;

use crate::functions::signature::Function;

/// A half-open range of byte offsets in the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PosRange {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl PosRange {
    /// The bytes from `start` up to, not including, `end`.
    pub fn new(start: usize, end: usize) -> Self {
        PosRange { start, end }
    }

    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: PosRange) -> Self {
        PosRange { start: self.start, end: other.end }
    }
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number at each step.
    Scalar,
    /// A string.
    String,
    /// An instant vector: at most one sample per series at each step.
    Vector,
    /// A range vector: a window of samples per series.
    Matrix,
}

impl ValueType {
    /// The name in the API's `resultType`.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
        }
    }

    /// The name in error messages.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}

/// Any expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `42`, `5m`.
    Number(NumberLiteral),
    /// `"text"`.
    String(StringLiteral),
    /// `name{matchers}` with its modifiers.
    Vector(VectorSelector),
    /// `name{matchers}[5m]` with its modifiers.
    Matrix(MatrixSelector),
    /// `expr[1h:5m]` with its modifiers.
    Subquery(SubqueryExpr),
    /// `-expr`, `+expr`.
    Unary(UnaryExpr),
    /// `lhs op rhs`.
    Binary(BinaryExpr),
    /// `sum by (label) (expr)`.
    Aggregate(AggregateExpr),
    /// `function(args)`.
    Call(Call),
    /// `(expr)`.
    Paren(ParenExpr),
}

/// A number, or a duration that stands for its seconds.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    /// The number; of a duration, its seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`), and is printed as one.
    pub is_duration: bool,
    /// Where.
    pub pos: PosRange,
}

impl PartialEq for NumberLiteral {
    /// Bit-exact, so that a NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.value.to_bits() == other.value.to_bits()
            && self.is_duration == other.is_duration
            && self.pos == other.pos
    }
}

/// A string, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// The text between the quotes. Escaped bytes that are not UTF-8 are U+FFFD, as in every answer of the API.
    pub value: String,
    /// The literal as Go quotes it, if it holds such bytes: no label may be called that.
    pub invalid_utf8: Option<Box<str>>,
    /// Where, quotes included.
    pub pos: PosRange,
}

/// The moment that `@` pins a selector to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    /// `@ 1609746000`, in milliseconds.
    Timestamp(TimestampMs),
    /// `@ start()`: the start of the query.
    Start,
    /// `@ end()`: the end of the query.
    End,
}

/// How the edges of a selector's window are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeMode {
    /// Only the samples inside.
    #[default]
    Plain,
    /// `anchored`: the sample before the window counts as one at its start.
    Anchored,
    /// `smoothed`: values at both edges are interpolated.
    Smoothed,
}

/// `name{matchers} offset 5m @ end()`: the newest sample of each series.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric name as written in front of the braces, or empty.
    pub name: String,
    /// All matchers, that of the metric name included (last, when the name stood before the braces).
    pub matchers: Vec<Matcher>,
    /// `offset`; positive looks back.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<AtModifier>,
    /// `anchored` or `smoothed`.
    pub edges: EdgeMode,
    /// Where, modifiers included.
    pub pos: PosRange,
}

/// `name{matchers}[5m]`: a window of samples of each series. Offset, `@` and edges are the selector's.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// What is selected.
    pub selector: VectorSelector,
    /// Length of the window.
    pub range: DurationExpr,
    /// Where, modifiers included.
    pub pos: PosRange,
}

/// `expr[range:step]`: an instant expression evaluated over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct SubqueryExpr {
    /// What is evaluated.
    pub expr: Box<Expr>,
    /// Length of the window.
    pub range: DurationExpr,
    /// Distance of the evaluations; the engine's default when absent.
    pub step: Option<DurationExpr>,
    /// `offset`; positive looks back.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<AtModifier>,
    /// Where, modifiers included.
    pub pos: PosRange,
}

/// Sign in front of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// `-expr` or `+expr`.
#[derive(Clone, Debug, PartialEq)]
pub struct UnaryExpr {
    /// Which sign.
    pub op: UnaryOp,
    /// Of what.
    pub expr: Box<Expr>,
    /// Where, the sign included.
    pub pos: PosRange,
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `</`: cut a native histogram's observations above a bound.
    TrimUpper,
    /// `>/`: cut a native histogram's observations below a bound.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// Arithmetic, whose result is no longer the metric it was made from.
    pub fn changes_meaning(self) -> bool {
        matches!(
            self,
            BinaryOp::Add
                | BinaryOp::Sub
                | BinaryOp::Mul
                | BinaryOp::Div
                | BinaryOp::Mod
                | BinaryOp::Pow
                | BinaryOp::Atan2
        )
    }

    /// The six that compare, which may be followed by `bool`. The trim operators are not among them.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Less
                | BinaryOp::LessOrEqual
                | BinaryOp::Greater
                | BinaryOp::GreaterOrEqual
        )
    }
}

/// How many series of one side may match one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One of each side.
    #[default]
    OneToOne,
    /// `group_left`: many of the left.
    ManyToOne,
    /// `group_right`: many of the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the series of two vectors are paired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// How many to how many.
    pub cardinality: Cardinality,
    /// `on (labels)` when true, else `ignoring (labels)`, which may be empty.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Labels that `group_left` or `group_right` takes over from the "one" side.
    pub include: Vec<String>,
    /// `fill_left`: stands for a series that the left side lacks.
    pub fill_left: Option<f64>,
    /// `fill_right`: stands for a series that the right side lacks.
    pub fill_right: Option<f64>,
}

/// `lhs op rhs`.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinaryOp,
    /// The left side.
    pub lhs: Box<Expr>,
    /// The right side.
    pub rhs: Box<Expr>,
    /// `bool`: a comparison gives 0 or 1 and filters nothing.
    pub return_bool: bool,
    /// Present exactly when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
    /// Where, from the left side's start to the right side's end.
    pub pos: PosRange,
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    TopK,
    /// `bottomk`
    BottomK,
    /// `quantile`
    Quantile,
    /// `count_values`
    CountValues,
    /// `limitk`
    LimitK,
    /// `limit_ratio`
    LimitRatio,
}

impl AggregateOp {
    /// As PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Avg => "avg",
            AggregateOp::Count => "count",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Group => "group",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::TopK => "topk",
            AggregateOp::BottomK => "bottomk",
            AggregateOp::Quantile => "quantile",
            AggregateOp::CountValues => "count_values",
            AggregateOp::LimitK => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter in front of the vector, if it takes one.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            AggregateOp::TopK
            | AggregateOp::BottomK
            | AggregateOp::Quantile
            | AggregateOp::LimitK
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            AggregateOp::CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    /// Whether it stands behind the flag for experimental functions.
    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::LimitK | AggregateOp::LimitRatio)
    }
}

/// `op by (labels) (param, expr)`.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateExpr {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Box<Expr>,
    /// `k`, the quantile, the label name, the ratio.
    pub param: Option<Box<Expr>>,
    /// The labels of `by` or `without`; empty also when neither was written.
    pub grouping: Vec<String>,
    /// `without (grouping)` when true, else `by (grouping)`.
    pub without: bool,
    /// Where.
    pub pos: PosRange,
}

/// `function(args)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function; its signature is in the one table.
    pub function: Function,
    /// The arguments as written; optional ones may be missing.
    pub args: Vec<Expr>,
    /// Where, parentheses included.
    pub pos: PosRange,
}

/// `(expr)`.
#[derive(Clone, Debug, PartialEq)]
pub struct ParenExpr {
    /// What stands inside.
    pub expr: Box<Expr>,
    /// Where, parentheses included.
    pub pos: PosRange,
}

/// A span of time in seconds, as written after `offset` or inside `[...]`.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// `5m`, `300`.
    Literal(NumberLiteral),
    /// `step()`: the distance of the query's steps.
    Step(PosRange),
    /// `range()`: from the query's start to its end.
    Range(PosRange),
    /// `min_of(a, b)` and `max_of(a, b)`.
    Extreme(DurationExtreme),
    /// `-d`, `+d`.
    Unary(DurationUnary),
    /// `a op b`.
    Binary(DurationBinary),
    /// `(d)`.
    Paren(DurationParen),
}

/// `min_of(lhs, rhs)` or `max_of(lhs, rhs)` of durations.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExtreme {
    /// `max_of` when true.
    pub max: bool,
    /// First argument.
    pub lhs: Box<DurationExpr>,
    /// Second argument.
    pub rhs: Box<DurationExpr>,
    /// Where, parentheses included.
    pub pos: PosRange,
}

/// A signed duration expression.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationUnary {
    /// Which sign.
    pub op: UnaryOp,
    /// Of what.
    pub expr: Box<DurationExpr>,
    /// Where, the sign included.
    pub pos: PosRange,
}

/// Arithmetic on durations; `op` is one of `+ - * / % ^`.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationBinary {
    /// The operator.
    pub op: BinaryOp,
    /// The left side.
    pub lhs: Box<DurationExpr>,
    /// The right side.
    pub rhs: Box<DurationExpr>,
    /// Where.
    pub pos: PosRange,
}

/// A duration expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationParen {
    /// What stands inside.
    pub expr: Box<DurationExpr>,
    /// Where, parentheses included.
    pub pos: PosRange,
}

impl DurationExpr {
    /// Where it was written.
    pub fn pos(&self) -> PosRange {
        match self {
            DurationExpr::Literal(n) => n.pos,
            DurationExpr::Step(pos) | DurationExpr::Range(pos) => *pos,
            DurationExpr::Extreme(e) => e.pos,
            DurationExpr::Unary(u) => u.pos,
            DurationExpr::Binary(b) => b.pos,
            DurationExpr::Paren(p) => p.pos,
        }
    }
}

impl Expr {
    /// Where it was written.
    pub fn pos(&self) -> PosRange {
        match self {
            Expr::Number(e) => e.pos,
            Expr::String(e) => e.pos,
            Expr::Vector(e) => e.pos,
            Expr::Matrix(e) => e.pos,
            Expr::Subquery(e) => e.pos,
            Expr::Unary(e) => e.pos,
            Expr::Binary(e) => e.pos,
            Expr::Aggregate(e) => e.pos,
            Expr::Call(e) => e.pos,
            Expr::Paren(e) => e.pos,
        }
    }

    /// What it evaluates to. Walks down operators, so ask once.
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Number(_) => ValueType::Scalar,
            Expr::String(_) => ValueType::String,
            Expr::Vector(_) | Expr::Aggregate(_) => ValueType::Vector,
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
            Expr::Unary(e) => e.expr.value_type(),
            Expr::Paren(e) => e.expr.value_type(),
            Expr::Call(e) => e.function.signature().returns,
            Expr::Binary(e) => match (e.lhs.value_type(), e.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
        }
    }

    /// The expression inside any number of parentheses.
    pub fn unparenthesized(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }
}
