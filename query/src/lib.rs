//! PromQL: parser, planner, vectorized evaluator, and the answers of the query API.

pub mod api;
pub mod budget;
pub mod cache;
pub mod engine;
pub mod eval;
pub mod functions;
pub mod limits;
pub mod parser;
pub mod plan;
pub mod promqltest;
mod simd;
pub mod value;
