//! Chunks: the compressed samples of one series over a stretch of time. Pure functions of bytes.
//!
//! An encoding is named by a byte that stands beside the chunk wherever it is kept, so that open and sealed chunks, and
//! chunks of different ages, can be encoded differently. `docs/formats/chunk.md` draws them.

pub mod bits;
pub mod columnar;
#[cfg(test)]
mod fixture;
pub mod histogram;
mod simd;
pub mod statistics;
pub mod xor;

pub use columnar::{Effort, seal};
pub use statistics::ChunkStatistics;

use crate::model::columns::SampleColumns;
use crate::model::time::TimeRange;

/// How the bytes of a chunk are to be read. The numbers are on disk; 1 is also Prometheus' number for XOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Gorilla as Prometheus writes it: delta-of-delta timestamps, XOR values.
    Xor = 1,
    /// Times and values apart, each in the way that suits them best: sealed chunks. See [`columnar`].
    Columnar = 2,
}

impl Encoding {
    /// The encoding with this number.
    pub fn from_u8(number: u8) -> Result<Self, ChunkError> {
        match number {
            1 => Ok(Encoding::Xor),
            2 => Ok(Encoding::Columnar),
            other => Err(ChunkError::UnknownEncoding(other)),
        }
    }
}

/// Bytes that are not a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// It ends inside a sample.
    #[error("the chunk ends inside sample {sample} of {count}")]
    Truncated {
        /// The sample, counted from 0.
        sample: u16,
        /// How many the header promises.
        count: u16,
    },
    /// No header.
    #[error("the chunk is shorter than its header")]
    NoHeader,
    /// A field holds what no encoder writes.
    #[error("the chunk is malformed: {0}")]
    Malformed(&'static str),
    /// An encoding that this version does not know.
    #[error("unknown chunk encoding {0}")]
    UnknownEncoding(u8),
}

/// Appends the samples of a chunk that lie in `range` to `out`. What was decoded before an error stays there.
pub fn decode(
    encoding: Encoding,
    bytes: &[u8],
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), ChunkError> {
    match encoding {
        Encoding::Xor => xor::decode(bytes, range, out),
        Encoding::Columnar => columnar::decode(bytes, range, out),
    }
}
