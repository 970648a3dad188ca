//! What a handler gives back, and how it becomes a response: status, headers, body, compressed if the client takes it.
//!
//! A long body is made piece by piece ([`stream`](super::stream)), as fast as the client takes it; one that fits into a piece is
//! sent whole, with its length.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY,
};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tidemark_query::api::Rest;

use super::life::Busy;
use super::stream::{Coding, Packer, Pieces, packed};
use crate::limits::COMPRESSED_BYTES_MIN;

/// JSON, as Prometheus labels it.
pub(crate) const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// Headers beside those that framing needs.
    pub(crate) headers: HeaderMap,
    /// The body, or its first piece.
    pub(crate) body: Bytes,
    /// The pieces after it.
    more: Option<More>,
}

/// What follows the first piece of a body.
#[derive(Debug)]
enum More {
    /// It is made once it is known what the client takes.
    Unmade(Rest),
    /// It is being made.
    Coming(Pieces),
}

impl Answer {
    /// A body of a type.
    pub(crate) fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Answer { status, headers, body: body.into(), more: None }
    }

    /// Plain text with status 200.
    pub(crate) fn text(body: impl Into<Bytes>) -> Self {
        Answer::new(StatusCode::OK, TEXT, body)
    }

    /// Plain text that says what went wrong; the line is ended, as Go's `http.Error` does.
    pub(crate) fn error(status: StatusCode, message: &str) -> Self {
        Answer::new(status, TEXT, format!("{message}\n"))
    }

    /// No body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Answer { status, headers: HeaderMap::new(), body: Bytes::new(), more: None }
    }

    /// Goes on after its body.
    pub(crate) fn followed_by(mut self, rest: Option<Rest>) -> Self {
        self.more = rest.map(More::Unmade);
        self
    }

    /// Goes on after its body as long as there are pieces.
    pub(crate) fn followed_by_pieces(mut self, pieces: Pieces) -> Self {
        self.more = Some(More::Coming(pieces));
        self
    }

    /// `{"status":"success","data":...}`.
    pub(crate) fn data<T: Serialize>(data: &T) -> Self {
        #[derive(Serialize)]
        struct Success<'a, T> {
            status: &'static str,
            data: &'a T,
        }
        match serde_json::to_vec(&Success { status: "success", data }) {
            Ok(body) => Answer::new(StatusCode::OK, JSON, body),
            Err(e) => {
                Answer::api_error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &e.to_string())
            }
        }
    }

    /// `{"status":"error","errorType":...,"error":...}`.
    pub(crate) fn api_error(status: StatusCode, kind: &str, message: &str) -> Self {
        let message = serde_json::Value::from(message);
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":{message}}}"#);
        Answer::new(status, JSON, body)
    }

    /// Asks the client to come again after so many seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Sets a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Compresses the body where that helps and the client takes it; other tasks run in between. A long body begins to be made, in
    /// the queue of the caller.
    pub(crate) async fn compressed_for(mut self, request: &HeaderMap) -> Self {
        let rest = match self.more.take() {
            Some(More::Unmade(rest)) => Some(rest),
            coming => {
                self.more = coming;
                None
            }
        };
        let compressible =
            rest.is_some() || (self.body.len() >= COMPRESSED_BYTES_MIN && self.more.is_none());
        if !compressible || self.headers.contains_key(CONTENT_ENCODING) {
            let made = |rest| More::Coming(Pieces::made(rest, Packer::new(None)));
            self.more = self.more.or(rest.map(made));
            return self;
        }
        self.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        let coding = best_coding(request);
        if let Some(coding) = coding {
            self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        let Some(rest) = rest else {
            if let Some(coding) = coding {
                self.body = packed(&self.body, coding).await;
            }
            return self;
        };
        let mut packer = Packer::new(coding);
        self.body = packer.pack(self.body);
        self.more = Some(More::Coming(Pieces::made(rest, packer)));
        self
    }

    /// The response; `busy` lives until its last byte is handed over.
    pub(crate) fn into_response(self, busy: Busy) -> Response<Reply> {
        let pieces = self.more.map(|more| match more {
            More::Unmade(rest) => Pieces::made(rest, Packer::new(None)),
            More::Coming(pieces) => pieces,
        });
        let mut response = Response::new(Reply { body: self.body, pieces, busy: Some(busy) });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The best that `Accept-Encoding` names without refusing it (`q=0`).
fn best_coding(request: &HeaderMap) -> Option<Coding> {
    Coding::ALL.into_iter().find(|coding| takes(request, coding.name()))
}

fn takes(request: &HeaderMap, wanted: &str) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let refused = parts.any(|p| {
            p.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
        });
        name.eq_ignore_ascii_case(wanted) && !refused
    })
}

/// A response's body.
pub(crate) struct Reply {
    body: Bytes,
    pieces: Option<Pieces>,
    busy: Option<Busy>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = std::mem::take(&mut self.body);
        if !body.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(body))));
        }
        if let Some(pieces) = &mut self.pieces
            && let Some(piece) = ready!(pieces.poll_next(cx))
        {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.pieces = None;
        self.busy = None;
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty() && self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.pieces {
            None => SizeHint::with_exact(self.body.len() as u64),
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use tidemark_core::runtime::sim;

    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn long_answers_are_compressed_for_those_who_ask() {
        sim::run(1, async {
            let long = || Answer::text("word ".repeat(100_000));
            for (accept, gzip) in
                [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("identity", false)]
            {
                let answer = long().compressed_for(&accepting(accept)).await;
                assert_eq!(answer.headers.contains_key(CONTENT_ENCODING), gzip, "{accept}");
                assert_eq!(answer.headers[VARY], "Accept-Encoding");
                if gzip {
                    assert!(answer.body.len() < 10_000);
                    let mut inflated = Vec::new();
                    flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut inflated).unwrap();
                    assert_eq!(inflated, long().body);
                }
            }
            let answer = long().compressed_for(&accepting("gzip, zstd")).await;
            assert_eq!(answer.headers[CONTENT_ENCODING], "zstd");
            let plain = zstd::stream::decode_all(&*answer.body).unwrap();
            assert_eq!(plain, long().body);
            let short = Answer::text("word").compressed_for(&accepting("gzip")).await;
            assert_eq!(short.body, "word");
        });
    }

    #[test]
    fn json_shapes() {
        assert_eq!(Answer::data(&["a"]).body, r#"{"status":"success","data":["a"]}"#);
        let error = Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", "no \"x\"");
        assert_eq!(error.body, r#"{"status":"error","errorType":"bad_data","error":"no \"x\""}"#);
    }
}
