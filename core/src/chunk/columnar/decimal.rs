//! Floats as integers: `value = integer * factor / divisor`, exact to the bit or not at all.
//!
//! Two families of scales are tried. *Decimal*: a value that was written with few digits behind the point is an integer
//! divided by a power of ten, and dividing rounds to the very float that parsing its text gave (both are exact below 2^53 and
//! 10^22, so there is one rounding). *Binary*: every finite float is an integer times a power of two; if those of a chunk
//! are not too far apart, one power serves all. What the integers have in common is divided out: the factor.
//! After the idea of ALP (Afroozeh, Kuffo, Boncz: "ALP: Adaptive Lossless floating-Point Compression", 2023).
//!
//! Values that do not fit, such as staleness markers and negative zeros, are *exceptions*: kept apart, bit by bit.

/// Most digits behind the point that are tried; doubles have no more than 17 that count.
pub(super) const DECIMALS_MAX: u8 = 17;

/// Powers of two below one that are tried: down to the least float.
pub(super) const HALVINGS_MAX: u64 = 1074;

/// One in so many values may be an exception.
const EXCEPTIONS_ONE_IN: usize = 8;

/// Integers below it are floats exactly, and so are their products with what was divided out of them.
const EXACT_MAX: f64 = (1_u64 << 53) as f64;

/// Largest integer of a chunk without a point: larger floats leave no room for differences.
const WHOLE_MAX: f64 = (1_u64 << 62) as f64;

/// How integers become floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// Multiplies.
    pub(super) factor: f64,
    /// Divides afterwards.
    pub(super) divisor: f64,
}

impl Scale {
    /// So many digits behind the point, of integers that are multiples of `factor`.
    pub(super) fn decimal(decimals: u8, factor: u64) -> Self {
        Scale { factor: factor as f64, divisor: 10_f64.powi(i32::from(decimals)) }
    }

    /// Integers times two to the power of `-halvings`.
    pub(super) fn binary(halvings: u64) -> Self {
        Scale { factor: power_of_half(halvings), divisor: 1.0 }
    }

    /// The float; what [`crate::chunk::simd`] does to many.
    fn restore(self, integer: i64) -> f64 {
        integer as f64 * self.factor / self.divisor
    }
}

/// Two to the power of `-halvings`, down to the least float.
fn power_of_half(halvings: u64) -> f64 {
    match halvings {
        0..=1022 => f64::from_bits((1023 - halvings) << 52),
        _ => f64::from_bits(1_u64 << (HALVINGS_MAX - halvings.min(HALVINGS_MAX))),
    }
}

/// Values as integers, with those that are none.
pub(super) struct Scaled {
    /// Digits behind the point, or halvings.
    pub(super) exponent: u64,
    /// What was divided out; 1 for halvings.
    pub(super) factor: u64,
    /// One for each value; the one before it repeated where the value is an exception.
    pub(super) integers: Vec<i64>,
    /// Place and bits of each exception, in order.
    pub(super) exceptions: Exceptions,
}

/// Place and bits of values that are no integers, in order.
pub(super) type Exceptions = Vec<(usize, u64)>;

/// The values as decimals, if most of them are some.
pub(super) fn decimals(values: &[f64]) -> Option<Scaled> {
    let decimals = digits_behind_the_point(values)?;
    let whole = Scale::decimal(decimals, 1);
    let max = if decimals == 0 { WHOLE_MAX } else { EXACT_MAX };
    let integer = |value: f64| {
        let scaled = (value * whole.divisor).round_ties_even();
        (scaled.abs() < max).then_some(scaled as i64)
    };
    let factor = common_factor(values.iter().filter_map(|value| integer(*value)));
    let scale = Scale::decimal(decimals, factor);
    let (integers, exceptions) =
        split(values, scale, |value| Some(integer(value)? / factor.cast_signed()))?;
    Some(Scaled { exponent: u64::from(decimals), factor, integers, exceptions })
}

/// The values times a power of two, if one serves most of them.
pub(super) fn binaries(values: &[f64]) -> Option<Scaled> {
    let lowest = values.iter().filter_map(|value| lowest_bit(*value)).max()?;
    let halvings = u64::try_from(lowest).ok()?;
    let (upper, lower) = (halvings.min(1022), halvings - halvings.min(1022));
    // Two steps, since two to the power of 1074 is no float.
    let (upper, lower) = (1.0 / power_of_half(upper), 1.0 / power_of_half(lower));
    let integer = |value: f64| {
        let scaled = value * upper * lower;
        (scaled.abs() < WHOLE_MAX).then_some(scaled as i64)
    };
    let (integers, exceptions) = split(values, Scale::binary(halvings), integer)?;
    Some(Scaled { exponent: halvings, factor: 1, integers, exceptions })
}

/// Turns each value into its integer if that restores it bit by bit; `None` if too many are exceptions.
fn split(
    values: &[f64],
    scale: Scale,
    integer: impl Fn(f64) -> Option<i64>,
) -> Option<(Vec<i64>, Exceptions)> {
    let exceptions_max = values.len() / EXCEPTIONS_ONE_IN + 1;
    let (mut integers, mut exceptions) = (Vec::with_capacity(values.len()), Vec::new());
    for (place, &value) in values.iter().enumerate() {
        match integer(value).filter(|i| scale.restore(*i).to_bits() == value.to_bits()) {
            Some(integer) => integers.push(integer),
            None if exceptions.len() == exceptions_max => return None,
            None => {
                exceptions.push((place, value.to_bits()));
                integers.push(integers.last().copied().unwrap_or(0));
            }
        }
    }
    if exceptions.len() == values.len() {
        return None;
    }
    // Exceptions in front repeat the first integer.
    let leading = exceptions.iter().enumerate().take_while(|(i, (place, _))| i == place).count();
    let first = integers[leading];
    integers[..leading].fill(first);
    Some((integers, exceptions))
}

/// The fewest digits behind the point that write most of the values exactly.
fn digits_behind_the_point(values: &[f64]) -> Option<u8> {
    let exceptions_max = values.len() / EXCEPTIONS_ONE_IN + 1;
    let (mut decimals, mut misses) = (0, 0);
    for &value in values {
        match (decimals..=DECIMALS_MAX).find(|decimals| is_decimal(value, *decimals)) {
            Some(more) => decimals = more,
            None => misses += 1,
        }
        if misses > exceptions_max {
            return None;
        }
    }
    Some(decimals)
}

fn is_decimal(value: f64, decimals: u8) -> bool {
    let scale = Scale::decimal(decimals, 1);
    let scaled = (value * scale.divisor).round_ties_even();
    let max = if decimals == 0 { WHOLE_MAX } else { EXACT_MAX };
    scaled.abs() < max && scale.restore(scaled as i64).to_bits() == value.to_bits()
}

/// The greatest number that divides all integers and is exact as a float; 1 when they are all 0.
fn common_factor(integers: impl Iterator<Item = i64>) -> u64 {
    let mut factor = 0_u64;
    for integer in integers {
        let (mut a, mut b) = (factor, integer.unsigned_abs());
        // Most often it divides at once.
        if a != 0 && b.is_multiple_of(a) {
            continue;
        }
        while b != 0 {
            (a, b) = (b, a % b);
        }
        factor = a;
        if factor == 1 {
            return 1;
        }
    }
    if factor as f64 >= EXACT_MAX { 1 } else { factor.max(1) }
}

/// How many times a finite float that is not zero has to be doubled until it is odd.
fn lowest_bit(value: f64) -> Option<i64> {
    if !value.is_finite() || value == 0.0 {
        return None;
    }
    let bits = value.to_bits();
    let (exponent, mantissa) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
    let (exponent, mantissa) =
        if exponent == 0 { (1, mantissa) } else { (exponent, mantissa | 1 << 52) };
    Some(1075 - exponent - i64::from(mantissa.trailing_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_digits_and_what_is_common() {
        let scaled = decimals(&[0.25, 1.5, f64::NAN, 1234.75, -0.0]);
        assert!(scaled.is_none(), "two of five are no decimals");
        let values = [0.25, 1.5, 1234.75, f64::NAN];
        let scaled = decimals(&values).unwrap();
        assert_eq!((scaled.exponent, scaled.factor), (2, 25));
        assert_eq!(scaled.integers, [1, 6, 4939, 4939]);
        assert_eq!(scaled.exceptions, [(3, f64::NAN.to_bits())]);
    }

    #[test]
    fn a_leading_exception_repeats_what_follows() {
        let scaled = decimals(&[f64::INFINITY, 4096.0, 8192.0]).unwrap();
        assert_eq!((scaled.exponent, scaled.factor), (0, 4096));
        assert_eq!(scaled.integers, [1, 1, 2]);
    }

    #[test]
    fn fractions_are_whole_after_some_doublings() {
        let values = [0.5, 0.75, 3.0 / 1024.0];
        let scaled = binaries(&values).unwrap();
        assert_eq!((scaled.exponent, scaled.integers), (10, vec![512, 768, 3]));
        let least = f64::from_bits(1);
        let scaled = binaries(&[least, least * 7.0]).unwrap();
        assert_eq!((scaled.exponent, scaled.integers), (1074, vec![1, 7]));
    }

    #[test]
    fn powers_of_a_half() {
        let mut expected = 1.0;
        for halvings in 0..=HALVINGS_MAX {
            assert_eq!(power_of_half(halvings), expected, "{halvings}");
            expected /= 2.0;
        }
    }
}
