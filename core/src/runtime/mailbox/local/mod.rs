//! Waiting for one another inside a core: bounded [`channel()`], [`oneshot()`], [`Notify`], [`Semaphore`].
//!
//! No atomics: everything here is `Rc` and `RefCell` and stays on the thread that made it. Who waits is served in the order of
//! coming, and a future that is dropped while it waits leaves no trace. Each waiting future keeps one waker.

mod channel;
mod notify;
mod oneshot;
mod semaphore;

pub use channel::{Receiver, Sender, channel};
pub use notify::{Notified, Notify};
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use semaphore::{Acquire, Permit, Semaphore};
