//! Values in the log: each in relation to the one before it, in one byte where little has changed.
//!
//! Most samples are integers or have two or three decimals. Such a value is a *mantissa* over a power of ten, and mantissas of
//! neighbours are near each other:
//!
//! ```text
//! token    00                                     the bits of the value before, 0.0 before the first
//!          0ddddddd                               mantissa + d (zigzag, not 0), power as before
//!          10dddddd dddddddd                      mantissa + d (14 bits, high byte first), power as before
//!          110ppnnn  d: n + 1 bytes               mantissa + d; d alone is the mantissa if the power p is not as before
//!          11100lll  x: 8 - l bytes               the bits of the value before xor x; mantissa and power stay
//!
//! powers   0: 1   1: 100   2: 1000   3: 1,000,000          d and x little-endian
//! ```
//!
//! A value is written as a mantissa only if `mantissa as f64 / power` gives it back bit for bit, so nothing is ever rounded. The log is
//! written always and read once at most: encoding is a few shifts and stores.

use crate::chunk::bits::{unzigzag, zigzag};
use crate::head::record::Input;

const POWERS: [f64; 4] = [1.0, 100.0, 1_000.0, 1_000_000.0];

const SAME: u8 = 0;
const MIDDLE: u8 = 0x80;
const LONG: u8 = 0xc0;
const XOR: u8 = 0xe0;

/// What the next value is written in relation to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    bits: u64,
    mantissa: i64,
    power: usize,
}

impl Values {
    /// Appends a value.
    #[inline]
    pub(super) fn push(&mut self, out: &mut Vec<u8>, value: f64) {
        let bits = value.to_bits();
        if bits == self.bits {
            return out.push(SAME);
        }
        let (token, payload, bytes) = self.token(value);
        self.bits = bits;
        let at = out.len();
        // Stores of fixed size, of which what is too much is taken back.
        let word = u128::from(payload) << 8 | u128::from(token);
        out.extend_from_slice(&word.to_le_bytes());
        out.truncate(at + 1 + bytes);
    }

    /// The first byte, what follows it, and in how many bytes.
    #[inline]
    fn token(&mut self, value: f64) -> (u8, u64, usize) {
        let Some((power, mantissa)) = self.decimal(value) else {
            let xor = value.to_bits() ^ self.bits;
            let leading = xor.leading_zeros() / 8;
            return (XOR | leading as u8, xor, (8 - leading) as usize);
        };
        let as_before = power == self.power;
        let difference = mantissa.wrapping_sub(if as_before { self.mantissa } else { 0 });
        (self.power, self.mantissa) = (power, mantissa);
        match zigzag(difference) {
            d @ 1..0x80 if as_before => (d as u8, 0, 0),
            d @ 0x80..0x4000 if as_before => (MIDDLE | (d >> 8) as u8, d & 0xff, 1),
            d => {
                let bytes = (8 - d.leading_zeros() / 8).max(1);
                (LONG | (power as u8) << 3 | (bytes - 1) as u8, d, bytes as usize)
            }
        }
    }

    #[inline]
    fn decimal(&self, value: f64) -> Option<(usize, i64)> {
        let mantissa = |power| mantissa(value, power).map(|mantissa| (power, mantissa));
        mantissa(self.power).or_else(|| (0..POWERS.len()).find_map(mantissa))
    }

    /// Reads a value.
    #[inline]
    pub(super) fn read(&mut self, input: &mut Input<'_>) -> Option<f64> {
        let token = input.byte()?;
        match token {
            SAME => return Some(f64::from_bits(self.bits)),
            1..MIDDLE => self.mantissa = self.mantissa.wrapping_add(unzigzag(u64::from(token))),
            MIDDLE..LONG => {
                let d = u64::from(token & 0x3f) << 8 | u64::from(input.byte()?);
                self.mantissa = self.mantissa.wrapping_add(unzigzag(d));
            }
            LONG..XOR => {
                let power = usize::from(token >> 3 & 3);
                let d = unzigzag(input.little_endian(usize::from(token & 7) + 1)?);
                let base = if power == self.power { self.mantissa } else { 0 };
                (self.power, self.mantissa) = (power, base.wrapping_add(d));
            }
            XOR.. => {
                let bytes = 8_usize.checked_sub(usize::from(token - XOR)).filter(|n| *n > 0)?;
                self.bits ^= input.little_endian(bytes)?;
                return Some(f64::from_bits(self.bits));
            }
        }
        let value = self.mantissa as f64 / POWERS[self.power];
        self.bits = value.to_bits();
        Some(value)
    }
}

/// Passes over a value without reading it.
#[inline]
pub(super) fn skip(input: &mut Input<'_>) -> Option<()> {
    let token = input.byte()?;
    let behind = match token {
        ..MIDDLE => return Some(()),
        MIDDLE..LONG => 1,
        LONG..XOR => usize::from(token & 7) + 1,
        XOR.. => 8_usize.checked_sub(usize::from(token - XOR)).filter(|n| *n > 0)?,
    };
    input.bytes = input.bytes.get(behind..)?;
    Some(())
}

/// The mantissa of which a value is made with this power, if there is one.
#[inline]
fn mantissa(value: f64, power: usize) -> Option<i64> {
    let (mantissa, made) = if power == 0 {
        let mantissa = value as i64;
        (mantissa, mantissa as f64)
    } else {
        let scaled = value * POWERS[power];
        let mantissa = (scaled + 0.5_f64.copysign(scaled)) as i64;
        (mantissa, mantissa as f64 / POWERS[power])
    };
    (made.to_bits() == value.to_bits()).then_some(mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::STALE_NAN_BITS;
    use proptest::prelude::*;

    fn encode(values: &[f64]) -> Vec<u8> {
        let (mut coder, mut out) = (Values::default(), Vec::new());
        for &value in values {
            coder.push(&mut out, value);
        }
        out
    }

    fn value() -> impl Strategy<Value = f64> {
        let decimal = (-100_000_i64..100_000, 0_usize..4);
        prop_oneof![
            4 => decimal.prop_map(|(m, p)| m as f64 / POWERS[p]),
            2 => any::<i64>().prop_map(|m| m as f64),
            2 => any::<u64>().prop_map(f64::from_bits),
            1 => prop_oneof![
                Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::from_bits(STALE_NAN_BITS)),
                Just(f64::INFINITY), Just(f64::MIN_POSITIVE), Just(i64::MAX as f64), Just(1e300),
            ],
        ]
    }

    proptest! {
        #[test]
        fn values_go_round_bit_for_bit(values in proptest::collection::vec(value(), 0..50)) {
            let out = encode(&values);
            let (mut coder, mut input) = (Values::default(), Input { bytes: &out });
            let mut skipped = Input { bytes: &out };
            for value in values {
                prop_assert_eq!(coder.read(&mut input).map(f64::to_bits), Some(value.to_bits()));
                prop_assert_eq!(skip(&mut skipped), Some(()));
                prop_assert_eq!(skipped.bytes, input.bytes);
            }
            prop_assert!(input.bytes.is_empty());
        }
    }

    proptest! {
        #[test]
        fn what_can_be_skipped_can_be_read(bytes: Vec<u8>) {
            let (mut read, mut skipped) = (Input { bytes: &bytes }, Input { bytes: &bytes });
            prop_assert_eq!(Values::default().read(&mut read).is_some(), skip(&mut skipped).is_some());
        }
    }

    #[test]
    fn what_changes_little_takes_few_bytes() {
        for (values, bytes) in [
            (&[0.0, 0.0, 0.0][..], 3),
            (&[7.0, 8.0, 8.0], 3),
            (&[1e6, 1e6 + 5_000.0], 4 + 2),
            (&[99.25, 99.5, 98.75], 3 + 1 + 2),
            (&[0.1 + 0.2], 9),
            (&[f64::NAN], 9),
            (&[1.5, f64::NAN, 1.75], 3 + 9 + 1),
        ] {
            assert_eq!(encode(values).len(), bytes, "{values:?}");
        }
    }
}
