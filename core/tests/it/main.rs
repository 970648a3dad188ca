//! Tests of whole shards: appends, seals, spills, checkpoints, restarts, on a simulated disk that fails.
//!
//! Every run follows from a seed, which a failing one prints. `TIDEMARK_SEEDS=10000` runs that many seeds of each test in
//! place of the few that everyday runs take; `TIDEMARK_SEED=17` runs only that one.

mod clock;
mod crash;
mod faults;
mod kill;
mod maintenance;
mod newer;
mod shard;
