//! The values of a chunk, in the mode that takes the fewest bytes.
//!
//! ```text
//! 0 constant   length: u8 | the value's first `length` bytes, big-endian; the others are zero
//! 1 decimal    exponent: u8 | factor: uvarint | exceptions | integers          integer * factor / 10^exponent
//! 2 binary     exponent: uvarint | exceptions | integers                       integer / 2^exponent
//! 3 xor        as `xor` writes them
//!
//! exceptions   count: uvarint | of each: values since the one before: uvarint, bits: u64 LE
//! integers     as `integer` draws them
//! ```

use super::decimal::{self, DECIMALS_MAX, Exceptions, HALVINGS_MAX, Scale, Scaled};
use super::integer::{self, Reader};
use super::pack::BLOCK;
use super::{Effort, malformed, xor};
use crate::chunk::bits::push_uvarint;
use crate::chunk::{ChunkError, simd};
use crate::head::record::Input;

const CONSTANT: u8 = 0;
const DECIMAL: u8 = 1;
const BINARY: u8 = 2;
const XOR: u8 = 3;

/// Bytes a value up to which decimals are taken without looking at what else there is.
const GOOD_BYTES: usize = 3;

/// Appends the values, of which there is one at least, and returns their mode.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> u8 {
    let first = values[0].to_bits();
    if values.iter().all(|value| value.to_bits() == first) {
        encode_constant(first, out);
        return CONSTANT;
    }
    let decimal = decimal::decimals(values).map(|scaled| {
        let mut bytes = vec![scaled.exponent as u8];
        push_uvarint(&mut bytes, scaled.factor);
        encode_scaled(&scaled, effort, &mut bytes);
        (DECIMAL, bytes)
    });
    let good = |(_, bytes): &(u8, Vec<u8>)| bytes.len() <= GOOD_BYTES * values.len();
    let (mode, bytes) = match decimal {
        Some(decimal) if good(&decimal) => decimal,
        decimal => {
            let binary = decimal::binaries(values).map(|scaled| {
                let mut bytes = Vec::new();
                push_uvarint(&mut bytes, scaled.exponent);
                encode_scaled(&scaled, effort, &mut bytes);
                (BINARY, bytes)
            });
            let mut bytes = Vec::new();
            xor::encode(values, &mut bytes);
            let scaled = decimal.into_iter().chain(binary).min_by_key(|(_, bytes)| bytes.len());
            // What decodes ten times as fast may be a little larger.
            scaled
                .filter(|(_, b)| b.len() <= bytes.len() + bytes.len() / 16)
                .unwrap_or((XOR, bytes))
        }
    };
    out.extend_from_slice(&bytes);
    mode
}

fn encode_constant(bits: u64, out: &mut Vec<u8>) {
    let len = 8 - bits.trailing_zeros().min(63) as usize / 8;
    let len = if bits == 0 { 0 } else { len };
    out.push(len as u8);
    out.extend_from_slice(&bits.to_be_bytes()[..len]);
}

fn encode_scaled(scaled: &Scaled, effort: Effort, out: &mut Vec<u8>) {
    push_uvarint(out, scaled.exceptions.len() as u64);
    let mut before = 0;
    for (place, bits) in &scaled.exceptions {
        push_uvarint(out, (place - before) as u64);
        out.extend_from_slice(&bits.to_le_bytes());
        before = *place;
    }
    integer::encode(&scaled.integers, effort, out);
}

/// Fills `values` with the first values of a chunk that has `count`.
pub(super) fn decode(
    mode: u8,
    input: &mut Input<'_>,
    count: usize,
    values: &mut [f64],
) -> Result<(), ChunkError> {
    let ends = malformed("its values end early");
    match mode {
        CONSTANT => {
            values.fill(decode_constant(input).ok_or(ends)?);
            Ok(())
        }
        DECIMAL => {
            let decimals = input.byte().ok_or(ends)?;
            let factor = input.uvarint().ok_or(ends)?;
            if decimals > DECIMALS_MAX {
                return Err(malformed("its values have too many decimals"));
            }
            decode_scaled(Scale::decimal(decimals, factor), input, count, values)
        }
        BINARY => {
            let halvings = input.uvarint().ok_or(ends)?;
            if halvings > HALVINGS_MAX {
                return Err(malformed("its values have too small an exponent"));
            }
            decode_scaled(Scale::binary(halvings), input, count, values)
        }
        XOR => xor::decode(input.bytes, values),
        _ => Err(malformed("its values are kept in an unknown way")),
    }
}

fn decode_constant(input: &mut Input<'_>) -> Option<f64> {
    let len = usize::from(input.byte()?);
    let mut bytes = [0; 8];
    bytes.get_mut(..len)?.copy_from_slice(input.bytes.get(..len)?);
    Some(f64::from_bits(u64::from_be_bytes(bytes)))
}

fn decode_scaled(
    scale: Scale,
    input: &mut Input<'_>,
    count: usize,
    values: &mut [f64],
) -> Result<(), ChunkError> {
    let exceptions = read_exceptions(input, count)?;
    let mut reader = Reader::new(input, count)?;
    let mut block = [0; BLOCK];
    let mut left = count;
    for out in values.chunks_mut(BLOCK) {
        let block = &mut block[..left.min(BLOCK)];
        reader.next(input, block)?;
        simd::to_floats(&block[..out.len()], scale.factor, scale.divisor, out);
        left -= block.len();
    }
    for (place, bits) in exceptions {
        if let Some(value) = values.get_mut(place) {
            *value = f64::from_bits(bits);
        }
    }
    Ok(())
}

fn read_exceptions(input: &mut Input<'_>, count: usize) -> Result<Exceptions, ChunkError> {
    let ends = malformed("its exceptions end early");
    let len = input.uvarint().ok_or(ends)?;
    if len > count as u64 {
        return Err(malformed("it has more exceptions than values"));
    }
    let (mut exceptions, mut place) = (Vec::with_capacity(len as usize), 0_usize);
    for _ in 0..len {
        place = place.saturating_add(input.uvarint().ok_or(ends)? as usize);
        let (bits, rest) = input.bytes.split_first_chunk().ok_or(ends)?;
        exceptions.push((place, u64::from_le_bytes(*bits)));
        input.bytes = rest;
    }
    Ok(exceptions)
}
