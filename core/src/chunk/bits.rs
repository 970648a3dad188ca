//! Bit streams, most significant bit first, as Prometheus writes them. Pure.
//!
//! Both sides work on whole words: a write collects up to 64 bits and stores them at once, a read takes its
//! bits out of one unaligned big-endian `u64`. Past its end a stream reads as zeros; the position tells, and callers
//! compare it with the length once per sample instead of once per bit.

/// Appends bits to bytes; [`BitWriter::finish`] writes the last of them.
#[derive(Debug)]
pub struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    /// Bits that are not written yet, from the highest on.
    word: u64,
    /// How many, at most 63.
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Goes on at the end of `bytes`, of whose last byte `free` bits (0 to 7) are unused.
    #[inline]
    pub fn new(bytes: &'a mut Vec<u8>, free: u8) -> Self {
        debug_assert!(free < 8);
        let open = if free == 0 { None } else { bytes.pop() };
        match open {
            Some(open) => {
                BitWriter { bytes, word: u64::from(open) << 56, used: 8 - u32::from(free) }
            }
            None => BitWriter { bytes, word: 0, used: 0 },
        }
    }

    /// Appends the `count` (1 to 64) low bits of `value`, whose other bits are zero.
    #[inline]
    pub fn push(&mut self, value: u64, count: u32) {
        debug_assert!((1..=64).contains(&count) && (count == 64 || value >> count == 0));
        let room = 64 - self.used;
        if count < room {
            self.word |= value << (room - count);
            self.used += count;
            return;
        }
        let rest = count - room;
        self.word |= value >> rest;
        if self.bytes.capacity() - self.bytes.len() < 8 {
            grow(self.bytes);
        }
        self.bytes.extend_from_slice(&self.word.to_be_bytes());
        // Shifted in two steps, since a shift by 64 is none.
        self.word = value << (63 - rest) << 1;
        self.used = rest;
    }

    /// Writes what is left; how many bits of the last byte are unused.
    #[inline]
    pub fn finish(self) -> u8 {
        let open = self.word.to_be_bytes().into_iter().take(self.used.div_ceil(8) as usize);
        for byte in open {
            if self.bytes.capacity() == self.bytes.len() {
                grow(self.bytes);
            }
            self.bytes.push(byte);
        }
        (8 - self.used % 8) as u8 % 8
    }
}

/// Makes room for eight bytes or more, a quarter of what there is: open chunks are the most of a head's memory, and doubling them would leave a
/// third of it unused. The sizes are those that size-class allocators such as jemalloc have.
#[cold]
fn grow(bytes: &mut Vec<u8>) {
    let needed = bytes.len() + 8;
    let class = (1_usize << needed.ilog2() >> 2).max(16);
    bytes.reserve_exact(needed.next_multiple_of(class) - bytes.len());
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
        fn what_is_written_is_read(
            fields in proptest::collection::vec((any::<u64>(), 1_u32..=64), 0..80),
            run in 1_usize..20,
        ) {
            let low = |value: u64, count: u32| value << (64 - count) >> (64 - count);
            let (mut bytes, mut free) = (Vec::new(), 0);
            for run in fields.chunks(run) {
                let mut writer = BitWriter::new(&mut bytes, free);
                for &(value, count) in run {
                    writer.push(low(value, count), count);
                }
                free = writer.finish();
            }
            let bits: u32 = fields.iter().map(|f| f.1).sum();
            prop_assert_eq!(bytes.len() * 8 - usize::from(free), bits as usize);
            let mut reader = BitReader::new(&bytes);
            for &(value, count) in &fields {
                prop_assert_eq!(reader.read(count), low(value, count));
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
