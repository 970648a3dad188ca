//! Virtual time: a clock that the executor moves, and the sleepers that wait for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The virtual clock of one simulation.
#[derive(Default)]
pub(super) struct Clock {
    now_ns: Cell<u64>,
    /// Wakers of sleepers, by deadline and a number that tells equal deadlines apart.
    sleepers: RefCell<BTreeMap<(u64, u64), Waker>>,
    next_number: Cell<u64>,
}

impl Clock {
    /// Nanoseconds since the simulation began.
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// Moves on by `ns` and wakes whose time has come.
    pub(super) fn advance(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get() + ns);
        let mut sleepers = self.sleepers.borrow_mut();
        while let Some(sleeper) = sleepers.first_entry()
            && sleeper.key().0 <= self.now_ns.get()
        {
            sleeper.remove().wake();
        }
    }

    /// Leaps to the next deadline; false when nobody sleeps.
    pub(super) fn leap(&self) -> bool {
        let next = self.sleepers.borrow().keys().next().map(|&(deadline, _)| deadline);
        if let Some(deadline) = next {
            self.advance(deadline.saturating_sub(self.now_ns.get()));
        }
        next.is_some()
    }

    /// A sleeper that wakes at `deadline_ns`.
    pub(super) fn sleeper(self: &Rc<Self>, deadline_ns: u64) -> Sleeper {
        let number = self.next_number.replace(self.next_number.get() + 1);
        Sleeper { key: (deadline_ns, number), clock: Rc::clone(self) }
    }
}

/// One who sleeps; forgotten when dropped.
pub(super) struct Sleeper {
    key: (u64, u64),
    clock: Rc<Clock>,
}

impl Sleeper {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.key.0 <= self.clock.now_ns() {
            return Poll::Ready(());
        }
        self.clock.sleepers.borrow_mut().insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.sleepers.borrow_mut().remove(&self.key);
    }
}
