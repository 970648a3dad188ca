//! Finding series by their labels.
//!
//! * [`symbols`]: every distinct pair of label name and value once, named by a number;
//! * [`postings`]: ascending series references, and set operations on them;
//! * [`memory`]: the index of the head: label name -> value -> postings, and what the matchers of a selector select.
//!
//! Owned by the shard's core; synchronous; no I/O.

pub mod memory;
pub mod postings;
pub mod symbols;

/// The number of a series within its shard, as postings, the WAL and chunk files name it.
pub type SeriesRef = u32;
