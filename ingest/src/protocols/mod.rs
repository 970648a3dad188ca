//! Wire formats: pure functions from bytes to [`crate::rows::Rows`], or pull parsers over bytes.
//!
//! Nothing here does I/O, reads a clock or knows who sent the bytes; every length is checked before memory is taken
//! for it.

pub mod bounds;
pub mod classic;
pub mod exemplars;
pub mod exposition;
pub mod exposition_proto;
pub mod lines;
pub mod native;
pub mod number;
pub mod openmetrics;
pub mod remote_write_v1;
pub mod text;
pub mod wire;
