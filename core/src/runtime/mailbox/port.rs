//! A bounded queue into one core: several sending cores, one receiver, no lock.
//!
//! Both sides follow the same rule, so that no wake is lost: *announce that you wait, then look once more*. The receiver
//! announces itself in `receiver`; a sender in its slot of `senders`, counted in `blocked` so that the receiver need not look
//! into the slots while nobody waits. A full fence stands between announcing and looking on one side, and between moving the
//! queue and looking for who waits on the other; hence at least one of the two sees the other.

use super::{Closed, TrySendError};
use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::Poll;

pub(super) struct Port<T> {
    queue: ArrayQueue<T>,
    receiver: AtomicWaker,
    /// The receiver is gone.
    closed: AtomicBool,
    /// Senders that are not gone.
    open: AtomicUsize,
    /// Senders that wait for room.
    blocked: AtomicUsize,
    senders: Box<[AtomicWaker]>,
}

impl<T> Port<T> {
    /// Room for `capacity` values from senders numbered below `senders`.
    pub(super) fn new(capacity: usize, senders: usize) -> Self {
        Port {
            queue: ArrayQueue::new(capacity),
            receiver: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            open: AtomicUsize::new(senders),
            blocked: AtomicUsize::new(0),
            senders: (0..senders).map(|_| AtomicWaker::new()).collect(),
        }
    }

    pub(super) fn try_push(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(TrySendError::Closed(value));
        }
        self.queue.push(value).map_err(TrySendError::Full)?;
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            // The receiver left between the two looks: nobody else would drop the value, and with it the answer it may carry.
            self.drain();
        }
        self.receiver.wake();
        Ok(())
    }

    /// Pushes `value` as `sender`, waiting for room. At most one task of a sender may wait.
    pub(super) async fn push(&self, sender: usize, value: T) -> Result<(), Closed> {
        let mut value = match self.try_push(value) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Closed),
            Err(TrySendError::Full(value)) => Some(value),
        };
        let _blocked = Blocked::new(&self.blocked);
        poll_fn(|cx| {
            self.senders[sender].register(cx.waker());
            fence(Ordering::SeqCst);
            match self.try_push(value.take().expect("polled again only after `Full`")) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TrySendError::Closed(_)) => Poll::Ready(Err(Closed)),
                Err(TrySendError::Full(back)) => {
                    value = Some(back);
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub(super) fn try_pop(&self) -> Option<T> {
        let value = self.queue.pop()?;
        self.wake_blocked();
        Some(value)
    }

    /// The next value; `None` once all senders are gone and the queue is empty. At most one task may wait.
    pub(super) async fn pop(&self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(value) = self.try_pop() {
                return Poll::Ready(Some(value));
            }
            self.receiver.register(cx.waker());
            fence(Ordering::SeqCst);
            // Read before the queue: what a sender pushed before it left is still delivered.
            let open = self.open.load(Ordering::Acquire);
            match self.try_pop() {
                Some(value) => Poll::Ready(Some(value)),
                None if open == 0 => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A sender will never push again.
    pub(super) fn sender_gone(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.receiver.wake();
        }
    }

    /// The receiver will never pop again: refuses further values and drops those that wait.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.drain();
        self.wake_blocked();
    }

    fn drain(&self) {
        while self.queue.pop().is_some() {}
    }

    fn wake_blocked(&self) {
        fence(Ordering::SeqCst);
        if self.blocked.load(Ordering::Relaxed) > 0 {
            self.senders.iter().for_each(AtomicWaker::wake);
        }
    }
}

/// Counts a sender as blocked for as long as it lives.
struct Blocked<'a>(&'a AtomicUsize);

impl<'a> Blocked<'a> {
    fn new(blocked: &'a AtomicUsize) -> Self {
        blocked.fetch_add(1, Ordering::SeqCst);
        Blocked(blocked)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::task::noop_waker;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};
    use std::thread::{self, Thread};

    /// Miri runs the same code a thousand times slower.
    const VALUES: u32 = if cfg!(miri) { 100 } else { 20_000 };

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Awaits `future` on a plain thread: a lost wake hangs here.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn every_value_of_every_sender_arrives_in_its_order() {
        const SENDERS: usize = 3;
        let port = Port::new(4, SENDERS);
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let port = &port;
                scope.spawn(move || {
                    for n in 0..VALUES {
                        block_on(port.push(sender, (sender, n))).unwrap();
                    }
                    port.sender_gone();
                });
            }
            let mut next = [0; SENDERS];
            while let Some((sender, n)) = block_on(port.pop()) {
                assert_eq!(n, next[sender]);
                next[sender] += 1;
            }
            assert_eq!(next, [VALUES; SENDERS]);
        });
    }

    #[test]
    fn a_receiver_that_leaves_frees_senders_and_values() {
        let port = Port::new(1, 1);
        let value = Arc::new(());
        port.try_push(Arc::clone(&value)).unwrap();
        let mut blocked = pin!(port.push(0, Arc::clone(&value)));
        let waker = noop_waker();
        assert!(blocked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        port.close();
        assert_eq!(blocked.as_mut().now_or_never(), Some(Err(Closed)));
        assert!(matches!(port.try_push(Arc::clone(&value)), Err(TrySendError::Closed(_))));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_full_port_says_so() {
        let port = Port::new(2, 1);
        port.try_push(1).unwrap();
        port.try_push(2).unwrap();
        assert_eq!(port.try_push(3), Err(TrySendError::Full(3)));
        assert_eq!(port.try_pop(), Some(1));
        port.try_push(3).unwrap();
    }
}
