//! Vectorized evaluation.

pub mod aggregate;
pub mod batch;
pub mod binary_op;
mod histogram_groups;
pub mod histogram_sum;
pub mod notes;
pub mod row;
pub mod select_k;
mod smooth;
pub mod window;
