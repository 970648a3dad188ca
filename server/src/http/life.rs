//! What a connection is doing, since when, and until when it may.
//!
//! One [`Life`] a connection, told by the codec (bytes came, a write is stuck) and by the service (a request began, an
//! answer ended). One sweep a second over all connections of a core ends those past their deadline; no connection has a
//! timer of its own, and hyper's own timers, which want to be sent between threads, are not used.

use std::cell::Cell;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tidemark_core::runtime::clock::Instant;
use tidemark_core::runtime::mailbox::local::Notify;

use crate::limits::{HEAD_TIMEOUT, WRITE_STALL_MAX};

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for a request.
    Idle,
    /// The head of a request is coming.
    Head,
    /// A request is being served, its body read or its answer made.
    Busy,
}

/// The life of one connection.
pub(crate) struct Life {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    stuck_since: Cell<Option<Instant>>,
    idle_max: Duration,
    client: Option<SocketAddr>,
    ended: Cell<bool>,
    end: Notify,
}

impl Life {
    /// A connection that was just accepted.
    pub(crate) fn new(idle_max: Duration, client: Option<SocketAddr>) -> Rc<Self> {
        Rc::new(Life {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(Instant::now()),
            stuck_since: Cell::new(None),
            idle_max,
            client,
            ended: Cell::new(false),
            end: Notify::new(),
        })
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    /// Whether it waits for a request.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// Bytes were read; the first ones after idling begin a head.
    pub(crate) fn bytes_came(&self) {
        if self.is_idle() {
            self.enter(Phase::Head);
        }
    }

    /// A write was taken by the kernel, or was not.
    pub(crate) fn write_moved(&self, moved: bool) {
        if moved {
            self.stuck_since.set(None);
        } else if self.stuck_since.get().is_none() {
            self.stuck_since.set(Some(Instant::now()));
        }
    }

    /// A request is being served until the guard is dropped, which the last byte of the answer does.
    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        self.enter(Phase::Busy);
        Busy(Rc::clone(self))
    }

    /// Since when it idles, if it does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.is_idle() && !self.ended.get()).then(|| self.since.get())
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let longer = |since: Instant, max: Duration| now.duration_since(since) >= max;
        let phase = match self.phase.get() {
            Phase::Idle => longer(self.since.get(), self.idle_max),
            Phase::Head => longer(self.since.get(), HEAD_TIMEOUT),
            Phase::Busy => false,
        };
        phase || self.stuck_since.get().is_some_and(|since| longer(since, WRITE_STALL_MAX))
    }

    /// Ends the connection where it stands.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.end.notify_all();
    }

    /// Ready once [`end`](Life::end) was called.
    pub(crate) async fn ended(&self) {
        loop {
            let end = self.end.notified();
            if self.ended.get() {
                return;
            }
            end.await;
        }
    }
}

/// Held while a request is served.
pub(crate) struct Busy(Rc<Life>);

impl Busy {
    /// Who is served.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.0.client
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// The connections of one core.
#[derive(Default)]
pub(crate) struct Lives {
    all: RefCell<Vec<Rc<Life>>>,
}

impl Lives {
    /// Adds one.
    pub(crate) fn insert(&self, life: &Rc<Life>) {
        self.all.borrow_mut().push(Rc::clone(life));
    }

    /// Takes one out.
    pub(crate) fn remove(&self, life: &Rc<Life>) {
        self.all.borrow_mut().retain(|other| !Rc::ptr_eq(other, life));
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Ends those past their deadline; returns how many.
    pub(crate) fn sweep(&self) -> u64 {
        let now = Instant::now();
        let all = self.all.borrow();
        let overdue = all.iter().filter(|life| life.is_overdue(now) && !life.ended.get());
        overdue.map(|life| life.end()).count() as u64
    }

    /// Ends the one that idles longest, to make room; says whether there was one.
    pub(crate) fn evict_idle(&self) -> bool {
        let all = self.all.borrow();
        let oldest =
            all.iter().filter_map(|life| Some((life.idle_since()?, life))).min_by_key(|(s, _)| *s);
        oldest.map(|(_, life)| life.end()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use tidemark_core::runtime::{sim, sleep, spawn};

    use super::*;

    const IDLE: Duration = Duration::from_mins(1);

    #[test]
    fn each_phase_has_its_deadline() {
        sim::run(1, async {
            let lives = Lives::default();
            let (idle, head, busy, stuck) = (
                Life::new(IDLE, None),
                Life::new(IDLE, None),
                Life::new(IDLE, None),
                Life::new(IDLE, None),
            );
            for life in [&idle, &head, &busy, &stuck] {
                lives.insert(life);
            }
            head.bytes_came();
            let serving = busy.busy();
            let answering = stuck.busy();
            assert_eq!(lives.sweep(), 0);
            sleep(HEAD_TIMEOUT).await;
            assert_eq!(lives.sweep(), 1, "the slow head");
            stuck.write_moved(false);
            sleep(WRITE_STALL_MAX).await;
            assert_eq!(lives.sweep(), 1, "the client that does not read");
            sleep(IDLE).await;
            assert_eq!(lives.sweep(), 1, "the idle one");
            drop((serving, answering));
            assert!(busy.idle_since().is_some());
            assert!(lives.evict_idle());
            lives.remove(&busy);
            assert_eq!(lives.len(), 3);
            assert!(!lives.evict_idle());
        });
    }

    #[test]
    fn ending_wakes_the_connection() {
        sim::run(2, async {
            let life = Life::new(IDLE, None);
            let waiting = spawn({
                let life = Rc::clone(&life);
                async move { life.ended().await }
            });
            life.end();
            waiting.await;
        });
    }
}
