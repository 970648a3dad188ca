//! Lists the objects of one kind in one namespace, then watches them.
//!
//! ```text
//! list in pages -> watch from the list's version -> ... every event and bookmark moves the version on ...
//!      ^                 |  ended or broken: watch again from there
//!      +-----------------+  410 Gone, the version is too old: list again
//! ```
//!
//! Until a list ends well nothing is taken away: targets stay while the API server is out of reach.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Request;
use serde::Deserialize;
use serde_json::Value;
use tidemark_ingest::discovery::kubernetes::{Event, Kind};
use tidemark_ingest::discovery::{Ask, DiscoveryError, with_query};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::super::http::HttpAsk;
use super::super::mechanisms::Context;
use super::super::refresh::Complaints;
use crate::config::discovery::Selector;
use crate::limits::CONTROL_LINE_BYTES_MAX;

/// How long an answer, or the head of a watch, may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// How long the server is asked to keep a watch open.
const WATCH_SECONDS: u64 = 300;

/// A watch that is open for longer is broken: the server promised to end it.
const WATCH_MAX: Duration = Duration::from_secs(WATCH_SECONDS + 30);

/// Pauses after failures, doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A watch that lasted so long was a good one.
const GOOD_WATCH: Duration = Duration::from_secs(5);

/// Objects of a page.
const PAGE: &str = "500";

/// What a watch tells the task that keeps the objects.
pub(super) enum Said {
    ListBegins(Kind, String),
    Page(Kind, String, Vec<Value>),
    ListEnds(Kind, String),
    Event(Kind, Event, Value),
}

impl Said {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Said::ListBegins(kind, _)
            | Said::Page(kind, ..)
            | Said::ListEnds(kind, _)
            | Said::Event(kind, ..) => *kind,
        }
    }
}

/// Why a list or a watch ended.
enum End {
    /// The server ended it.
    Quiet,
    /// Its version is too old.
    Gone,
    /// It failed.
    Failed(String),
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    r#continue: String,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Value,
}

/// See the module.
pub(super) struct Watch {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) url: String,
    pub(super) selector: Selector,
    pub(super) ask: Rc<HttpAsk>,
    pub(super) context: Rc<Context>,
    pub(super) sender: mpsc::Sender<Said>,
}

impl Watch {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let mut complaints = Complaints::new(&self.context);
        let mut pause = RETRY.0;
        let mut version = None;
        loop {
            let began = Instant::now();
            let end = match &mut version {
                None => match self.list().await {
                    Ok(listed) => {
                        version = Some(listed);
                        complaints.good();
                        continue;
                    }
                    Err(end) => end,
                },
                Some(version) => self.watch(version).await,
            };
            if began.elapsed() >= GOOD_WATCH {
                pause = RETRY.0;
            }
            match end {
                End::Quiet => complaints.good(),
                End::Gone => version = None,
                End::Failed(error) => {
                    self.context.stats.kubernetes_failures.add(1);
                    complaints.bad(&error);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Lists everything; gives the version to watch from.
    async fn list(&self) -> Result<String, End> {
        self.say(Said::ListBegins(self.kind, self.namespace.clone())).await;
        let mut next = String::new();
        loop {
            let request = self.request(&[("limit", PAGE), ("continue", &next)])?;
            let url = request.uri().to_string();
            let response = self.ask.ask(request).await.map_err(failed)?;
            let body = response.body();
            if !response.status().is_success() {
                return Err(refused(&url, response.status().as_u16(), body));
            }
            let page: Page =
                serde_json::from_slice(body).map_err(|e| End::Failed(format!("{url:?}: {e}")))?;
            let items = page.items.unwrap_or_default();
            self.say(Said::Page(self.kind, self.namespace.clone(), items)).await;
            next = page.metadata.r#continue;
            if next.is_empty() {
                self.say(Said::ListEnds(self.kind, self.namespace.clone())).await;
                return Ok(page.metadata.resource_version);
            }
        }
    }

    /// Watches from `version`, which moves on with each event.
    async fn watch(&self, version: &mut String) -> End {
        match timeout(WATCH_MAX, self.watch_on(version)).await {
            Ok(Ok(())) => End::Quiet,
            Ok(Err(end)) => end,
            Err(_) => End::Failed(format!("{:?}: the watch did not end in time", self.url)),
        }
    }

    async fn watch_on(&self, version: &mut String) -> Result<(), End> {
        let seconds = WATCH_SECONDS.to_string();
        let request = self.request(&[
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds),
        ])?;
        let url = request.uri().to_string();
        let broken = |error: String| End::Failed(format!("{url:?}: {error}"));
        let mut response = self.ask.open(request).await.map_err(&broken)?;
        if !response.status().is_success() {
            return Err(refused(&url, response.status().as_u16(), b""));
        }
        let mut buffer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| broken(e.to_string()))? {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end);
                buffer.advance(1);
                self.line(&line, version).await?;
            }
            if buffer.len() > CONTROL_LINE_BYTES_MAX {
                let long = format!("an event of more than {CONTROL_LINE_BYTES_MAX} bytes");
                return Err(broken(long));
            }
        }
        Ok(())
    }

    /// One line of a watch.
    async fn line(&self, line: &[u8], version: &mut String) -> Result<(), End> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Line { r#type, object } = serde_json::from_slice(line)
            .map_err(|e| End::Failed(format!("{:?}: an event that is none: {e}", self.url)))?;
        let event = match r#type.as_str() {
            "ADDED" | "MODIFIED" => Some(Event::Applied),
            "DELETED" => Some(Event::Deleted),
            "BOOKMARK" => None,
            "ERROR" if object["code"] == 410 => return Err(End::Gone),
            other => {
                let message = object["message"].as_str().unwrap_or("no message");
                return Err(End::Failed(format!("{:?}: {other}: {message}", self.url)));
            }
        };
        if let Some(new) = object["metadata"]["resourceVersion"].as_str() {
            new.clone_into(version);
        }
        if let Some(event) = event {
            self.say(Said::Event(self.kind, event, object)).await;
        }
        Ok(())
    }

    fn request(&self, pairs: &[(&str, &str)]) -> Result<Request<bytes::Bytes>, End> {
        let selectors = [
            ("labelSelector", self.selector.label.as_str()),
            ("fieldSelector", &self.selector.field),
        ];
        let pairs = pairs.iter().copied().chain(selectors).filter(|(_, value)| !value.is_empty());
        let url = with_query(&self.url, pairs);
        let request = Request::get(&url).header(http::header::ACCEPT, "application/json");
        request.body(bytes::Bytes::new()).map_err(|e| End::Failed(format!("{url:?}: {e}")))
    }

    async fn say(&self, said: Said) {
        // The other end is gone only if this task is about to end as well.
        let _ = self.sender.send(said).await;
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it maps errors")]
fn failed(error: DiscoveryError) -> End {
    End::Failed(error.to_string())
}

fn refused(url: &str, status: u16, body: &[u8]) -> End {
    if status == 410 {
        return End::Gone;
    }
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or_default();
    End::Failed(format!("{url:?}: server returned HTTP status {status}: {message}"))
}
