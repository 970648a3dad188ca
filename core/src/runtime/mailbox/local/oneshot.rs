//! One value, once.

use super::super::Closed;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

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
}
