//! What scraping needs of the world, as two traits: somebody who fetches and somebody who stores.
//!
//! The server gives an HTTP client over its sockets and the shards; tests give a script and a list.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tidemark_core::append::{AppendBatch, AppendOutcome};
use tidemark_core::error::Error as StorageError;

use super::job::Job;
use super::room::Room;

/// How much a fetch may take.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Longest body as it comes over the wire, in bytes.
    pub body_bytes_max: usize,
    /// From the connection to the last byte of the body, redirects included.
    pub timeout: Duration,
    /// What all bodies of the core may take together.
    pub room: Room,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It took longer than [`FetchLimits::timeout`].
    #[error("context deadline exceeded: no complete response within {0:?}")]
    Timeout(Duration),
    /// The body is longer than [`FetchLimits::body_bytes_max`].
    #[error("body size limit exceeded")]
    BodyTooLarge,
    /// The bodies of all targets together take all the room there is.
    #[error("no room for the body: those of all targets together hold too much memory")]
    NoRoom,
    /// No connection: the name is unknown, nobody listens, TLS fails. Says which.
    #[error("{0}")]
    Connect(String),
    /// The connection broke, or what came is not HTTP. Says where.
    #[error("{0}")]
    Broken(String),
}

/// The name of the job on whose behalf a request is made: an extension of every request, by which the client finds the
/// credentials, TLS settings and proxy to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobName(pub Arc<str>);

/// Fetches over HTTP.
pub trait Fetch {
    /// Sends `request`, whose URI is absolute, and reads the whole response. Content codings are left as they are.
    fn fetch(
        &self,
        request: http::Request<Bytes>,
        limits: FetchLimits,
    ) -> LocalBoxFuture<'_, Result<http::Response<Bytes>, FetchError>>;
}

/// Writes down which scrapes failed, where a job asks for that.
pub trait FailureLog {
    /// One scrape of a target of `job` failed; called only if [`Job::failure_log_file`] names a file.
    fn failed(&self, job: &Job, url: &str, error: &str);
}

impl FailureLog for () {
    fn failed(&self, _: &Job, _: &str, _: &str) {}
}

/// Stores samples.
pub trait Append {
    /// How many shards there are.
    fn shard_count(&self) -> u32;

    /// Stores each batch in its shard; ready when they are as durable as the settings ask.
    fn append(
        &self,
        batches: Vec<(u32, AppendBatch)>,
    ) -> LocalBoxFuture<'_, Result<AppendOutcome, StorageError>>;
}
