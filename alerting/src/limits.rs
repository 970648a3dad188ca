//! Every bound of this crate.

/// Largest rule file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Most rules in one file.
pub const RULES_MAX: usize = 100_000;

/// How deep blocks of a template (`if`, `range`, `with`) may nest.
pub const TEMPLATE_DEPTH_MAX: usize = 100;
