//! What is known of a chunk's values without decoding them, so that wide windows need not.
//!
//! Staleness markers end a series and are no values to any function; other NaNs and infinities are, and make sums and
//! extremes what a reader must compute sample by sample. So the figures cover the finite floats alone, and the counts tell
//! a reader whether these were all: then [`ChunkStatistics::is_whole`].

use crate::model::kahan::KahanSum;
use crate::model::sample::is_stale;

/// Figures of one chunk's values, in the order of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChunkStatistics {
    /// All samples, whatever their value.
    pub samples: u16,
    /// Those that are staleness markers.
    pub stale: u16,
    /// Those that are finite: neither NaN nor infinite. The other figures are of these, and 0 when there are none.
    pub finite: u16,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their sum, compensated.
    pub sum: f64,
    /// The first.
    pub first: f64,
    /// The last.
    pub last: f64,
}

impl ChunkStatistics {
    /// Figures of the values of one chunk, at most 65,535.
    pub fn of(values: &[f64]) -> Self {
        let mut sum = KahanSum::default();
        let mut of = ChunkStatistics { samples: values.len() as u16, ..Self::default() };
        for &value in values {
            if !value.is_finite() {
                of.stale += u16::from(is_stale(value));
                continue;
            }
            if of.finite == 0 {
                (of.min, of.max, of.first) = (value, value, value);
            }
            of.finite += 1;
            of.min = of.min.min(value);
            of.max = of.max.max(value);
            of.last = value;
            sum.add(value);
        }
        of.sum = sum.value();
        of
    }

    /// Whether nothing but finite floats and staleness markers is in the chunk, so that the figures stand for all its values.
    pub fn is_whole(&self) -> bool {
        self.finite + self.stale == self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::STALE_NAN;

    #[test]
    fn markers_do_not_count_and_infinities_are_told() {
        let of = ChunkStatistics::of(&[3.0, -1.5, STALE_NAN, 2.0]);
        assert_eq!((of.samples, of.stale, of.finite), (4, 1, 3));
        assert_eq!((of.min, of.max, of.sum), (-1.5, 3.0, 3.5));
        assert_eq!((of.first, of.last), (3.0, 2.0));
        assert!(of.is_whole());
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let of = ChunkStatistics::of(&[value, 1.0]);
            assert!(!of.is_whole());
            assert_eq!((of.first, of.min, of.max), (1.0, 1.0, 1.0));
        }
        assert_eq!(ChunkStatistics::of(&[]), ChunkStatistics::default());
    }
}
