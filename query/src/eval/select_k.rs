//! Aggregations that pick rows and leave them as they are: `topk`, `bottomk`, `limitk`, `limit_ratio`.
//!
//! For each group and step some of the cells are kept, all others cleared. What is picked from the picks of parts is what
//! is picked from the whole, so shards may pick first. Among equals the smaller label set wins, and groups come in the order
//! of their labels; Prometheus leaves both to the order of its storage. Neither tells how many shards have picked.

use std::cmp::Ordering;

use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::is_stale;
use xxhash_rust::xxh64::xxh64;

use super::aggregate::GroupTable;
use super::batch::{Batch, CellRef};
use super::notes::{NoteKind, Notes};
use crate::parser::ast::{AggregateOp, PosRange};
use crate::plan::node::Grouping;
use crate::plan::split::Scalars;

/// What is picked.
#[derive(Clone, Debug)]
pub struct Pick {
    /// Which of the four.
    pub op: AggregateOp,
    /// Which labels make a group.
    pub grouping: Grouping,
    /// How many, or which part, at each step.
    pub param: Scalars,
    /// Where the aggregation is.
    pub pos: PosRange,
}

/// Picks from a batch. At a single step the rows of `topk` and `bottomk` come ordered by value, group by group.
pub fn pick(pick: &Pick, mut batch: Batch, notes: &mut Notes) -> Batch {
    batch.ordered = false;
    batch.sort();
    let mut table = GroupTable::new(pick.grouping.clone());
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (i, row) in batch.rows.iter().enumerate() {
        let group = table.group_of(&row.labels);
        members.resize_with(table.len(), Vec::new);
        members[group].push(i);
    }
    let mut groups: Vec<_> = table.labels().iter().zip(&members).collect();
    groups.sort_unstable_by_key(|(labels, _)| *labels);
    let mut order = Vec::new();
    let mut kept = Vec::new();
    let mut is_kept = vec![false; batch.rows.len()];
    for (_, group) in groups {
        for step in 0..batch.steps.count {
            kept.clear();
            kept.extend(group.iter().copied().filter(|i| batch.rows[*i].cells.is_present(step)));
            select(pick, step, &batch, &mut kept, notes);
            for &i in &kept {
                is_kept[i] = true;
            }
            for &i in group {
                if !std::mem::take(&mut is_kept[i]) {
                    batch.rows[i].cells.clear(step);
                }
            }
        }
        order.extend_from_slice(if batch.steps.count == 1 { &kept } else { group });
    }
    if batch.steps.count == 1 {
        let mut rows: Vec<_> = batch.rows.into_iter().map(Some).collect();
        batch.rows = order.iter().filter_map(|i| rows[*i].take()).collect();
        batch.ordered = matches!(pick.op, AggregateOp::TopK | AggregateOp::BottomK);
    }
    batch.drop_empty_rows();
    batch
}

/// Reduces `rows`, those of one group that have a sample at `step`, to the picked ones, in the order of the result.
fn select(pick: &Pick, step: usize, batch: &Batch, rows: &mut Vec<usize>, notes: &mut Notes) {
    let param = pick.param[step];
    match pick.op {
        AggregateOp::LimitRatio => {
            let ratio = param.clamp(-1.0, 1.0);
            rows.retain(|i| ratio != 0.0 && is_sampled(ratio, &batch.rows[*i].labels));
        }
        AggregateOp::LimitK => rows.truncate(whole_count(param)),
        op => {
            let before = rows.len();
            rows.retain(|i| matches!(batch.rows[*i].cells.get(step), CellRef::Float(_)));
            if rows.len() < before && whole_count(param) > 0 {
                notes.add(NoteKind::HistogramIgnoredInAggregation, op.as_str(), pick.pos);
            }
            let value = |i: usize| batch.rows[i].cells.floats()[step];
            debug_assert!(rows.iter().all(|i| !is_stale(value(*i))));
            // NaN last, else by value; equals stay in the order of labels.
            let key = |i: &usize| {
                let v = value(*i);
                (v.is_nan(), if op == AggregateOp::TopK { -v } else { v })
            };
            let order = |i: &usize, j: &usize| {
                let (a, b) = (key(i), key(j));
                let by_value = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
                a.0.cmp(&b.0).then(by_value).then(i.cmp(j))
            };
            let count = whole_count(param);
            if count > 0 && count < rows.len() {
                rows.select_nth_unstable_by(count - 1, order);
            }
            rows.truncate(count);
            rows.sort_unstable_by(order);
        }
    }
}

fn whole_count(k: f64) -> usize {
    if k >= 1.0 { k as usize } else { 0 }
}

/// Whether a series belongs to the part of all series that a ratio stands for; a negative ratio stands for the
/// complement of the part that is left of it.
fn is_sampled(ratio: f64, labels: &Labels) -> bool {
    let place = prometheus_hash(labels) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// The hash that Prometheus takes of a label set, so that both sample the same series: xxh64 of names and values, each
/// behind its length in one byte, or in 255 and three.
fn prometheus_hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(labels.encoded().len());
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(length) if length < u8::MAX => bytes.push(length),
            _ => {
                bytes.push(u8::MAX);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::super::batch::{ABSENT, Cells, Row, Steps};
    use super::*;

    fn batch(values: &[&[f64]]) -> Batch {
        let rows = values.iter().enumerate().map(|(i, v)| Row {
            labels: Labels::from_pairs([("i", i.to_string().as_str())]),
            drop_name: false,
            cells: Cells::from_floats(v.to_vec()),
        });
        let count = values[0].len();
        Batch::new(Steps { start_ms: 0, interval_ms: 1, count }, rows.collect())
    }

    fn run(op: AggregateOp, param: &[f64], values: &[&[f64]]) -> Vec<(String, Vec<f64>)> {
        let pick_spec = Pick {
            op,
            grouping: Grouping::default(),
            param: param.into(),
            pos: PosRange::default(),
        };
        let picked = pick(&pick_spec, batch(values), &mut Notes::default());
        picked
            .rows
            .iter()
            .map(|r| (r.labels.get("i").unwrap_or("").to_owned(), r.cells.floats().to_vec()))
            .collect()
    }

    #[test]
    fn the_largest_first_and_nan_last() {
        let values: [&[f64]; 4] = [&[1.0], &[f64::NAN], &[3.0], &[3.0]];
        let names =
            |op, k| run(op, &[k], &values).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(AggregateOp::TopK, 2.0), ["2", "3"]);
        assert_eq!(names(AggregateOp::TopK, 9.0), ["2", "3", "0", "1"]);
        assert_eq!(names(AggregateOp::BottomK, 2.9), ["0", "2"]);
        assert_eq!(names(AggregateOp::LimitK, 1.0), ["0"]);
        assert!(names(AggregateOp::LimitRatio, 0.0).is_empty());
        assert_eq!(names(AggregateOp::LimitRatio, 1.0).len(), 4);
    }

    #[test]
    fn groups_come_in_the_order_of_their_labels() {
        let row = |a: &str, b: &str, value: f64| Row {
            labels: Labels::from_pairs([("a", a), ("b", b)]),
            drop_name: false,
            cells: Cells::from_floats(vec![value]),
        };
        let spec = Pick {
            op: AggregateOp::TopK,
            grouping: Grouping { labels: vec!["b".to_owned()], without: false },
            param: [1.0].as_slice().into(),
            pos: PosRange::default(),
        };
        let rows = vec![row("1", "z", 1.0), row("2", "y", 2.0), row("3", "z", 3.0)];
        let picked = pick(&spec, Batch::new(Steps::instant(0), rows), &mut Notes::default());
        let values: Vec<f64> = picked.rows.iter().map(|row| row.cells.floats()[0]).collect();
        assert!(picked.ordered);
        assert_eq!(values, [2.0, 3.0]);
    }

    #[test]
    fn each_step_is_picked_by_itself() {
        let picked =
            run(AggregateOp::TopK, &[1.0, 2.0], &[&[1.0, 1.0], &[2.0, ABSENT], &[0.0, 5.0]]);
        let present: Vec<Vec<bool>> =
            picked.iter().map(|(_, v)| v.iter().map(|v| !is_stale(*v)).collect()).collect();
        assert_eq!(present, [[false, true], [true, false], [false, true]]);
    }

    #[test]
    fn ratio_and_complement_are_all() {
        for i in 0..200 {
            let labels = Labels::from_pairs([("i", i.to_string().as_str())]);
            assert!(is_sampled(0.3, &labels) != is_sampled(-0.7, &labels));
        }
    }
}
