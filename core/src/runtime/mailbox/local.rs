//! Waiting for one another inside a core: bounded [`channel`], [`oneshot`], [`Notify`], [`Semaphore`].
//!
//! No atomics: everything here is `Rc` and `RefCell` and stays on the thread that made it. Who waits is served in the order of
//! coming, and a future that is dropped while it waits leaves no trace. Each waiting future keeps one waker.

use super::{Closed, TrySendError};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
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
    /// By ticket, so in the order of coming.
    waiting: BTreeMap<u64, Request>,
}

struct Request {
    permits: usize,
    granted: bool,
    waker: Waker,
}

impl Permits {
    /// Serves the waiting, first come first served, as far as the permits go.
    fn grant(&mut self) {
        for request in self.waiting.values_mut().skip_while(|request| request.granted) {
            if request.permits > self.available {
                break;
            }
            self.available -= request.permits;
            request.granted = true;
            request.waker.wake_by_ref();
        }
    }

    /// Whether nobody waits and `permits` are there.
    fn free(&self, permits: usize) -> bool {
        self.available >= permits && self.waiting.values().all(|request| request.granted)
    }
}

impl Semaphore {
    /// Begins with `permits`.
    pub fn new(permits: usize) -> Self {
        Semaphore(Rc::new(RefCell::new(Permits {
            available: permits,
            next_ticket: 0,
            waiting: BTreeMap::new(),
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

    fn release(&self, permits: usize) {
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
    /// Keeps the permits out of the semaphore for good.
    fn forget(mut self) {
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
            None => {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                let (permits, waker) = (this.permits, cx.waker().clone());
                state.waiting.insert(ticket, Request { permits, granted: false, waker });
                this.ticket = Some(ticket);
                return Poll::Pending;
            }
            Some(ticket) => {
                let request = state.waiting.get_mut(&ticket).expect("waits until granted");
                if !request.granted {
                    request.waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                state.waiting.remove(&ticket);
                this.ticket = None;
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
        let request = state.waiting.remove(&ticket).expect("waits until granted");
        if request.granted {
            state.available += request.permits;
        }
        // The next one may fit where this one did not.
        state.grant();
    }
}

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

/// An answer for one question.
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, sender_gone: false, waker: None }));
    (OneshotSender(Rc::clone(&slot)), OneshotReceiver(slot))
}

struct Slot<T> {
    value: Option<T>,
    sender_gone: bool,
    waker: Option<Waker>,
}

/// Sends the one value.
pub struct OneshotSender<T>(Rc<RefCell<Slot<T>>>);

/// A future of the one value; [`Closed`] when the sender was dropped without one.
pub struct OneshotReceiver<T>(Rc<RefCell<Slot<T>>>);

impl<T> OneshotSender<T> {
    /// Hands `value` over, or back when nobody awaits it any more.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.0.borrow_mut().value = Some(value);
        Ok(())
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = self.0.borrow_mut();
            slot.sender_gone = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None if slot.sender_gone => Poll::Ready(Err(Closed)),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Room for `capacity` values.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Pipe {
        queue: RefCell::new(VecDeque::with_capacity(capacity)),
        room: Semaphore::new(capacity),
        senders: Cell::new(1),
        receiver_gone: Cell::new(false),
        receiver: RefCell::new(None),
    });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

struct Pipe<T> {
    queue: RefCell<VecDeque<T>>,
    /// A permit for every free place. A value in the queue has forgotten its permit; receiving it releases one.
    room: Semaphore,
    senders: Cell<usize>,
    receiver_gone: Cell<bool>,
    receiver: RefCell<Option<Waker>>,
}

impl<T> Pipe<T> {
    fn wake_receiver(&self) {
        let waker = self.receiver.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn put(&self, value: T, permit: Permit) {
        permit.forget();
        self.queue.borrow_mut().push_back(value);
        self.wake_receiver();
    }
}

/// The sending end.
pub struct Sender<T>(Rc<Pipe<T>>);

/// The receiving end.
pub struct Receiver<T>(Rc<Pipe<T>>);

impl<T> Sender<T> {
    /// Sends `value`, waiting for room.
    pub async fn send(&self, value: T) -> Result<(), Closed> {
        let permit = self.0.room.acquire(1).await;
        if self.0.receiver_gone.get() {
            return Err(Closed);
        }
        self.0.put(value, permit);
        Ok(())
    }

    /// Sends `value` if there is room now.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.0.receiver_gone.get() {
            return Err(TrySendError::Closed(value));
        }
        match self.0.room.try_acquire(1) {
            Some(permit) => {
                self.0.put(value, permit);
                Ok(())
            }
            None => Err(TrySendError::Full(value)),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.wake_receiver();
        }
    }
}

impl<T> Receiver<T> {
    /// The next value; `None` once all senders are gone and everything was received.
    pub async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| match self.try_recv() {
            Some(value) => Poll::Ready(Some(value)),
            None if self.0.senders.get() == 0 => Poll::Ready(None),
            None => {
                *self.0.receiver.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// The next value if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let value = self.0.queue.borrow_mut().pop_front()?;
        self.0.room.release(1);
        Some(value)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.set(true);
        let rest = std::mem::take(&mut *self.0.queue.borrow_mut());
        // Lets every waiting sender through, to find the receiver gone.
        self.0.room.release(usize::MAX / 2);
        drop(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;

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

    #[test]
    fn a_oneshot_answers_or_says_that_it_never_will() {
        let (sender, receiver) = oneshot();
        sender.send(1).unwrap();
        assert_eq!(receiver.now_or_never(), Some(Ok(1)));
        let (sender, receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(receiver.now_or_never(), Some(Err(Closed)));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert_eq!(sender.send(1), Err(1));
    }

    #[test]
    fn a_channel_keeps_its_bound_and_its_order() {
        let (sender, mut receiver) = channel(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        let mut waiting = Box::pin(sender.send(3));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(receiver.recv().now_or_never(), Some(Some(1)));
        assert_eq!(waiting.now_or_never(), Some(Ok(())));
        let second = sender.clone();
        drop(sender);
        assert_eq!(receiver.try_recv(), Some(2));
        assert_eq!(receiver.try_recv(), Some(3));
        assert_eq!(receiver.recv().now_or_never(), None);
        drop(second);
        assert_eq!(receiver.recv().now_or_never(), Some(None));

        let (sender, receiver) = channel(1);
        sender.try_send(1).unwrap();
        let mut waiting = Box::pin(sender.send(2));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(receiver);
        assert_eq!(waiting.now_or_never(), Some(Err(Closed)));
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    }
}
