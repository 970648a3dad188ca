//! A fair counting semaphore.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Counts permits, for instance tasks that may run or bytes that may be held. Fair: a large request is not overtaken.
#[derive(Clone)]
pub struct Semaphore(Rc<RefCell<Permits>>);

struct Permits {
    available: usize,
    next_ticket: u64,
    /// Who waits, in the order of coming.
    queued: BTreeMap<u64, Request>,
    /// Who may go on but was not polled yet, with the permits already taken.
    granted: BTreeMap<u64, usize>,
}

struct Request {
    permits: usize,
    waker: Waker,
}

impl Permits {
    /// Serves the waiting, first come first served, as far as the permits go.
    fn grant(&mut self) {
        while let Some(first) = self.queued.first_entry() {
            if first.get().permits > self.available {
                break;
            }
            let (ticket, request) = first.remove_entry();
            self.available -= request.permits;
            self.granted.insert(ticket, request.permits);
            request.waker.wake();
        }
    }

    /// Whether nobody waits and `permits` are there.
    fn free(&self, permits: usize) -> bool {
        self.available >= permits && self.queued.is_empty()
    }
}

impl Semaphore {
    /// Begins with `permits`.
    pub fn new(permits: usize) -> Self {
        Semaphore(Rc::new(RefCell::new(Permits {
            available: permits,
            next_ticket: 0,
            queued: BTreeMap::new(),
            granted: BTreeMap::new(),
        })))
    }

    /// Permits nobody holds.
    pub fn available(&self) -> usize {
        self.0.borrow().available
    }

    /// Takes `permits`, waiting for its turn. A request larger than the semaphore ever was waits for ever.
    pub fn acquire(&self, permits: usize) -> Acquire {
        Acquire { semaphore: self.clone(), permits, ticket: None }
    }

    /// Takes `permits` if they are there and nobody waits before us.
    pub fn try_acquire(&self, permits: usize) -> Option<Permit> {
        let mut state = self.0.borrow_mut();
        if !state.free(permits) {
            return None;
        }
        state.available -= permits;
        Some(Permit { semaphore: self.clone(), permits })
    }

    /// Gives `permits` back.
    pub(super) fn release(&self, permits: usize) {
        let mut state = self.0.borrow_mut();
        state.available += permits;
        state.grant();
    }
}

/// Permits taken; dropping it gives them back.
#[must_use = "the permits return when this is dropped"]
pub struct Permit {
    semaphore: Semaphore,
    permits: usize,
}

impl Permit {
    /// Keeps `permits` and gives the rest back.
    pub fn shrink(&mut self, permits: usize) {
        if let Some(surplus) = self.permits.checked_sub(permits) {
            self.permits = permits;
            self.semaphore.release(surplus);
        }
    }
}

impl Permit {
    /// Keeps the permits out of the semaphore until somebody [releases](Semaphore::release) as many.
    pub(super) fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release(self.permits);
    }
}

/// The future of [`Semaphore::acquire`].
pub struct Acquire {
    semaphore: Semaphore,
    permits: usize,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let this = &mut *self;
        let mut state = this.semaphore.0.borrow_mut();
        match this.ticket {
            None if state.free(this.permits) => state.available -= this.permits,
            Some(ticket) if state.granted.remove(&ticket).is_some() => this.ticket = None,
            None | Some(_) => {
                let ticket = *this.ticket.get_or_insert_with(|| {
                    state.next_ticket += 1;
                    state.next_ticket
                });
                let request = Request { permits: this.permits, waker: cx.waker().clone() };
                state.queued.insert(ticket, request);
                return Poll::Pending;
            }
        }
        drop(state);
        Poll::Ready(Permit { semaphore: this.semaphore.clone(), permits: this.permits })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.semaphore.0.borrow_mut();
        state.queued.remove(&ticket);
        state.available += state.granted.remove(&ticket).unwrap_or(0);
        // The next one may fit where this one did not.
        state.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_semaphore_is_fair_and_forgets_who_left() {
        let semaphore = Semaphore::new(2);
        let both = semaphore.try_acquire(2).unwrap();
        let mut large = Box::pin(semaphore.acquire(2));
        let mut small = Box::pin(semaphore.acquire(1));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(small.as_mut().now_or_never().is_none());
        drop(both);
        assert!(small.as_mut().now_or_never().is_none(), "the large request came first");
        assert!(semaphore.try_acquire(1).is_none());
        drop(large);
        let mut permit = small.now_or_never().unwrap();
        assert_eq!(semaphore.available(), 1);
        permit.shrink(0);
        assert_eq!(semaphore.available(), 2);
        drop(permit);
        assert_eq!(semaphore.available(), 2);
    }
}
