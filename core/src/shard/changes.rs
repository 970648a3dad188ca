//! What has changed since when: so that who remembers an answer knows which part of it still holds.
//!
//! Every append says when it was and how old its oldest sample is. Who remembers when an answer was begun asks later for the oldest
//! sample that has come since. Of two appends the later one with the older sample makes the earlier one superfluous, so what is kept
//! ascends in both times; the samples' times are rounded down to the minute, so it is one entry for each minute that samples
//! come late. At the bound the oldest goes, and whoever asks from before it is told that everything has changed.
//!
//! Whatever else changes samples, retention and deletion, has to be noted here too.

use std::collections::VecDeque;

use super::Shard;
use crate::limits::CHANGES_MAX;
use crate::model::time::TimestampMs;
use crate::runtime::clock::Instant;

/// To what times are rounded down.
const GRAIN_MS: i64 = 60_000;

/// The appends of a shard by the age of their samples.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Nothing is known of changes up to then.
    forgotten: Option<Instant>,
    /// When changes were, ascending, with the oldest time of that change and all after it.
    oldest: VecDeque<(Instant, TimestampMs)>,
}

impl Changes {
    /// Samples come or go now, none older than `oldest_ms`.
    pub(super) fn note(&mut self, now: Instant, oldest_ms: TimestampMs) {
        let oldest_ms = oldest_ms.div_euclid(GRAIN_MS).saturating_mul(GRAIN_MS);
        while self.oldest.back().is_some_and(|(_, before)| *before >= oldest_ms) {
            self.oldest.pop_back();
        }
        self.oldest.push_back((now, oldest_ms));
        if self.oldest.len() > CHANGES_MAX
            && let Some((at, _)) = self.oldest.pop_front()
        {
            self.forgotten = Some(at);
        }
    }

    fn oldest_since(&self, since: Instant) -> TimestampMs {
        if self.forgotten.is_some_and(|forgotten| since <= forgotten) {
            return TimestampMs::MIN;
        }
        let later = self.oldest.partition_point(|(at, _)| *at < since);
        self.oldest.get(later).map_or(TimestampMs::MAX, |(_, oldest_ms)| *oldest_ms)
    }
}

impl Shard {
    /// No sample has come or gone since then that is older than this; [`TimestampMs::MAX`] if none has at all.
    pub fn oldest_change_since(&self, since: Instant) -> TimestampMs {
        self.0.changes.borrow().oldest_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim;
    use proptest::prelude::*;
    use std::time::Duration;

    fn instants(count: usize) -> Vec<Instant> {
        sim::run(1, async move {
            let first = Instant::now();
            (0..count as u64).map(|i| first + Duration::from_nanos(i)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_that_changed_is_missed(times in proptest::collection::vec(0_i64..3_000_000, 0..60)) {
            let mut changes = Changes::default();
            let at = instants(times.len() + 1);
            for (i, &t) in times.iter().enumerate() {
                changes.note(at[i], t);
            }
            for (i, &since) in at.iter().enumerate() {
                let oldest = times[i..].iter().min().map_or(i64::MAX, |t| t / GRAIN_MS * GRAIN_MS);
                prop_assert_eq!(changes.oldest_since(since), oldest);
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut changes = Changes::default();
        let at = instants(2 * CHANGES_MAX + 2);
        for (minute, &now) in at[..2 * CHANGES_MAX].iter().enumerate() {
            changes.note(now, minute as i64 * GRAIN_MS);
        }
        assert_eq!(changes.oldest.len(), CHANGES_MAX);
        assert_eq!(changes.oldest_since(at[1]), TimestampMs::MIN);
        let last = 2 * CHANGES_MAX - 1;
        assert_eq!(changes.oldest_since(at[last]), last as i64 * GRAIN_MS);
        assert_eq!(changes.oldest_since(at[last + 1]), TimestampMs::MAX);
        changes.note(at[last + 1], i64::MIN);
        assert_eq!(changes.oldest_since(at[last + 1]), i64::MIN);
    }

    #[test]
    fn appends_and_late_samples_are_noted() {
        use crate::runtime::sim::SimDisk;
        use crate::shard::tests::{batch, open};
        const MINUTE: i64 = GRAIN_MS;
        sim::run(1, async {
            let shard = open(&SimDisk::new(1)).await;
            let oldest = async |rows: &[(u64, i64, f64)]| {
                crate::runtime::sleep(Duration::from_millis(1)).await;
                let since = Instant::now();
                let outcome = shard.append(batch(rows)).await.unwrap();
                assert_eq!(outcome.appended, rows.len() as u64);
                shard.oldest_change_since(since)
            };
            assert_eq!(oldest(&[]).await, TimestampMs::MAX);
            let rows = [(1, 10 * MINUTE, 1.0), (1, 11 * MINUTE, 1.0), (2, 9 * MINUTE + 1, 1.0)];
            assert_eq!(oldest(&rows).await, 9 * MINUTE);
            assert_eq!(oldest(&[(1, 12 * MINUTE, 1.0)]).await, 12 * MINUTE);
            assert_eq!(
                oldest(&[(1, 10 * MINUTE + 5, 1.0), (2, 12 * MINUTE, 1.0)]).await,
                10 * MINUTE
            );
        });
    }
}
