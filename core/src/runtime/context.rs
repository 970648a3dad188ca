//! Which executor the current thread runs: the real one or its simulated twin.
//!
//! A thread-local holds the [`Context`]; the free functions of [`runtime`](super) dispatch on it. The real executor is called
//! directly; the twin stands behind the small trait [`Twin`], so that the simulation can change without touching this file.

use super::task::Queue;
use futures_util::future::LocalBoxFuture;
use glommio::{Shares, TaskQueueHandle};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What the simulated twin does in place of the real executor.
pub(crate) trait Twin {
    /// Makes `task` runnable. It must not be polled before the caller gives up the thread.
    fn spawn(&self, queue: Option<Queue>, task: LocalBoxFuture<'static, ()>);
    /// Virtual nanoseconds since the simulation began.
    fn now_ns(&self) -> u64;
    /// Virtual wall clock, milliseconds since the Unix epoch.
    fn wall_ms(&self) -> i64;
    /// Sets the wall clock forward, or back.
    fn jump_wall(&self, by_ms: i64);
    /// Ready once [`now_ns`](Twin::now_ns) has reached `deadline_ns`.
    fn sleep_until(&self, deadline_ns: u64) -> LocalBoxFuture<'static, ()>;
    /// Whether a task that offers to yield here is taken at its word (drawn from the seed).
    fn preempts(&self) -> bool;
}

/// The task queues of a real executor, by [`Queue`].
pub(crate) struct Queues([TaskQueueHandle; Queue::COUNT]);

impl Queues {
    /// Makes them on the glommio executor of this thread.
    pub(super) fn create() -> Self {
        Queues(Queue::ALL.map(|queue| {
            let shares = Shares::Static(queue.shares());
            glommio::executor().create_task_queue(shares, queue.latency(), queue.name())
        }))
    }

    pub(super) fn get(&self, queue: Queue) -> TaskQueueHandle {
        self.0[queue as usize]
    }

    /// How long the tasks of each queue have run so far.
    pub(super) fn worked(&self) -> [Duration; Queue::COUNT] {
        self.0.map(|queue| {
            let stats = glommio::executor().task_queue_stats(queue);
            stats.map_or(Duration::ZERO, |stats| stats.runtime())
        })
    }
}

/// The executor of a thread.
#[derive(Clone)]
pub(crate) enum Context {
    /// glommio, with the queues made at its start.
    Real(Rc<Queues>),
    /// The simulation.
    Simulated(Rc<dyn Twin>),
}

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Undoes [`enter`] when dropped.
pub(crate) struct Entered(Option<Context>);

/// Makes `context` the executor of this thread until the guard is dropped.
#[must_use = "the context is left when the guard is dropped"]
pub(crate) fn enter(context: Context) -> Entered {
    Entered(CURRENT.replace(Some(context)))
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Calls `f` with the executor of this thread.
///
/// # Panics
/// When the thread runs none: only tasks may spawn, sleep or touch a socket.
pub(crate) fn with<T>(f: impl FnOnce(&Context) -> T) -> T {
    CURRENT.with_borrow(|current| {
        f(current.as_ref().expect("called from a task of an executor or of the simulation"))
    })
}

/// The simulated twin, if this thread runs one; `None` on a real executor and on any other thread.
pub(crate) fn twin() -> Option<Rc<dyn Twin>> {
    CURRENT.with_borrow(|current| match current {
        Some(Context::Simulated(twin)) => Some(Rc::clone(twin)),
        Some(Context::Real(_)) | None => None,
    })
}

/// The queues of the real executor of this thread, if it runs one.
pub(super) fn queues() -> Option<Rc<Queues>> {
    CURRENT.with_borrow(|current| match current {
        Some(Context::Real(queues)) => Some(Rc::clone(queues)),
        Some(Context::Simulated(_)) | None => None,
    })
}
