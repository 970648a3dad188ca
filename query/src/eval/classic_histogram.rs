//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`: of native histograms cell by cell, of classic
//! ones from all rows that differ in `le` only.
//!
//! Which rows make a classic histogram is found once; the buckets are gathered at each step from those that have a
//! sample. Where a classic and a native histogram have the same labels at the same step neither counts.

use hashbrown::HashMap;
use tidemark_core::model::histogram::GoFloat;
use tidemark_core::model::labels::Labels;

use super::batch::{Batch, Cell, CellRef, Cells, Row, Steps};
use super::notes::{Monotonicity, NoteKind, Notes};
use crate::functions::classic::{ClassicBucket, bucket_fraction, bucket_quantile};
use crate::functions::labels::with_label;
use crate::parser::ast::PosRange;

/// The label that holds the upper bound of a classic bucket.
const BUCKET_LABEL: &str = "le";

/// What is wanted of each histogram.
pub enum Wanted<'a> {
    /// `histogram_quantile`: the quantile at each step.
    Quantile(&'a [f64]),
    /// `histogram_fraction`: lower and upper bound at each step.
    Fraction(&'a [f64], &'a [f64]),
}

/// A vector sorted into histograms.
pub struct Histograms<'a> {
    batch: &'a Batch,
    /// Labels without `le`, and the bounds and rows of the buckets.
    classic: Vec<(Labels, Vec<(f64, usize)>)>,
    /// Rows with native histograms, and the classic histogram of the same labels.
    native: Vec<(usize, Option<usize>)>,
    pos: PosRange,
    names_known: bool,
}

impl<'a> Histograms<'a> {
    /// Sorts the rows. `pos` is where the vector stands in the query; `names_known` says whether rows still have
    /// the names they are to lose.
    pub fn new(batch: &'a Batch, pos: PosRange, names_known: bool, notes: &mut Notes) -> Self {
        let mut out =
            Histograms { batch, classic: Vec::new(), native: Vec::new(), pos, names_known };
        let mut by_labels: HashMap<Labels, usize> = HashMap::new();
        for (i, row) in batch.rows.iter().enumerate() {
            let any_float =
                (0..batch.steps.count).any(|step| matches!(row.cells.get(step), CellRef::Float(_)));
            if any_float {
                out.add_bucket(i, row, &mut by_labels, notes);
            }
        }
        for (i, row) in batch.rows.iter().enumerate().filter(|(_, row)| row.cells.has_histograms())
        {
            out.native.push((i, by_labels.get(&row.labels).copied()));
        }
        out
    }

    fn add_bucket(
        &mut self,
        i: usize,
        row: &Row,
        by_labels: &mut HashMap<Labels, usize>,
        notes: &mut Notes,
    ) {
        let text = row.labels.get(BUCKET_LABEL).unwrap_or("");
        let Some(bound) = parse_bound(text) else {
            let metric = self.metric(&row.labels);
            let subject = match metric {
                "" => format!("{text:?}"),
                name => format!("{text:?} for metric name {name:?}"),
            };
            notes.add(NoteKind::BadBucketLabel, &subject, self.pos);
            return;
        };
        let labels = row.labels.filtered(|name| name != BUCKET_LABEL);
        let number = *by_labels.entry(labels.clone()).or_insert(self.classic.len());
        if number == self.classic.len() {
            self.classic.push((labels, Vec::new()));
        }
        self.classic[number].1.push((bound, i));
    }

    /// The metric name for annotations, if it is still there.
    fn metric<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.names_known { labels.metric_name() } else { "" }
    }

    /// One row a histogram.
    pub fn evaluate(&self, wanted: &Wanted<'_>, notes: &mut Notes) -> Vec<Row> {
        let steps = self.batch.steps;
        let mut rows = Vec::new();
        for &(i, classic) in &self.native {
            let row = &self.batch.rows[i];
            let mut cells = Cells::absent(steps.count);
            for step in 0..steps.count {
                let CellRef::Histogram(h) = row.cells.get(step) else { continue };
                if classic.is_some_and(|classic| self.has_buckets(classic, step)) {
                    notes.add(NoteKind::MixedClassicNative, self.metric(&row.labels), self.pos);
                    continue;
                }
                cells.set_float(
                    step,
                    self.of_native(wanted, step, h, row.labels.metric_name(), notes),
                );
            }
            rows.push(Row { labels: row.labels.clone(), drop_name: true, cells });
        }
        for (number, (labels, _)) in self.classic.iter().enumerate() {
            let cells = self.of_classic(number, wanted, steps, notes);
            rows.push(Row { labels: labels.clone(), drop_name: true, cells });
        }
        rows.retain(|row| row.cells.any_present());
        rows
    }

    fn has_buckets(&self, classic: usize, step: usize) -> bool {
        let (_, buckets) = &self.classic[classic];
        buckets
            .iter()
            .any(|(_, row)| matches!(self.batch.rows[*row].cells.get(step), CellRef::Float(_)))
    }

    fn of_native(
        &self,
        wanted: &Wanted<'_>,
        step: usize,
        h: &tidemark_core::model::histogram::FloatHistogram,
        metric: &str,
        notes: &mut Notes,
    ) -> f64 {
        match wanted {
            Wanted::Quantile(q) => {
                let estimate = h.quantile(q[step]);
                if estimate.lost_in_nan {
                    notes.add(NoteKind::QuantileLostInNan, metric, self.pos);
                }
                if estimate.skewed_by_nan {
                    notes.add(NoteKind::QuantileSkewedByNan, metric, self.pos);
                }
                estimate.value
            }
            Wanted::Fraction(lower, upper) => {
                let estimate = h.fraction(lower[step], upper[step]);
                if estimate.without_nan {
                    notes.add(NoteKind::FractionWithoutNan, metric, self.pos);
                }
                estimate.value
            }
        }
    }

    fn of_classic(
        &self,
        number: usize,
        wanted: &Wanted<'_>,
        steps: Steps,
        notes: &mut Notes,
    ) -> Cells {
        let (labels, rows) = &self.classic[number];
        let native: Vec<usize> = self
            .native
            .iter()
            .filter(|(_, classic)| *classic == Some(number))
            .map(|(row, _)| *row)
            .collect();
        let mut cells = Cells::absent(steps.count);
        let mut buckets: Vec<ClassicBucket> = Vec::with_capacity(rows.len());
        for step in 0..steps.count {
            let at = |row: usize| self.batch.rows[row].cells.get(step);
            if native.iter().any(|row| matches!(at(*row), CellRef::Histogram(_))) {
                continue;
            }
            buckets.clear();
            buckets.extend(rows.iter().filter_map(|&(upper, row)| match at(row) {
                CellRef::Float(count) => Some(ClassicBucket { upper, count }),
                _ => None,
            }));
            if buckets.is_empty() {
                continue;
            }
            let value = match wanted {
                Wanted::Fraction(lower, upper) => {
                    bucket_fraction(lower[step], upper[step], &mut buckets)
                }
                Wanted::Quantile(q) => {
                    let (value, raised) = bucket_quantile(q[step], &mut buckets);
                    if let Some(raised) = raised {
                        let t = steps.at(step);
                        let place = Monotonicity {
                            time_ms: (t, t),
                            bounds: raised.bounds,
                            difference_max: raised.difference_max,
                            count: 1,
                        };
                        notes.add_monotonicity(self.metric(labels), self.pos, place);
                    }
                    value
                }
            };
            cells.set_float(step, value);
        }
        cells
    }
}

/// The value of `le`; as Prometheus, NaN is a number.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Notes quantiles outside 0 to 1.
pub fn check_quantiles(q: &[f64], pos: PosRange, notes: &mut Notes) {
    for &q in q {
        if !(0.0..=1.0).contains(&q) {
            notes.add(NoteKind::InvalidQuantile, &GoFloat(q).to_string(), pos);
        }
    }
}

/// Gives each row the label of its quantile, which may change from step to step.
pub fn label_by_quantile(rows: Vec<Row>, label: &str, q: &[f64]) -> Vec<Row> {
    let mut distinct: Vec<(u64, String)> =
        q.iter().map(|q| (q.to_bits(), open_metrics_float(*q))).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let mut out = Vec::with_capacity(rows.len() * distinct.len());
    for row in rows {
        for (bits, text) in &distinct {
            let mut cells = Cells::absent(row.cells.len());
            for (i, _) in q.iter().enumerate().filter(|(_, q)| q.to_bits() == *bits) {
                if let CellRef::Float(v) = row.cells.get(i) {
                    cells.set(i, Cell::Float(v));
                }
            }
            if cells.any_present() {
                let labels = with_label(&row.labels, label, text);
                out.push(Row { labels, drop_name: row.drop_name, cells });
            }
        }
    }
    out
}

/// A number as OpenMetrics writes it: never without a point or an exponent.
fn open_metrics_float(v: f64) -> String {
    let text = GoFloat(v).to_string();
    let whole = v.is_finite() && !text.contains(['.', 'e']);
    if whole { format!("{text}.0") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_one_histogram_are_found() {
        let row = |labels: &str, v: f64| Row {
            labels: crate::parser::parse_metric(labels).unwrap(),
            drop_name: false,
            cells: Cells::from_floats(vec![v]),
        };
        let batch = Batch::new(
            Steps::instant(0),
            vec![
                row(r#"m{a="1",le="1"}"#, 1.0),
                row(r#"m{a="1",le="+Inf"}"#, 2.0),
                row(r#"m{a="2",le="x"}"#, 1.0),
            ],
        );
        let mut notes = Notes::default();
        let histograms = Histograms::new(&batch, PosRange::default(), true, &mut notes);
        let rows = histograms.evaluate(&Wanted::Quantile(&[0.5]), &mut notes);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].labels.to_string().as_str(), rows[0].cells.floats()),
            (r#"m{a="1"}"#, &[1.0][..])
        );
        assert_eq!(
            notes.texts("").0,
            [
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric name \"m\" (1:1)"
            ]
        );
        let labelled = label_by_quantile(rows, "q", &[1.0]);
        assert_eq!(labelled[0].labels.get("q"), Some("1.0"));
    }
}
