//! Aggregations as mergeable partial states.
//!
//! [`Groups`] takes rows one at a time, on whatever core they are, and holds one column a step of running state for each
//! group. States of the same aggregation merge, so that every shard aggregates its own series and only groups cross
//! cores. The key of a group is computed once a series; the inner loops run over columns.

use hashbrown::HashTable;
use tidemark_core::model::kahan::KahanSum;
use tidemark_core::model::labels::{Labels, METRIC_NAME, push_pair};
use tidemark_core::model::sample::is_stale;
use xxhash_rust::xxh3::xxh3_64;

use super::batch::{ABSENT, Cell, CellRef, Cells, Row, Steps};
use super::histogram_groups::HistogramColumn;
use super::notes::{NoteKind, Notes};
use crate::functions::quantile::quantile;
use crate::parser::ast::{AggregateOp, PosRange};
use crate::plan::node::Grouping;
use crate::simd::{Sums, add_to_sums};

/// Maps label sets to numbers of groups.
#[derive(Debug, Default)]
pub struct GroupTable {
    grouping: Grouping,
    table: HashTable<u32>,
    labels: Vec<Labels>,
    key: Vec<u8>,
}

impl GroupTable {
    /// No groups yet.
    pub fn new(grouping: Grouping) -> Self {
        GroupTable { grouping, ..GroupTable::default() }
    }

    /// The group of a series; a new one if it is the first.
    pub fn group_of(&mut self, labels: &Labels) -> usize {
        self.key.clear();
        let wanted = &self.grouping.labels;
        let without = self.grouping.without;
        if without || !wanted.is_empty() {
            for (name, value) in labels {
                let listed = wanted.binary_search_by(|w| w.as_str().cmp(name)).is_ok();
                if listed != without && !(without && name == METRIC_NAME) {
                    push_pair(&mut self.key, name, value);
                }
            }
        }
        let hash = xxh3_64(&self.key);
        let groups = &self.labels;
        let found = self.table.find(hash, |&i| groups[i as usize].encoded() == self.key);
        if let Some(&i) = found {
            return i as usize;
        }
        let number = self.labels.len();
        let labels = Labels::from_encoded(&self.key).unwrap_or_default();
        self.labels.push(labels);
        let groups = &self.labels;
        self.table.insert_unique(hash, number as u32, |&i| xxh3_64(groups[i as usize].encoded()));
        number
    }

    /// The labels of each group.
    pub fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// What is aggregated and how.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// The operator; one of those that [`AggregateSpec::is_mergeable`] takes.
    pub op: AggregateOp,
    /// Which labels make a group.
    pub grouping: Grouping,
    /// Where annotations point to.
    pub pos: PosRange,
    /// At which moments.
    pub steps: Steps,
}

impl AggregateSpec {
    /// Whether partial states of the operator merge into the same result.
    pub fn is_mergeable(op: AggregateOp) -> bool {
        use AggregateOp::{Avg, Count, Group, Max, Min, Quantile, Stddev, Stdvar, Sum};
        matches!(op, Sum | Avg | Count | Min | Max | Group | Stddev | Stdvar | Quantile)
    }
}

/// The running state of one group: columns with one element a step.
#[derive(Clone, Debug)]
struct Accumulator {
    drop_name: bool,
    /// How many samples so far.
    count: Vec<f64>,
    /// Sum, mean or extreme.
    main: Vec<f64>,
    /// Compensation of a sum, or sum of squared distances.
    aside: Vec<f64>,
    /// Steps whose `main` is a mean carried along because the sum overflowed; empty if none.
    incremental: Vec<bool>,
    /// All values, of quantiles only.
    values: Vec<Vec<f64>>,
    histograms: Option<Box<HistogramColumn>>,
}

impl Accumulator {
    fn new(op: AggregateOp, steps: usize) -> Self {
        use AggregateOp::{Avg, Max, Min, Quantile, Stddev, Stdvar, Sum};
        let column = |wanted: bool, value: f64| vec![value; if wanted { steps } else { 0 }];
        let initial = match op {
            Min | Max => f64::NAN,
            // The sum of one negative zero is negative.
            Sum | Avg => -0.0,
            _ => 0.0,
        };
        Accumulator {
            drop_name: false,
            count: column(true, 0.0),
            main: column(matches!(op, Sum | Avg | Min | Max | Stddev | Stdvar), initial),
            aside: column(matches!(op, Sum | Avg | Stddev | Stdvar), 0.0),
            incremental: Vec::new(),
            values: if op == Quantile { vec![Vec::new(); steps] } else { Vec::new() },
            histograms: None,
        }
    }

    fn kahan(&self, i: usize) -> KahanSum {
        KahanSum { sum: self.main[i], compensation: self.aside[i] }
    }

    fn set_kahan(&mut self, i: usize, sum: KahanSum) {
        (self.main[i], self.aside[i]) = (sum.sum, sum.compensation);
    }

    fn is_incremental(&self, i: usize) -> bool {
        self.incremental.get(i).copied().unwrap_or(false)
    }

    fn set_incremental(&mut self, i: usize) {
        if self.incremental.is_empty() {
            self.incremental = vec![false; self.count.len()];
        }
        self.incremental[i] = true;
    }

    /// Adds a row of floats; cells that hold none are [`ABSENT`].
    fn add_floats(&mut self, op: AggregateOp, floats: &[f64]) {
        match op {
            // It counts as well.
            AggregateOp::Sum => return self.add_sum(floats),
            AggregateOp::Avg => self.add_avg(floats),
            AggregateOp::Min => self.add_extreme(floats, |v, best| v < best),
            AggregateOp::Max => self.add_extreme(floats, |v, best| v > best),
            AggregateOp::Stddev | AggregateOp::Stdvar => self.add_spread(floats),
            AggregateOp::Quantile => {
                for (values, &v) in self.values.iter_mut().zip(floats) {
                    if !is_stale(v) {
                        values.push(v);
                    }
                }
            }
            _ => {}
        }
        for (count, &v) in self.count.iter_mut().zip(floats) {
            *count += f64::from(u8::from(!is_stale(v)));
        }
    }

    fn add_sum(&mut self, floats: &[f64]) {
        let (totals, compensations) = (&mut self.main[..], &mut self.aside[..]);
        add_to_sums(&mut Sums { totals, compensations, counts: &mut self.count }, floats);
    }

    fn add_avg(&mut self, floats: &[f64]) {
        for (i, &v) in floats.iter().enumerate().filter(|(_, v)| !is_stale(**v)) {
            let mut sum = self.kahan(i);
            let before = self.count[i];
            if !self.is_incremental(i) {
                sum.add(v);
                if before == 0.0 || !sum.sum.is_infinite() {
                    self.set_kahan(i, sum);
                    continue;
                }
                sum = self.kahan(i);
                sum = KahanSum { sum: sum.sum / before, compensation: sum.compensation / before };
                self.set_incremental(i);
            }
            let count = before + 1.0;
            sum.scale(before / count);
            sum.add(v / count);
            self.set_kahan(i, sum);
        }
    }

    fn add_extreme(&mut self, floats: &[f64], wins: impl Fn(f64, f64) -> bool) {
        for (best, &v) in self.main.iter_mut().zip(floats) {
            if (wins(v, *best) || best.is_nan()) && !is_stale(v) {
                *best = v;
            }
        }
    }

    fn add_spread(&mut self, floats: &[f64]) {
        for (i, &v) in floats.iter().enumerate().filter(|(_, v)| !is_stale(**v)) {
            let delta = v - self.main[i];
            self.main[i] += delta / (self.count[i] + 1.0);
            self.aside[i] += delta * (v - self.main[i]);
        }
    }

    /// The result at every step that has any sample.
    fn write_floats(&mut self, op: AggregateOp, param: Option<&[f64]>, out: &mut [f64]) {
        if op == AggregateOp::Sum {
            let sums = self.main.iter().zip(&self.aside).zip(&self.count);
            for (cell, ((sum, compensation), count)) in out.iter_mut().zip(sums) {
                *cell = if *count > 0.0 { sum + compensation } else { ABSENT };
            }
            return;
        }
        for (i, cell) in out.iter_mut().enumerate() {
            if self.count[i] > 0.0 {
                *cell = self.float(op, i, param);
            }
        }
    }

    /// Takes over the state of the same group elsewhere.
    fn merge(
        &mut self,
        op: AggregateOp,
        other: Accumulator,
        spec: &AggregateSpec,
        notes: &mut Notes,
    ) {
        self.drop_name |= other.drop_name;
        for i in 0..self.count.len() {
            let (a, b) = (self.count[i], other.count[i]);
            if b == 0.0 {
                continue;
            }
            match op {
                AggregateOp::Sum => {
                    let mut sum = self.kahan(i);
                    sum.merge(other.kahan(i));
                    self.set_kahan(i, sum);
                }
                AggregateOp::Avg => self.merge_avg(i, &other),
                AggregateOp::Min | AggregateOp::Max => {
                    let v = other.main[i];
                    let best = self.main[i];
                    let wins = if op == AggregateOp::Min { v < best } else { v > best };
                    if wins || best.is_nan() {
                        self.main[i] = v;
                    }
                }
                AggregateOp::Stddev | AggregateOp::Stdvar => {
                    let delta = other.main[i] - self.main[i];
                    let count = a + b;
                    if a == 0.0 {
                        (self.main[i], self.aside[i]) = (other.main[i], other.aside[i]);
                    } else {
                        self.main[i] += delta * (b / count);
                        self.aside[i] += other.aside[i] + delta * delta * (a * b / count);
                    }
                }
                AggregateOp::Quantile => self.values[i].extend_from_slice(&other.values[i]),
                _ => {}
            }
            self.count[i] += b;
        }
        if let Some(theirs) = other.histograms {
            match &mut self.histograms {
                None => self.histograms = Some(theirs),
                Some(ours) => ours.merge(*theirs, spec.pos, notes),
            }
        }
    }

    fn merge_avg(&mut self, i: usize, other: &Accumulator) {
        let (a, b) = (self.count[i], other.count[i]);
        if a == 0.0 {
            self.set_kahan(i, other.kahan(i));
            if other.is_incremental(i) {
                self.set_incremental(i);
            }
            return;
        }
        if !self.is_incremental(i) && !other.is_incremental(i) {
            let mut sum = self.kahan(i);
            sum.merge(other.kahan(i));
            if !sum.sum.is_infinite() {
                self.set_kahan(i, sum);
                return;
            }
        }
        let mean = |of: &Accumulator, count: f64| {
            let mut sum = of.kahan(i);
            if !of.is_incremental(i) {
                sum = KahanSum { sum: sum.sum / count, compensation: sum.compensation / count };
            }
            sum
        };
        let (mut ours, mut theirs) = (mean(self, a), mean(other, b));
        ours.scale(a / (a + b));
        theirs.scale(b / (a + b));
        ours.merge(theirs);
        self.set_kahan(i, ours);
        self.set_incremental(i);
    }

    /// The float result of a step that has seen floats.
    fn float(&mut self, op: AggregateOp, i: usize, param: Option<&[f64]>) -> f64 {
        let count = self.count[i];
        match op {
            AggregateOp::Sum => self.kahan(i).value(),
            AggregateOp::Avg if self.is_incremental(i) => self.kahan(i).value(),
            AggregateOp::Avg => self.main[i] / count + self.aside[i] / count,
            AggregateOp::Stdvar => self.aside[i] / count,
            AggregateOp::Stddev => (self.aside[i] / count).sqrt(),
            AggregateOp::Quantile => {
                quantile(param.map_or(f64::NAN, |p| p[i]), &mut self.values[i])
            }
            AggregateOp::Count => count,
            AggregateOp::Group => 1.0,
            _ => self.main[i],
        }
    }
}

/// The running state of an aggregation.
#[derive(Debug)]
pub struct Groups {
    spec: AggregateSpec,
    table: GroupTable,
    accumulators: Vec<Accumulator>,
    /// Values that are kept for quantiles.
    kept_values: usize,
    scratch: Vec<f64>,
}

/// The state of an aggregation on its way to another core: the groups, in no order.
#[derive(Debug)]
pub struct PartialGroups(pub Vec<PartialGroup>);

/// The state of one group, complete or not.
#[derive(Debug)]
pub struct PartialGroup {
    labels: Labels,
    accumulator: Accumulator,
}

impl Groups {
    /// No groups yet.
    pub fn new(spec: AggregateSpec) -> Self {
        let table = GroupTable::new(spec.grouping.clone());
        Groups { spec, table, accumulators: Vec::new(), kept_values: 0, scratch: Vec::new() }
    }

    /// Adds a row.
    pub fn add(&mut self, labels: &Labels, drop_name: bool, cells: &Cells, notes: &mut Notes) {
        if !cells.any_present() {
            return;
        }
        let op = self.spec.op;
        if op == AggregateOp::Quantile {
            self.kept_values += cells.count_present();
        }
        let group = self.table.group_of(labels);
        if group == self.accumulators.len() {
            self.accumulators.push(Accumulator::new(op, self.spec.steps.count));
        }
        let accumulator = &mut self.accumulators[group];
        accumulator.drop_name |= drop_name;
        if cells.has_histograms() && !matches!(op, AggregateOp::Count | AggregateOp::Group) {
            self.scratch.clear();
            self.scratch.extend_from_slice(cells.floats());
            for i in 0..cells.len() {
                let CellRef::Histogram(h) = cells.get(i) else { continue };
                self.scratch[i] = ABSENT;
                if matches!(op, AggregateOp::Sum | AggregateOp::Avg) {
                    let column = accumulator.histograms.get_or_insert_with(|| {
                        Box::new(HistogramColumn::new(op, self.spec.steps.count))
                    });
                    column.add(i, h, labels.metric_name(), self.spec.pos, notes);
                } else {
                    notes.add(NoteKind::HistogramIgnoredInAggregation, op.as_str(), self.spec.pos);
                }
            }
            accumulator.add_floats(op, &self.scratch);
        } else {
            accumulator.add_floats(op, cells.floats());
        }
    }

    /// Bytes of the state, but for histograms, about.
    pub fn byte_len(&self) -> usize {
        self.accumulators.len() * self.group_byte_len() + self.kept_values * size_of::<f64>()
    }

    /// Bytes of a group.
    pub fn group_byte_len(&self) -> usize {
        let columns = match self.spec.op {
            AggregateOp::Quantile => 1 + size_of::<Vec<f64>>() / size_of::<f64>(),
            _ => 3,
        };
        self.spec.steps.count * columns * size_of::<f64>() + size_of::<Accumulator>()
    }

    /// The state, to be sent, or to be finished group by group.
    pub fn into_partial(self) -> PartialGroups {
        let groups = self.table.labels.into_iter().zip(self.accumulators);
        let group = |(labels, accumulator)| PartialGroup { labels, accumulator };
        PartialGroups(groups.map(group).collect())
    }

    /// Takes over the state of a group on another shard.
    pub fn merge(&mut self, partial: PartialGroup, notes: &mut Notes) {
        // The labels of a group are its key, whatever the grouping.
        let PartialGroup { labels, accumulator } = partial;
        let group = self.table.group_of(&labels);
        if group == self.accumulators.len() {
            self.accumulators.push(accumulator);
        } else {
            self.accumulators[group].merge(self.spec.op, accumulator, &self.spec, notes);
        }
    }
}

impl PartialGroup {
    /// The row of the group, all of whose parts were merged; `None` if it has no cell.
    pub fn finish(
        self,
        spec: &AggregateSpec,
        param: Option<&[f64]>,
        notes: &mut Notes,
    ) -> Option<Row> {
        let (op, steps, pos) = (spec.op, spec.steps.count, spec.pos);
        let PartialGroup { labels, mut accumulator } = self;
        let mut cells = Cells::absent(steps);
        let mut histograms = accumulator.histograms.take();
        if histograms.is_none() {
            accumulator.write_floats(op, param, cells.floats_mut());
        }
        for i in 0..histograms.as_ref().map_or(0, |_| steps) {
            let float = (accumulator.count[i] > 0.0).then(|| accumulator.float(op, i, param));
            let column = histograms.as_mut().filter(|column| column.is_present(i));
            let cell = match (float, column) {
                (None, None) => continue,
                (Some(_), Some(_)) => {
                    notes.add(NoteKind::MixedFloatsHistogramsAggregation, "", pos);
                    Cell::Absent
                }
                (Some(v), None) => Cell::Float(v),
                (None, Some(column)) => column.finish(i, pos, notes),
            };
            cells.set(i, cell);
        }
        let drop_name = accumulator.drop_name;
        cells.any_present().then_some(Row { labels, drop_name, cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::batch::Batch;

    fn spec(op: AggregateOp, by: &[&str]) -> AggregateSpec {
        let labels = by.iter().map(|l| (*l).to_owned()).collect();
        AggregateSpec {
            op,
            grouping: Grouping { labels, without: false },
            pos: PosRange::default(),
            steps: Steps::new(0, 10, 10),
        }
    }

    fn rows() -> Vec<(Labels, Cells)> {
        let labels = |a, b| Labels::from_pairs([("__name__", "m"), ("a", a), ("b", b)]);
        let cells = |x, y| Cells::from_floats(vec![x, y]);
        vec![
            (labels("1", "1"), cells(1.0, 5.0)),
            (labels("1", "2"), cells(2.0, ABSENT)),
            (labels("2", "1"), cells(4.0, f64::NAN)),
            (labels("2", "2"), cells(9.0, 3.0)),
        ]
    }

    /// Aggregates on one shard, and on two that merge.
    fn check(op: AggregateOp, by: &[&str], param: Option<&[f64]>, expected: &[(&str, [f64; 2])]) {
        let mut notes = Notes::default();
        let mut whole = Groups::new(spec(op, by));
        let mut parts = [Groups::new(spec(op, by)), Groups::new(spec(op, by))];
        for (i, (labels, cells)) in rows().iter().enumerate() {
            whole.add(labels, false, cells, &mut notes);
            parts[i % 2].add(labels, false, cells, &mut notes);
        }
        let mut merged = Groups::new(spec(op, by));
        for group in parts.into_iter().flat_map(|part| part.into_partial().0) {
            merged.merge(group, &mut notes);
        }
        for groups in [whole, merged] {
            let finish = |group: PartialGroup| group.finish(&spec(op, by), param, &mut notes);
            let rows = groups.into_partial().0.into_iter().filter_map(finish).collect();
            let mut batch = Batch::new(spec(op, by).steps, rows);
            batch.sort();
            let seen: Vec<_> =
                batch.rows.iter().map(|r| (r.labels.to_string(), r.cells.floats())).collect();
            assert_eq!(seen.len(), expected.len());
            for ((labels, floats), (expected_labels, values)) in seen.iter().zip(expected) {
                assert_eq!(labels, expected_labels);
                for (a, e) in floats.iter().zip(values) {
                    assert!(a == e || a.is_nan() && e.is_nan(), "{op:?} {labels}: {a} is not {e}");
                }
            }
        }
    }

    #[test]
    fn whole_and_merged_agree() {
        use AggregateOp::{Avg, Count, Group, Max, Min, Quantile, Stdvar, Sum};
        let nan = f64::NAN;
        check(Sum, &["a"], None, &[("{a=\"1\"}", [3.0, 5.0]), ("{a=\"2\"}", [13.0, nan])]);
        check(Sum, &[], None, &[("{}", [16.0, nan])]);
        check(Avg, &["b"], None, &[("{b=\"1\"}", [2.5, nan]), ("{b=\"2\"}", [5.5, 3.0])]);
        check(Min, &["a"], None, &[("{a=\"1\"}", [1.0, 5.0]), ("{a=\"2\"}", [4.0, 3.0])]);
        check(Max, &[], None, &[("{}", [9.0, 5.0])]);
        check(Count, &[], None, &[("{}", [4.0, 3.0])]);
        check(Group, &["a"], None, &[("{a=\"1\"}", [1.0, 1.0]), ("{a=\"2\"}", [1.0, 1.0])]);
        check(Stdvar, &["a"], None, &[("{a=\"1\"}", [0.25, 0.0]), ("{a=\"2\"}", [6.25, nan])]);
        check(Quantile, &[], Some(&[0.5, 1.0]), &[("{}", [3.0, 5.0])]);
    }

    #[test]
    fn grouping_without_labels() {
        let grouping = Grouping { labels: vec!["a".to_owned()], without: true };
        let mut table = GroupTable::new(grouping);
        let numbers: Vec<_> = rows().iter().map(|(labels, _)| table.group_of(labels)).collect();
        assert_eq!(numbers, [0, 1, 0, 1]);
        assert_eq!(table.labels()[1].to_string(), "{b=\"2\"}");
    }
}
