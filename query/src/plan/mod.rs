//! From syntax tree to something that can be evaluated.
//!
//! `lower` turns the tree into [`node::Node`]s: durations, `@` and `start()` are resolved for one query, parentheses are
//! gone, and what does not change from step to step is marked, as is what `repeats` finds to be said more than once. `split` says which parts need only the samples of one
//! series at a time, so that they (and aggregations over them) can be shipped to the shards.

mod explain;
pub mod lower;
pub mod node;
pub mod repeats;
pub mod split;
