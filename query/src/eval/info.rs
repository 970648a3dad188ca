//! `info`: gives the series of a vector the labels of the info metrics of their target.
//!
//! An info series belongs to a series if both have the same `instance` and `job`. Of several with one metric name the
//! one with the newest sample counts, at each step anew.

use hashbrown::{HashMap, HashSet};
use tidemark_core::model::labels::{Labels, METRIC_NAME};
use tidemark_core::model::matcher::{MatchOp, Matcher};
use tidemark_core::model::sample::is_stale;
use tidemark_core::model::time::TimestampMs;

use super::batch::{Batch, Cells, Row, Steps};
use super::dedupe::{Equal, execution_error, unite};
use super::run::Evaluator;
use crate::parser::ast::{EdgeMode, PosRange};
use crate::plan::node::{Call, Node, Select, Take, WindowInput};
use crate::value::QueryError;

/// The info metric that is meant if none is named.
const TARGET_INFO: &str = "target_info";
/// The labels that tell which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What is taken from which info metrics.
struct Wanted {
    /// Conditions on the name of the info metric.
    names: Vec<Matcher>,
    /// Conditions on the labels to take; if there are any, only these labels are taken.
    data: Vec<Matcher>,
}

impl Wanted {
    fn of(call: &Call) -> Self {
        let matchers = match call.args.get(1) {
            Some(Node::Select(select)) => select.matchers.to_vec(),
            _ => Vec::new(),
        };
        let (mut names, data): (Vec<_>, Vec<_>) =
            matchers.into_iter().partition(|m| m.name() == METRIC_NAME);
        let positive = names.iter().any(|m| matches!(m.op(), MatchOp::Equal | MatchOp::Regex));
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !positive {
            let all = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info");
            names.extend(all);
        }
        Wanted { names, data }
    }

    /// Whether a series is itself an info series, which is left as it is.
    fn is_info(&self, labels: &Labels) -> bool {
        self.names.iter().all(|m| m.matches(labels.metric_name()))
    }

    fn takes(&self, label: &str) -> bool {
        label != METRIC_NAME
            && (self.data.is_empty() || self.data.iter().any(|m| m.name() == label))
    }

    /// Whether a series without any info series stays.
    fn allows_none(&self) -> bool {
        self.data.iter().all(Matcher::matches_empty)
    }
}

/// Evaluates `info(base, selector)`.
pub(super) async fn evaluate(
    evaluator: &Evaluator,
    call: &Call,
    base: Batch,
    steps: Steps,
) -> Result<Batch, QueryError> {
    let wanted = Wanted::of(call);
    let (at_ms, offset_ms) = reference(&call.args[0]).unwrap_or((None, 0));
    let targets: HashSet<[String; 2]> = base
        .rows
        .iter()
        .filter(|row| !wanted.is_info(&row.labels))
        .map(|row| target(&row.labels))
        .filter(|target| target.iter().any(|value| !value.is_empty()))
        .collect();
    let mut info_rows = Vec::new();
    if !targets.is_empty() {
        let select = Node::Select(Select {
            matchers: wanted.names.iter().chain(&wanted.data).cloned().collect(),
            offset_ms,
            at_ms,
            edges: EdgeMode::Plain,
            take: Take::FloatTimestamp,
            stats_only: false,
            pos: PosRange::default(),
        });
        info_rows = evaluator.info_rows(&select, steps).await?;
        info_rows.retain(|row| targets.contains(&target(&row.labels)));
        let is_float = |row: &Row| !row.cells.floats().iter().any(|v| v.is_nan() && !is_stale(*v));
        if let Some(row) = info_rows.iter().find(|row| !is_float(row)) {
            return Err(execution_error(format!(
                "this should be an info metric, with float samples: {}",
                row.labels
            )));
        }
    }
    info_rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    let infos = Infos::new(info_rows, steps)?;
    let mut rows = Vec::with_capacity(base.rows.len());
    for row in base.rows {
        if wanted.is_info(&row.labels) {
            rows.push(row);
        } else {
            infos.enrich(&row, &wanted, &mut rows)?;
        }
    }
    rows.retain(|row| row.cells.any_present());
    Ok(Batch::new(steps, unite(rows, Equal::Merge)?))
}

fn target(labels: &Labels) -> [String; 2] {
    IDENTIFYING.map(|name| labels.get(name).unwrap_or("").to_owned())
}

/// The moment and offset of the first selector of an expression: when its samples are of, info is to be of then too.
fn reference(node: &Node) -> Option<(Option<TimestampMs>, i64)> {
    let subquery = |s: &crate::plan::node::Subquery| {
        let (at_ms, offset_ms) = reference(&s.node)?;
        Some(if at_ms.is_some() { (at_ms, offset_ms) } else { (s.at_ms, offset_ms + s.offset_ms) })
    };
    match node {
        Node::Select(s) => Some((s.at_ms, s.offset_ms)),
        Node::Range(r) => Some((r.select.at_ms, r.select.offset_ms)),
        Node::Subquery(s) => subquery(s),
        Node::Window(call) => match &call.input {
            WindowInput::Range(r) => Some((r.select.at_ms, r.select.offset_ms)),
            WindowInput::Subquery(s) => subquery(s),
        },
        Node::Cells(call) => {
            reference(&call.input).or_else(|| call.args.iter().find_map(reference))
        }
        Node::Call(call) => call.args.iter().find_map(reference),
        Node::ScalarBinary(b) => reference(&b.lhs).or_else(|| reference(&b.rhs)),
        Node::VectorBinary(b) => reference(&b.lhs).or_else(|| reference(&b.rhs)),
        Node::Aggregate(a) => {
            a.param.as_deref().and_then(reference).or_else(|| reference(&a.input))
        }
        Node::Invariant(inner) => reference(inner),
        Node::Shared(shared) => reference(&shared.node),
        Node::Number(_) | Node::Text(_) => None,
    }
}

/// The info series of each target, by metric name.
struct Infos {
    rows: Vec<Row>,
    /// For each target and info metric the row that counts at each step.
    newest: HashMap<[String; 2], Vec<Vec<Option<usize>>>>,
}

impl Infos {
    fn new(rows: Vec<Row>, steps: Steps) -> Result<Self, QueryError> {
        let mut by_target: HashMap<[String; 2], Vec<(String, Vec<usize>)>> = HashMap::new();
        for (i, row) in rows.iter().enumerate() {
            let metrics = by_target.entry(target(&row.labels)).or_default();
            let name = row.labels.metric_name();
            match metrics.iter_mut().find(|(metric, _)| metric == name) {
                Some((_, members)) => members.push(i),
                None => metrics.push((name.to_owned(), vec![i])),
            }
        }
        let mut newest = HashMap::with_capacity(by_target.len());
        for (target, metrics) in by_target {
            let picked: Result<Vec<_>, _> = metrics
                .iter()
                .map(|(_, members)| {
                    (0..steps.count).map(|step| newest_at(&rows, members, step)).collect()
                })
                .collect();
            newest.insert(target, picked?);
        }
        Ok(Infos { rows, newest })
    }

    /// Adds the row with the labels that it has at each step, which may change as other info series count.
    fn enrich(&self, row: &Row, wanted: &Wanted, out: &mut Vec<Row>) -> Result<(), QueryError> {
        let none = Vec::new();
        let metrics = self.newest.get(&target(&row.labels)).unwrap_or(&none);
        let mut parts: Vec<(Vec<usize>, Cells)> = Vec::new();
        for step in 0..row.cells.len() {
            if !row.cells.is_present(step) {
                continue;
            }
            let infos: Vec<usize> = metrics.iter().filter_map(|rows| rows[step]).collect();
            if infos.is_empty() && !wanted.allows_none() {
                continue;
            }
            let known = parts.iter().position(|(known, _)| *known == infos);
            let part = known.unwrap_or_else(|| {
                parts.push((infos, Cells::absent(row.cells.len())));
                parts.len() - 1
            });
            parts[part].1.set(step, row.cells.take_ref(step));
        }
        for (infos, cells) in parts {
            let labels = self.labels(&row.labels, &infos, wanted)?;
            out.push(Row { labels, drop_name: row.drop_name, cells });
        }
        Ok(())
    }

    fn labels(
        &self,
        base: &Labels,
        infos: &[usize],
        wanted: &Wanted,
    ) -> Result<Labels, QueryError> {
        let mut taken: Vec<(&str, &str)> = Vec::new();
        for &info in infos {
            for (name, value) in self.rows[info].labels.iter().filter(|(n, _)| wanted.takes(n)) {
                match taken.iter().find(|(known, _)| *known == name) {
                    Some((_, known)) if *known != value => {
                        return Err(execution_error(format!("conflicting label: {name}")));
                    }
                    None if base.get(name).is_none() => taken.push((name, value)),
                    _ => {}
                }
            }
        }
        let mut builder = base.to_builder();
        for (name, value) in taken {
            builder.set(name, value);
        }
        Ok(builder.build())
    }
}

/// The row with the newest sample at a step; cells hold the time of the sample in seconds.
fn newest_at(rows: &[Row], members: &[usize], step: usize) -> Result<Option<usize>, QueryError> {
    let mut best: Option<usize> = None;
    let time = |row: usize| rows[row].cells.floats()[step];
    for &row in members.iter().filter(|row| rows[**row].cells.is_present(step)) {
        match best {
            Some(known) if time(known) > time(row) => {}
            Some(known) if time(known) == time(row) => {
                let ms = (time(row) * 1000.0) as i64;
                let (a, b) = (&rows[known].labels, &rows[row].labels);
                return Err(execution_error(format!(
                    "found duplicate series for info metric: existing {a} @ {ms}, new {b} @ {ms}"
                )));
            }
            _ => best = Some(row),
        }
    }
    Ok(best)
}
