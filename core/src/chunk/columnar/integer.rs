//! A column of integers: themselves, their differences, or the differences of these, in packed blocks.
//!
//! ```text
//! +------------+--------------------------+---------+---------+-----
//! | order: u8  | seeds: `order` varints   | block   | block   | ...      order 0, 1, 2; blocks as `pack` draws them
//! +------------+--------------------------+---------+---------+-----
//! | 3          | length: uvarint          | a chunk of the crate `pco`   where that takes fewer bytes
//! +------------+--------------------------+-----------------------------
//! ```
//!
//! Each integer has its place in a block, the first ones too: the seeds are what precedes them, chosen so that the first
//! differences look like those that follow. All arithmetic wraps, so any 64 bits can be told from any others.

use super::pack::{self, BLOCK};
use super::{Effort, malformed};
use crate::chunk::bits::{push_uvarint, push_varint, zigzag};
use crate::chunk::{ChunkError, simd};
use crate::head::record::Input;

/// Differences of differences are the most that is tried.
const ORDER_MAX: usize = 2;

/// The number of the order that means entropy coding.
const ENTROPY: u8 = 3;

/// Level of `pco`: past it bytes hardly get fewer.
const ENTROPY_LEVEL: usize = 8;

/// Fewer integers, or fewer packed bits, than this are not worth the tables that entropy coding writes.
const ENTROPY_COUNT_MIN: usize = 256;

/// Appends the integers, of which there is one at least.
pub(super) fn encode(integers: &[i64], effort: Effort, out: &mut Vec<u8>) {
    let start = out.len();
    let order = encode_packed(integers, out);
    let packed = out.len() - start;
    if effort == Effort::Dense && integers.len().min(packed * 8) >= ENTROPY_COUNT_MIN {
        let dense = entropy::encode(integers, order);
        if let Some(dense) = dense.filter(|dense| dense.len() + dense.len() / 8 < packed) {
            out.truncate(start);
            out.push(ENTROPY);
            push_uvarint(out, dense.len() as u64);
            out.extend_from_slice(&dense);
        }
    }
}

/// Returns the order of the differences that were packed.
fn encode_packed(integers: &[i64], out: &mut Vec<u8>) -> usize {
    let differences = Differences::of(integers);
    let order = (0..=ORDER_MAX.min(integers.len() - 1))
        .min_by_key(|&order| estimate_bits(differences.of_order(order)))
        .unwrap_or(0);
    out.push(order as u8);
    let (seeds, column) = differences.seeded(order);
    for seed in &seeds[..order] {
        push_varint(out, *seed);
    }
    for block in column.chunks(BLOCK) {
        pack::encode(block, out);
    }
    order
}

/// A column and its differences. Of each order, the first integers are copies of the one after them.
struct Differences {
    /// The column's first integer and its first difference.
    first: [i64; ORDER_MAX],
    columns: [Vec<i64>; ORDER_MAX + 1],
}

impl Differences {
    fn of(integers: &[i64]) -> Self {
        let once = differences(integers);
        let twice = differences(&once);
        let first = [integers[0], once.first().copied().unwrap_or(0)];
        let padded = |order: usize, column: Vec<i64>| {
            let front = column.first().copied().unwrap_or(0);
            let mut padded = vec![front; order.min(integers.len())];
            padded.extend(column);
            padded
        };
        Differences { first, columns: [integers.to_vec(), padded(1, once), padded(2, twice)] }
    }

    fn of_order(&self, order: usize) -> &[i64] {
        &self.columns[order]
    }

    /// The column of an order and what its sums have to begin with, outermost first.
    fn seeded(&self, order: usize) -> ([i64; ORDER_MAX], &[i64]) {
        let column = self.of_order(order);
        let [first, first_difference] = self.first;
        let seeds = match order {
            0 => [0, 0],
            1 => [first.wrapping_sub(column[0]), 0],
            _ => {
                let before = first_difference.wrapping_sub(column[1]);
                [first.wrapping_sub(before), before.wrapping_sub(column[0])]
            }
        };
        (seeds, column)
    }
}

fn differences(integers: &[i64]) -> Vec<i64> {
    integers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()
}

/// About how many bits a column takes in blocks: the cheapest width, and what does not fit paid for one by one.
fn estimate_bits(column: &[i64]) -> u64 {
    let center = typical(column);
    let mut lengths = [0_u32; 65];
    for number in column {
        let length = 64 - zigzag(number.wrapping_sub(center)).leading_zeros();
        lengths[length as usize] += 1;
    }
    let (mut best, mut patches) = (u64::MAX, 0_u64);
    for width in (0..=64).rev() {
        best = best.min(column.len() as u64 * width as u64 + patches);
        // A byte for the place, and the bits in bytes of seven.
        patches += u64::from(lengths[width]) * (16 + 8 * width as u64 / 7);
    }
    best
}

/// The median of nine numbers spread over the column.
fn typical(column: &[i64]) -> i64 {
    let mut some: [i64; 9] = std::array::from_fn(|i| column[i * (column.len() - 1) / 8]);
    some.sort_unstable();
    some[4]
}

/// Reads a column block by block.
pub(super) enum Reader {
    /// Blocks, and the sums so far.
    Packed { order: usize, sums: [i64; ORDER_MAX] },
    /// All integers at once, and how many were handed out.
    Entropy { integers: Vec<i64>, taken: usize },
}

impl Reader {
    /// Begins a column of `count` integers.
    pub(super) fn new(input: &mut Input<'_>, count: usize) -> Result<Self, ChunkError> {
        let ends = malformed("its integers end early");
        let order = input.byte().ok_or(ends)?;
        if order == ENTROPY {
            let bytes = input.bytes().ok_or(ends)?;
            let integers = entropy::decode(bytes, count)
                .ok_or(malformed("its entropy-coded integers cannot be decoded"))?;
            return Ok(Reader::Entropy { integers, taken: 0 });
        }
        let order = usize::from(order);
        let mut sums = [0; ORDER_MAX];
        let seeds = sums.get_mut(..order).ok_or(malformed("its integers are of no known order"))?;
        for seed in seeds {
            *seed = input.varint().ok_or(ends)?;
        }
        Ok(Reader::Packed { order, sums })
    }

    /// Fills `block`, which is of [`BLOCK`] integers unless it is the column's last.
    pub(super) fn next(
        &mut self,
        input: &mut Input<'_>,
        block: &mut [i64],
    ) -> Result<(), ChunkError> {
        match self {
            Reader::Packed { order, sums } => {
                pack::decode(input, block)?;
                for sum in sums[..*order].iter_mut().rev() {
                    *sum = simd::prefix_sum(block, *sum);
                }
            }
            Reader::Entropy { integers, taken } => {
                block.copy_from_slice(&integers[*taken..*taken + block.len()]);
                *taken += block.len();
            }
        }
        Ok(())
    }
}

/// The crate `pco`: bins of like numbers, entropy-coded.
mod entropy {
    use pco::wrapped::{FileCompressor, FileDecompressor};
    use pco::{ChunkConfig, DeltaSpec, ModeSpec};

    use super::ENTROPY_LEVEL;

    /// The integers in one page, as differences of an order; `None` when the crate refuses, which it has no reason to.
    pub(super) fn encode(integers: &[i64], order: usize) -> Option<Vec<u8>> {
        let delta = match order {
            0 => DeltaSpec::NoOp,
            _ => DeltaSpec::TryConsecutive(order),
        };
        // What is left for it to find was found already.
        let config = ChunkConfig::default()
            .with_compression_level(ENTROPY_LEVEL)
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(delta);
        let file = FileCompressor::default();
        let mut chunk = file.chunk_compressor(integers, &config).ok()?;
        let out = file.write_header(Vec::new()).ok()?;
        let out = chunk.write_meta(out).ok()?;
        chunk.write_page(0, out).ok()
    }

    /// The `count` integers of a page.
    pub(super) fn decode(bytes: &[u8], count: usize) -> Option<Vec<i64>> {
        let (file, rest) = FileDecompressor::new(bytes).ok()?;
        let (mut chunk, rest) = file.chunk_decompressor::<i64, _>(rest).ok()?;
        let mut page = chunk.page_decompressor(rest, count).ok()?;
        let mut integers = vec![0; count];
        let progress = page.read(&mut integers).ok()?;
        (progress.n_processed == count).then_some(integers)
    }
}
