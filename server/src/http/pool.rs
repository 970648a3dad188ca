//! The connections of a client that nobody uses, by where they lead. One that was used last is used next, so that what is too much grows old and goes.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tidemark_core::runtime::clock::Instant;

use super::proxy::Origin;
use crate::limits::{CLIENT_IDLE_CONNECTIONS_MAX, CLIENT_IDLE_MAX, CLIENT_SWEEP_EVERY};

/// The sending half of a connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// A connection nobody uses.
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Idle {
    fn is_old(&self) -> bool {
        self.since.elapsed() >= CLIENT_IDLE_MAX
    }
}

/// See the module.
pub(super) struct Pool {
    idle: HashMap<Origin, Vec<Idle>>,
    /// How many in all.
    len: usize,
    /// When connections that are of no use any more were looked for.
    swept: Instant,
}

impl Pool {
    /// No connections.
    pub(super) fn new() -> Self {
        Pool { idle: HashMap::new(), len: 0, swept: Instant::now() }
    }

    /// A connection to `origin` that seems to be of use.
    pub(super) fn take(&mut self, origin: &Origin) -> Option<Sender> {
        let kept = self.idle.get_mut(origin)?;
        let mut found = None;
        while let Some(idle) = kept.pop() {
            self.len -= 1;
            if idle.sender.is_ready() && !idle.is_old() {
                found = Some(idle.sender);
                break;
            }
        }
        if kept.is_empty() {
            self.idle.remove(origin);
        }
        found
    }

    /// Keeps a connection whose answer was read whole, unless there are too many.
    pub(super) fn put(&mut self, origin: &Origin, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        // Looking for those of targets that are gone is a look at all: not each time.
        if self.len >= CLIENT_IDLE_CONNECTIONS_MAX && self.swept.elapsed() > CLIENT_SWEEP_EVERY {
            self.sweep();
        }
        if self.len < CLIENT_IDLE_CONNECTIONS_MAX {
            self.len += 1;
            let idle = Idle { sender, since: Instant::now() };
            self.idle.entry(origin.clone()).or_default().push(idle);
        }
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        self.idle.retain(|_, kept| {
            kept.retain(|idle| !idle.sender.is_closed() && !idle.is_old());
            !kept.is_empty()
        });
        self.len = self.idle.values().map(Vec::len).sum();
    }
}
