//! The inner loops of decoding: unpack bits, add up deltas, turn integers into floats.
//!
//! Each kernel exists twice: [`scalar`] says what it means, `avx2` does the same four values at a time. Which one runs is
//! found out at run time, once. Any core may call them: they touch nothing but their arguments.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;

/// Calls the kernel of the best instruction set that this processor has.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, which is all that the kernel asks for.
            return unsafe { avx2::$kernel($($argument),*) };
        }
        scalar::$kernel($($argument),*)
    }};
}

/// Reads `out.len()` numbers of `width` (0 to 64) bits each, least significant bit first, and adds `base` to each, wrapping.
///
/// `bytes` may go on behind the numbers, which makes reading them faster.
///
/// # Panics
/// When `bytes` is too short for the numbers.
pub(super) fn unpack(bytes: &[u8], width: u32, base: i64, out: &mut [i64]) {
    assert!(width <= 64 && packed_len(out.len(), width) <= bytes.len());
    if width == 0 {
        return out.fill(base);
    }
    dispatch!(unpack(bytes, width, base, out));
}

/// Bytes that `count` numbers of `width` bits take.
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Puts the sum of `before` and the numbers up to itself in the place of each number, wrapping; returns the last sum.
pub(super) fn prefix_sum(numbers: &mut [i64], before: i64) -> i64 {
    dispatch!(prefix_sum(numbers, before))
}

/// Writes `number * factor / divisor`, rounded after each step, of each number. The slices are of the same length.
pub(super) fn to_floats(numbers: &[i64], factor: f64, divisor: f64, out: &mut [f64]) {
    assert_eq!(numbers.len(), out.len());
    dispatch!(to_floats(numbers, factor, divisor, out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The numbers' low bits in a row, bit by bit.
    fn pack(numbers: &[u64], width: u32) -> Vec<u8> {
        let mut bytes = vec![0; packed_len(numbers.len(), width)];
        for (i, number) in numbers.iter().enumerate() {
            for bit in (0..width as usize).filter(|bit| number >> bit & 1 == 1) {
                let at = i * width as usize + bit;
                bytes[at / 8] |= 1 << (at % 8);
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn unpacking_undoes_packing(
            numbers in proptest::collection::vec(any::<u64>(), 0..140),
            width in 0_u32..=64,
            base: i64,
            behind in 0_usize..40,
        ) {
            let mask = u64::MAX.checked_shr(64 - width).unwrap_or(0);
            let expected: Vec<i64> =
                numbers.iter().map(|n| base.wrapping_add((n & mask) as i64)).collect();
            let mut bytes = pack(&numbers, width);
            bytes.resize(bytes.len() + behind, 0xa5);
            let mut out = vec![7; numbers.len()];
            unpack(&bytes, width, base, &mut out);
            prop_assert_eq!(&out, &expected);
            if width > 0 {
                scalar::unpack(&bytes, width, base, &mut out);
                prop_assert_eq!(&out, &expected);
            }
        }

        #[test]
        fn sums_are_those_of_the_twin(numbers: Vec<i64>, before: i64) {
            let (mut fast, mut plain) = (numbers.clone(), numbers);
            let sums = (prefix_sum(&mut fast, before), scalar::prefix_sum(&mut plain, before));
            prop_assert_eq!(sums.0, sums.1);
            prop_assert_eq!(fast, plain);
        }

        #[test]
        fn floats_are_those_of_the_twin(
            numbers in proptest::collection::vec(
                prop_oneof![any::<i64>(), -1000_i64..1000, any::<i64>().prop_map(|n| n >> 11)], 0..140),
            factor in prop_oneof![Just(1.0), any::<f64>()],
            decimals in 0_i32..20,
        ) {
            let divisor = 10_f64.powi(decimals);
            let (mut fast, mut plain) = (vec![0.0; numbers.len()], vec![0.0; numbers.len()]);
            to_floats(&numbers, factor, divisor, &mut fast);
            scalar::to_floats(&numbers, factor, divisor, &mut plain);
            // A NaN that arithmetic makes has no payload that anybody promises.
            let bits = |v: &f64| if v.is_nan() { 0 } else { v.to_bits() };
            let both = |v: &[f64]| v.iter().map(bits).collect::<Vec<_>>();
            prop_assert_eq!(both(&fast), both(&plain));
        }
    }
}
