//! From rows to the shards that own them: one batch, hence one message, a shard.

use tidemark_core::append::AppendBatch;

use crate::known::SeriesKey;
use crate::rows::Rows;

/// Deals `rows` out to `shards` shards and empties it. Only batches with something in them are returned, in ascending
/// order of their shards. The order of rows within a shard is kept. What is known of a metric family goes to the shard
/// that its name hashes to, so that one shard holds it and every core finds the same one.
pub fn split(rows: &mut Rows, shards: u32) -> Vec<(u32, AppendBatch)> {
    split_asking(rows, shards).batches
}

/// Batches for shards, and the keys that tickets stand for.
pub struct Asking {
    /// What goes to which shard.
    pub batches: Vec<(u32, AppendBatch)>,
    /// By ticket: the key of a series, and the shard that owns it.
    pub keys: Vec<(SeriesKey, u32)>,
}

/// As [`split`], and asks for the numbers of the rows that have a key.
pub fn split_asking(rows: &mut Rows, shards: u32) -> Asking {
    let mut batches: Vec<AppendBatch> = (0..shards).map(|_| AppendBatch::new()).collect();
    if shards as usize <= rows.len() {
        // An even share and an eighth, so that hardly a column has to be moved as it grows.
        let share = |n: usize| n / shards as usize * 9 / 8;
        for batch in &mut batches {
            batch.reserve(share(rows.len()), share(rows.label_bytes()), share(rows.sample_count()));
        }
    }
    let mut asked = Vec::with_capacity(rows.keyed().len());
    let mut keyed = rows.keyed().iter().peekable();
    for (n, row) in (0..).zip(rows.iter()) {
        let owner = row.known.map_or_else(|| row.fingerprint.owner(shards), |known| known.shard);
        let batch = &mut batches[owner as usize];
        match (row.known, keyed.next_if(|(at, _)| *at == n)) {
            (Some(known), _) => batch.push_known(known.number),
            (None, None) => batch.push_series(row.fingerprint, row.labels),
            (None, Some((_, key))) => {
                batch.push_series_asking(row.fingerprint, row.labels, asked.len() as u32);
                asked.push((*key, owner));
            }
        }
        batch.push_samples(row.samples);
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
    let batches = (0..).zip(batches).filter(|(_, batch)| !batch.is_empty()).collect();
    Asking { batches, keys: asked }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::{Known, KnownSeries};
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
    fn known_series_go_by_number_and_keyed_ones_ask_for_theirs() {
        let (known, mut rows) = (KnownSeries::new(), Rows::new());
        for i in 0..10 {
            rows.begin_series();
            if i % 2 == 0 {
                rows.push_sample(i, 1.0);
                rows.end_known(Known { shard: 3, number: i as u32 });
                continue;
            }
            rows.push_label("__name__", &format!("m{i}")).unwrap();
            rows.push_sample(i, 1.0);
            rows.end_series().unwrap();
            if i > 4 {
                rows.set_key(known.key(&[i as u8]));
            }
        }
        let Asking { batches, keys: asked } = split_asking(&mut rows, 4);
        assert_eq!(
            asked.iter().map(|a| a.0).collect::<Vec<_>>(),
            [5, 7, 9].map(|i| known.key(&[i]))
        );
        let mut tickets = Vec::new();
        for (shard, batch) in &batches {
            for series in batch.series() {
                let t = series.samples[0].timestamp_ms;
                assert_eq!(series.known, (t % 2 == 0).then_some(t as u32));
                assert!(series.known.is_none() || *shard == 3);
                tickets.extend(series.ticket.map(|ticket| (ticket, t, *shard)));
            }
        }
        tickets.sort_unstable();
        let expected = (0..).zip(&asked).map(|(i, (_, shard))| (i, 5 + 2 * i64::from(i), *shard));
        assert_eq!(tickets, expected.collect::<Vec<(u32, _, _)>>());
    }

    #[test]
    fn shards_without_rows_get_no_batch() {
        assert!(split(&mut Rows::new(), 4).is_empty());
    }
}
