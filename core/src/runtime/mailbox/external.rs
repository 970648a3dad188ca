//! Messages between a core and any other thread (the control plane, the signal thread), both ways, bounded.
//!
//! Both ends are `Send` and `Clone`. On a core or in any other executor they are awaited; a plain thread blocks. Not for the
//! data path: cores talk through the [`mesh`](super::mesh).

use super::{Closed, TrySendError};

/// Room for `capacity` messages.
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = async_channel::bounded(capacity);
    (Sender(sender), Receiver(receiver))
}

/// The sending end.
pub struct Sender<T>(async_channel::Sender<T>);

/// The receiving end. Each message reaches one of the clones.
pub struct Receiver<T>(async_channel::Receiver<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver(self.0.clone())
    }
}

impl<T: Send> Sender<T> {
    /// Sends `message`, waiting for room.
    pub async fn send(&self, message: T) -> Result<(), Closed> {
        self.0.send(message).await.map_err(|_| Closed)
    }

    /// Sends `message`, blocking the thread until there is room: never on a core.
    pub fn send_blocking(&self, message: T) -> Result<(), Closed> {
        self.0.send_blocking(message).map_err(|_| Closed)
    }

    /// Sends `message` if there is room now.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(message).map_err(|error| match error {
            async_channel::TrySendError::Full(message) => TrySendError::Full(message),
            async_channel::TrySendError::Closed(message) => TrySendError::Closed(message),
        })
    }
}

impl<T: Send> Receiver<T> {
    /// The next message; `None` once all senders are gone and everything was received.
    pub async fn recv(&self) -> Option<T> {
        self.0.recv().await.ok()
    }

    /// The next message, blocking the thread until there is one: never on a core.
    pub fn recv_blocking(&self) -> Option<T> {
        self.0.recv_blocking().ok()
    }

    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// An answer for one question, from any thread to any other.
pub use futures_channel::oneshot;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_talk_both_ways_within_the_bound() {
        let (question, questions) = channel::<u32>(1);
        let (answer, answers) = channel(1);
        let thread = std::thread::spawn(move || {
            while let Some(n) = questions.recv_blocking() {
                answer.send_blocking(n * 2).unwrap();
            }
        });
        for n in 0..3 {
            question.send_blocking(n).unwrap();
            assert_eq!(answers.recv_blocking(), Some(n * 2));
        }
        drop(question);
        thread.join().unwrap();
        assert_eq!(answers.recv_blocking(), None);

        let (sender, receiver) = channel(1);
        sender.try_send('a').unwrap();
        assert_eq!(sender.try_send('b'), Err(TrySendError::Full('b')));
        drop(receiver);
        assert_eq!(sender.try_send('c'), Err(TrySendError::Closed('c')));
    }
}
