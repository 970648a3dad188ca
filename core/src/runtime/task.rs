//! Tasks and the queues they run in.
//!
//! A task belongs to the core that spawned it and never moves. It starts in the order of its queue, never inside `spawn`, so
//! that a caller may hold a borrow while it spawns.

use super::context::{self, Context};
use super::shield::Shielded;
use glommio::Latency;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll, Waker};
use std::time::Duration;

/// How the work of a core is divided. A queue with work gets the core in proportion to its shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Receiving, appending and committing samples: large shares, and a latency of half a millisecond is asked for.
    Ingest,
    /// Evaluating queries.
    Query,
    /// Sealing, spilling, compacting, retiring.
    Background,
    /// Accepting, scraping's timers, reload, stop, the sentinel: little work that must not wait.
    Control,
}

impl Queue {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, in the order of their numbers.
    pub const ALL: [Queue; Queue::COUNT] =
        [Queue::Ingest, Queue::Query, Queue::Background, Queue::Control];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Queue::Ingest => "ingest",
            Queue::Query => "query",
            Queue::Background => "background",
            Queue::Control => "control",
        }
    }

    pub(super) fn shares(self) -> usize {
        match self {
            Queue::Ingest | Queue::Control => 1000,
            Queue::Query => 200,
            Queue::Background => 100,
        }
    }

    pub(super) fn latency(self) -> Latency {
        match self {
            Queue::Ingest | Queue::Control => Latency::Matters(PREEMPT_EVERY),
            Queue::Query | Queue::Background => Latency::NotImportant,
        }
    }
}

/// How long a task that offers to yield can keep the core. A request of samples passes through some eight queues, on two cores, before it is
/// acknowledged, and may wait so long in each.
pub(super) const PREEMPT_EVERY: Duration = Duration::from_micros(500);

/// A spawned task: a future of its result. Dropping it cancels the task; [`detach`](Task::detach) lets it run on.
#[must_use = "dropping a task cancels it; detach it to let it run"]
pub struct Task<T>(Handle<T>);

enum Handle<T> {
    Real(glommio::Task<T>),
    Simulated(Rc<RefCell<Joint<T>>>),
    /// Let go: dropping it does nothing.
    Detached,
}

/// What a simulated task and its handle share.
struct Joint<T> {
    result: Option<T>,
    canceled: bool,
    detached: bool,
    /// The task, to be woken when it is canceled.
    task: Option<Waker>,
    /// Who awaits the handle.
    awaiter: Option<Waker>,
}

impl<T> Task<T> {
    /// Lets the task run to its end; its result is dropped.
    pub fn detach(mut self) {
        match std::mem::replace(&mut self.0, Handle::Detached) {
            Handle::Real(task) => drop(task.detach()),
            Handle::Simulated(joint) => joint.borrow_mut().detached = true,
            Handle::Detached => {}
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Handle::Simulated(joint) = &self.0 {
            let task = {
                let mut joint = joint.borrow_mut();
                joint.canceled = true;
                joint.task.take()
            };
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

impl<T> Unpin for Task<T> {}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Handle::Real(task) => Pin::new(task).poll(cx),
            Handle::Simulated(joint) => {
                let mut joint = joint.borrow_mut();
                if let Some(result) = joint.result.take() {
                    return Poll::Ready(result);
                }
                joint.awaiter = Some(cx.waker().clone());
                Poll::Pending
            }
            Handle::Detached => unreachable!("detach consumes the task"),
        }
    }
}

/// Runs `future` as a task in the queue of the caller.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    start(None, future)
}

/// Runs `future` as a task in `queue`.
pub fn spawn_into<T: 'static>(queue: Queue, future: impl Future<Output = T> + 'static) -> Task<T> {
    start(Some(queue), future)
}

fn start<T: 'static>(queue: Option<Queue>, future: impl Future<Output = T> + 'static) -> Task<T> {
    match context::with(Context::clone) {
        Context::Real(queues) => {
            // Not `spawn_local`: that polls the future inside the call.
            let handle = queue.map_or_else(
                || glommio::executor().current_task_queue(),
                |queue| queues.get(queue),
            );
            let task = glommio::spawn_local_into(Shielded::new(future), handle)
                .expect("the queues live as long as the executor");
            Task(Handle::Real(task))
        }
        Context::Simulated(twin) => {
            let joint = Rc::new(RefCell::new(Joint {
                result: None,
                canceled: false,
                detached: false,
                task: None,
                awaiter: None,
            }));
            twin.spawn(queue, Box::pin(run_joined(future, Rc::clone(&joint))));
            Task(Handle::Simulated(joint))
        }
    }
}

/// Drives `future` until it ends or its handle is dropped.
async fn run_joined<T>(future: impl Future<Output = T>, joint: Rc<RefCell<Joint<T>>>) {
    let mut future = Box::pin(future);
    let result = poll_fn(|cx| {
        if joint.borrow().canceled {
            return Poll::Ready(None);
        }
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        joint.borrow_mut().task = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
    drop(future);
    let mut joint = joint.borrow_mut();
    if !joint.detached {
        joint.result = result;
    }
    if let Some(awaiter) = joint.awaiter.take() {
        awaiter.wake();
    }
}

/// Gives the core to other tasks if this one has had it for long enough. To be called after every 200 us of work at most.
pub async fn yield_if_needed() {
    match context::twin() {
        None => glommio::executor().yield_if_needed().await,
        Some(twin) if twin.preempts() => yield_now().await,
        Some(_) => {}
    }
}

/// Puts this task behind all others that can run in its queue.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs `f`, which may block, on a thread apart from the cores (in the simulation: at once). A panic in `f` is raised here.
pub async fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if context::twin().is_some() {
        return f();
    }
    // glommio's pool thread would die of a panic and leave the caller waiting for ever.
    let outcome =
        glommio::executor().spawn_blocking(move || catch_unwind(AssertUnwindSafe(f))).await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}
