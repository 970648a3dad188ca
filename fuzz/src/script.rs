//! The world as a script: each question gets the next answer of the input, and an error when there are no more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::ready;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use tidemark_ingest::discovery::{Ask, DiscoveryError};

/// Between two answers.
const SEPARATOR: u8 = 0x1e;

pub struct Script(RefCell<VecDeque<Vec<u8>>>);

impl Script {
    pub fn new(answers: &[u8]) -> Self {
        let answers = answers.split(|byte| *byte == SEPARATOR);
        Script(RefCell::new(answers.map(<[u8]>::to_vec).collect()))
    }

    fn next(&self) -> Result<Vec<u8>, DiscoveryError> {
        let next = self.0.borrow_mut().pop_front();
        next.ok_or_else(|| DiscoveryError::Exchange("no answer".to_owned()))
    }
}

impl Ask for Script {
    fn ask(
        &self,
        _: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
        Box::pin(ready(self.next().map(response)))
    }

    fn now_ms(&self) -> i64 {
        0
    }

    fn file<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<String, DiscoveryError>> {
        Box::pin(ready(self.next().map(|text| String::from_utf8_lossy(&text).into_owned())))
    }
}

/// A yes, or a no where it begins with `!`. What follows an `@` at its begin, up to the end of the line, is the index of the answer.
fn response(mut body: Vec<u8>) -> Response<Bytes> {
    let no = body.first() == Some(&b'!');
    let mut index = HeaderValue::from_static("1");
    if body.first() == Some(&b'@') {
        let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
        index = HeaderValue::from_bytes(&body[1..end]).unwrap_or(index);
        body.drain(..body.len().min(end + 1));
    }
    let mut response = Response::new(Bytes::from(body));
    if no {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("x-consul-index"), index);
    response
}
