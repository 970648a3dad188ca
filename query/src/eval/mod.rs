//! Vectorized evaluation.

pub mod batch;
pub mod histogram_sum;
pub mod notes;
pub mod window;
