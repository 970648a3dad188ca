//! Samples of the past, as other systems keep them on disk: pure functions of the bytes of their files.

mod histograms;
pub mod prometheus;
