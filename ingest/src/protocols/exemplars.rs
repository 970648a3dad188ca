//! Exemplars as every protocol hands them on.

use tidemark_core::model::exemplar::Exemplar;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::time::TimestampMs;

use crate::label_set::LabelSet;
use crate::limits::EXEMPLAR_LABELS_CHARS_MAX;
use crate::rows::is_timestamp_in_range;

/// An exemplar out of its parts; without a time of its own it gets that of its sample. `None` if its labels are longer
/// than OpenMetrics allows, or its time is none.
pub fn exemplar(
    labels: &LabelSet,
    value: f64,
    timestamp_ms: Option<TimestampMs>,
    sample_ms: TimestampMs,
) -> Option<Exemplar> {
    let chars = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
    let good = chars.sum::<usize>() <= EXEMPLAR_LABELS_CHARS_MAX
        && timestamp_ms.is_none_or(is_timestamp_in_range);
    good.then(|| Exemplar {
        labels: Labels::from_pairs(labels.iter()),
        value,
        timestamp_ms: timestamp_ms.unwrap_or(sample_ms),
        dated: timestamp_ms.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_in_characters() {
        let of = |chars: usize| {
            let value = "é".repeat(chars - 1);
            let labels: LabelSet = [("a", value.as_str())].into_iter().collect();
            exemplar(&labels, 1.0, None, 7)
        };
        let longest = of(EXEMPLAR_LABELS_CHARS_MAX).unwrap();
        assert_eq!((longest.timestamp_ms, longest.dated), (7, false));
        assert!(of(EXEMPLAR_LABELS_CHARS_MAX + 1).is_none());
        assert!(exemplar(&LabelSet::new(), 1.0, Some(i64::MAX), 7).is_none());
    }
}
