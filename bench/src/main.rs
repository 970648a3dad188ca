//! The `tidemark-bench` load generator.
fn main() {}
