//! `count_values`: how many samples of a group have each value, the value being a label of the result.
//!
//! [`ValueCounts`] takes rows one at a time and holds one column a step for each group and value. Columns of the same labels add up, so
//! that every shard counts its own series and only counts cross cores. Values that all differ make as many columns as samples, each
//! as long as the query has steps: what they take is held against the budget before it is taken.

use hashbrown::HashMap;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::is_stale;

use super::aggregate::GroupTable;
use super::batch::{ABSENT, CellRef, Cells, Row, Steps};
use super::dedupe::execution_error;
use crate::budget::Budget;
use crate::functions::labels::with_label;
use crate::parser::number::Plain;
use crate::parser::quote::quoted;
use crate::plan::node::Grouping;
use crate::value::QueryError;

/// What is counted and how.
#[derive(Clone, Debug)]
pub struct CountSpec {
    /// Under which label the values are told.
    label: String,
    /// Which labels make a group, that one among them.
    grouping: Grouping,
    /// At which moments.
    steps: Steps,
}

impl CountSpec {
    /// Counts the values under the label `label`.
    ///
    /// # Errors
    /// A label without a name.
    pub fn new(label: &str, grouping: &Grouping, steps: Steps) -> Result<Self, QueryError> {
        if label.is_empty() {
            return Err(execution_error(format!("invalid label name {}", quoted(label))));
        }
        let mut grouping = grouping.clone();
        if !grouping.without && !grouping.labels.iter().any(|l| l == label) {
            grouping.labels.push(label.to_owned());
            grouping.labels.sort_unstable();
        }
        Ok(CountSpec { label: label.to_owned(), grouping, steps })
    }
}

/// The counts so far.
#[derive(Debug)]
pub struct ValueCounts {
    spec: CountSpec,
    table: GroupTable,
    /// A column for each group and value.
    counts: Vec<Vec<f64>>,
    /// The columns of the values of one row, by their bits.
    known: HashMap<u64, usize>,
}

impl ValueCounts {
    /// Nothing is counted yet.
    pub fn new(spec: CountSpec) -> Self {
        let table = GroupTable::new(spec.grouping.clone());
        ValueCounts { spec, table, counts: Vec::new(), known: HashMap::new() }
    }

    /// Counts the samples of a row.
    ///
    /// # Errors
    /// The budget has no room for so many values.
    pub fn add(
        &mut self,
        labels: &Labels,
        cells: &Cells,
        budget: &Budget,
    ) -> Result<(), QueryError> {
        self.known.clear();
        for i in 0..cells.len() {
            let column = match cells.get(i) {
                CellRef::Absent => continue,
                CellRef::Float(v) => {
                    let known = self.known.get(&v.to_bits()).copied();
                    let column = match known {
                        Some(column) => column,
                        None => self.column_of(labels, &Plain(v).to_string(), budget)?,
                    };
                    self.known.insert(v.to_bits(), column);
                    column
                }
                CellRef::Histogram(h) => self.column_of(labels, &h.to_string(), budget)?,
            };
            self.counts[column][i] += 1.0;
        }
        Ok(())
    }

    /// Takes over what was counted elsewhere.
    ///
    /// # Errors
    /// As those of [`add`](Self::add).
    pub fn merge(&mut self, counted: &Row, budget: &Budget) -> Result<(), QueryError> {
        let column = self.column(&counted.labels, budget)?;
        let counts = self.counts[column].iter_mut().zip(counted.cells.floats());
        for (count, more) in counts.filter(|(_, more)| !is_stale(**more)) {
            *count += more;
        }
        Ok(())
    }

    /// One row for each group and value.
    pub fn into_rows(self) -> Vec<Row> {
        let rows = self.table.labels().iter().zip(self.counts).map(|(labels, mut counts)| {
            for count in counts.iter_mut().filter(|count| **count == 0.0) {
                *count = ABSENT;
            }
            Row { labels: labels.clone(), drop_name: false, cells: Cells::from_floats(counts) }
        });
        rows.collect()
    }

    /// The column of a value in the group of a series.
    fn column_of(
        &mut self,
        labels: &Labels,
        value: &str,
        budget: &Budget,
    ) -> Result<usize, QueryError> {
        self.column(&with_label(labels, &self.spec.label, value), budget)
    }

    fn column(&mut self, labels: &Labels, budget: &Budget) -> Result<usize, QueryError> {
        let column = self.table.group_of(labels);
        if column == self.counts.len() {
            let key = self.table.labels()[column].encoded().len();
            let steps = self.spec.steps.count;
            budget.hold_bytes(steps * size_of::<f64>() + key + size_of::<Row>())?;
            self.counts.push(vec![0.0; steps]);
        }
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use tidemark_core::runtime::clock::Instant;
    use tidemark_core::runtime::sim;

    use super::super::batch::Batch;
    use super::*;

    fn row(name: &str, floats: &[f64]) -> Row {
        Row {
            labels: Labels::from_pairs([("__name__", name), ("a", name)]),
            drop_name: false,
            cells: Cells::from_floats(floats.to_vec()),
        }
    }

    fn budget(bytes_max: u64) -> Budget {
        Budget::new(1_000_000, bytes_max, Instant::now() + Duration::from_mins(1))
    }

    fn spec(by: &[&str], steps: usize) -> CountSpec {
        let labels = by.iter().map(|l| (*l).to_owned()).collect();
        let grouping = Grouping { labels, without: false };
        CountSpec::new("v", &grouping, Steps { start_ms: 0, interval_ms: 1, count: steps }).unwrap()
    }

    /// Counts the rows in so many parts, and what the parts have counted together.
    fn counted(spec: &CountSpec, rows: &[Row], parts: usize) -> Vec<(String, Vec<f64>)> {
        let budget = budget(1 << 30);
        let mut merged = ValueCounts::new(spec.clone());
        for part in 0..parts {
            let mut counts = ValueCounts::new(spec.clone());
            for row in rows.iter().skip(part).step_by(parts) {
                counts.add(&row.labels, &row.cells, &budget).unwrap();
            }
            for row in counts.into_rows() {
                merged.merge(&row, &budget).unwrap();
            }
        }
        let mut batch = Batch::new(spec.steps, merged.into_rows());
        batch.sort();
        let shown = |row: &Row| {
            let floats = row.cells.floats().iter().map(|v| if is_stale(*v) { 0.0 } else { *v });
            (row.labels.to_string(), floats.collect())
        };
        batch.rows.iter().map(shown).collect()
    }

    #[test]
    fn values_become_labels() {
        sim::run(1, async {
            let rows = [row("x", &[1.0, 2.5]), row("y", &[1.0, f64::INFINITY])];
            let expected = [
                (r#"{v="+Inf"}"#.to_owned(), vec![0.0, 1.0]),
                (r#"{v="1"}"#.to_owned(), vec![2.0, 0.0]),
                (r#"{v="2.5"}"#.to_owned(), vec![0.0, 1.0]),
            ];
            assert_eq!(counted(&spec(&[], 2), &rows, 1), expected);
        });
        assert!(CountSpec::new("", &Grouping::default(), Steps::instant(0)).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_taken() {
        sim::run(1, async {
            let different: Vec<f64> = (0..1_000).map(f64::from).collect();
            let mut counts = ValueCounts::new(spec(&[], different.len()));
            let one = row("x", &different);
            let error = counts.add(&one.labels, &one.cells, &budget(1 << 20)).unwrap_err();
            assert!(error.message.contains("too many samples"), "{}", error.message);
            assert!(counts.counts.len() < (1 << 20) / (8 * different.len()));
        });
    }

    proptest! {
        #[test]
        fn parts_count_what_the_whole_does(
            series in proptest::collection::vec(("[xyz]", [0..4_u8, 0..4_u8, 0..4_u8]), 0..20),
            parts in 1..6_usize,
            grouped in any::<bool>(),
        ) {
            let mut one_by_one = BTreeMap::<String, Vec<f64>>::new();
            let mut rows = Vec::new();
            for (name, values) in &series {
                // 0 stands for no sample.
                rows.push(row(name, &values.map(|v| if v == 0 { ABSENT } else { f64::from(v) })));
                for (i, v) in values.iter().enumerate().filter(|(_, v)| **v > 0) {
                    let group = if grouped { format!("a=\"{name}\", ") } else { String::new() };
                    one_by_one.entry(format!("{{{group}v=\"{v}\"}}")).or_insert_with(|| vec![0.0; 3])[i] += 1.0;
                }
            }
            let spec = if grouped { spec(&["a"], 3) } else { spec(&[], 3) };
            let together = sim::run(1, async { counted(&spec, &rows, parts) });
            prop_assert_eq!(together, one_by_one.into_iter().collect::<Vec<_>>());
        }
    }
}
