//! `/api/v1/notifications` and `notifications/live`: what the operator should know. A configuration that could not be loaded is one,
//! until one is loaded; and that the server stops.
//!
//! Who listens live hears of each once when it begins and once, no longer active, when it ends, as server-sent events; who comes
//! later hears first of what there is. A listener beyond the bound is turned away, as in Prometheus.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use tidemark_core::runtime::mailbox::local::channel;
use tidemark_core::runtime::{Queue, clock, spawn_into};

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::http::stream::Pieces;
use crate::limits::PIECES_WAITING;
use crate::node::{Load, Node};
use crate::time::Rfc3339;

const EVENTS: &str = "text/event-stream";

/// Something that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Notification {
    text: &'static str,
    date: String,
    active: bool,
}

impl Notification {
    fn new(text: &'static str, time_ms: i64, active: bool) -> Self {
        Notification { text, date: Rfc3339(time_ms).to_string(), active }
    }

    /// What a load of the configuration says, if it says anything.
    fn of(load: Load) -> Option<Self> {
        (!load.succeeded)
            .then(|| Notification::new("Configuration reload has failed.", load.time_ms, true))
    }

    /// As a server-sent event.
    fn event(&self) -> Bytes {
        let json = serde_json::to_string(self).expect("texts and a boolean");
        format!("data: {json}\n\n").into()
    }
}

/// Those that are active.
pub(crate) async fn notifications(node: Rc<Node>, _: Request) -> Answer {
    Answer::data(&Notification::of(node.load()).into_iter().collect::<Vec<_>>())
}

/// All, as they come.
pub(crate) async fn live(node: Rc<Node>, _: Request) -> Answer {
    let Some(place) = node.listeners.try_acquire(1) else {
        return Answer::empty(StatusCode::NO_CONTENT);
    };
    let (sender, receiver) = channel(PIECES_WAITING);
    let teller = spawn_into(Queue::Control, async move {
        let _place = place;
        let tell = async |notification: Notification| sender.send(notification.event()).await;
        // Who has gone takes this task along.
        let _ = until_stopped(&node, follow(&node, tell)).await;
        let text = "Tidemark is shutting down and gracefully stopping all operations.";
        let _ = sender.send(Notification::new(text, clock::now_ms(), true).event()).await;
    });
    Answer::new(StatusCode::OK, EVENTS, Bytes::new())
        .with(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .followed_by_pieces(Pieces::from_channel(receiver, teller))
}

async fn until_stopped<T>(node: &Node, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(node.stopping())).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Tells of every change.
async fn follow<E>(
    node: &Node,
    tell: impl AsyncFn(Notification) -> Result<(), E>,
) -> Result<(), E> {
    let mut told: Option<Notification> = None;
    loop {
        let changed = node.load_changed.notified();
        let now = Notification::of(node.load());
        if now != told {
            if let Some(over) = told.take() {
                tell(Notification { active: false, ..over }).await?;
            }
            if let Some(begun) = &now {
                tell(begun.clone()).await?;
            }
            told = now;
        }
        changed.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        assert_eq!(Notification::of(Load { succeeded: true, time_ms: 0 }), None);
        let failed = Notification::of(Load { succeeded: false, time_ms: 0 }).unwrap();
        assert_eq!(
            failed.event(),
            "data: {\"text\":\"Configuration reload has failed.\",\"date\":\"1970-01-01T00:00:00.000Z\",\"active\":true}\n\n"
        );
    }
}
