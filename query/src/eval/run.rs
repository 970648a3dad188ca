//! Running a plan: on the core that was asked.
//!
//! What the shards can do alone goes to all of them in one message each; what comes back is merged, and the rest of the
//! plan is evaluated here, batch by batch.

use std::cell::RefCell;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::{self, Queue};
use tidemark_core::shards::Shards;

use super::aggregate::{AggregateSpec, Groups};
use super::batch::{Batch, Cells, Row, Steps};
use super::binary_op;
use super::calls::{self, CallContext, Output};
use super::count_values::{CountSpec, ValueCounts};
use super::dedupe::{Equal, drop_names, execution_error, unite};
use super::fragment::{self, Fragment, Gathered, Reduce, storage_error};
use super::info;
use super::matching::{self, VectorOperator};
use super::memo::Memo;
use super::notes::{NoteKind, Notes};
use super::row::{self, RowOptions};
use super::select_k::{Pick, pick};
use super::trace::Trace;
use super::window::{KernelContext, KernelScratch, Samples, Seen, WindowSpec, count_windows};
use crate::budget::Budget;
use crate::functions::signature::Function;
use crate::functions::{keeps_name, math, over_windows};
use crate::parser::ast::{AggregateOp, EdgeMode};
use crate::plan::node::{
    Aggregate, Call, CellCall, Node, Select, Shared, Subquery, WindowCall, WindowInput,
};
use crate::plan::split::{
    RowExpr, RowPlan, Scalars, drops_name, drops_name_inside, row_selector, subquery_steps,
};
use crate::value::QueryError;
use tidemark_core::model::histogram::GoFloat;

type Result<T, E = QueryError> = std::result::Result<T, E>;

/// What evaluation needs besides the plan.
pub struct Evaluator {
    /// Where the series are.
    pub shards: Shards,
    /// How old the newest sample may be.
    pub lookback_ms: i64,
    /// Settings.
    pub options: RowOptions,
    /// What the query may cost.
    pub budget: Budget,
    /// Annotations so far.
    pub notes: RefCell<Notes>,
    /// What was done so far, if that is wanted.
    pub trace: Trace,
    /// Values that are wanted again.
    pub memo: Memo,
}

impl Evaluator {
    /// Evaluates a node at the given moments.
    pub fn eval<'a>(&'a self, node: &'a Node, steps: Steps) -> LocalBoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            runtime::yield_if_needed().await;
            self.budget.check()?;
            let before = self.budget.held().minus(self.memo.weight());
            let began = self.trace.enter(node);
            let output = self.eval_node(node, steps).await?;
            self.trace.leave(began, &output);
            // What was held on the way is gone.
            self.budget.settle(before.plus(self.memo.weight()), output.weight())?;
            Ok(output)
        })
    }

    fn eval_node<'a>(&'a self, node: &'a Node, steps: Steps) -> LocalBoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            if let Node::Shared(part) = node {
                return self.shared(part, steps).await;
            }
            if row_selector(node)
                .is_some_and(|select| self.names_cannot_meet(select) || !drops_name_inside(node))
            {
                return self.rows(node, steps).await.map(Output::Vector);
            }
            match node {
                Node::Number(v) => Ok(Output::Scalar(vec![*v; steps.count].into())),
                Node::Text(text) => Ok(Output::Text(text.clone())),
                Node::Select(_) | Node::Range(_) | Node::Subquery(_) => {
                    Ok(Output::Vector(Batch::empty(steps)))
                }
                Node::Invariant(inner) => self.invariant(inner, steps).await,
                Node::Shared(part) => self.shared(part, steps).await,
                Node::Window(call) => self.window(call, steps).await.map(Output::Vector),
                Node::Cells(call) => self.cells(call, steps).await,
                Node::Call(call) => self.call(call, steps).await,
                Node::ScalarBinary(b) => {
                    let lhs = self.scalars(&b.lhs, steps).await?;
                    let rhs = self.scalars(&b.rhs, steps).await?;
                    let values = lhs.iter().zip(&*rhs);
                    let values = values.map(|(a, c)| binary_op::scalars(b.op, *a, *c));
                    Ok(Output::Scalar(values.collect()))
                }
                Node::VectorBinary(b) => {
                    let lhs = self.vector(&b.lhs, steps).await?;
                    let rhs = self.vector(&b.rhs, steps).await?;
                    let operator = VectorOperator {
                        op: b.op,
                        return_bool: b.return_bool,
                        matching: &b.matching,
                        pos: b.pos,
                        delayed_name_removal: self.options.delayed_name_removal,
                        budget: &self.budget,
                    };
                    let batch =
                        matching::evaluate(&operator, lhs, rhs, &mut self.notes.borrow_mut())?;
                    Ok(Output::Vector(batch))
                }
                Node::Aggregate(aggregate) => {
                    self.aggregate(aggregate, steps).await.map(Output::Vector)
                }
            }
        })
    }

    async fn scalars(&self, node: &Node, steps: Steps) -> Result<Scalars> {
        Ok(self.eval(node, steps).await?.into_scalars(steps))
    }

    async fn vector(&self, node: &Node, steps: Steps) -> Result<Batch> {
        Ok(self.eval(node, steps).await?.into_batch(steps))
    }

    /// Takes the value of what the query says more than once from where it was evaluated first. What has something to note is
    /// evaluated each time, since a note tells where.
    async fn shared(&self, part: &Shared, steps: Steps) -> Result<Output> {
        if self.trace.counts_steps() {
            return self.eval_node(&part.node, steps).await;
        }
        if let Some((output, seen)) = self.memo.take(part, steps) {
            self.budget.count_seen(seen as usize);
            return Ok(output);
        }
        let before = (self.budget.samples_seen(), self.notes.borrow().noted());
        let output = self.eval_node(&part.node, steps).await?;
        if self.notes.borrow().noted() == before.1 {
            self.memo.keep(part, steps, &output, self.budget.samples_seen() - before.0);
        }
        Ok(output)
    }

    /// Evaluates at the first step and repeats the result.
    async fn invariant(&self, inner: &Node, steps: Steps) -> Result<Output> {
        let before = (self.budget.samples_seen(), self.trace.begin_once(steps.first()));
        let output = self.eval(inner, steps.first()).await?;
        let once = self.budget.samples_seen() - before.0;
        self.budget.count_seen(once as usize * steps.count.saturating_sub(1));
        self.trace.end_once(before.1);
        Ok(match output {
            Output::Scalar(scalars) => {
                let value = scalars.first().copied().unwrap_or(f64::NAN);
                Output::Scalar(vec![value; steps.count].into())
            }
            Output::Vector(mut batch) => {
                for row in &mut batch.rows {
                    let weight = row.cells.weight();
                    self.budget.hold(weight.samples * steps.count)?;
                    self.budget.hold_bytes(weight.bytes * steps.count)?;
                    row.cells = row.cells.repeated(steps.count);
                }
                batch.steps = steps;
                Output::Vector(batch)
            }
            text @ Output::Text(_) => text,
        })
    }

    // ---- what the shards do ----

    /// Makes the row plan of a node for which [`row_selector`] found a selector. Scalar arguments are evaluated here.
    fn row_plan<'a>(&'a self, node: &'a Node, steps: Steps) -> LocalBoxFuture<'a, Result<RowPlan>> {
        Box::pin(async move {
            let expr = match node {
                Node::Select(select) => RowExpr::Newest {
                    offset_ms: select.offset_ms,
                    at_ms: select.at_ms,
                    lookback_ms: self.lookback_ms,
                    take: select.take,
                    smoothed: select.edges == EdgeMode::Smoothed,
                    pos: select.pos,
                },
                Node::Window(call) => {
                    let subquery = match &call.input {
                        WindowInput::Range(_) => None,
                        WindowInput::Subquery(subquery) => {
                            let inner = self.subquery_steps(subquery, steps)?;
                            Some(Box::new(self.row_plan(&subquery.node, inner).await?))
                        }
                    };
                    RowExpr::Window {
                        function: call.function,
                        spec: self.window_spec(&call.input),
                        args: self.window_args(call, steps).await?,
                        subquery,
                        pos: call.pos,
                    }
                }
                Node::Cells(call) => RowExpr::Cells {
                    function: call.function,
                    args: self.args(&call.args, steps).await?,
                    input: Box::new(self.row_plan(&call.input, steps).await?.expr),
                    pos: call.pos,
                },
                Node::Invariant(inner) => {
                    RowExpr::Repeat(Box::new(self.row_plan(inner, steps.first()).await?))
                }
                Node::Shared(part) => return self.row_plan(&part.node, steps).await,
                _ => return Err(execution_error("expression has no plan for one series")),
            };
            Ok(RowPlan { steps, expr })
        })
    }

    /// The steps of a subquery; too many are too many samples, and a column too long, whatever it selects.
    pub(super) fn subquery_steps(&self, subquery: &Subquery, parent: Steps) -> Result<Steps> {
        let steps = subquery_steps(subquery, parent);
        self.budget.hold(steps.count)?;
        self.budget.release(steps.count);
        let column = steps.count * size_of::<f64>();
        self.budget.hold_bytes(column)?;
        self.budget.release_bytes(column);
        Ok(steps)
    }

    fn window_spec(&self, input: &WindowInput) -> WindowSpec {
        let (range_ms, offset_ms, at_ms, edges) = match input {
            WindowInput::Range(r) => {
                (r.range_ms, r.select.offset_ms, r.select.at_ms, r.select.edges)
            }
            WindowInput::Subquery(s) => (s.range_ms, s.offset_ms, s.at_ms, EdgeMode::Plain),
        };
        WindowSpec { range_ms, offset_ms, at_ms, edges, lookback_ms: self.lookback_ms }
    }

    async fn args(&self, args: &[Node], steps: Steps) -> Result<Vec<Scalars>> {
        let mut out = Vec::with_capacity(args.len());
        for arg in args {
            out.push(self.scalars(arg, steps).await?);
        }
        Ok(out)
    }

    async fn window_args(&self, call: &WindowCall, steps: Steps) -> Result<Vec<Scalars>> {
        let args = self.args(&call.args, steps).await?;
        if call.function == Function::DoubleExponentialSmoothing {
            for (values, name, letter) in [(&args[0], "smoothing", "sf"), (&args[1], "trend", "tf")]
            {
                if let Some(bad) = values.iter().find(|v| !(**v > 0.0 && **v < 1.0)) {
                    return Err(execution_error(format!(
                        "invalid {name} factor. Expected: 0 < {letter} < 1, got: {bad:.6}"
                    )));
                }
            }
        }
        Ok(args)
    }

    /// Runs a fragment, which `node` has become, on every shard.
    async fn scatter(&self, node: &Node, fragment: Fragment) -> Result<Vec<Gathered>> {
        let steps = fragment.plan.steps;
        let fragment = Arc::new(fragment);
        let answers = self
            .shards
            .scatter(Queue::Query, move |shard| {
                let fragment = Arc::clone(&fragment);
                Box::pin(async move { fragment::run(fragment, &shard).await })
            })
            .await
            .map_err(|e| storage_error(&e))?;
        let gathered = answers.into_iter().collect::<Result<Vec<_>>>()?;
        self.trace.shards(node, &gathered);
        for part in &gathered {
            self.trace.seen(steps, &part.seen);
        }
        Ok(gathered)
    }

    /// What every fragment of this query has in common.
    fn fragment(&self, select: &Select, plan: RowPlan, reduce: Reduce) -> Fragment {
        Fragment {
            matchers: Arc::clone(&select.matchers),
            stats_only: select.stats_only,
            plan,
            reduce,
            options: self.options,
            budget: self.budget.clone(),
            timed: self.trace.explains(),
            counts_steps: self.trace.counts_steps(),
        }
    }

    /// The rows of a node that the shards evaluate series by series.
    async fn rows(&self, node: &Node, steps: Steps) -> Result<Batch> {
        let Some(select) = row_selector(node) else { return Ok(Batch::empty(steps)) };
        let plan = self.row_plan(node, steps).await?;
        let (drops, strict) = (plan.drops_name(), plan.is_strict());
        let fragment = self.fragment(select, plan, Reduce::Nothing);
        let mut rows = Vec::new();
        for part in self.scatter(node, fragment).await? {
            self.notes.borrow_mut().merge(part.notes);
            rows.extend(part.rows);
        }
        if drops && !self.names_cannot_meet(select) {
            rows = unite(rows, if strict { Equal::Refuse } else { Equal::Merge })?;
        }
        Ok(Batch::new(steps, rows))
    }

    /// Whether no two series can become the same by losing their names.
    fn names_cannot_meet(&self, select: &Select) -> bool {
        self.options.delayed_name_removal
            || select.has_one_name() && !self.options.type_and_unit_labels
    }

    /// The rows of a selector with the names of its series.
    pub(super) async fn info_rows(&self, select: &Node, steps: Steps) -> Result<Vec<Row>> {
        let options = RowOptions { delayed_name_removal: true, ..self.options };
        let keeping = Evaluator {
            shards: self.shards.clone(),
            lookback_ms: self.lookback_ms,
            options,
            budget: self.budget.clone(),
            notes: RefCell::default(),
            trace: Trace::default(),
            memo: Memo::default(),
        };
        Ok(keeping.rows(select, steps).await?.rows)
    }

    // ---- what is done here ----

    async fn window(&self, call: &WindowCall, steps: Steps) -> Result<Batch> {
        let WindowInput::Subquery(subquery) = &call.input else {
            return Ok(Batch::empty(steps));
        };
        let inner_steps = self.subquery_steps(subquery, steps)?;
        let inner = self.subquery_values(subquery, inner_steps).await?;
        let args = self.window_args(call, steps).await?;
        let spec = self.window_spec(&call.input);
        let mut rows = Vec::with_capacity(inner.rows.len());
        let (mut samples, mut scratch) = (Samples::default(), KernelScratch::default());
        for row in inner.rows {
            runtime::yield_if_needed().await;
            samples.fill_from_cells(inner_steps, &row.cells);
            let mut notes = self.notes.borrow_mut();
            let mut cx = KernelContext {
                notes: &mut notes,
                metric: row.labels.metric_name(),
                pos: call.pos,
                args: &args,
                scratch: &mut scratch,
            };
            let (cells, seen) = over_windows(call.function, &samples, &spec, steps, &mut cx)
                .unwrap_or_else(|| (Cells::absent(steps.count), Seen::default()));
            self.budget.count_seen(seen.total);
            if self.trace.counts_steps() {
                let mut counts = vec![0; steps.count];
                count_windows(&samples, &spec, steps, &mut counts);
                self.trace.seen(steps, &counts);
            }
            row::note_non_counter(
                call.function,
                &row.labels,
                &cells,
                self.options,
                call.pos,
                &mut notes,
            );
            let drop_name = row.drop_name || !keeps_name(call.function);
            rows.push(Row { labels: row.labels, drop_name, cells });
        }
        rows.retain(|row| row.cells.any_present());
        if !self.options.delayed_name_removal {
            drop_names(&mut rows);
            rows = unite(rows, Equal::Refuse)?;
        }
        let batch = Batch::new(steps, rows);
        Ok(batch)
    }

    /// The values of the expression of a subquery, a scalar being a series without labels.
    pub(super) async fn subquery_values(&self, subquery: &Subquery, steps: Steps) -> Result<Batch> {
        if steps.count == 0 {
            return Ok(Batch::empty(steps));
        }
        Ok(match self.eval(&subquery.node, steps).await? {
            Output::Scalar(scalars) => {
                let cells = Cells::from_floats(scalars.to_vec());
                let row = Row { labels: Labels::default(), drop_name: false, cells };
                Batch::new(steps, vec![row])
            }
            other => other.into_batch(steps),
        })
    }

    async fn cells(&self, call: &CellCall, steps: Steps) -> Result<Output> {
        let args = self.args(&call.args, steps).await?;
        let mut batch = match self.eval(&call.input, steps).await? {
            Output::Scalar(scalars) => {
                // Unary minus is the only one that takes a scalar.
                return Ok(Output::Scalar(scalars.iter().map(|v| -v).collect()));
            }
            other => other.into_batch(steps),
        };
        let drops = drops_name(&call.function);
        for row in &mut batch.rows {
            runtime::yield_if_needed().await;
            let mut notes = self.notes.borrow_mut();
            row::apply(call.function, &args, steps, &mut row.cells, &mut notes, call.pos);
            if drops {
                row.drop_name = true;
            }
        }
        batch.drop_empty_rows();
        if drops && !self.options.delayed_name_removal {
            drop_names(&mut batch.rows);
            batch.rows = unite(batch.rows, Equal::Merge)?;
        }
        Ok(Output::Vector(batch))
    }

    async fn call(&self, call: &Call, steps: Steps) -> Result<Output> {
        if call.function == Function::Info {
            let base = self.vector(&call.args[0], steps).await?;
            return info::evaluate(self, call, base, steps).await.map(Output::Vector);
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.eval(arg, steps).await?);
        }
        let mut notes = self.notes.borrow_mut();
        let mut cx = CallContext {
            call,
            steps,
            delayed_name_removal: self.options.delayed_name_removal,
            notes: &mut notes,
            budget: &self.budget,
        };
        calls::evaluate(&mut cx, args)
    }

    async fn aggregate(&self, node: &Aggregate, steps: Steps) -> Result<Batch> {
        if node.op == AggregateOp::CountValues {
            let Some(Node::Text(label)) = node.param.as_deref() else {
                return Ok(Batch::empty(steps));
            };
            return self.counted(node, CountSpec::new(label, &node.grouping, steps)?, steps).await;
        }
        let param = match &node.param {
            Some(param) => Some(self.scalars(param, steps).await?),
            None => None,
        };
        if AggregateSpec::is_mergeable(node.op) {
            return self.mergeable(node, param, steps).await;
        }
        self.picked(node, param.unwrap_or_default(), steps).await
    }

    /// `count_values`. Where the shards can count, their counts are added.
    async fn counted(&self, node: &Aggregate, spec: CountSpec, steps: Steps) -> Result<Batch> {
        let mut counts = ValueCounts::new(spec.clone());
        if let Some(select) = self.pushed_down(&node.input) {
            let plan = self.row_plan(&node.input, steps).await?;
            let fragment = self.fragment(select, plan, Reduce::Values(spec));
            for part in self.scatter(&node.input, fragment).await? {
                self.notes.borrow_mut().merge(part.notes);
                for row in &part.rows {
                    runtime::yield_if_needed().await;
                    counts.merge(row, &self.budget)?;
                }
            }
        } else {
            for row in &self.vector(&node.input, steps).await?.rows {
                runtime::yield_if_needed().await;
                counts.add(&row.labels, &row.cells, &self.budget)?;
            }
        }
        Ok(Batch::new(steps, counts.into_rows()))
    }

    /// `topk` and its kin. Where the shards can pick, what they pick is picked from.
    async fn picked(&self, node: &Aggregate, param: Scalars, steps: Steps) -> Result<Batch> {
        let spec = Pick {
            op: node.op,
            grouping: node.grouping.clone(),
            param: Arc::clone(&param),
            pos: node.pos,
        };
        let Some(select) = self.pushed_down(&node.input) else {
            let input = self.vector(&node.input, steps).await?;
            if !self.check_count_or_ratio(node, &param)? {
                return Ok(Batch::empty(steps));
            }
            let batch = pick(&spec, input, &mut self.notes.borrow_mut());
            return Ok(batch);
        };
        let plan = self.row_plan(&node.input, steps).await?;
        let wanted = self.check_count_or_ratio(node, &param)?;
        let reduce = Reduce::Pick(spec.clone());
        let fragment = self.fragment(select, plan, reduce);
        let mut rows = Vec::new();
        for part in self.scatter(&node.input, fragment).await? {
            self.notes.borrow_mut().merge(part.notes);
            rows.extend(part.rows);
        }
        if !wanted {
            return Ok(Batch::empty(steps));
        }
        let batch = pick(&spec, Batch::new(steps, rows), &mut self.notes.borrow_mut());
        Ok(batch)
    }

    async fn mergeable(
        &self,
        node: &Aggregate,
        param: Option<Scalars>,
        steps: Steps,
    ) -> Result<Batch> {
        let spec = AggregateSpec {
            op: node.op,
            grouping: node.grouping.clone(),
            pos: node.input_pos,
            steps,
        };
        if let (AggregateOp::Quantile, Some(q)) = (node.op, &param) {
            let mut notes = self.notes.borrow_mut();
            let (low, high) = extremes(q);
            if q.iter().any(|q| q.is_nan()) {
                notes.add(NoteKind::InvalidQuantile, "NaN", node.param_pos);
            }
            for bad in [high, low].into_iter().filter(|q| *q < 0.0 || *q > 1.0) {
                let text = GoFloat(bad).to_string();
                notes.add(NoteKind::InvalidQuantile, &text, node.param_pos);
            }
        }
        let mut groups = Groups::new(spec.clone());
        if let Some(select) = self.pushed_down(&node.input) {
            let plan = self.row_plan(&node.input, steps).await?;
            let fragment = self.fragment(select, plan, Reduce::Groups(spec.clone()));
            for part in self.scatter(&node.input, fragment).await? {
                self.notes.borrow_mut().merge(part.notes);
                for group in part.groups.into_iter().flat_map(|partial| partial.0) {
                    runtime::yield_if_needed().await;
                    groups.merge(group, &mut self.notes.borrow_mut());
                }
            }
            return Ok(self.finished(groups, &spec, param.as_deref()).await);
        }
        let input = self.vector(&node.input, steps).await?;
        for row in &input.rows {
            runtime::yield_if_needed().await;
            groups.add(&row.labels, row.drop_name, &row.cells, &mut self.notes.borrow_mut());
        }
        Ok(self.finished(groups, &spec, param.as_deref()).await)
    }

    /// One row a group. There may be many: the core is offered to others between them.
    async fn finished(&self, groups: Groups, spec: &AggregateSpec, param: Option<&[f64]>) -> Batch {
        let groups = groups.into_partial().0;
        let mut rows = Vec::with_capacity(groups.len());
        for group in groups {
            runtime::yield_if_needed().await;
            rows.extend(group.finish(spec, param, &mut self.notes.borrow_mut()));
        }
        Batch::new(spec.steps, rows)
    }

    /// The selector of an expression that the shards can aggregate themselves: none of its series may turn out to be the
    /// same as one on another shard.
    fn pushed_down<'a>(&self, input: &'a Node) -> Option<&'a Select> {
        let select = row_selector(input)?;
        self.names_cannot_meet(select).then_some(select)
    }

    /// Checks the parameter of `topk` and its kin; false if nothing can be picked.
    fn check_count_or_ratio(&self, node: &Aggregate, param: &[f64]) -> Result<bool> {
        const I64_LIMIT: f64 = 9_223_372_036_854_775_807.0;
        let (low, high) = extremes(param);
        let any_nan = param.iter().any(|p| p.is_nan());
        if node.op != AggregateOp::LimitRatio {
            if high < 1.0 && !high.is_nan() {
                return Ok(false);
            }
            if any_nan {
                return Err(execution_error("Parameter value is NaN"));
            }
            if low <= -I64_LIMIT {
                let low = GoFloat(low);
                return Err(execution_error(format!("Scalar value {low} underflows int64")));
            }
            if high >= I64_LIMIT {
                let high = GoFloat(high);
                return Err(execution_error(format!("Scalar value {high} overflows int64")));
            }
            return Ok(true);
        }
        if low == 0.0 && high == 0.0 {
            return Ok(false);
        }
        if any_nan {
            return Err(execution_error("Ratio value is NaN"));
        }
        let mut notes = self.notes.borrow_mut();
        for (bad, limit) in [(high, 1.0), (low, -1.0)] {
            if bad > 1.0 && limit > 0.0 || bad < -1.0 && limit < 0.0 {
                let text = format!("{}, capping to {}", GoFloat(bad), GoFloat(limit));
                notes.add(NoteKind::InvalidRatio, &text, node.param_pos);
            }
        }
        Ok(true)
    }
}

/// Least and greatest of a column; NaN if any value is.
fn extremes(values: &[f64]) -> (f64, f64) {
    let all = (f64::INFINITY, f64::NEG_INFINITY);
    values.iter().fold(all, |(low, high), &v| (math::min(low, v), math::max(high, v)))
}
