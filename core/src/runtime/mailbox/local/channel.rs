//! A bounded queue of values from several tasks to one.

use super::super::{Closed, TrySendError};
use super::semaphore::{Permit, Semaphore};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

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
