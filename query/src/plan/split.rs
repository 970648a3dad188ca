//! Splitting: which parts of a plan need only the samples of one series at a time.
//!
//! Such a part, a *row plan*, is one selector with a chain of windows and cell functions above it. It is shipped to the
//! shards, where every series runs through it alone: its samples are decoded once, whatever the number of steps and the
//! depth of subqueries. An aggregation right above a row plan can be shipped as well; then only groups come back.

use std::sync::Arc;

use tidemark_core::model::time::{TimeRange, TimestampMs};

use super::node::{CellFunction, Node, Select, Subquery, Take, WindowCall, WindowInput};
use crate::eval::batch::Steps;
use crate::eval::window::WindowSpec;
use crate::functions::keeps_name;
use crate::functions::signature::Function;
use crate::parser::ast::{EdgeMode, PosRange};

/// A column of scalars, one a step.
pub type Scalars = Arc<[f64]>;

/// What is computed for each series by itself.
#[derive(Clone, Debug)]
pub struct RowPlan {
    /// At which moments.
    pub steps: Steps,
    /// How.
    pub expr: RowExpr,
}

/// How the cells of a row come about.
#[derive(Clone, Debug)]
pub enum RowExpr {
    /// The newest sample at each step.
    Newest {
        /// How far back from the step.
        offset_ms: i64,
        /// At which moment, whatever the step.
        at_ms: Option<TimestampMs>,
        /// How old it may be.
        lookback_ms: i64,
        /// What of it.
        take: Take,
        /// Interpolated between its neighbours.
        smoothed: bool,
        /// Where annotations point to.
        pos: PosRange,
    },
    /// A window function.
    Window {
        /// Which.
        function: Function,
        /// Which window belongs to a step.
        spec: WindowSpec,
        /// Scalar arguments.
        args: Vec<Scalars>,
        /// Over the values of another row plan; over the samples if there is none.
        subquery: Option<Box<RowPlan>>,
        /// Where annotations point to.
        pos: PosRange,
    },
    /// A function of cells.
    Cells {
        /// Which.
        function: CellFunction,
        /// Scalar arguments.
        args: Vec<Scalars>,
        /// Of what.
        input: Box<RowExpr>,
        /// Where annotations point to.
        pos: PosRange,
    },
    /// The first cell of another row plan at every step.
    Repeat(Box<RowPlan>),
}

impl RowPlan {
    /// Which samples it looks at; `None` if none at all.
    pub fn time_range(&self) -> Option<TimeRange> {
        if self.steps.count == 0 {
            return None;
        }
        let (first, last) = (self.steps.start_ms, self.steps.end_ms());
        match &self.expr {
            RowExpr::Newest { offset_ms, at_ms, lookback_ms, smoothed, .. } => {
                let (first, last) = (at_ms.unwrap_or(first), at_ms.unwrap_or(last));
                let ahead = if *smoothed { *lookback_ms } else { 0 };
                let behind = lookback_ms - i64::from(!*smoothed);
                Some(TimeRange::new(
                    first.saturating_sub(*offset_ms).saturating_sub(behind),
                    last.saturating_sub(*offset_ms).saturating_add(ahead),
                ))
            }
            RowExpr::Window { subquery: Some(inner), .. } | RowExpr::Repeat(inner) => {
                inner.time_range()
            }
            RowExpr::Window { spec, subquery: None, .. } => {
                let (from, _) = spec.reach(spec.end(first));
                let (_, to) = spec.reach(spec.end(last));
                Some(TimeRange::new(from.saturating_add(1), to))
            }
            RowExpr::Cells { input, .. } => {
                RowPlan { steps: self.steps, expr: (**input).clone() }.time_range()
            }
        }
    }

    /// Steps of the longest column that it makes of a series.
    pub fn steps_max(&self) -> usize {
        self.steps.count.max(self.expr.steps_max())
    }

    /// Whether the metric name is to be dropped.
    pub fn drops_name(&self) -> bool {
        self.expr.drops_name()
    }

    /// Whether two series may not become the same by dropping the name, even if they never have a sample at the same
    /// step.
    pub fn is_strict(&self) -> bool {
        match &self.expr {
            RowExpr::Newest { .. } => false,
            RowExpr::Window { .. } => true,
            RowExpr::Cells { input, .. } => {
                RowPlan { steps: self.steps, expr: (**input).clone() }.is_strict()
            }
            RowExpr::Repeat(inner) => inner.is_strict(),
        }
    }

    /// Whether any part of it looks at start timestamps.
    pub fn reads_starts(&self) -> bool {
        self.expr.reads_starts()
    }
}

impl RowExpr {
    /// Steps of the longest column on the way, but for its own.
    fn steps_max(&self) -> usize {
        match self {
            RowExpr::Window { subquery: Some(inner), .. } | RowExpr::Repeat(inner) => {
                inner.steps_max()
            }
            RowExpr::Newest { .. } | RowExpr::Window { .. } => 0,
            RowExpr::Cells { input, .. } => input.steps_max(),
        }
    }

    fn drops_name(&self) -> bool {
        match self {
            RowExpr::Newest { take, .. } => *take != Take::Value,
            RowExpr::Window { function, subquery, .. } => {
                !keeps_name(*function) || subquery.as_ref().is_some_and(|s| s.drops_name())
            }
            RowExpr::Cells { function, input, .. } => drops_name(function) || input.drops_name(),
            RowExpr::Repeat(inner) => inner.drops_name(),
        }
    }

    fn reads_starts(&self) -> bool {
        match self {
            RowExpr::Newest { take, .. } => *take == Take::StartTimestamp,
            RowExpr::Window { subquery: Some(inner), .. } | RowExpr::Repeat(inner) => {
                inner.reads_starts()
            }
            RowExpr::Window { function, .. } => crate::functions::uses_starts(*function),
            RowExpr::Cells { input, .. } => input.reads_starts(),
        }
    }
}

/// Whether a function of cells makes the value something else than the metric.
pub fn drops_name(function: &CellFunction) -> bool {
    match function {
        CellFunction::Binary { op, return_bool, .. } => *return_bool || op.changes_meaning(),
        _ => true,
    }
}

/// The selector of the row plan that a node can become, if it can.
pub fn row_selector(node: &Node) -> Option<&Select> {
    match node {
        Node::Select(select) if select.edges != EdgeMode::Anchored => Some(select),
        Node::Window(call) => match &call.input {
            WindowInput::Range(range) => Some(&range.select),
            WindowInput::Subquery(subquery) => row_selector(&subquery.node),
        },
        Node::Cells(call) if !call.input.is_scalar() => row_selector(&call.input),
        Node::Invariant(inner) => row_selector(inner),
        Node::Shared(shared) => row_selector(&shared.node),
        _ => None,
    }
}

/// Whether a row plan of the node loses names before its last operation. Series that have become the same are an error then,
/// even if the last operation would leave them out.
pub fn drops_name_inside(node: &Node) -> bool {
    match node {
        Node::Cells(call) => node_drops_name(&call.input),
        Node::Window(WindowCall { input: WindowInput::Subquery(subquery), .. }) => {
            node_drops_name(&subquery.node)
        }
        Node::Invariant(inner) => drops_name_inside(inner),
        Node::Shared(shared) => drops_name_inside(&shared.node),
        _ => false,
    }
}

fn node_drops_name(node: &Node) -> bool {
    match node {
        Node::Select(select) => select.take != Take::Value,
        Node::Window(call) => !keeps_name(call.function) || drops_name_inside(node),
        Node::Cells(call) => drops_name(&call.function) || drops_name_inside(node),
        Node::Invariant(inner) => node_drops_name(inner),
        Node::Shared(shared) => node_drops_name(&shared.node),
        _ => false,
    }
}

/// The steps at which the expression of a subquery is evaluated, for a parent that is evaluated at `parent`. They lie at
/// the multiples of the subquery's own step.
pub fn subquery_steps(subquery: &Subquery, parent: Steps) -> Steps {
    let end = |t: TimestampMs| subquery.at_ms.unwrap_or(t) - subquery.offset_ms;
    if parent.count == 0 {
        return Steps { start_ms: parent.start_ms, interval_ms: subquery.step_ms, count: 0 };
    }
    let open_start = end(parent.start_ms) - subquery.range_ms;
    let start_ms = (open_start.div_euclid(subquery.step_ms) + 1) * subquery.step_ms;
    Steps::new(start_ms, end(parent.end_ms()), subquery.step_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subqueries_are_aligned_to_their_step() {
        let subquery = |range_ms, step_ms, offset_ms| Subquery {
            node: Box::new(Node::Number(1.0)),
            range_ms,
            step_ms,
            offset_ms,
            at_ms: None,
        };
        let steps = subquery_steps(&subquery(50, 10, 0), Steps::instant(100));
        assert_eq!((steps.start_ms, steps.end_ms(), steps.count), (60, 100, 5));
        let steps = subquery_steps(&subquery(50, 10, 3), Steps::instant(100));
        assert_eq!((steps.start_ms, steps.end_ms()), (50, 90));
        let steps = subquery_steps(&subquery(50, 10, 0), Steps::new(100, 205, 50));
        assert_eq!((steps.start_ms, steps.end_ms()), (60, 200));
        let steps = subquery_steps(&subquery(5, 10, 0), Steps::instant(7));
        assert_eq!(steps.count, 0);
    }
}
