//! The simulated twin of the runtime: one thread, virtual time, seeded scheduling, and a disk that crashes.
//!
//! [`run`] drives a future and all tasks it spawns. Whatever is left to chance in the real runtime is drawn from the
//! seed: which of the runnable tasks goes next, how long an operation of the disk takes, which un-synced writes survive a
//! crash. The same seed gives the same run, so a failure is repeated by its seed alone.
//!
//! ```text
//!   sim::run(seed, async {                       SimDisk ── crash() ──▶ SimDisk: durable image + a part of the rest
//!       let disk = SimDisk::new(seed);              │
//!       ... the code under test, disk.disk() ...    └────── kill() ───▶ SimDisk: all that was written
//!   })
//! ```

mod disk;
mod executor;
mod image;
mod random;
mod time;

pub use disk::{SimDisk, SimFile, SimLock};
pub use executor::{jump_wall_clock, run};
pub use random::Random;
