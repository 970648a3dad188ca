//! The guard between a task and the wakers that refer to it.
//!
//! glommio counts the wakers of a task in sixteen bits and panics at the 32,768th; a wake from another thread also counts as
//! one until the executor gets round to it. A task that waits for 40,000 answers at once, or is woken 40,000 times while its
//! core is busy, would take the process down. So no future of ours ever sees glommio's own waker: [`Shielded`] polls it with a
//! waker of our own, an `Arc` that holds the task's waker once and forwards at most one wake between two polls.
//!
//! ```text
//!   socket, timer, mailbox, other core ──clone──▶ Arc<Shield> ──the only reference──▶ glommio's task
//! ```
//!
//! The second effect is welcome too: a hundred messages that arrive while the task waits to run cost one wake, not a hundred.
//!
//! The shield is also where tasks end with their executor. glommio drops what is still queued when the executor itself is dropped,
//! and panics if such a task holds the handle of one in another queue, since canceling needs a live executor. So [`end_all`]
//! drops every task that can run beforehand, when its turn comes.

use futures_util::task::{ArcWake, waker_ref};
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// The waker that the outside world sees.
struct Shield {
    /// The task's own waker, the same for all its life.
    task: Waker,
    /// Whether the task was woken since its last poll began.
    woken: AtomicBool,
}

impl ArcWake for Shield {
    fn wake_by_ref(shield: &Arc<Self>) {
        if !shield.woken.swap(true, Ordering::AcqRel) {
            shield.task.wake_by_ref();
        }
    }
}

pin_project! {
    /// `F`, polled with a waker that may be cloned without limit.
    pub(crate) struct Shielded<F> {
        // `None` once the executor ended first.
        #[pin]
        future: Option<F>,
        // Made by the first poll.
        shield: Option<Arc<Shield>>,
    }
}

impl<F> Shielded<F> {
    pub(crate) fn new(future: F) -> Self {
        Shielded { future: Some(future), shield: None }
    }
}

impl<F: Future> Future for Shielded<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if ENDING.get() {
            this.future.set(None);
        }
        let Some(future) = this.future.as_pin_mut() else {
            return Poll::Pending;
        };
        let shield = this.shield.get_or_insert_with(|| {
            Arc::new(Shield { task: cx.waker().clone(), woken: AtomicBool::new(false) })
        });
        debug_assert!(shield.task.will_wake(cx.waker()), "a task is never moved to another");
        // Cleared before the poll: what is woken from here on runs the task again.
        shield.woken.swap(false, Ordering::AcqRel);
        let waker = waker_ref(shield);
        future.poll(&mut Context::from_waker(&waker))
    }
}

thread_local! {
    /// Whether the executor of this thread is about to be dropped.
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// Turns for the queues in [`end_all`]; each lets every queue with work run, and a task needs one turn to be dropped.
const LAST_TURNS: usize = 64;

/// Drops all tasks of this executor that can run. Those that wait are never woken again: they stay in memory until the process
/// ends, which it is about to.
pub(super) async fn end_all() {
    ENDING.set(true);
    for _ in 0..LAST_TURNS {
        glommio::executor().yield_task_queue_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    struct Counter(AtomicUsize);

    impl ArcWake for Counter {
        fn wake_by_ref(counter: &Arc<Self>) {
            counter.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn many_wakers_are_one_reference_and_many_wakes_are_one() {
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let outer = futures_util::task::waker(Arc::clone(&counter));
        let mut wakers = vec![noop_waker(); 40_000];
        let mut future = Box::pin(Shielded::new(poll_fn(|cx| {
            wakers.fill(cx.waker().clone());
            Poll::<()>::Pending
        })));
        assert!(future.as_mut().poll(&mut Context::from_waker(&outer)).is_pending());
        assert_eq!(Arc::strong_count(&counter), 3, "ours, the outer waker, the shield's");
        drop(future);
        wakers.iter().for_each(Waker::wake_by_ref);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        drop(wakers);
        assert_eq!(Arc::strong_count(&counter), 2, "the last clone lets the task go");
    }

    #[test]
    fn a_wake_during_the_poll_runs_the_task_again() {
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let outer = futures_util::task::waker(Arc::clone(&counter));
        let mut future = Box::pin(Shielded::new(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })));
        for polls in 1..4 {
            assert!(future.as_mut().poll(&mut Context::from_waker(&outer)).is_pending());
            assert_eq!(counter.0.load(Ordering::Relaxed), polls);
        }
    }
}
