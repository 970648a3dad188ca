//! The columnar chunk: sealed samples, times and values apart, each in whatever way takes the fewest bytes.
//!
//! ```text
//! +------------------+------------------+------------------------+------------------+
//! | samples: u16 LE  | modes: u8        | times                  | values           |
//! +------------------+------------------+------------------------+------------------+
//! modes: how times are kept in the low four bits (see `timestamps`), how values are in the high four (see `values`)
//! ```
//!
//! Monitoring data is regular: most series are scraped at a fixed interval, a third of them never change, and nearly all
//! others are counters or decimals, which are integers times a power of ten. So times are a line with small deviations, and
//! values are integers wherever that is exact, which is checked bit by bit when a chunk is sealed. Integers are packed
//! in blocks of 128 with as many bits as most of them need (see `integer` and `pack`). What no integer scheme takes is
//! written as XOR of neighbours. Every bit pattern comes back: staleness markers, payloads of NaNs and the sign of zero too.
//!
//! `docs/formats/columnar-chunk.md` draws it all. Pure functions of bytes; any core.

mod decimal;
mod integer;
mod pack;
mod timestamps;
mod values;
mod xor;

#[cfg(test)]
mod tests;

use super::{ChunkError, Encoding};
use crate::head::record::Input;
use crate::model::columns::SampleColumns;
use crate::model::time::{TimeRange, TimestampMs};

/// Bytes before the times.
const HEADER_BYTES: usize = 3;

/// How much work sealing may do to save bytes, and reading to get them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For data that is read often: decodes a billion samples a second and core.
    Fast,
    /// For data that is kept long: entropy coding where it saves a tenth; decodes a tenth as fast.
    Dense,
}

/// Encodes the samples of one series, in ascending order of time.
///
/// # Panics
/// When there are no samples, more than 65,535, or the columns differ in length.
pub fn seal(timestamps: &[TimestampMs], values: &[f64], effort: Effort) -> (Encoding, Vec<u8>) {
    assert_eq!(timestamps.len(), values.len());
    let count = u16::try_from(timestamps.len()).expect("a chunk has at most 65,535 samples");
    assert!(count > 0, "a chunk has a sample");
    let mut out = Vec::with_capacity(64 + values.len());
    out.extend_from_slice(&count.to_le_bytes());
    out.push(0);
    let time_mode = timestamps::encode(timestamps, &mut out);
    let value_mode = values::encode(values, effort, &mut out);
    out[HEADER_BYTES - 1] = time_mode | value_mode << 4;
    out.shrink_to_fit();
    (Encoding::Columnar, out)
}

/// Appends the samples of a chunk that lie in `range` to `out`; none after an error.
pub fn decode(bytes: &[u8], range: TimeRange, out: &mut SampleColumns) -> Result<(), ChunkError> {
    let Some((&[low, high, modes], body)) = bytes.split_first_chunk() else {
        return Err(ChunkError::NoHeader);
    };
    let count = usize::from(u16::from_le_bytes([low, high]));
    let before = out.len();
    let decoded = decode_columns(modes, count, body, range, out);
    if decoded.is_err() {
        out.truncate(before);
    }
    decoded
}

fn decode_columns(
    modes: u8,
    count: usize,
    body: &[u8],
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), ChunkError> {
    let before = out.len();
    let mut input = Input { bytes: body };
    let (times, _) = out.extend_zeroed(count);
    timestamps::decode(modes & 15, &mut input, times)?;
    let first = times.partition_point(|t| *t < range.start_ms);
    let end = times.partition_point(|t| *t <= range.end_ms).max(first);
    if first == end {
        out.truncate(before);
        return Ok(());
    }
    out.truncate(before + end);
    values::decode(modes >> 4, &mut input, count, &mut out.values[before..])?;
    if first > 0 {
        out.remove(before..before + first);
    }
    Ok(())
}

/// What a field that ends too early or holds nonsense is called.
fn malformed(what: &'static str) -> ChunkError {
    ChunkError::Malformed(what)
}
