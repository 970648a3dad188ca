//! The kernels as plain Rust: what they mean, and what runs where there is nothing faster.

/// See [`super::unpack`]; `width` is not 0.
pub(super) fn unpack(bytes: &[u8], width: u32, base: i64, out: &mut [i64]) {
    unpack_from(bytes, width, base, 0, out);
}

/// Unpacks the numbers from number `first` on.
pub(super) fn unpack_from(bytes: &[u8], width: u32, base: i64, first: usize, out: &mut [i64]) {
    let mask = u64::MAX >> (64 - width);
    for (i, number) in out.iter_mut().enumerate() {
        let bit = (first + i) * width as usize;
        let (byte, shift) = (bit / 8, (bit % 8) as u32);
        let mut bits = word(bytes, byte) >> shift;
        if shift + width > 64 {
            bits |= word(bytes, byte + 8) << (64 - shift);
        }
        *number = base.wrapping_add((bits & mask) as i64);
    }
}

/// Eight bytes as a number; zeros stand behind the end.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    if let Some(word) = bytes.get(at..at + 8) {
        return u64::from_le_bytes(word.try_into().expect("eight bytes"));
    }
    let mut word = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

/// See [`super::prefix_sum`].
pub(super) fn prefix_sum(numbers: &mut [i64], mut before: i64) -> i64 {
    for number in numbers {
        before = before.wrapping_add(*number);
        *number = before;
    }
    before
}

/// See [`super::to_floats`].
pub(super) fn to_floats(numbers: &[i64], factor: f64, divisor: f64, out: &mut [f64]) {
    for (number, float) in numbers.iter().zip(out) {
        *float = *number as f64 * factor / divisor;
    }
}
