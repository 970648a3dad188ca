//! Functions shipped from core to core.
//!
//! A call is one boxed function in one message; its result comes back as one message with the call's number. A caller
//! that is dropped sends a cancellation, so that the fragments of an abandoned query end on every core. The task that
//! serves the inbox never waits for room in another inbox, so full mailboxes cannot wait for each other in a circle.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::pin::pin;

use futures_util::future::{self, Either, LocalBoxFuture};
use hashbrown::HashMap;

use super::Shards;
use crate::error::{Error, Result};
use crate::limits::CALLS_IN_FLIGHT_MAX;
use crate::runtime::mailbox::local::{OneshotSender, oneshot};
use crate::runtime::mailbox::{Inbox, Peers};
use crate::runtime::{Queue, spawn_into};

type Value = Box<dyn Any + Send>;
type Function = Box<dyn FnOnce(Shards) -> LocalBoxFuture<'static, Value> + Send>;

/// What travels between cores.
pub struct Message(Letter);

enum Letter {
    Call { number: u64, queue: Queue, function: Function },
    Result { number: u64, value: Value },
    Cancel { number: u64 },
}

/// The calls that one core has made and those that it serves.
pub(super) struct Calls {
    peers: Peers<Message>,
    next: Cell<u64>,
    /// Calls made, by number, whose results are awaited: at most [`CALLS_IN_FLIGHT_MAX`].
    awaited: RefCell<HashMap<u64, OneshotSender<Value>>>,
    /// Calls served, by caller and number; dropping or sending cancels. The callers' bounds bound it.
    served: RefCell<HashMap<(usize, u64), OneshotSender<()>>>,
}

impl Calls {
    pub(super) fn new(peers: Peers<Message>) -> Self {
        Calls { peers, next: Cell::new(0), awaited: RefCell::default(), served: RefCell::default() }
    }

    pub(super) fn core(&self) -> usize {
        self.peers.core()
    }

    pub(super) fn cores(&self) -> usize {
        self.peers.cores()
    }

    /// Runs `function` on core `to`, which may be gone; nobody waits for the end of it.
    pub(super) async fn tell(&self, to: usize, function: impl FnOnce(Shards) + Send + 'static) {
        let function: Function = Box::new(move |shards| {
            function(shards);
            Box::pin(future::ready(Box::new(()) as Value))
        });
        let call = Letter::Call { number: self.number(), queue: Queue::Control, function };
        let _ = self.peers.send(to, Message(call)).await;
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Runs `function` in `queue` of core `to`, which is not this one.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        to: usize,
        queue: Queue,
        function: impl FnOnce(Shards) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> Result<T> {
        if self.awaited.borrow().len() >= CALLS_IN_FLIGHT_MAX {
            return Err(Error::Overloaded { what: "too many calls between cores" });
        }
        let number = self.number();
        let (sender, result) = oneshot();
        self.awaited.borrow_mut().insert(number, sender);
        let awaiting = Awaiting { calls: self, to, number };
        let function: Function = Box::new(move |shards| {
            let running = function(shards);
            Box::pin(async move { Box::new(running.await) as Value })
        });
        let call = Message(Letter::Call { number, queue, function });
        self.peers.send(to, call).await.map_err(|_| Error::Closing)?;
        let value = result.await.map_err(|_| Error::Closing)?;
        drop(awaiting);
        Ok(*value.downcast().expect("a result has the type that its call asked for"))
    }

    async fn reply(&self, to: usize, number: u64, value: Value) {
        // A caller that is gone wants no answer.
        let _ = self.peers.send(to, Message(Letter::Result { number, value })).await;
    }
}

/// A call under way; dropped before the result is there, it cancels the call.
struct Awaiting<'a> {
    calls: &'a Calls,
    to: usize,
    number: u64,
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        if self.calls.awaited.borrow_mut().remove(&self.number).is_some() {
            // Without room for it the call runs to its end or its deadline, and its result is thrown away.
            let cancel = Message(Letter::Cancel { number: self.number });
            let _ = self.calls.peers.try_send(self.to, cancel);
        }
    }
}

/// Serves the inbox of a core until every other core is gone.
pub(super) async fn serve(shards: Shards, mut inbox: Inbox<Message>) {
    while let Some((from, Message(letter))) = inbox.recv().await {
        let calls = shards.calls();
        match letter {
            Letter::Call { number, queue, function } => {
                start(&shards, from, number, queue, function);
            }
            Letter::Result { number, value } => {
                let awaited = calls.awaited.borrow_mut().remove(&number);
                if let Some(awaited) = awaited {
                    let _ = awaited.send(value);
                }
            }
            Letter::Cancel { number } => {
                drop(calls.served.borrow_mut().remove(&(from, number)));
            }
        }
    }
}

fn start(shards: &Shards, from: usize, number: u64, queue: Queue, function: Function) {
    let (cancel, canceled) = oneshot();
    shards.calls().served.borrow_mut().insert((from, number), cancel);
    let shards = shards.clone();
    let task = async move {
        let running = function(shards.clone());
        if let Either::Left((value, _)) = future::select(running, pin!(canceled)).await {
            shards.calls().served.borrow_mut().remove(&(from, number));
            shards.calls().reply(from, number, value).await;
        }
    };
    spawn_into(queue, task).detach();
}
