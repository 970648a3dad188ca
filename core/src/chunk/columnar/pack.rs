//! Up to 128 integers in as many bits as most of them need; the others are patched in.
//!
//! ```text
//! +-----------------------+--------------+--------------------------------+-----------------------------------+
//! | width, patched: u8    | base: varint | n numbers of `width` bits each | patches, if bit 7 of the first is |
//! +-----------------------+--------------+--------------------------------+-----------------------------------+
//! number   least significant bit first, padded with zeros to the byte; base + number is the integer, wrapping
//! patches  count: u8 | of each: place: u8, offset: varint        base + offset is the integer at that place
//! ```

use super::malformed;
use crate::chunk::bits::{push_varint, zigzag};
use crate::chunk::{ChunkError, simd};
use crate::head::record::Input;

/// Integers of a block, unless it is the last.
pub(super) const BLOCK: usize = 128;

/// Bit of the first byte that says that there are patches.
const PATCHED: u8 = 0x80;

/// How many integers may be tried to be left out of the width.
const PATCHES_TRIED: [usize; 10] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24];

/// Where the numbers of a block lie.
#[derive(Clone, Copy)]
struct Frame {
    base: i64,
    width: u32,
}

impl Frame {
    /// The number of an integer, if it lies within.
    #[inline]
    fn offset(self, integer: i64) -> Option<u64> {
        let offset = integer.wrapping_sub(self.base) as u64;
        (self.width == 64 || offset >> self.width == 0).then_some(offset)
    }
}

/// Appends a block of 1 to [`BLOCK`] integers.
pub(super) fn encode(integers: &[i64], out: &mut Vec<u8>) {
    let frame = choose(integers);
    let head = out.len();
    out.push(frame.width as u8);
    push_varint(out, frame.base);
    push_packed(integers.iter().map(|integer| frame.offset(*integer).unwrap_or(0)), frame, out);
    let mut patches = None;
    for (place, integer) in integers.iter().enumerate() {
        if frame.offset(*integer).is_none() {
            let count = *patches.get_or_insert_with(|| {
                out[head] |= PATCHED;
                out.push(0);
                out.len() - 1
            });
            out[count] += 1;
            out.push(place as u8);
            push_varint(out, integer.wrapping_sub(frame.base));
        }
    }
}

fn push_packed(numbers: impl Iterator<Item = u64>, frame: Frame, out: &mut Vec<u8>) {
    if frame.width == 0 {
        return;
    }
    let (mut word, mut bits) = (0_u128, 0);
    for number in numbers {
        word |= u128::from(number) << bits;
        bits += frame.width;
        if bits >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            bits -= 64;
        }
    }
    out.extend_from_slice(&(word as u64).to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// The frame that takes the fewest bytes, of those that leave some of the least and the greatest integers to patches.
fn choose(integers: &[i64]) -> Frame {
    let mut sorted = [0; BLOCK];
    let sorted = &mut sorted[..integers.len()];
    sorted.copy_from_slice(integers);
    sorted.sort_unstable();
    let mut best = (usize::MAX, Frame { base: 0, width: 64 });
    for patches in PATCHES_TRIED.into_iter().take_while(|patches| *patches < sorted.len()) {
        let inside = sorted.len() - patches;
        let range = |low: usize| sorted[low + inside - 1].wrapping_sub(sorted[low]) as u64;
        let low = (0..=patches).min_by_key(|low| range(*low)).unwrap_or(0);
        let frame = Frame { base: sorted[low], width: 64 - range(low).leading_zeros() };
        let outside = sorted[..low].iter().chain(&sorted[low + inside..]);
        let patched: usize = outside.map(|integer| patch_len(*integer, frame)).sum();
        let len = patched + simd::packed_len(sorted.len(), frame.width);
        if len < best.0 {
            best = (len, frame);
        }
        if frame.width == 0 {
            break;
        }
    }
    best.1
}

/// Bytes that an integer takes as a patch; none if it fits all the same.
fn patch_len(integer: i64, frame: Frame) -> usize {
    if frame.offset(integer).is_some() {
        return 0;
    }
    let offset = zigzag(integer.wrapping_sub(frame.base));
    1 + (64 - offset.leading_zeros() as usize).div_ceil(7)
}

/// Fills `block` with as many integers as it is long.
pub(super) fn decode(input: &mut Input<'_>, block: &mut [i64]) -> Result<(), ChunkError> {
    let ends = malformed("a block ends early");
    let head = input.byte().ok_or(ends)?;
    let base = input.varint().ok_or(ends)?;
    let width = u32::from(head & !PATCHED);
    if width > 64 {
        return Err(malformed("a block is wider than 64 bits"));
    }
    let len = simd::packed_len(block.len(), width);
    let rest = input.bytes.get(len..).ok_or(ends)?;
    simd::unpack(input.bytes, width, base, block);
    input.bytes = rest;
    if head & PATCHED != 0 {
        for _ in 0..input.byte().ok_or(ends)? {
            let place = usize::from(input.byte().ok_or(ends)?);
            let offset = input.varint().ok_or(ends)?;
            let integer = block.get_mut(place).ok_or(malformed("a patch lies behind its block"))?;
            *integer = base.wrapping_add(offset);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::bits::push_uvarint;
    use proptest::prelude::*;

    fn blocks() -> impl Strategy<Value = Vec<i64>> {
        let number = prop_oneof![
            8 => -20_i64..20,
            2 => any::<i16>().prop_map(i64::from),
            1 => any::<i64>(),
        ];
        proptest::collection::vec(number, 1..=BLOCK)
    }

    proptest! {
        #[test]
        fn blocks_go_round(integers in blocks()) {
            let mut bytes = Vec::new();
            encode(&integers, &mut bytes);
            let mut back = vec![0; integers.len()];
            let mut input = Input { bytes: &bytes };
            decode(&mut input, &mut back).unwrap();
            prop_assert_eq!(back, integers);
            prop_assert!(input.bytes.is_empty());
        }

        #[test]
        fn prices_are_what_is_paid(integer: i64, base: i64, width in 0_u32..64) {
            let frame = Frame { base, width };
            let mut bytes = Vec::new();
            push_uvarint(&mut bytes, zigzag(integer.wrapping_sub(base)));
            let paid = if frame.offset(integer).is_some() { 0 } else { 1 + bytes.len() };
            prop_assert_eq!(patch_len(integer, frame), paid);
        }
    }

    #[test]
    fn outliers_do_not_widen_a_block() {
        let mut integers = [1_000_007_i64; BLOCK];
        for (i, integer) in integers.iter_mut().enumerate() {
            *integer += i as i64 % 8;
        }
        let mut bytes = Vec::new();
        encode(&integers, &mut bytes);
        assert_eq!(bytes.len(), 1 + 4 - 1 + 3 * BLOCK / 8);
        integers[70] = -5_000_000_000;
        bytes.clear();
        encode(&integers, &mut bytes);
        assert_eq!(bytes.len(), 4 + 3 * BLOCK / 8 + 1 + 1 + 5);
    }
}
