//! Operators between two vectors: series are paired by the labels of `on` or `ignoring`, once a query; the values of a
//! pair are combined column by column.
//!
//! Series of either side that agree in those labels make a *match group*. In a group there may be one sample on the "one"
//! side at each step; which series it comes from may change from step to step.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::is_stale;
use xxhash_rust::xxh3::xxh3_64;

use super::aggregate::GroupTable;
use super::batch::{ABSENT, Batch, CellRef, Cells, Row, Steps};
use super::binary_op::{self, Operand};
use super::dedupe::{Equal, execution_error, unite};
use super::notes::Notes;
use crate::budget::Budget;
use crate::functions::labels::METADATA_LABELS;
use crate::parser::ast::{BinaryOp, Cardinality, PosRange, VectorMatching};
use crate::plan::node::Grouping;
use crate::value::QueryError;

/// An operator between vectors.
pub struct VectorOperator<'a> {
    /// Which.
    pub op: BinaryOp,
    /// `bool`
    pub return_bool: bool,
    /// How series are paired.
    pub matching: &'a VectorMatching,
    /// Where.
    pub pos: PosRange,
    /// Names are dropped at the end of evaluation.
    pub delayed_name_removal: bool,
    /// What the query may cost: a few series of one side may make many of each of the other.
    pub budget: &'a Budget,
}

/// The match group of each row of both sides.
struct Groups {
    count: usize,
    lhs: Vec<usize>,
    rhs: Vec<usize>,
    labels: Vec<Labels>,
}

impl Groups {
    fn of(matching: &VectorMatching, lhs: &Batch, rhs: &Batch) -> Self {
        let mut labels = matching.labels.clone();
        labels.sort_unstable();
        labels.dedup();
        let mut table = GroupTable::new(Grouping { labels, without: !matching.on });
        let mut of = |batch: &Batch| -> Vec<usize> {
            // `on ()` puts all series into one group, as a grouping by no label does.
            batch.rows.iter().map(|row| table.group_of(&row.labels)).collect()
        };
        let (lhs, rhs) = (of(lhs), of(rhs));
        Groups { count: table.len(), lhs, rhs, labels: table.labels().to_vec() }
    }

    fn members(&self, of: &[usize]) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        for (row, &group) in of.iter().enumerate() {
            members[group].push(row);
        }
        members
    }
}

/// Evaluates the operator.
pub fn evaluate(
    operator: &VectorOperator<'_>,
    lhs: Batch,
    rhs: Batch,
    notes: &mut Notes,
) -> Result<Batch, QueryError> {
    let steps = lhs.steps;
    let groups = Groups::of(operator.matching, &lhs, &rhs);
    let rows = match operator.op {
        BinaryOp::And => {
            filtered(lhs, &groups.lhs, &presence(&rhs, &groups.rhs, groups.count), true)
        }
        BinaryOp::Unless => {
            filtered(lhs, &groups.lhs, &presence(&rhs, &groups.rhs, groups.count), false)
        }
        BinaryOp::Or => {
            let left = presence(&lhs, &groups.lhs, groups.count);
            let mut rows = lhs.rows;
            rows.extend(filtered(rhs, &groups.rhs, &left, false));
            rows
        }
        _ => Pairing::new(operator, &groups, lhs, rhs)?.evaluate(notes)?,
    };
    let mut batch = Batch::new(steps, rows);
    batch.drop_empty_rows();
    if !(operator.delayed_name_removal && steps.count == 1) {
        batch.rows = unite(batch.rows, Equal::Merge)?;
    }
    Ok(batch)
}

/// For each match group the steps at which any of its rows has a sample; empty if there is no row.
fn presence(batch: &Batch, group_of: &[usize], groups: usize) -> Vec<Vec<bool>> {
    let mut present = vec![Vec::new(); groups];
    for (row, &group) in batch.rows.iter().zip(group_of) {
        let steps = &mut present[group];
        steps.resize(batch.steps.count, false);
        for (step, v) in steps.iter_mut().zip(row.cells.floats()) {
            *step |= !is_stale(*v);
        }
    }
    present
}

/// The rows with only those cells whose group is (`wanted`) or is not present on the other side.
fn filtered(batch: Batch, group_of: &[usize], present: &[Vec<bool>], wanted: bool) -> Vec<Row> {
    let mut rows = batch.rows;
    for (row, &group) in rows.iter_mut().zip(group_of) {
        for i in 0..row.cells.len() {
            if present[group].get(i).copied().unwrap_or(false) != wanted {
                row.cells.clear(i);
            }
        }
    }
    rows
}

/// An arithmetic operator or comparison at work. The "many" side is the left one, unless `group_right` turns it round.
struct Pairing<'a> {
    operator: &'a VectorOperator<'a>,
    steps: Steps,
    many: Batch,
    one: Batch,
    many_members: Vec<Vec<usize>>,
    one_members: Vec<Vec<usize>>,
    group_labels: &'a [Labels],
    swapped: bool,
}

/// A row of the result, with the steps at which the pair matched, whatever a comparison made of it.
struct Paired {
    row: Row,
    matched: Vec<bool>,
}

/// The results of a match group.
#[derive(Default)]
struct Results {
    rows: Vec<Paired>,
    by_labels: HashTable<usize>,
}

impl<'a> Pairing<'a> {
    fn new(
        operator: &'a VectorOperator<'a>,
        groups: &'a Groups,
        lhs: Batch,
        rhs: Batch,
    ) -> Result<Self, QueryError> {
        let swapped = operator.matching.cardinality == Cardinality::OneToMany;
        let (many_of, one_of) =
            if swapped { (&groups.rhs, &groups.lhs) } else { (&groups.lhs, &groups.rhs) };
        let (many_members, one_members) = (groups.members(many_of), groups.members(one_of));
        let steps = lhs.steps;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let pairing = Pairing {
            operator,
            steps,
            many,
            one,
            many_members,
            one_members,
            group_labels: &groups.labels,
            swapped,
        };
        pairing.refuse_duplicates()?;
        Ok(pairing)
    }

    /// What stands for a missing series of the "one" side, and of the "many" side.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        (self.operator.matching.fill_right, self.operator.matching.fill_left)
    }

    /// The "one" side of a match group must have one sample a step, at steps where the other side has any.
    fn refuse_duplicates(&self) -> Result<(), QueryError> {
        if self.one_members.iter().all(|members| members.len() < 2) {
            return Ok(());
        }
        let filling = self.fills() != (None, None);
        for step in 0..self.steps.count {
            let present = |batch: &Batch, row: usize| batch.rows[row].cells.is_present(step);
            if !filling && !(0..self.many.rows.len()).any(|row| present(&self.many, row)) {
                continue;
            }
            let is_present = |row: &usize| present(&self.one, *row);
            let doubled = self.one_members.iter().enumerate().filter(|(_, members)| {
                members.iter().filter(|row| is_present(row)).nth(1).is_some()
            });
            // Whatever the order of the series, the error is the same.
            let first = doubled.min_by(|a, b| self.group_labels[a.0].cmp(&self.group_labels[b.0]));
            if let Some((group, members)) = first {
                let mut found: Vec<usize> = members.iter().copied().filter(is_present).collect();
                found.sort_by(|a, b| self.one.rows[*a].labels.cmp(&self.one.rows[*b].labels));
                return Err(self.duplicate_error(group, found[0], found[1]));
            }
        }
        Ok(())
    }

    fn duplicate_error(&self, group: usize, a: usize, b: usize) -> QueryError {
        let text = |row: usize| all_labels(&self.one.rows[row].labels);
        let (first, second) = (text(a), text(b));
        let side = if self.swapped { "left" } else { "right" };
        let labels = all_labels(&self.group_labels[group]);
        execution_error(format!(
            "found duplicate series for the match group {labels} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }

    fn evaluate(&self, notes: &mut Notes) -> Result<Vec<Row>, QueryError> {
        let mut rows = Vec::with_capacity(self.many.rows.len());
        for group in 0..self.group_labels.len() {
            let paired = self.pair_group(group, notes)?;
            rows.extend(paired.rows.into_iter().map(|paired| paired.row));
        }
        Ok(rows)
    }

    fn pair_group(&self, group: usize, notes: &mut Notes) -> Result<Results, QueryError> {
        let (many, one) = (&self.many_members[group], &self.one_members[group]);
        let (fill_one, fill_many) = self.fills();
        let mut out = Results::default();
        for &m in many {
            self.operator.budget.check()?;
            let row = &self.many.rows[m];
            for &o in one {
                let other = &self.one.rows[o];
                self.combine(
                    &row.labels,
                    &row.cells,
                    &other.labels,
                    &other.cells,
                    &mut out,
                    notes,
                )?;
            }
            if let Some(value) = fill_one {
                let filled = self.filled(value, &row.cells, one, &self.one);
                if filled.any_present() {
                    let labels = &self.group_labels[group];
                    self.combine(&row.labels, &row.cells, labels, &filled, &mut out, notes)?;
                }
            }
        }
        if let Some(value) = fill_many {
            for &o in one {
                let other = &self.one.rows[o];
                let filled = self.filled(value, &other.cells, many, &self.many);
                if filled.any_present() {
                    let labels = &self.group_labels[group];
                    self.combine(labels, &filled, &other.labels, &other.cells, &mut out, notes)?;
                }
            }
        }
        Ok(out)
    }

    /// `value` where `cells` has a sample and none of the rows on the other side has.
    fn filled(&self, value: f64, cells: &Cells, others: &[usize], side: &Batch) -> Cells {
        let mut filled = Cells::absent(self.steps.count);
        for i in 0..self.steps.count {
            let alone = !others.iter().any(|row| side.rows[*row].cells.is_present(i));
            if cells.is_present(i) && alone {
                filled.set_float(i, value);
            }
        }
        filled
    }

    /// Combines two rows, and adds the result to that of an earlier pair with the same labels.
    fn combine(
        &self,
        many_labels: &Labels,
        many: &Cells,
        one_labels: &Labels,
        one: &Cells,
        out: &mut Results,
        notes: &mut Notes,
    ) -> Result<(), QueryError> {
        let (a, b) = if self.swapped { (one, many) } else { (many, one) };
        let (cells, matched) = self.values(a, b, notes);
        if !matched.contains(&true) {
            return Ok(());
        }
        let one_to_one = self.operator.matching.cardinality == Cardinality::OneToOne;
        let meets = |other: &Paired| other.matched.iter().zip(&matched).any(|(a, b)| *a && *b);
        if one_to_one && out.rows.iter().any(meets) {
            return Err(execution_error(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        let labels = self.result_labels(many_labels, one_labels);
        let Results { rows, by_labels } = out;
        let hash = |labels: &Labels| xxh3_64(labels.encoded());
        let is_same = |&i: &usize| rows[i].row.labels == labels;
        match by_labels.entry(hash(&labels), is_same, |&i| hash(&rows[i].row.labels)) {
            Entry::Vacant(vacant) => {
                vacant.insert(rows.len());
                let row = Row { labels, drop_name: self.operator.return_bool, cells };
                self.operator.budget.hold_bytes(row.weight().bytes)?;
                rows.push(Paired { row, matched });
            }
            Entry::Occupied(occupied) => {
                let known = &mut rows[*occupied.get()];
                if meets(known) {
                    return Err(execution_error(
                        "multiple matches for labels: grouping labels must ensure unique matches",
                    ));
                }
                known.row.cells.merge(&cells);
                known.matched.iter_mut().zip(&matched).for_each(|(known, new)| *known |= *new);
            }
        }
        Ok(())
    }

    /// The values of two rows, left side first, and where both have one.
    fn values(&self, a: &Cells, b: &Cells, notes: &mut Notes) -> (Cells, Vec<bool>) {
        let VectorOperator { op, return_bool, pos, .. } = *self.operator;
        let trims = matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        if !a.has_histograms() && !b.has_histograms() && !trims {
            return float_values(op, return_bool, a.floats(), b.floats());
        }
        let mut cells = Cells::absent(self.steps.count);
        let mut matched = vec![false; self.steps.count];
        for (i, matched) in matched.iter_mut().enumerate() {
            let (Some(x), Some(y)) = (operand(a.get(i)), operand(b.get(i))) else { continue };
            let Some(outcome) = binary_op::operands(op, x, y, notes, pos) else { continue };
            *matched = true;
            if return_bool {
                cells.set_float(i, f64::from(u8::from(outcome.keep)));
            } else if outcome.keep {
                cells.set(i, outcome.value);
            }
        }
        (cells, matched)
    }

    /// The labels of a result: those of the "many" side, less the name if the value is another now, less or only the
    /// matching labels if one series meets one, plus what `group_left` takes over.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let VectorOperator { op, return_bool, matching, delayed_name_removal, .. } = *self.operator;
        let drop_name = return_bool && !delayed_name_removal || op.changes_meaning();
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let kept = many.filtered(|name| {
            let listed = matching.labels.iter().any(|label| label == name);
            !(drop_name && METADATA_LABELS.contains(&name))
                && (!one_to_one || listed == matching.on)
        });
        if matching.include.is_empty() {
            return kept;
        }
        let mut builder = kept.to_builder();
        for label in &matching.include {
            builder.set(label, one.get(label).unwrap_or(""));
        }
        builder.build()
    }
}

fn operand(cell: CellRef<'_>) -> Option<Operand<'_>> {
    match cell {
        CellRef::Absent => None,
        CellRef::Float(v) => Some(Operand::Float(v)),
        CellRef::Histogram(h) => Some(Operand::Histogram(h)),
    }
}

fn float_values(op: BinaryOp, return_bool: bool, a: &[f64], b: &[f64]) -> (Cells, Vec<bool>) {
    let filters = op.is_comparison() && !return_bool;
    let matched: Vec<bool> = a.iter().zip(b).map(|(a, b)| !is_stale(*a) && !is_stale(*b)).collect();
    let values = a.iter().zip(b).zip(&matched).map(|((&a, &b), &matched)| {
        let value = if !filters {
            binary_op::scalars(op, a, b)
        } else if binary_op::compares(op, a, b) {
            a
        } else {
            ABSENT
        };
        if matched { value } else { ABSENT }
    });
    (Cells::from_floats(values.collect()), matched)
}

/// All labels in braces, the metric name among them, as Prometheus writes them in errors.
fn all_labels(labels: &Labels) -> String {
    use crate::parser::quote::quoted;
    use tidemark_core::model::labels::is_legacy_label_name;
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value = quoted(value);
            if is_legacy_label_name(name) {
                format!("{name}={value}")
            } else {
                format!("{}={value}", quoted(name))
            }
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemark_core::runtime::clock::Instant;
    use tidemark_core::runtime::sim;

    use super::*;

    fn batch(rows: &[(&str, &[f64])]) -> Batch {
        let rows = rows.iter().map(|(labels, floats)| Row {
            labels: crate::parser::parse_metric(labels).unwrap(),
            drop_name: false,
            cells: Cells::from_floats(floats.to_vec()),
        });
        Batch::new(Steps::new(0, 10, 10), rows.collect())
    }

    fn budget(bytes_max: u64) -> Budget {
        Budget::new(1_000_000, bytes_max, Instant::now() + Duration::from_mins(1))
    }

    fn run(
        op: BinaryOp,
        matching: &VectorMatching,
        lhs: Batch,
        rhs: Batch,
    ) -> Result<Vec<String>, String> {
        sim::run(1, async move { run_within(&budget(1 << 30), op, matching, lhs, rhs) })
    }

    fn run_within(
        budget: &Budget,
        op: BinaryOp,
        matching: &VectorMatching,
        lhs: Batch,
        rhs: Batch,
    ) -> Result<Vec<String>, String> {
        let operator = VectorOperator {
            op,
            return_bool: false,
            matching,
            pos: PosRange::default(),
            delayed_name_removal: false,
            budget,
        };
        let mut batch =
            evaluate(&operator, lhs, rhs, &mut Notes::default()).map_err(|e| e.message)?;
        batch.sort();
        let shown = batch.rows.iter().map(|row| {
            let cells: Vec<String> = row
                .cells
                .floats()
                .iter()
                .map(|v| if is_stale(*v) { "_".to_owned() } else { v.to_string() })
                .collect();
            format!("{} {}", row.labels, cells.join(" "))
        });
        Ok(shown.collect())
    }

    fn on(labels: &[&str], cardinality: Cardinality) -> VectorMatching {
        let labels = labels.iter().map(|l| (*l).to_owned()).collect();
        VectorMatching { cardinality, on: true, labels, ..VectorMatching::default() }
    }

    #[test]
    fn one_to_one() {
        let lhs = || batch(&[("a{x=\"1\"}", &[1.0, 2.0]), ("a{x=\"2\"}", &[3.0, ABSENT])]);
        let rhs = || batch(&[("b{x=\"1\"}", &[10.0, 20.0]), ("b{x=\"2\"}", &[30.0, 40.0])]);
        let plain = VectorMatching::default;
        let sums = run(BinaryOp::Add, &plain(), lhs(), rhs()).unwrap();
        assert_eq!(sums, ["{x=\"1\"} 11 22", "{x=\"2\"} 33 _"]);
        let kept = run(BinaryOp::Less, &plain(), lhs(), rhs()).unwrap();
        assert_eq!(kept, ["a{x=\"1\"} 1 2", "a{x=\"2\"} 3 _"]);
        let error = run(BinaryOp::Add, &on(&[], Cardinality::OneToOne), lhs(), rhs()).unwrap_err();
        assert!(
            error.starts_with("found duplicate series for the match group {} on the right"),
            "{error}"
        );
    }

    #[test]
    fn many_to_one_and_fill() {
        let many =
            || batch(&[("a{x=\"1\",y=\"1\"}", &[1.0, 2.0]), ("a{x=\"1\",y=\"2\"}", &[3.0, 4.0])]);
        let one = || batch(&[("b{x=\"1\",z=\"9\"}", &[10.0, ABSENT])]);
        let mut matching = on(&["x"], Cardinality::ManyToOne);
        matching.include = vec!["z".to_owned()];
        let sums = run(BinaryOp::Add, &matching, many(), one()).unwrap();
        assert_eq!(sums, ["{x=\"1\", y=\"1\", z=\"9\"} 11 _", "{x=\"1\", y=\"2\", z=\"9\"} 13 _"]);
        matching.include.clear();
        matching.fill_right = Some(100.0);
        let filled = run(BinaryOp::Add, &matching, many(), one()).unwrap();
        assert_eq!(filled, ["{x=\"1\", y=\"1\"} 11 102", "{x=\"1\", y=\"2\"} 13 104"]);
        let error =
            run(BinaryOp::Add, &on(&["x"], Cardinality::OneToOne), many(), one()).unwrap_err();
        assert!(error.contains("many-to-one matching must be explicit"), "{error}");
    }

    #[test]
    fn what_one_series_gives_to_many_is_bounded() {
        sim::run(1, async {
            let many: Vec<String> = (0..200).map(|i| format!("a{{x=\"{i}\"}}")).collect();
            let many: Vec<(&str, &[f64])> = many.iter().map(|l| (l.as_str(), &[1.0][..])).collect();
            let one = format!("b{{z=\"{}\"}}", "z".repeat(32 << 10));
            let mut matching = on(&[], Cardinality::ManyToOne);
            matching.include = vec!["z".to_owned()];
            let budget = budget(1 << 20);
            let (lhs, rhs) = (batch(&many), batch(&[(&one, &[1.0])]));
            let error = run_within(&budget, BinaryOp::Add, &matching, lhs, rhs).unwrap_err();
            assert!(error.contains("too many samples"), "{error}");
            assert!(budget.bytes_peak() < (1 << 20) + (64 << 10), "{}", budget.bytes_peak());
        });
    }

    #[test]
    fn sets() {
        let lhs = || batch(&[("a{x=\"1\"}", &[1.0, 2.0]), ("a{x=\"2\"}", &[3.0, 4.0])]);
        let rhs = || batch(&[("b{x=\"2\"}", &[5.0, ABSENT]), ("b{x=\"3\"}", &[6.0, 7.0])]);
        let many =
            || VectorMatching { cardinality: Cardinality::ManyToMany, ..VectorMatching::default() };
        assert_eq!(run(BinaryOp::And, &many(), lhs(), rhs()).unwrap(), ["a{x=\"2\"} 3 _"]);
        assert_eq!(
            run(BinaryOp::Unless, &many(), lhs(), rhs()).unwrap(),
            ["a{x=\"1\"} 1 2", "a{x=\"2\"} _ 4"]
        );
        assert_eq!(
            run(BinaryOp::Or, &many(), lhs(), rhs()).unwrap(),
            ["a{x=\"1\"} 1 2", "a{x=\"2\"} 3 4", "b{x=\"3\"} 6 7"]
        );
    }
}
