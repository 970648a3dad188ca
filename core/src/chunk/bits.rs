//! Bit streams, most significant bit first, as Prometheus writes them. Pure.
//!
//! Both sides work on whole words: a write merges the open byte and up to 64 new bits in one `u128`, a read takes its
//! bits out of one unaligned big-endian `u64`. Past its end a stream reads as zeros; the position tells, and callers
//! compare it with the length once per sample instead of once per bit.

/// Appends the `count` (1 to 64) low bits of `value` to `bytes`, of whose last byte `free` bits (0 to 7) are unused;
/// returns how many are unused afterwards.
#[inline]
pub fn push_bits(bytes: &mut Vec<u8>, free: u8, value: u64, count: u32) -> u8 {
    debug_assert!((1..=64).contains(&count) && free < 8);
    let used = if free == 0 { 0 } else { 8 - u32::from(free) };
    let open = if used == 0 { 0 } else { bytes.pop().unwrap_or(0) };
    let bits = u128::from(value << (64 - count)) << 64 >> used;
    let word = (u128::from(open) << 120) | bits;
    let total = used + count;
    bytes.extend_from_slice(&word.to_be_bytes()[..total.div_ceil(8) as usize]);
    (8 - total % 8) as u8 % 8
}

/// Reads bits from a slice.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Begins at the first bit of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, position: 0 }
    }

    /// How many bits were read.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether more bits were read than there are.
    #[inline]
    pub fn overran(&self) -> bool {
        self.position > self.bytes.len() * 8
    }

    /// The next 57 bits or more, left-aligned, without moving on.
    #[inline]
    pub fn peek(&self) -> u64 {
        let at = self.position / 8;
        let word = match self.bytes.get(at..at + 8) {
            Some(word) => u64::from_be_bytes(word.try_into().expect("eight bytes")),
            None => self.last_word(at),
        };
        word << (self.position % 8)
    }

    #[cold]
    fn last_word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        let rest = self.bytes.get(at..).unwrap_or_default();
        word[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(word)
    }

    /// Moves on by `count` bits.
    #[inline]
    pub fn skip(&mut self, count: u32) {
        self.position += count as usize;
    }

    /// The next `count` (1 to 64) bits.
    #[inline]
    pub fn read(&mut self, count: u32) -> u64 {
        debug_assert!((1..=64).contains(&count));
        if count <= 56 {
            let value = self.peek() >> (64 - count);
            self.skip(count);
            return value;
        }
        let high = self.read(32);
        (high << (count - 32)) | self.read(count - 32)
    }

    /// The next byte-aligned or not unsigned LEB128 of at most 64 bits.
    pub fn read_uvarint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.read(8);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return (shift < 63 || byte <= 1).then_some(value);
            }
        }
        None
    }

    /// The next zigzag LEB128.
    pub fn read_varint(&mut self) -> Option<i64> {
        self.read_uvarint().map(unzigzag)
    }
}

/// Small magnitudes to small unsigned numbers: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends an unsigned LEB128.
#[inline]
pub fn push_uvarint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Appends a zigzag LEB128.
#[inline]
pub fn push_varint(bytes: &mut Vec<u8>, value: i64) {
    push_uvarint(bytes, zigzag(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in proptest::collection::vec((any::<u64>(), 1_u32..=64), 0..80)) {
            let (mut bytes, mut free) = (Vec::new(), 0);
            for &(value, count) in &fields {
                free = push_bits(&mut bytes, free, value, count);
            }
            let bits: u32 = fields.iter().map(|f| f.1).sum();
            prop_assert_eq!(bytes.len() * 8 - usize::from(free), bits as usize);
            let mut reader = BitReader::new(&bytes);
            for &(value, count) in &fields {
                prop_assert_eq!(reader.read(count), value << (64 - count) >> (64 - count));
            }
            prop_assert!(!reader.overran());
            reader.skip(8);
            prop_assert!(reader.overran());
        }

        #[test]
        fn varints_go_round(unsigned: u64, signed: i64) {
            let mut bytes = Vec::new();
            push_uvarint(&mut bytes, unsigned);
            push_varint(&mut bytes, signed);
            let mut reader = BitReader::new(&bytes);
            prop_assert_eq!(reader.read_uvarint(), Some(unsigned));
            prop_assert_eq!(reader.read_varint(), Some(signed));
        }
    }

    #[test]
    fn overlong_varints_are_refused() {
        assert_eq!(BitReader::new(&[0xff; 11]).read_uvarint(), None);
        assert_eq!(
            BitReader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2])
                .read_uvarint(),
            None
        );
    }
}
