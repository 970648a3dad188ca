//! Histograms of which only count and sum are looked at: the buckets are left out, and what they tell of counter resets
//! is put into the hint, since nobody can find out later.

use std::sync::Arc;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::histogram::{FloatHistogram, ResetHint};

/// Replaces each histogram by its count and sum.
pub(super) fn strip(columns: &mut SampleColumns) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for slot in columns.histograms.iter_mut().flatten() {
        let current = Arc::clone(slot);
        let mut hint = current.hint;
        if !current.is_stale() {
            if let (ResetHint::Unknown, Some(before)) = (hint, &previous) {
                let reset = current.is_reset_after(before);
                hint = if reset { ResetHint::Reset } else { ResetHint::NotReset };
            }
            previous = Some(Arc::clone(&current));
        }
        *slot = Arc::new(FloatHistogram {
            hint,
            schema: current.schema,
            count: current.count,
            sum: current.sum,
            ..FloatHistogram::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_found_before_the_buckets_go() {
        let mut columns = SampleColumns::new();
        for (t, bucket) in (0..).zip([5.0, 6.0, 1.0]) {
            let positive = [(1, bucket)].into_iter().collect();
            let h = FloatHistogram { count: 10.0, positive, ..FloatHistogram::default() };
            columns.push_histogram(t, Arc::new(h));
        }
        strip(&mut columns);
        let hints: Vec<_> = columns.histograms.iter().flatten().map(|h| h.hint).collect();
        assert_eq!(hints, [ResetHint::Unknown, ResetHint::NotReset, ResetHint::Reset]);
        assert!(columns.histograms.iter().flatten().all(|h| h.positive.is_empty()));
    }
}
