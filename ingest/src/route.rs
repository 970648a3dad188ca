//! From rows to the shards that own them: one batch, hence one message, a shard.

use tidemark_core::append::AppendBatch;

use crate::rows::Rows;

/// Deals `rows` out to `shards` shards and empties it. Only batches with something in them are returned, in ascending
/// order of their shards. The order of rows within a shard is kept. What is known of a metric family goes to the shard
/// that its name hashes to, so that one shard holds it and every core finds the same one.
pub fn split(rows: &mut Rows, shards: u32) -> Vec<(u32, AppendBatch)> {
    let mut batches: Vec<AppendBatch> = (0..shards).map(|_| AppendBatch::new()).collect();
    if shards as usize <= rows.len() {
        // An even share and an eighth, so that hardly a column has to be moved as it grows.
        let share = |n: usize| n / shards as usize * 9 / 8;
        for batch in &mut batches {
            batch.reserve(share(rows.len()), share(rows.label_bytes()), share(rows.sample_count()));
        }
    }
    for row in rows.iter() {
        let batch = &mut batches[row.fingerprint.owner(shards) as usize];
        batch.push_series(row.fingerprint, row.labels);
        for sample in row.samples {
            batch.push_sample(sample.timestamp_ms, sample.value);
        }
        for (timestamp_ms, detail) in row.details {
            batch.push_detail(*timestamp_ms, detail.clone());
        }
        for exemplar in row.exemplars {
            batch.push_exemplar(exemplar.clone());
        }
    }
    for (family, metadata) in rows.take_metadata() {
        let owner = xxhash_rust::xxh3::xxh3_64(family.as_bytes()) % u64::from(shards);
        batches[owner as usize].push_metadata(&family, metadata);
    }
    rows.clear();
    (0..).zip(batches).filter(|(_, batch)| !batch.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::model::metadata::Metadata;

    #[test]
    fn every_row_goes_to_its_owner_once() {
        let mut rows = Rows::new();
        for i in 0..100 {
            rows.begin_series();
            rows.push_label("__name__", &format!("m{i}")).unwrap();
            rows.push_sample(i, 1.0);
            rows.push_sample(i + 1, 2.0);
            rows.end_series().unwrap();
        }
        rows.push_metadata("m", Metadata::default());
        let batches = split(&mut rows, 7);
        assert!(rows.is_empty());
        let mut seen = 0;
        for (shard, batch) in &batches {
            for series in batch.series() {
                assert_eq!(series.fingerprint.owner(7), *shard);
                assert_eq!(series.samples.len(), 2);
                seen += 1;
            }
        }
        assert_eq!(seen, 100);
        assert_eq!(batches.iter().map(|(_, b)| b.metadata().len()).sum::<usize>(), 1);
    }

    #[test]
    fn shards_without_rows_get_no_batch() {
        assert!(split(&mut Rows::new(), 4).is_empty());
    }
}
