//! Compaction: small blocks become larger ones, level by level, so that a long query opens few and each series stands together for longer.
//!
//! * [`plan`]: which blocks, a pure function of what they are;
//! * [`merge`]: one pass over them in the order of series, with memory for a chunk or two of one series.
//!
//! When it runs, and what follows from it, is [`crate::shard::Shard::maintain`]'s business.

pub mod merge;
pub mod plan;
