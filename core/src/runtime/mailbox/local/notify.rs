//! A bell without a message.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Tells tasks that something changed; they look for themselves what it was.
#[derive(Clone, Default)]
pub struct Notify(Rc<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Counts [`Notify::notify_all`].
    generation: Cell<u64>,
    next_ticket: Cell<u64>,
    wakers: RefCell<BTreeMap<u64, Waker>>,
}

impl Notify {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Notify::default()
    }

    /// Wakes every future that [`notified`](Notify::notified) has returned so far, whether it was polled yet or not.
    pub fn notify_all(&self) {
        self.0.generation.set(self.0.generation.get() + 1);
        let wakers = std::mem::take(&mut *self.0.wakers.borrow_mut());
        wakers.into_values().for_each(Waker::wake);
    }

    /// Ready after the next [`notify_all`](Notify::notify_all). Call it *before* looking at what is waited for, then await.
    pub fn notified(&self) -> Notified {
        Notified { waiting: Rc::clone(&self.0), since: self.0.generation.get(), ticket: None }
    }
}

/// The future of [`Notify::notified`].
pub struct Notified {
    waiting: Rc<Waiting>,
    since: u64,
    ticket: Option<u64>,
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.generation.get() != self.since {
            return Poll::Ready(());
        }
        let this = &mut *self;
        let next = &this.waiting.next_ticket;
        let ticket = *this.ticket.get_or_insert_with(|| next.replace(next.get() + 1));
        this.waiting.wakers.borrow_mut().insert(ticket, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.waiting.wakers.borrow_mut().remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    #[test]
    fn notify_reaches_all_that_asked_before() {
        let notify = Notify::new();
        let asked = [notify.notified(), notify.notified()];
        let mut polled = Box::pin(notify.notified());
        assert!(polled.as_mut().now_or_never().is_none());
        notify.notify_all();
        assert!(join_all(asked).now_or_never().is_some());
        assert!(polled.now_or_never().is_some());
        assert!(notify.notified().now_or_never().is_none());
        assert!(notify.0.wakers.borrow().is_empty());
    }
}
