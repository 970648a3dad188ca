//! `count_values`: how many samples of a group have each value, the value being a label of the result.

use hashbrown::HashMap;
use tidemark_core::model::labels::Labels;

use super::aggregate::GroupTable;
use super::batch::{Batch, Cell, CellRef, Cells, Row};
use super::dedupe::execution_error;
use crate::functions::labels::with_label;
use crate::parser::number::Plain;
use crate::parser::quote::quoted;
use crate::plan::node::Grouping;
use crate::value::QueryError;

/// Counts the samples of each value under the label `label`.
pub(super) fn evaluate(
    label: &str,
    grouping: &Grouping,
    input: &Batch,
) -> Result<Batch, QueryError> {
    if label.is_empty() {
        return Err(execution_error(format!("invalid label name {}", quoted(label))));
    }
    let mut grouping = grouping.clone();
    if !grouping.without && !grouping.labels.iter().any(|l| l == label) {
        grouping.labels.push(label.to_owned());
        grouping.labels.sort_unstable();
    }
    let mut table = GroupTable::new(grouping);
    let mut counts: Vec<Cells> = Vec::new();
    for row in &input.rows {
        let mut floats: HashMap<u64, usize> = HashMap::new();
        for i in 0..row.cells.len() {
            let mut group = |text: &str| {
                let group = table.group_of(&with_label(&row.labels, label, text));
                counts.resize_with(table.len(), || Cells::absent(input.steps.count));
                group
            };
            let group = match row.cells.get(i) {
                CellRef::Absent => continue,
                CellRef::Float(v) => {
                    *floats.entry(v.to_bits()).or_insert_with(|| group(&Plain(v).to_string()))
                }
                CellRef::Histogram(h) => group(&h.to_string()),
            };
            let so_far = match counts[group].get(i) {
                CellRef::Float(v) => v,
                _ => 0.0,
            };
            counts[group].set(i, Cell::Float(so_far + 1.0));
        }
    }
    let labels: Vec<Labels> = table.labels().to_vec();
    let rows = labels.into_iter().zip(counts);
    let rows = rows.map(|(labels, cells)| Row { labels, drop_name: false, cells }).collect();
    Ok(Batch::new(input.steps, rows))
}

#[cfg(test)]
mod tests {
    use super::super::batch::Steps;
    use super::*;

    #[test]
    fn values_become_labels() {
        let row = |name: &str, floats: &[f64]| Row {
            labels: Labels::from_pairs([("__name__", name), ("a", name)]),
            drop_name: false,
            cells: Cells::from_floats(floats.to_vec()),
        };
        let rows = vec![row("x", &[1.0, 2.5]), row("y", &[1.0, f64::INFINITY])];
        let batch = Batch::new(Steps::new(0, 10, 10), rows);
        let mut counted = evaluate("v", &Grouping::default(), &batch).unwrap();
        counted.sort();
        let shown: Vec<_> = counted.rows.iter().map(|r| r.labels.to_string()).collect();
        assert_eq!(shown, [r#"{v="+Inf"}"#, r#"{v="1"}"#, r#"{v="2.5"}"#]);
        assert_eq!(counted.rows[1].cells.floats()[0], 2.0);
        assert!(evaluate("", &Grouping::default(), &batch).is_err());
    }
}
