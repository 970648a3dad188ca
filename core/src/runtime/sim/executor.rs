//! The simulated executor: one thread, seeded scheduling, virtual time.
//!
//! The next task to run is drawn at random from those that can, so every order that the real scheduler may choose turns
//! up under some seed. Each poll takes a little virtual time; when no task can run, the clock leaps to the next timer.
//! When there is no timer either, nothing can ever happen again: that is a deadlock, and a panic that names the seed.

#![allow(
    clippy::disallowed_types,
    reason = "a waker must be Send, so the list of woken tasks has a lock; it is never contended"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::{LocalBoxFuture, poll_fn};

use super::random::Random;
use super::time::Clock;
use crate::runtime::Queue;
use crate::runtime::context::{self, Twin};

/// Virtual wall clock at the start of each simulation: 2026-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// Longest virtual time that one poll takes, in ns.
const POLL_NS_MAX: u64 = 2_000;

/// How often, in percent, a task that offers to yield must.
const PREEMPT_PERCENT: u64 = 25;

/// Key of the main future among the tasks.
const MAIN: u64 = 0;

/// Runs `main` and the tasks it spawns in virtual time, all choices drawn from `seed`. Tasks left over when `main` ends
/// are dropped.
///
/// # Panics
/// With the seed, when no task can ever run again. When a task panics, the seed is printed.
pub fn run<T>(seed: u64, main: impl Future<Output = T>) -> T {
    let executor = Rc::new(Executor::new(seed));
    let twin = Rc::clone(&executor) as Rc<dyn Twin>;
    let _entered = context::enter(context::Context::Simulated(twin));
    let _note = SeedNote(seed);
    let mut main = pin!(main);
    let main_waker = executor.woken.waker(MAIN);
    Arc::clone(&main_waker).wake();
    loop {
        let key = executor.next_ready();
        if key != MAIN {
            executor.poll(key);
        } else if let Poll::Ready(output) = main_waker.poll(|context| main.as_mut().poll(context)) {
            executor.drop_tasks();
            return output;
        }
    }
}

/// Sets the wall clock of the simulation that runs on this thread forward, or back if `by_ms` is negative, as an operator or a time
/// server does. Time that is measured, and timers, know nothing of it.
///
/// # Panics
/// Outside [`run`].
pub fn jump_wall_clock(by_ms: i64) {
    context::twin().expect("a simulation runs on this thread").jump_wall(by_ms);
}

/// Says which seed was running when a panic passes through.
struct SeedNote(u64);

impl Drop for SeedNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation failed with seed {}", self.0);
        }
    }
}

struct Executor {
    seed: u64,
    random: RefCell<Random>,
    clock: Rc<Clock>,
    /// How far the wall clock is off.
    wall_off_ms: Cell<i64>,
    next_key: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, SimTask>>,
    woken: Arc<Woken>,
    /// Tasks that can run, in no order.
    ready: RefCell<Vec<u64>>,
}

struct SimTask {
    /// Taken out while it is polled.
    future: Option<LocalBoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

/// Keys of the tasks that were woken since they were last looked at.
#[derive(Default)]
struct Woken(Mutex<Vec<u64>>);

struct TaskWaker {
    key: u64,
    /// Whether it was woken since its last poll began.
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Woken {
    fn waker(self: &Arc<Self>, key: u64) -> Arc<TaskWaker> {
        let queued = AtomicBool::new(false);
        Arc::new(TaskWaker { key, queued, woken: Arc::clone(self) })
    }

    fn drain_into(&self, ready: &mut Vec<u64>) {
        ready.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl TaskWaker {
    /// Polls with this waker; what wakes it from here on makes the task run again.
    fn poll<T>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.queued.store(false, Ordering::Relaxed);
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        }
    }
}

impl Executor {
    fn new(seed: u64) -> Self {
        Executor {
            seed,
            random: RefCell::new(Random::new(seed)),
            clock: Rc::default(),
            wall_off_ms: Cell::new(0),
            next_key: Cell::new(MAIN + 1),
            tasks: RefCell::default(),
            woken: Arc::default(),
            ready: RefCell::default(),
        }
    }

    /// The next task to run, after the clock has leapt to the next deadline if none can.
    fn next_ready(&self) -> u64 {
        let mut random = self.random.borrow_mut();
        self.clock.advance(1 + random.below(POLL_NS_MAX));
        loop {
            let mut ready = self.ready.borrow_mut();
            self.woken.drain_into(&mut ready);
            if !ready.is_empty() {
                let at = random.below(ready.len() as u64) as usize;
                return ready.swap_remove(at);
            }
            assert!(
                self.clock.leap(),
                "deadlock with seed {}: {} tasks besides main, and none can ever run again",
                self.seed,
                self.tasks.borrow().len(),
            );
        }
    }

    fn poll(&self, key: u64) {
        // A task that ended may still have been woken.
        let Some((mut future, waker)) = self.tasks.borrow_mut().get_mut(&key).map(|task| {
            let future = task.future.take().expect("a task is not polled inside its own poll");
            (future, Arc::clone(&task.waker))
        }) else {
            return;
        };
        match waker.poll(|context| future.as_mut().poll(context)) {
            Poll::Ready(()) => drop(self.tasks.borrow_mut().remove(&key)),
            Poll::Pending => {
                if let Some(task) = self.tasks.borrow_mut().get_mut(&key) {
                    task.future = Some(future);
                }
            }
        }
    }

    /// Drops all tasks, those too that are spawned while others are dropped.
    fn drop_tasks(&self) {
        loop {
            let Some((_, task)) = self.tasks.borrow_mut().pop_first() else { break };
            drop(task);
        }
    }
}

impl Twin for Executor {
    fn spawn(&self, _queue: Option<Queue>, future: LocalBoxFuture<'static, ()>) {
        let key = self.next_key.replace(self.next_key.get() + 1);
        let waker = self.woken.waker(key);
        self.tasks
            .borrow_mut()
            .insert(key, SimTask { future: Some(future), waker: Arc::clone(&waker) });
        waker.wake();
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn wall_ms(&self) -> i64 {
        EPOCH_MS + (self.clock.now_ns() / 1_000_000) as i64 + self.wall_off_ms.get()
    }

    fn jump_wall(&self, by_ms: i64) {
        self.wall_off_ms.set(self.wall_off_ms.get() + by_ms);
    }

    fn sleep_until(&self, deadline_ns: u64) -> LocalBoxFuture<'static, ()> {
        let mut sleeper = self.clock.sleeper(deadline_ns);
        Box::pin(poll_fn(move |context| sleeper.poll(context)))
    }

    fn preempts(&self) -> bool {
        self.random.borrow_mut().chance(PREEMPT_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::clock::Instant;
    use crate::runtime::{self, spawn};

    /// The order in which five tasks pass three points.
    fn order(seed: u64) -> Vec<u8> {
        run(seed, async {
            let passed = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..5)
                .map(|name| {
                    let passed = Rc::clone(&passed);
                    spawn(async move {
                        for _ in 0..3 {
                            passed.borrow_mut().push(name);
                            runtime::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            passed.take()
        })
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(order(1), order(1));
        assert!((2..10).any(|seed| order(seed) != order(1)));
    }

    #[test]
    fn time_is_virtual() {
        run(3, async {
            let start = Instant::now();
            runtime::sleep(Duration::from_hours(1)).await;
            let slept = start.elapsed();
            assert!(slept >= Duration::from_hours(1) && slept < Duration::from_secs(3601));
            let never = std::future::pending::<()>();
            runtime::timeout(Duration::from_secs(5), never).await.unwrap_err();
        });
    }

    #[test]
    #[should_panic(expected = "deadlock with seed 4")]
    fn a_deadlock_names_the_seed() {
        run(4, std::future::pending::<()>());
    }

    #[test]
    fn tasks_left_over_are_dropped() {
        let held = Rc::new(());
        let clone = Rc::clone(&held);
        run(5, async move {
            spawn(async move {
                std::future::pending::<()>().await;
                drop(clone);
            })
            .detach();
            runtime::yield_now().await;
        });
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
