//! The only door to the operating system: executors, tasks, timers, sockets, disk, mailboxes.
//!
//! One executor is pinned to each core and runs its tasks cooperatively in four [`Queue`]s. Everything here acts on the
//! executor of the *current thread*, which is either the real one (glommio over `io_uring`) or the simulated twin with virtual
//! time and a seeded scheduler; the code above cannot tell which. Nothing outside this directory names glommio or the
//! `io-uring` crate.
//!
//! What glommio gets wrong on current kernels is guarded here once: [`preflight`] (no `io_uring`, too little lockable memory),
//! `probe` (reads that fail with `EOPNOTSUPP`), `sentinel` (an executor asleep although tasks can run) and `shield`
//! (a task panics when too many wakers refer to it). `docs/RUNTIME.md` tells the whole story.

// Threads that watch the executors from outside, and the clocks themselves, live here: the bans of clippy.toml are for
// everybody else.
#![allow(
    clippy::disallowed_methods,
    reason = "the clocks and the watcher threads are implemented here"
)]

#[cfg(test)]
mod child;
pub mod clock;
mod context;
pub mod disk;
pub mod executors;
mod interrupt;
pub mod mailbox;
pub mod net;
mod prefetch;
pub mod preflight;
mod probe;
mod processors;
mod sentinel;
mod shield;
mod signals;
pub mod sim;
mod sort;
mod stop;
mod task;
mod time;

pub use prefetch::{prefetch, prefetch_all};
pub use sort::sort_in_turns;
pub use stop::{ReloadSignal, StopSignal, Stopper};
pub use task::{Queue, Task, spawn, spawn_into, unblock, yield_if_needed, yield_now};
pub use time::{Sleep, TimedOut, sleep, sleep_until, timeout};
