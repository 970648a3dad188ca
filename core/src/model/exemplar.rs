//! Exemplars: single observations that stand for many, usually by the trace that made them.

use super::labels::Labels;
use super::time::TimestampMs;

/// One exemplar of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// What tells it from others: a trace, a span.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When; of an exemplar that does not say so, the time of its sample.
    pub timestamp_ms: TimestampMs,
    /// Whether the exemplar came with its time. One that did not is the same as one of another time.
    pub dated: bool,
}

impl Exemplar {
    /// Whether `other` says nothing new.
    pub fn repeats(&self, other: &Exemplar) -> bool {
        self.labels == other.labels
            && self.value.to_bits() == other.value.to_bits()
            && (self.timestamp_ms == other.timestamp_ms || !self.dated || !other.dated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_without_a_time_repeats_itself() {
        let exemplar = |timestamp_ms, dated| Exemplar {
            labels: Labels::from_pairs([("trace_id", "a")]),
            value: 1.0,
            timestamp_ms,
            dated,
        };
        assert!(exemplar(1, true).repeats(&exemplar(1, true)));
        assert!(!exemplar(1, true).repeats(&exemplar(2, true)));
        assert!(exemplar(1, false).repeats(&exemplar(2, false)));
        assert!(!exemplar(1, false).repeats(&Exemplar { value: 2.0, ..exemplar(1, false) }));
    }
}
