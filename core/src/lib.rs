//! The storage engine of Tidemark and the runtime it lives on.
//!
//! A data directory holds a fixed number of *shards*. Each shard is owned by exactly one core and has its own head,
//! write-ahead log and chunk files; nothing in a shard is ever touched from another thread. Cores talk only by messages
//! ([`shards::Shards`]) and by published snapshots ([`published::Published`]), so there is no lock in the data path.
//!
//! The three types to know:
//! * [`model::labels::Labels`]: the identity of a series, and the bytes its fingerprint is taken of;
//! * [`shard::Shard`]: append, make durable, select;
//! * [`shards::Shards`]: the only door from one core to another core's shards.
//!
//! This crate knows nothing of PromQL, HTTP or exposition formats.

pub mod append;
pub mod block;
pub mod cardinality;
pub mod catalog;
pub mod checkpoint;
pub mod chunk;
pub mod chunks;
pub mod compaction;
pub mod error;
pub mod exemplars;
pub mod head;
pub mod index;
pub mod limits;
pub mod model;
pub mod published;
pub mod retention;
pub mod runtime;
pub mod shard;
pub mod shards;

pub mod wal;
