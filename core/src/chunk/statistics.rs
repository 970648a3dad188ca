//! What is known of a chunk's values without decoding them, so that wide windows need not.
//!
//! A reader must get the same bits from the figures as from the samples. So they are told only of chunks whose values are all finite
//! floats: staleness markers, NaNs and infinities have to be seen one by one. A sum is told only where no order of adding and no
//! compensation can matter: of whole numbers whose partial sums are all below 2^53, which floats hold exactly.
//!
//! ```text
//! figures   flags: u8 | first | last, unless all values are the same | least, greatest: unless flagged as the first or the last
//!           falls: uvarint, if there are any | of whole numbers: sum of the values before a fall: varint, if there are any
//!                                            | sum, minus first * samples: varint, unless all values are the same
//! flags     0: nothing is told | 1: told | 2: whole numbers | 4: all the same
//!           8, 16: the least is the first, is the last | 32, 64: the same of the greatest | 128: there are falls
//! number    of whole numbers the first as varint, the others minus the first as varint; else f64
//! ```

use super::ChunkError;
use super::bits::{push_uvarint, push_varint};
use crate::head::record::Input;

/// Whole numbers below it are floats exactly.
const EXACT_MAX: f64 = (1_u64 << 53) as f64;

const TOLD: u8 = 1;
const WHOLE: u8 = 2;
const SAME: u8 = 4;
const LEAST_IS: [u8; 2] = [8, 16];
const GREATEST_IS: [u8; 2] = [32, 64];
const FALLS: u8 = 128;

/// Figures of the values of one chunk, or of several that follow each other. All of them are finite floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChunkStatistics {
    /// How many samples; at least one.
    pub samples: u64,
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
    /// The least value; of zeros with both signs the one that came first.
    pub min: f64,
    /// The greatest value; of zeros with both signs the one that came first.
    pub max: f64,
    /// How often a value is less than the one before it: resets, if it is a counter.
    pub falls: u64,
    /// Sums, if they are exact in whatever order they are made.
    pub sums: Option<ExactSums>,
}

/// Sums of whole numbers that are below 2^53 on the way, too: adding the values one by one, with compensation or without, gives these bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactSums {
    /// Of all values.
    pub values: f64,
    /// Of those values that a lesser one follows: what resets took from a counter.
    pub before_falls: f64,
}

impl ChunkStatistics {
    /// Figures of some values in the order of time; none if there is no value, or one that is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        let (&first, &last) = (values.first()?, values.last()?);
        let mut of = ChunkStatistics {
            samples: values.len() as u64,
            first,
            last,
            min: first,
            max: first,
            falls: 0,
            sums: None,
        };
        let (mut finite, mut whole, mut before) = (true, true, first);
        let mut sums = ExactSums { values: 0.0, before_falls: 0.0 };
        for &value in values {
            finite &= value.is_finite();
            whole &= is_whole(value);
            of.min = if value < of.min { value } else { of.min };
            of.max = if value > of.max { value } else { of.max };
            sums.values += value;
            if value < before {
                of.falls += 1;
                sums.before_falls += before;
            }
            before = value;
        }
        of.sums = Some(sums).filter(|_| whole && of.sums_are_exact());
        finite.then_some(of)
    }

    /// Whether no sum of whole numbers like these can reach 2^53.
    fn sums_are_exact(&self) -> bool {
        self.samples as f64 * self.min.abs().max(self.max.abs()) < EXACT_MAX
    }

    /// Adds the figures of values that follow these.
    pub fn append(&mut self, later: &ChunkStatistics) {
        let falls = later.first < self.last;
        let before_fall = if falls { self.last } else { 0.0 };
        let sums = self.sums.zip(later.sums).map(|(a, b)| ExactSums {
            values: a.values + b.values,
            before_falls: a.before_falls + before_fall + b.before_falls,
        });
        *self = ChunkStatistics {
            samples: self.samples + later.samples,
            first: self.first,
            last: later.last,
            min: if later.min < self.min { later.min } else { self.min },
            max: if later.max > self.max { later.max } else { self.max },
            falls: self.falls + later.falls + u64::from(falls),
            sums: None,
        };
        self.sums = sums.filter(|_| self.sums_are_exact());
    }
}

/// Whether it is a whole number that an `i64` gives back bit by bit.
fn is_whole(value: f64) -> bool {
    value.abs() < EXACT_MAX && (value as i64 as f64).to_bits() == value.to_bits()
}

/// Appends the figures of a chunk, or that there are none.
pub fn encode(statistics: Option<&ChunkStatistics>, out: &mut Vec<u8>) {
    let Some(of) = statistics else { return out.push(0) };
    let bits = |value: f64| value.to_bits();
    let ends = [bits(of.first), bits(of.last)];
    let same = [of.last, of.min, of.max].iter().all(|value| bits(*value) == ends[0]);
    let is_end = |value: f64, flags: [u8; 2]| match ends.iter().position(|end| *end == bits(value))
    {
        Some(end) => flags[end],
        None => 0,
    };
    let (least, greatest) = (is_end(of.min, LEAST_IS), is_end(of.max, GREATEST_IS));
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let whole = of.sums.is_some();
    let flags = TOLD | flag(whole, WHOLE) | flag(same, SAME) | flag(of.falls > 0, FALLS);
    out.push(flags | least | greatest);
    let number = |value: f64, relative_to: f64, out: &mut Vec<u8>| {
        if whole {
            push_varint(out, value as i64 - relative_to as i64);
        } else {
            out.extend_from_slice(&value.to_le_bytes());
        }
    };
    number(of.first, 0.0, out);
    let others = [(of.last, same), (of.min, least != 0), (of.max, greatest != 0)];
    for (value, _) in others.iter().filter(|(_, known)| !known) {
        number(*value, of.first, out);
    }
    if of.falls > 0 {
        push_uvarint(out, of.falls);
    }
    if let Some(sums) = of.sums.filter(|_| !same) {
        if of.falls > 0 {
            push_varint(out, sums.before_falls as i64);
        }
        push_varint(out, sums.values as i64 - of.first as i64 * of.samples as i64);
    }
}

/// Reads what [`encode`] wrote of a chunk with so many samples.
pub(crate) fn decode(
    input: &mut Input<'_>,
    samples: u64,
) -> Result<Option<ChunkStatistics>, ChunkError> {
    let malformed = ChunkError::Malformed("its figures make no sense");
    match input.byte().ok_or(malformed)? {
        0 => Ok(None),
        flags if flags & TOLD == 0 => Err(malformed),
        flags => decode_told(input, flags, samples).map(Some).ok_or(malformed),
    }
}

fn decode_told(input: &mut Input<'_>, flags: u8, samples: u64) -> Option<ChunkStatistics> {
    let whole = flags & WHOLE != 0;
    let first = read_number(input, whole, 0.0)?;
    let mut other = |is: [u8; 2], last: f64| match (flags & is[0] != 0, flags & is[1] != 0) {
        (true, _) => Some(first),
        (_, true) => Some(last),
        _ => read_number(input, whole, first),
    };
    let last = other([SAME, 0], 0.0)?;
    let (min, max) = (other(LEAST_IS, last)?, other(GREATEST_IS, last)?);
    let falls = if flags & FALLS != 0 { input.uvarint()? } else { 0 };
    let mut of = ChunkStatistics { samples, first, last, min, max, falls, sums: None };
    if whole {
        let before_falls = if falls > 0 { input.varint()? as f64 } else { 0.0 };
        let more = if flags & SAME != 0 { 0 } else { input.varint()? };
        let values = (first as i64).wrapping_mul(samples as i64).wrapping_add(more) as f64;
        of.sums = Some(ExactSums { values, before_falls });
    }
    Some(of)
}

fn read_number(input: &mut Input<'_>, whole: bool, relative_to: f64) -> Option<f64> {
    if whole {
        return Some((relative_to as i64).wrapping_add(input.varint()?) as f64);
    }
    let (bytes, rest) = input.bytes.split_first_chunk()?;
    input.bytes = rest;
    Some(f64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kahan::KahanSum;
    use crate::model::sample::STALE_NAN;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-9_i64..9).prop_map(|i| i as f64),
            1 => (-(1_i64 << 53)..1 << 53).prop_map(|i| i as f64),
            2 => (-999_i64..999).prop_map(|i| i as f64 / 100.0),
            1 => proptest::num::f64::NORMAL | proptest::num::f64::ZERO,
        ]
    }

    /// Bit by bit, since zeros have signs.
    fn bits(of: &ChunkStatistics) -> ([u64; 4], [u64; 2], Option<[u64; 2]>) {
        let sums = of.sums.map(|sums| [sums.values, sums.before_falls].map(f64::to_bits));
        ([of.first, of.last, of.min, of.max].map(f64::to_bits), [of.samples, of.falls], sums)
    }

    proptest! {
        #[test]
        fn figures_are_those_of_the_values(
            kind in 0..3,
            mut values in proptest::collection::vec(value(), 1..40),
            middle: proptest::sample::Index,
        ) {
            match kind {
                0 => values.iter_mut().for_each(|value| *value = value.trunc() + 0.0),
                1 => values.sort_by(f64::total_cmp),
                _ => {}
            }
            let of = ChunkStatistics::of(&values).unwrap();
            // As the evaluator does: the first of equals stays, sums are compensated.
            let (mut min, mut max, mut sum) = (values[0], values[0], KahanSum::default());
            for &value in &values {
                min = if value < min { value } else { min };
                max = if value > max { value } else { max };
                sum.add(value);
            }
            let drops = values.windows(2).filter(|pair| pair[1] < pair[0]);
            prop_assert_eq!(of.falls as usize, drops.clone().count());
            prop_assert_eq!((of.min.to_bits(), of.max.to_bits()), (min.to_bits(), max.to_bits()));
            if let Some(sums) = of.sums {
                prop_assert_eq!(sums.values.to_bits(), sum.value().to_bits());
                let backwards: f64 = values.iter().rev().sum::<f64>() + 0.0;
                prop_assert_eq!(sums.values, backwards);
                prop_assert_eq!(sums.before_falls, drops.map(|pair| pair[0]).fold(0.0, |a, b| a + b));
            }
            let mut bytes = Vec::new();
            encode(Some(&of), &mut bytes);
            let mut input = Input { bytes: &bytes };
            let again = decode(&mut input, of.samples).unwrap().unwrap();
            prop_assert_eq!((bits(&again), input.bytes.len()), (bits(&of), 0));
            let (a, b) = values.split_at(middle.index(values.len()));
            if let (Some(mut a), Some(b)) = (ChunkStatistics::of(a), ChunkStatistics::of(b)) {
                a.append(&b);
                prop_assert_eq!(bits(&a), bits(&of));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), samples: u16) {
            let _ = decode(&mut Input { bytes: &bytes }, u64::from(samples));
        }
    }

    #[test]
    fn what_is_not_finite_has_to_be_seen() {
        for value in [f64::NAN, STALE_NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(ChunkStatistics::of(&[1.0, value, 2.0]), None);
        }
        assert_eq!(ChunkStatistics::of(&[]), None);
        let mut bytes = Vec::new();
        encode(None, &mut bytes);
        assert_eq!(decode(&mut Input { bytes: &bytes }, 3), Ok(None));
    }

    #[test]
    fn bytes_are_fixed_for_ever() {
        let bytes = |values: &[f64]| {
            let mut out = Vec::new();
            encode(ChunkStatistics::of(values).as_ref(), &mut out);
            out
        };
        // All the same; a counter; one that is reset; decimals.
        assert_eq!(bytes(&[7.0, 7.0]), [TOLD | WHOLE | SAME | 8 | 32, 14]);
        assert_eq!(bytes(&[1.0, 2.0, 5.0]), [TOLD | WHOLE | 8 | 64, 2, 8, 10]);
        let reset = [TOLD | WHOLE | FALLS | 32, 18, 15, 17, 1, 18, 33];
        assert_eq!(bytes(&[9.0, 0.0, 1.0]), reset);
        let mut decimals = vec![TOLD | 8 | 64];
        decimals.extend_from_slice(&0.5_f64.to_le_bytes());
        decimals.extend_from_slice(&1.5_f64.to_le_bytes());
        assert_eq!(bytes(&[0.5, 1.5]), decimals);
    }
}
