//! Vectorized evaluation.
//!
//! | step | where | file |
//! |---|---|---|
//! | decode each series once, slide windows, apply functions of cells | shards | `window`, `row`, `smooth` |
//! | wide windows from the figures of chunks, undecoded | shards | `wide` |
//! | aggregate on the spot | shards | `aggregate`, `histogram_groups` |
//! | collect rows or groups | shards to the querying core | `fragment` |
//! | merge; operators between vectors; whole-vector functions | querying core | `run`, `matching`, `calls`, ... |

pub mod aggregate;
pub mod batch;
pub mod binary_op;
pub mod calls;
pub mod classic_histogram;
pub mod count_values;
pub mod dedupe;
pub mod fragment;
mod histogram_groups;
mod histogram_stats;
pub mod histogram_sum;
mod info;
pub mod matching;
pub mod memo;
pub mod notes;
pub mod range_value;
pub mod row;
pub mod run;
pub mod select_k;
mod smooth;
pub mod trace;
mod wide;
pub mod window;
