//! Series that have become the same: an operation that drops labels may give two rows with equal labels.
//!
//! Where they never have a sample at the same step they are one series; where they do, the query is in error.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use super::batch::Row;
use crate::functions::labels::without_metadata;
use crate::value::{ErrorType, QueryError};

/// The error for two series with equal labels and samples at one moment.
pub fn same_labels_error() -> QueryError {
    execution_error("vector cannot contain metrics with the same labelset")
}

/// An error of evaluation.
pub fn execution_error(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorType::Execution, message)
}

/// What two rows with equal labels mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equal {
    /// An error, even if their samples do not meet.
    Refuse,
    /// One series, if their samples do not meet.
    Merge,
}

/// Makes the labels of the rows unique.
pub fn unite(rows: Vec<Row>, equal: Equal) -> Result<Vec<Row>, QueryError> {
    if rows.len() < 2 {
        return Ok(rows);
    }
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    let mut table: HashTable<usize> = HashTable::with_capacity(rows.len());
    for row in rows {
        let hash = |i: usize, out: &[Row]| xxh3_64(out[i].labels.encoded());
        let found = table.entry(
            xxh3_64(row.labels.encoded()),
            |&i| out[i].labels == row.labels,
            |&i| hash(i, &out),
        );
        match found {
            Entry::Vacant(vacant) => {
                vacant.insert(out.len());
                out.push(row);
            }
            Entry::Occupied(occupied) => {
                let known = *occupied.get();
                if equal == Equal::Refuse || !out[known].cells.merge(&row.cells) {
                    return Err(same_labels_error());
                }
            }
        }
    }
    Ok(out)
}

/// Drops the names that were to be dropped at the end of evaluation.
pub fn drop_names(rows: &mut [Row]) {
    for row in rows.iter_mut().filter(|row| row.drop_name) {
        row.labels = without_metadata(&row.labels);
        row.drop_name = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{ABSENT, Cells};
    use super::*;
    use tidemark_core::model::labels::Labels;

    fn row(name: &str, floats: &[f64]) -> Row {
        Row {
            labels: Labels::from_pairs([("__name__", name), ("a", "1")]),
            drop_name: true,
            cells: Cells::from_floats(floats.to_vec()),
        }
    }

    #[test]
    fn rows_meet_or_merge() {
        let mut rows = vec![row("x", &[1.0, ABSENT]), row("y", &[ABSENT, 2.0])];
        assert_eq!(unite(rows.clone(), Equal::Refuse).unwrap().len(), 2);
        drop_names(&mut rows);
        assert!(unite(rows.clone(), Equal::Refuse).is_err());
        let united = unite(rows.clone(), Equal::Merge).unwrap();
        assert_eq!(united[0].cells.floats(), [1.0, 2.0]);
        rows.push(united[0].clone());
        assert!(unite(rows, Equal::Merge).is_err());
    }
}
