//! `HyperLogLog`: how many distinct fingerprints there were, in a kibibyte.
//!
//! Flajolet, Fusy, Gandouet, Meunier, "`HyperLogLog`: the analysis of a near-optimal cardinality estimation
//! algorithm" (2007).
//! The first ten bits of a hash choose one of 1,024 registers, which keeps the longest run of zeros seen in the other bits.
//! The standard error is 1.04 / sqrt(1024), 3.25 %; few are counted by the registers that are still empty.

use crate::model::labels::Fingerprint;

const INDEX_BITS: u32 = 10;
const REGISTERS: usize = 1 << INDEX_BITS;

/// The constant of the paper for this many registers.
const ALPHA: f64 = 0.7213 / (1.0 + 1.079 / REGISTERS as f64);

/// The longest run that a register keeps: all bits but those of its number, and one.
const RUN_MAX: u32 = u64::BITS - INDEX_BITS + 1;

/// 2^-run, in units of 2^-[`RUN_MAX`].
fn weight(run: u8) -> u128 {
    1 << (RUN_MAX - u32::from(run))
}

/// See the module. What an estimate takes is kept up to date, since every new series asks for one.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    registers: Box<[u8; REGISTERS]>,
    /// The sum of 2^-register, in units of 2^-[`RUN_MAX`].
    inverse: u128,
    /// Registers that are zero.
    empty: u32,
}

impl Sketch {
    pub(super) fn new() -> Self {
        let (inverse, empty) = (REGISTERS as u128 * weight(0), REGISTERS as u32);
        Sketch { registers: Box::new([0; REGISTERS]), inverse, empty }
    }

    /// Notes one; again is the same as once.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint) {
        let hash = (fingerprint.0 >> 64) as u64;
        let register = &mut self.registers[(hash >> (u64::BITS - INDEX_BITS)) as usize];
        let run = (hash << INDEX_BITS).leading_zeros().min(u64::BITS - INDEX_BITS) as u8 + 1;
        if run > *register {
            self.inverse -= weight(*register) - weight(run);
            self.empty -= u32::from(*register == 0);
            *register = run;
        }
    }

    /// About how many there were.
    pub(super) fn estimate(&self) -> u64 {
        let count = REGISTERS as f64;
        let raw = ALPHA * count * count * weight(0) as f64 / self.inverse as f64;
        let estimate = if raw <= 2.5 * count && self.empty > 0 {
            count * (count / f64::from(self.empty)).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Five standard errors, which one of two million random sets exceeds; of few, no more than a handful.
        #[test]
        fn estimates_are_within_the_error_of_the_paper(seed: u64, number in 0_u32..60_000) {
            let mut sketch = Sketch::new();
            for i in 0..number {
                let fingerprint = Fingerprint::of(&[seed, u64::from(i)].map(u64::to_le_bytes).concat());
                sketch.insert(fingerprint);
                sketch.insert(fingerprint);
            }
            let error = sketch.estimate() as f64 - f64::from(number);
            let bound = 5.0 * 1.04 / (REGISTERS as f64).sqrt() * f64::from(number) + 3.0;
            prop_assert!(error.abs() <= bound, "{number}: {error}");
            // What is kept is what the registers say.
            let inverse: u128 = sketch.registers.iter().map(|run| weight(*run)).sum();
            prop_assert_eq!(sketch.inverse, inverse);
            let empty: u32 = sketch.registers.iter().map(|run| u32::from(*run == 0)).sum();
            prop_assert_eq!(sketch.empty, empty);
        }
    }
}
