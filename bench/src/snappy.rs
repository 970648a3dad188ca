//! A snappy encoder whose output can be patched: bytes that will change keep their place in the compressed body.
//!
//! The generator sends the same bodies again and again with other timestamps. To decompress, compress and send each anew would
//! cost more than the server spends, so the input is a text of *symbols*: a byte together with the identity of the
//! changing value that it belongs to. A match has to agree in both, so wherever a changing byte is copied, it is copied from the
//! same byte of the same value; where it is a literal, its position is noted. Overwriting the noted positions then gives
//! the valid compressed form of the changed body.
//!
//! The format is snappy's raw format: a varint with the decompressed length, then literals and copies; as the reference
//! encoder does, each 64 KiB of input is compressed by itself with greedy matches of 4 to 64 bytes.

/// A byte in the low 8 bits; above them 0 for a fixed byte, or the identity of a changing one.
pub type Symbol = u32;

/// Where a changing byte stands in the compressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset in the compressed body.
    pub position: u32,
    /// The identity, as in [`Symbol`].
    pub identity: u32,
}

const BLOCK: usize = 1 << 16;
const MATCH_MIN: usize = 4;
const COPY_MAX: usize = 64;
const TABLE_BITS: u32 = 14;

/// Compresses `input`; appends to `out` and `patches`, whose positions count from the start of `out`.
pub fn compress(input: &[Symbol], out: &mut Vec<u8>, patches: &mut Vec<Patch>) {
    varint(input.len() as u64, out);
    let mut table = vec![0_u16; 1 << TABLE_BITS];
    for block in input.chunks(BLOCK) {
        table.fill(0);
        compress_block(block, &mut table, out, patches);
    }
}

/// Appends a base-128 varint.
pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn slot(four: &[Symbol]) -> usize {
    let mixed = four
        .iter()
        .fold(0_u32, |hash, symbol| (hash ^ symbol).wrapping_mul(0x9e37_79b1).rotate_left(11));
    (mixed >> (32 - TABLE_BITS)) as usize
}

fn compress_block(
    block: &[Symbol],
    table: &mut [u16],
    out: &mut Vec<u8>,
    patches: &mut Vec<Patch>,
) {
    let mut literal_from = 0;
    let mut at = 0;
    // The longer nothing matches, the fewer places are tried.
    let mut misses = 32;
    while at + MATCH_MIN <= block.len() {
        let four = &block[at..at + MATCH_MIN];
        let candidate = std::mem::replace(&mut table[slot(four)], at as u16) as usize;
        if candidate < at && &block[candidate..candidate + MATCH_MIN] == four {
            let tail = block[at + MATCH_MIN..].iter().zip(&block[candidate + MATCH_MIN..]);
            let length = MATCH_MIN + tail.take_while(|(new, old)| new == old).count();
            literal(&block[literal_from..at], out, patches);
            copy(at - candidate, length, out);
            at += length;
            literal_from = at;
            misses = 32;
        } else {
            at += misses >> 5;
            misses += 1;
        }
    }
    literal(&block[literal_from..], out, patches);
}

fn literal(symbols: &[Symbol], out: &mut Vec<u8>, patches: &mut Vec<Patch>) {
    let Some(last) = symbols.len().checked_sub(1) else { return };
    match last {
        0..60 => out.push((last << 2) as u8),
        60..256 => out.extend([60 << 2, last as u8]),
        _ => out.extend([61 << 2, last as u8, (last >> 8) as u8]),
    }
    for symbol in symbols {
        if symbol >> 8 != 0 {
            patches.push(Patch { position: out.len() as u32, identity: symbol >> 8 });
        }
        out.push(*symbol as u8);
    }
}

fn copy(offset: usize, mut length: usize, out: &mut Vec<u8>) {
    while length > 0 {
        // Never leave a rest that is too short for a copy of its own kind.
        let now = if length > COPY_MAX && length < COPY_MAX + MATCH_MIN {
            60
        } else {
            length.min(COPY_MAX)
        };
        if (4..12).contains(&now) && offset < 2_048 {
            out.push((offset >> 8 << 5 | (now - 4) << 2 | 1) as u8);
            out.push(offset as u8);
        } else {
            out.extend([((now - 1) << 2 | 2) as u8, offset as u8, (offset >> 8) as u8]);
        }
        length -= now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(input: &[Symbol]) -> Vec<u8> {
        let (mut out, mut patches) = (Vec::new(), Vec::new());
        compress(input, &mut out, &mut patches);
        let plain = snap::raw::Decoder::new().decompress_vec(&out).expect("valid snappy");
        assert_eq!(plain, input.iter().map(|symbol| *symbol as u8).collect::<Vec<_>>());
        out
    }

    fn noise(count: usize) -> impl Iterator<Item = u32> {
        let mut state = 1_u32;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        })
        .take(count)
    }

    #[test]
    fn is_valid_snappy() {
        round_trip(&[]);
        for length in [1, 3, 4, 5, 59, 60, 61, 64, 65, 66, 67, 68, 69, 255, 256, 257, 70_000] {
            assert!(round_trip(&vec![7; length]).len() < 16 + length / 16);
            round_trip(&noise(length).collect::<Vec<_>>());
            round_trip(&noise(length).map(|byte| byte & 3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_patched_body_is_the_changed_body() {
        // Records of a fixed text, a changing value of two bytes with one of three identities, and noise.
        let changing = |record: usize, byte: usize| ((record % 3 * 2 + byte + 1) as u32) << 8;
        let body = |value: u8| -> Vec<Symbol> {
            let mut symbols = Vec::new();
            for (record, noise) in noise(9_000).enumerate() {
                symbols.extend(b"record=".iter().map(|byte| u32::from(*byte)));
                symbols.extend([
                    changing(record, 0) | u32::from(value),
                    changing(record, 1) | 9,
                    noise,
                ]);
            }
            symbols
        };
        let (mut out, mut patches) = (Vec::new(), Vec::new());
        compress(&body(1), &mut out, &mut patches);
        assert!(patches.len() < 9_000, "{} patches of 18,000: copies are not used", patches.len());
        for patch in patches.iter().filter(|patch| patch.identity % 2 == 1) {
            out[patch.position as usize] = 200;
        }
        let plain = snap::raw::Decoder::new().decompress_vec(&out).expect("valid snappy");
        assert_eq!(plain, body(200).iter().map(|symbol| *symbol as u8).collect::<Vec<_>>());
    }
}
