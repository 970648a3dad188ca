//! Functions that need whole vectors, or none at all, on evaluated arguments.

use tidemark_core::model::labels::{Labels, METRIC_NAME};
use tidemark_core::model::matcher::anchored;

use super::batch::{Batch, CellRef, Cells, Row, Steps};
use super::classic_histogram::{Histograms, Wanted, check_quantiles, label_by_quantile};
use super::dedupe::{Equal, drop_names, execution_error, unite};
use super::notes::{NoteKind, Notes};
use crate::budget::{Budget, Weight};
use crate::functions::labels::{Join, Replace, natural_less};
use crate::functions::signature::Function;
use crate::functions::{math, time};
use crate::limits::MADE_LABEL_BYTES_MAX;
use crate::parser::ast::PosRange;
use crate::plan::node::Call;
use crate::plan::split::Scalars;
use crate::value::QueryError;

/// A value of a node.
#[derive(Clone, Debug)]
pub enum Output {
    /// One number a step.
    Scalar(Scalars),
    /// An instant vector at each step.
    Vector(Batch),
    /// A string.
    Text(String),
}

impl Output {
    /// What it weighs in a query's budget.
    pub fn weight(&self) -> Weight {
        match self {
            Output::Scalar(scalars) => {
                Weight { samples: scalars.len(), bytes: size_of_val(&**scalars) }
            }
            Output::Vector(batch) => batch.weight(),
            Output::Text(text) => Weight { samples: 0, bytes: text.len() },
        }
    }

    /// How many series it has.
    pub fn series_count(&self) -> usize {
        match self {
            Output::Vector(batch) => batch.rows.len(),
            _ => 0,
        }
    }

    /// The scalars; NaN at each step for anything else.
    pub fn into_scalars(self, steps: Steps) -> Scalars {
        match self {
            Output::Scalar(scalars) => scalars,
            _ => vec![f64::NAN; steps.count].into(),
        }
    }

    /// The vector; empty for anything else.
    pub fn into_batch(self, steps: Steps) -> Batch {
        match self {
            Output::Vector(batch) => batch,
            _ => Batch::empty(steps),
        }
    }
}

/// What a call may look at besides its arguments.
pub struct CallContext<'a> {
    /// The call.
    pub call: &'a Call,
    /// At which moments.
    pub steps: Steps,
    /// Names are dropped at the end of evaluation.
    pub delayed_name_removal: bool,
    /// Where annotations go.
    pub notes: &'a mut Notes,
    /// What the query may cost.
    pub budget: &'a Budget,
}

impl CallContext<'_> {
    fn arg_pos(&self, i: usize) -> PosRange {
        self.call.arg_pos.get(i).copied().unwrap_or(self.call.pos)
    }

    /// Drops the names that a function makes meaningless, now or later, and unites what became the same.
    fn vector(&self, mut rows: Vec<Row>) -> Result<Output, QueryError> {
        if !self.delayed_name_removal {
            drop_names(&mut rows);
        }
        if !(self.delayed_name_removal && self.steps.count == 1) {
            rows = unite(rows, Equal::Merge)?;
        }
        Ok(Output::Vector(Batch::new(self.steps, rows)))
    }
}

/// Evaluates a call.
pub fn evaluate(cx: &mut CallContext<'_>, args: Vec<Output>) -> Result<Output, QueryError> {
    let steps = cx.steps;
    let function = cx.call.function;
    let mut args = args.into_iter();
    let scalars = |args: &mut std::vec::IntoIter<Output>| {
        args.next().map_or_else(|| vec![f64::NAN; steps.count].into(), |a| a.into_scalars(steps))
    };
    let batch = |args: &mut std::vec::IntoIter<Output>| {
        args.next().map_or_else(|| Batch::empty(steps), |a| a.into_batch(steps))
    };
    match function {
        Function::Time => Ok(step_seconds(steps)),
        Function::Pi => Ok(Output::Scalar(vec![std::f64::consts::PI; steps.count].into())),
        Function::MinOf | Function::MaxOf => {
            let (a, b) = (scalars(&mut args), scalars(&mut args));
            let pick = if function == Function::MinOf { math::min } else { math::max };
            Ok(Output::Scalar(a.iter().zip(&*b).map(|(a, b)| pick(*a, *b)).collect()))
        }
        Function::Scalar => Ok(Output::Scalar(single_value(&batch(&mut args)))),
        Function::Vector => {
            let cells = Cells::from_floats(scalars(&mut args).to_vec());
            Ok(one_row(steps, Labels::empty(), cells))
        }
        Function::Absent | Function::AbsentOverTime => {
            let present = batch(&mut args);
            let drop_name = function == Function::AbsentOverTime;
            Ok(absent(&present, cx.call.absent_labels.clone(), drop_name))
        }
        Function::Sort | Function::SortDesc => {
            note_sort(cx);
            Ok(Output::Vector(sorted(batch(&mut args), function == Function::SortDesc)))
        }
        Function::SortByLabel | Function::SortByLabelDesc => {
            note_sort(cx);
            let batch = batch(&mut args);
            let labels: Vec<String> = texts(args);
            Ok(Output::Vector(sorted_by_label(
                batch,
                &labels,
                function == Function::SortByLabelDesc,
            )))
        }
        Function::LabelReplace | Function::LabelJoin => {
            let batch = batch(&mut args);
            relabelled(cx, batch, &texts(args))
        }
        Function::HistogramQuantile => {
            let (q, batch) = (scalars(&mut args), batch(&mut args));
            check_quantiles(&q, cx.arg_pos(0), cx.notes);
            let histograms =
                Histograms::new(&batch, cx.arg_pos(1), cx.delayed_name_removal, cx.notes);
            let rows = histograms.evaluate(&Wanted::Quantile(&q), cx.notes);
            cx.vector(rows)
        }
        Function::HistogramFraction => {
            let (lower, upper) = (scalars(&mut args), scalars(&mut args));
            let batch = batch(&mut args);
            let histograms =
                Histograms::new(&batch, cx.arg_pos(2), cx.delayed_name_removal, cx.notes);
            let rows = histograms.evaluate(&Wanted::Fraction(&lower, &upper), cx.notes);
            cx.vector(rows)
        }
        Function::HistogramQuantiles => {
            let batch = batch(&mut args);
            let label = args.next().map(text).unwrap_or_default();
            let quantiles: Vec<Scalars> = args.map(|a| a.into_scalars(steps)).collect();
            for (i, q) in quantiles.iter().enumerate() {
                check_quantiles(q, cx.arg_pos(2 + i), cx.notes);
            }
            let histograms =
                Histograms::new(&batch, cx.arg_pos(0), cx.delayed_name_removal, cx.notes);
            let mut rows = Vec::new();
            for q in &quantiles {
                let of_one = histograms.evaluate(&Wanted::Quantile(q), cx.notes);
                rows.extend(label_by_quantile(of_one, &label, q));
            }
            cx.vector(rows)
        }
        // `start_timestamp` of an expression has nothing to tell.
        Function::StartTimestamp => Ok(Output::Vector(Batch::empty(steps))),
        calendar => {
            let kernel = time::calendar(calendar).unwrap_or(|_| f64::NAN);
            let seconds = steps.iter().map(|t| kernel((t / 1000) as f64)).collect();
            Ok(one_row(steps, Labels::empty(), Cells::from_floats(seconds)))
        }
    }
}

fn text(output: Output) -> String {
    match output {
        Output::Text(text) => text,
        _ => String::new(),
    }
}

fn texts(args: impl Iterator<Item = Output>) -> Vec<String> {
    args.map(text).collect()
}

fn step_seconds(steps: Steps) -> Output {
    Output::Scalar(steps.iter().map(|t| t as f64 / 1000.0).collect())
}

fn one_row(steps: Steps, labels: Labels, cells: Cells) -> Output {
    let rows = vec![Row { labels, drop_name: false, cells }];
    let mut batch = Batch::new(steps, rows);
    batch.drop_empty_rows();
    Output::Vector(batch)
}

/// `scalar`: the one float of a step, NaN if there is none or more than one.
fn single_value(batch: &Batch) -> Scalars {
    let mut values = vec![f64::NAN; batch.steps.count];
    let mut found = vec![0_u32; batch.steps.count];
    for row in &batch.rows {
        for i in 0..row.cells.len() {
            if let CellRef::Float(v) = row.cells.get(i) {
                found[i] += 1;
                values[i] = v;
            }
        }
    }
    for (value, _) in values.iter_mut().zip(&found).filter(|(_, found)| **found > 1) {
        *value = f64::NAN;
    }
    values.into()
}

/// 1 at each step without any sample.
fn absent(batch: &Batch, labels: Labels, drop_name: bool) -> Output {
    let mut cells = Cells::from_floats(vec![1.0; batch.steps.count]);
    for row in &batch.rows {
        for i in 0..row.cells.len() {
            if row.cells.is_present(i) {
                cells.clear(i);
            }
        }
    }
    match one_row(batch.steps, labels, cells) {
        Output::Vector(mut batch) => {
            batch.rows.iter_mut().for_each(|row| row.drop_name = drop_name);
            Output::Vector(batch)
        }
        other => other,
    }
}

fn note_sort(cx: &mut CallContext<'_>) {
    if cx.steps.count > 1 {
        cx.notes.add(NoteKind::SortInRangeQuery, "", cx.call.pos);
    }
}

/// `sort`, `sort_desc`: by the value of the only step, NaN last; histograms are left out. In a range query only the
/// histograms go.
fn sorted(mut batch: Batch, descending: bool) -> Batch {
    for row in &mut batch.rows {
        if row.cells.has_histograms() {
            row.cells.clear_histograms();
        }
    }
    batch.drop_empty_rows();
    if batch.steps.count != 1 {
        return batch;
    }
    batch.sort();
    batch.ordered = true;
    let value = |row: &Row| row.cells.floats()[0];
    batch.rows.sort_by(|a, b| {
        let (a, b) = (value(a), value(b));
        let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
        let order = if descending { order.reverse() } else { order };
        a.is_nan().cmp(&b.is_nan()).then(order)
    });
    batch
}

fn sorted_by_label(mut batch: Batch, labels: &[String], descending: bool) -> Batch {
    if batch.steps.count != 1 {
        return batch;
    }
    batch.ordered = true;
    batch.rows.sort_by(|a, b| {
        let order = labels
            .iter()
            .map(|label| (a.labels.get(label).unwrap_or(""), b.labels.get(label).unwrap_or("")))
            .find(|(a, b)| a != b)
            .map_or_else(
                || a.labels.cmp(&b.labels),
                |(a, b)| {
                    if natural_less(a, b) {
                        std::cmp::Ordering::Less
                    } else {
                        std::cmp::Ordering::Greater
                    }
                },
            );
        if descending { order.reverse() } else { order }
    });
    batch
}

/// What makes new labels of a series'.
enum Relabel {
    Replace(Replace),
    Join(Join),
}

impl Relabel {
    fn value_bytes_max(&self, labels: &Labels) -> usize {
        match self {
            Relabel::Replace(replace) => replace.value_bytes_max(labels),
            Relabel::Join(join) => join.value_bytes(labels),
        }
    }

    /// `None` if they stay.
    fn apply(&self, labels: &Labels) -> Option<Labels> {
        match self {
            Relabel::Replace(replace) => replace.apply(labels),
            Relabel::Join(join) => Some(join.apply(labels)),
        }
    }
}

/// `label_replace`, `label_join`. A new metric name is there to stay. Their values may grow with each of several that are nested: what
/// is made is held against the budget.
fn relabelled(
    cx: &CallContext<'_>,
    mut batch: Batch,
    args: &[String],
) -> Result<Output, QueryError> {
    let arg = |i: usize| args.get(i).cloned().unwrap_or_default();
    let destination = arg(0);
    let name = cx.call.function.name();
    let relabel = if cx.call.function == Function::LabelReplace {
        let source = arg(3);
        let regex = anchored(&source).map_err(|_| {
            execution_error(format!("invalid regular expression in {name}(): {source}"))
        })?;
        let (destination, replacement, source) = (destination.clone(), arg(1), arg(2));
        Relabel::Replace(Replace { destination, replacement, source, regex })
    } else {
        let sources = args.get(2..).unwrap_or_default().to_vec();
        if let Some(bad) = sources.iter().find(|source| source.is_empty()) {
            return Err(execution_error(format!("invalid source label name in {name}(): {bad}")));
        }
        Relabel::Join(Join { destination: destination.clone(), separator: arg(1), sources })
    };
    if destination.is_empty() {
        return Err(execution_error(format!(
            "invalid destination label name in {name}(): {destination}"
        )));
    }
    for row in &mut batch.rows {
        let bytes = relabel.value_bytes_max(&row.labels);
        if bytes > MADE_LABEL_BYTES_MAX {
            return Err(execution_error(format!(
                "{name}() would make a label value of up to {bytes} bytes, and at most {MADE_LABEL_BYTES_MAX} are made"
            )));
        }
        if let Some(labels) = relabel.apply(&row.labels) {
            cx.budget.hold_bytes(labels.encoded().len())?;
            row.labels = labels;
            row.drop_name &= destination != METRIC_NAME;
        }
    }
    batch.rows = unite(batch.rows, Equal::Merge)?;
    Ok(Output::Vector(batch))
}

#[cfg(test)]
mod tests {
    use super::super::batch::ABSENT;
    use super::*;

    fn batch(rows: &[(&str, &[f64])]) -> Batch {
        let rows: Vec<Row> = rows
            .iter()
            .map(|(labels, floats)| Row {
                labels: crate::parser::parse_metric(labels).unwrap(),
                drop_name: false,
                cells: Cells::from_floats(floats.to_vec()),
            })
            .collect();
        let count = rows[0].cells.len();
        Batch::new(Steps { start_ms: 0, interval_ms: 1, count }, rows)
    }

    #[test]
    fn single_and_absent_values() {
        let two = batch(&[("a", &[1.0, ABSENT, ABSENT]), ("b", &[2.0, 3.0, ABSENT])]);
        let values = single_value(&two);
        assert!(values[0].is_nan() && values[1] == 3.0 && values[2].is_nan());
        let Output::Vector(absent) = absent(&two, Labels::empty(), false) else { panic!() };
        assert_eq!(absent.rows[0].cells.count_present(), 1);
        assert!(absent.rows[0].cells.is_present(2));
    }

    #[test]
    fn sorting() {
        let names = |batch: &Batch| -> Vec<String> {
            batch.rows.iter().map(|row| row.labels.to_string()).collect()
        };
        let values = || batch(&[("a", &[2.0]), ("b", &[f64::NAN]), ("c", &[1.0])]);
        assert_eq!(names(&sorted(values(), false)), ["c", "a", "b"]);
        assert_eq!(names(&sorted(values(), true)), ["a", "c", "b"]);
        let labelled = || batch(&[(r#"m{x="10"}"#, &[1.0]), (r#"m{x="9"}"#, &[1.0])]);
        let by = ["x".to_owned()];
        assert_eq!(names(&sorted_by_label(labelled(), &by, false))[0], r#"m{x="9"}"#);
        assert_eq!(names(&sorted_by_label(labelled(), &by, true))[0], r#"m{x="10"}"#);
    }
}
