//! How one series' values move: a deterministic walk from step to step.
//!
//! A step's randomness is a hash of the seed and the step, so series need no generator of their own and the buckets of one
//! histogram, which share their seed, stay monotonic among each other.

use super::catalogue::Values;

/// Steps between two restarts of a host (about 17 hours at 15 s), when its counters begin again at zero.
const RESTART_STEPS: u64 = 4_099;

/// Observations of a histogram a step, at most.
const OBSERVATIONS_MAX: u64 = 50;

/// Halvings between the busiest series of a family and its calmest: as many as make chunks as large as those that the targets were set by.
const HALVINGS_MAX: u64 = 14;

/// A 64-bit mix (splitmix64's finalizer).
pub(super) fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The values of one series, in order.
#[derive(Clone, Debug)]
pub struct Walk {
    values: Values,
    /// Of the series; of the whole histogram where it is a part of one.
    seed: u64,
    /// Of the host: all its counters begin again together.
    host: u64,
    step: u64,
    /// The widest step, in units.
    widest: u64,
    /// Whole numbers are walked and divided at the end, so that decimals are exact.
    units: i64,
    /// The share of observations that fall into this bucket, in 1/256.
    share: u64,
}

impl Walk {
    /// A walk from step 0. `bucket` is the place of a bucket among its histogram's, of so many.
    pub(super) fn new(
        values: Values,
        seed: u64,
        host: u64,
        bucket: Option<(usize, usize)>,
    ) -> Self {
        let units = match values {
            Values::Bytes => 1_000 + (mix(seed) % 2_000_000) as i64,
            Values::Hundredths => (mix(seed) % 9_000) as i64,
            Values::Counter(most) | Values::Seconds(most) => (mix(seed) % (most * 100)) as i64,
            _ => 0,
        };
        // Most observations are fast: the share rises quickly and then flattens.
        let share = bucket.map_or(256, |(at, of)| {
            let slower = (of - 1 - at) as u64;
            256 - slower * slower * 256 / (of * of) as u64
        });
        Self { values, seed, host, step: 0, widest: widest(values, seed), units, share }
    }

    /// The value of the next step.
    pub fn advance(&mut self) -> f64 {
        let random = mix(self.seed.wrapping_add(self.step.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let restart = (self.step + self.host).is_multiple_of(RESTART_STEPS);
        self.step += 1;
        match self.values {
            Values::Constant(value) => return value,
            Values::Fraction => return (random >> 11) as f64 / (1_u64 << 53) as f64,
            Values::Counter(_) | Values::Seconds(_) => self.grow(restart, random % self.widest),
            Values::Bytes | Values::Hundredths => self.wander(random, self.widest),
            Values::Bucket | Values::Count => {
                self.grow(restart, random % self.widest * self.share / 256);
            }
            Values::Sum => self.grow(restart, random % self.widest * 13),
        }
        match self.values {
            Values::Seconds(_) | Values::Hundredths | Values::Sum => self.units as f64 / 100.0,
            Values::Bytes => (self.units * 4_096) as f64,
            _ => self.units as f64,
        }
    }

    fn grow(&mut self, restart: bool, by: u64) {
        self.units = if restart { 0 } else { self.units + by as i64 };
    }

    /// A step of a random walk that does not go below zero; one step in four stands still.
    fn wander(&mut self, random: u64, widest: u64) {
        if random >> 62 != 0 {
            let by = (random % (2 * widest + 1)) as i64 - widest as i64;
            self.units = (self.units + by).max(0);
        }
    }
}

/// The widest step of a series, in units: of a family, few modes of a processor, devices and status codes are busy, and
/// most are nearly idle.
fn widest(values: Values, seed: u64) -> u64 {
    let busiest = match values {
        Values::Constant(_) | Values::Fraction => return 0,
        Values::Counter(most) | Values::Seconds(most) => most,
        Values::Bytes => 512,
        Values::Hundredths => 64,
        Values::Bucket | Values::Count | Values::Sum => OBSERVATIONS_MAX,
    };
    (busiest >> (mix(seed ^ 0x7469_6465) % (HALVINGS_MAX + 1))).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_deterministic() {
        let walk = |seed| {
            let mut walk = Walk::new(Values::Counter(100), seed, 7, None);
            (0..50).map(|_| walk.advance()).collect::<Vec<_>>()
        };
        assert_eq!(walk(1), walk(1));
        assert_ne!(walk(1), walk(2));
    }

    #[test]
    fn counters_grow_but_for_restarts() {
        let mut walk = Walk::new(Values::Counter(100), 3, 0, None);
        let values: Vec<_> = (0..2 * RESTART_STEPS).map(|_| walk.advance()).collect();
        let resets = values.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert_eq!(resets, 1);
    }

    #[test]
    fn buckets_of_a_histogram_are_cumulative() {
        let mut buckets: Vec<_> =
            (0..12).map(|at| Walk::new(Values::Bucket, 9, 1, Some((at, 12)))).collect();
        let mut count = Walk::new(Values::Count, 9, 1, None);
        for _ in 0..100 {
            let values: Vec<_> = buckets.iter_mut().map(Walk::advance).collect();
            assert!(values.is_sorted(), "{values:?}");
            assert_eq!(values[11], count.advance());
        }
    }
}
