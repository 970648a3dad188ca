//! What the server says of itself at `/metrics`.
//!
//! Each core counts in plain cells ([`counters`]); a scrape gathers one [`counters::Snapshot`] from every core by message,
//! adds them up and writes Prometheus text ([`exposition`]). Nothing is shared, nothing is locked, and a counter costs an addition.

pub(crate) mod counters;
pub(crate) mod exposition;
pub(crate) mod gather;
pub(crate) mod process;
