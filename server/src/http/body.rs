//! Reading a request's body: bounded in size, in pauses and in what all of a core hold together.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tidemark_core::runtime::mailbox::local::{Permit, Semaphore};
use tidemark_core::runtime::timeout;

use super::answer::Answer;
use crate::limits::{BODIES_BYTES_MAX, BODY_STALL_MAX};

/// The bytes that bodies of one core may hold together.
#[derive(Clone)]
pub(crate) struct BodyBudget(Semaphore);

/// Why a body could not be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// Longer than this request may be.
    #[error("request body is larger than {0} bytes")]
    TooLarge(usize),
    /// The bodies of this core take all the room there is.
    #[error("too many request bodies in memory, come again")]
    NoRoom,
    /// Nothing came for too long, or the whole took too long.
    #[error("request body did not arrive in time")]
    Slow,
    /// The client went away.
    #[error("request body broke off: {0}")]
    Broken(String),
}

impl BodyError {
    /// As an answer.
    pub(crate) fn answer(&self) -> Answer {
        let (status, retry) = match self {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, None),
            BodyError::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            BodyError::Slow => (StatusCode::REQUEST_TIMEOUT, None),
            BodyError::Broken(_) => (StatusCode::BAD_REQUEST, None),
        };
        let answer = Answer::error(status, &self.to_string());
        match retry {
            Some(seconds) => answer.retry_after(seconds),
            None => answer,
        }
    }
}

/// A body and its share of the budget.
pub(crate) struct Held {
    /// The bytes.
    pub(crate) bytes: Bytes,
    _share: Vec<Permit>,
}

impl BodyBudget {
    /// The budget of a core.
    pub(crate) fn new() -> Self {
        BodyBudget(Semaphore::new(BODIES_BYTES_MAX))
    }

    fn take(&self, bytes: usize) -> Result<Permit, BodyError> {
        self.0.try_acquire(bytes).ok_or(BodyError::NoRoom)
    }

    /// Reads a whole body of at most `bytes_max`, within `within`. Room for a declared length is taken before the first
    /// byte is read, so that a refusal is cheap.
    pub(crate) async fn read(
        &self,
        body: Incoming,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Held, BodyError> {
        let declared = body.size_hint().lower();
        if declared > bytes_max as u64 {
            return Err(BodyError::TooLarge(bytes_max));
        }
        let reading = self.collect(body, declared as usize, bytes_max);
        timeout(within, reading).await.unwrap_or(Err(BodyError::Slow))
    }

    async fn collect(
        &self,
        mut body: Incoming,
        declared: usize,
        bytes_max: usize,
    ) -> Result<Held, BodyError> {
        let mut share = vec![self.take(declared)?];
        let (mut room, mut first, mut rest) = (declared, Bytes::new(), BytesMut::new());
        loop {
            let frame = timeout(BODY_STALL_MAX, body.frame()).await.map_err(|_| BodyError::Slow)?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|e| BodyError::Broken(e.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = first.len() + rest.len() + data.len();
            if length > bytes_max {
                return Err(BodyError::TooLarge(bytes_max));
            }
            if length > room {
                // Of undeclared length: room is taken in doubling steps.
                let more = length.max(room * 2).min(bytes_max) - room;
                share.push(self.take(more)?);
                room += more;
            }
            if first.is_empty() && rest.is_empty() {
                first = data;
            } else {
                if rest.is_empty() {
                    rest.reserve(declared.max(length));
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&data);
            }
        }
        let bytes = if rest.is_empty() { first } else { rest.freeze() };
        Ok(Held { bytes, _share: share })
    }
}
