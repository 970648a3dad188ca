//! What is noted of an evaluation besides its result: what each part of the plan did, and how many samples each step looked at.
//! Both only when asked for.
//!
//! A query is evaluated one node after the other, so the nodes under way are a stack.

use std::cell::RefCell;

use tidemark_core::runtime::clock::Instant;

use super::batch::Steps;
use super::calls::Output;
use super::fragment::Gathered;
use crate::plan::node::Node;
use crate::value::Explain;

/// Notes of one evaluation.
#[derive(Debug, Default)]
pub struct Trace {
    /// The nodes under way, below them a root that collects what is done.
    nodes: Option<RefCell<Vec<Explain>>>,
    /// Samples looked at at each of the query's own steps.
    seen: Option<RefCell<StepCounts>>,
}

/// One number a step.
#[derive(Clone, Debug)]
pub struct StepCounts {
    steps: Steps,
    counts: Vec<u64>,
}

impl StepCounts {
    fn new(steps: Steps) -> Self {
        StepCounts { steps, counts: vec![0; steps.count] }
    }
}

impl Trace {
    /// Notes of a query with these steps.
    pub fn new(steps: Steps, explain: bool, step_stats: bool) -> Self {
        Trace {
            nodes: explain.then(|| RefCell::new(vec![Explain::default()])),
            seen: step_stats.then(|| RefCell::new(StepCounts::new(steps))),
        }
    }

    /// Whether nodes are noted.
    pub fn explains(&self) -> bool {
        self.nodes.is_some()
    }

    /// Whether the samples of each step are.
    pub fn counts_steps(&self) -> bool {
        self.seen.is_some()
    }

    /// A node is begun; gives the time.
    pub(super) fn enter(&self, node: &Node) -> Option<Instant> {
        let nodes = self.nodes.as_ref()?;
        let explain = Explain { node: node.kind(), text: node.text(false), ..Explain::default() };
        nodes.borrow_mut().push(explain);
        Some(Instant::now())
    }

    /// The node begun last is done.
    pub(super) fn leave(&self, began: Option<Instant>, output: &Output) {
        let (Some(nodes), Some(began)) = (&self.nodes, began) else { return };
        let mut nodes = nodes.borrow_mut();
        let Some(mut explain) = nodes.pop() else { return };
        explain.seconds = began.elapsed().as_secs_f64();
        explain.series = output.series_count();
        explain.samples = output.weight().samples;
        if let Some(parent) = nodes.last_mut() {
            parent.children.push(explain);
        }
    }

    /// The shards have evaluated `node`, which is the one begun last or what it aggregates.
    pub(super) fn shards(&self, node: &Node, gathered: &[Gathered]) {
        let Some(nodes) = &self.nodes else { return };
        let costs = gathered.iter().map(|part| part.cost);
        let explain = Explain {
            node: "shards",
            text: node.text(true),
            seconds: costs.clone().map(|cost| cost.seconds).fold(0.0, f64::max),
            series: costs.clone().map(|cost| cost.series).sum(),
            samples: costs.clone().map(|cost| cost.samples).sum(),
            shards: costs.collect(),
            children: Vec::new(),
        };
        if let Some(parent) = nodes.borrow_mut().last_mut() {
            parent.children.push(explain);
        }
    }

    /// Samples were looked at, `counts` at each of `steps`. What a subquery looks at counts for the last step.
    pub(super) fn seen(&self, steps: Steps, counts: &[u64]) {
        let Some(seen) = &self.seen else { return };
        let mut seen = seen.borrow_mut();
        if seen.steps == steps {
            seen.counts.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        } else if let Some(last) = seen.counts.last_mut() {
            *last += counts.iter().sum::<u64>();
        }
    }

    /// What is looked at from here on counts for `steps`, those of something that is evaluated once.
    pub(super) fn begin_once(&self, steps: Steps) -> Option<StepCounts> {
        Some(self.seen.as_ref()?.replace(StepCounts::new(steps)))
    }

    /// Something that is evaluated once is done: it counts for every step.
    pub(super) fn end_once(&self, before: Option<StepCounts>) {
        let (Some(seen), Some(mut before)) = (&self.seen, before) else { return };
        let once: u64 = seen.borrow().counts.iter().sum();
        before.counts.iter_mut().for_each(|count| *count += once);
        seen.replace(before);
    }

    /// The root of what was noted, and the samples of each step.
    pub fn finish(self) -> (Option<Box<Explain>>, Option<Vec<u64>>) {
        let root = self.nodes.and_then(|nodes| nodes.into_inner().pop()?.children.pop());
        (root.map(Box::new), self.seen.map(|seen| seen.into_inner().counts))
    }
}
