//! Messages: between cores ([`mesh`]), inside one core ([`local`]), and to or from other threads ([`external`]).
//!
//! Every channel is bounded. A full one makes the sender wait, or tells it so.
//!
//! The mesh is one bounded lock-free queue per receiving core. A send is a push and, when the receiver waits, a wake of its
//! task; batches make both cheap. Messages from one core to another arrive in the order they were sent in. A task that serves
//! an inbox must not itself wait for a send (spawn a task for the answer, or use a oneshot): two full cores would wait for each
//! other.

pub mod external;
pub mod local;
mod port;

use local::Semaphore;
use port::Port;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiver is gone")]
pub struct Closed;

/// Why a message could not be left; it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrySendError<M> {
    /// No room now.
    Full(M),
    /// The receiver is gone.
    Closed(M),
}

/// What becomes the [`Peers`] and the [`Inbox`] of each core: made before the executors start, cloned into each.
pub struct Mesh<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Mesh { shared: Arc::clone(&self.shared) }
    }
}

/// The queue into one core, with the sender's number.
type Letters<M> = Arc<Port<(u32, M)>>;

struct Shared<M> {
    ports: Box<[Letters<M>]>,
    joined: Box<[AtomicBool]>,
}

/// Makes a mesh of `cores` cores, each with room for `capacity` messages from all others together.
pub fn mesh<M: Send + 'static>(cores: usize, capacity: usize) -> Mesh<M> {
    let port = |_| Arc::new(Port::new(capacity, cores));
    Mesh {
        shared: Arc::new(Shared {
            ports: (0..cores).map(port).collect(),
            joined: (0..cores).map(|_| false.into()).collect(),
        }),
    }
}

impl<M: Send + 'static> Mesh<M> {
    /// Takes the two ends of `core`, on the thread of that core.
    ///
    /// # Panics
    /// When `core` is no core of this mesh, or was taken before.
    pub fn join(self, core: usize) -> (Peers<M>, Inbox<M>) {
        let joined = self.shared.joined[core].swap(true, Ordering::AcqRel);
        assert!(!joined, "core {core} joins a mesh once");
        let port = Arc::clone(&self.shared.ports[core]);
        let turns = self.shared.ports.iter().map(|_| Semaphore::new(1)).collect();
        let peers = Peers(Rc::new(PeersInner { core, shared: self.shared, turns }));
        (peers, Inbox { port })
    }
}

impl<M> Drop for Shared<M> {
    /// The last handle on the mesh is gone: cores that never joined cannot send any more.
    fn drop(&mut self) {
        for joined in &mut self.joined {
            if !*joined.get_mut() {
                self.ports.iter().for_each(|port| port.sender_gone());
            }
        }
    }
}

/// The sending end of one core, towards every core (itself included).
pub struct Peers<M>(Rc<PeersInner<M>>);

impl<M> Clone for Peers<M> {
    fn clone(&self) -> Self {
        Peers(Rc::clone(&self.0))
    }
}

struct PeersInner<M> {
    core: usize,
    shared: Arc<Shared<M>>,
    /// One for each receiver: of this core's tasks, one at a time waits for room there, in the order they came.
    turns: Box<[Semaphore]>,
}

impl<M> Drop for PeersInner<M> {
    fn drop(&mut self) {
        self.shared.ports.iter().for_each(|port| port.sender_gone());
    }
}

impl<M: Send + 'static> Peers<M> {
    /// The core these ends belong to.
    pub fn core(&self) -> usize {
        self.0.core
    }

    /// How many cores the mesh has.
    pub fn cores(&self) -> usize {
        self.0.shared.ports.len()
    }

    /// Leaves `message` in the inbox of core `to`, waiting for room there.
    pub async fn send(&self, to: usize, message: M) -> Result<(), Closed> {
        let turn = self.0.turns[to].acquire(1).await;
        let sent = self.0.shared.ports[to].push(self.0.core, (self.0.core as u32, message)).await;
        drop(turn);
        sent
    }

    /// Leaves `message` in the inbox of core `to` if there is room now.
    pub fn try_send(&self, to: usize, message: M) -> Result<(), TrySendError<M>> {
        if self.0.turns[to].available() == 0 {
            return Err(TrySendError::Full(message));
        }
        match self.0.shared.ports[to].try_push((self.0.core as u32, message)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full((_, message))) => Err(TrySendError::Full(message)),
            Err(TrySendError::Closed((_, message))) => Err(TrySendError::Closed(message)),
        }
    }
}

/// The receiving end of one core.
pub struct Inbox<M> {
    port: Letters<M>,
}

impl<M: Send + 'static> Inbox<M> {
    /// The next message and the core it comes from; `None` once every sender is gone and everything was received.
    pub async fn recv(&mut self) -> Option<(usize, M)> {
        self.port.pop().await.map(|(from, message)| (from as usize, message))
    }

    /// The next message if one is there.
    pub fn try_recv(&mut self) -> Option<(usize, M)> {
        self.port.try_pop().map(|(from, message)| (from as usize, message))
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.port.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn an_inbox_ends_when_nobody_can_send_any_more() {
        let mesh = mesh::<u8>(2, 4);
        let (peers, mut inbox) = mesh.clone().join(0);
        assert_eq!((peers.core(), peers.cores()), (0, 2));
        peers.try_send(0, 7).unwrap();
        drop(peers);
        assert_eq!(inbox.try_recv(), Some((0, 7)));
        assert_eq!(inbox.recv().now_or_never(), None, "the other core may still join");
        drop(mesh);
        assert_eq!(inbox.recv().now_or_never(), Some(None));
    }

    #[test]
    fn the_bound_holds_and_the_order_too() {
        let mesh = mesh::<u8>(1, 2);
        let (peers, mut inbox) = mesh.join(0);
        peers.try_send(0, 1).unwrap();
        peers.try_send(0, 2).unwrap();
        let mut third = Box::pin(peers.send(0, 3));
        let mut fourth = Box::pin(peers.send(0, 4));
        assert_eq!(third.as_mut().now_or_never(), None);
        assert_eq!(fourth.as_mut().now_or_never(), None);
        assert_eq!(inbox.try_recv(), Some((0, 1)));
        assert_eq!(peers.try_send(0, 5), Err(TrySendError::Full(5)), "others wait already");
        assert_eq!(third.now_or_never(), Some(Ok(())));
        drop(inbox);
        assert_eq!(fourth.now_or_never(), Some(Err(Closed)));
        assert_eq!(peers.try_send(0, 6), Err(TrySendError::Closed(6)));
    }

    #[test]
    #[should_panic(expected = "core 0 joins a mesh once")]
    fn a_core_joins_once() {
        let mesh = mesh::<u8>(1, 1);
        drop(mesh.clone().join(0));
        drop(mesh.join(0));
    }
}
