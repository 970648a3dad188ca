//! A stand-in for AWS in tests, which answers by what it is asked.

use std::cell::RefCell;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

use super::super::super::ask::{Ask, DiscoveryError};
use super::AwsOptions;
use super::sigv4::TARGET;

/// A region and a key.
pub(super) fn options() -> AwsOptions {
    AwsOptions {
        region: "eu-west-2".into(),
        access_key: "A".into(),
        secret_key: "S".into(),
        concurrency: 2,
        ..AwsOptions::default()
    }
}

/// Answers by what is asked: path, target and body in a line; what has `failing` in it is refused.
pub(super) struct Aws {
    answers: &'static [(&'static str, &'static str)],
    failing: &'static str,
    /// What was asked.
    pub(super) asked: RefCell<Vec<String>>,
}

impl Aws {
    /// Each part of a question with its answer; the first that fits is given.
    pub(super) fn new(
        answers: &'static [(&'static str, &'static str)],
        failing: &'static str,
    ) -> Self {
        Aws { answers, failing, asked: RefCell::default() }
    }
}

impl Ask for Aws {
    fn ask(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let target = request.headers().get(TARGET).and_then(|target| target.to_str().ok());
        let body = String::from_utf8_lossy(request.body());
        let question = format!("{path} {} {body}", target.unwrap_or_default());
        let answer = self.answers.iter().find(|(part, _)| question.contains(part));
        let answer = match answer {
            _ if !self.failing.is_empty() && question.contains(self.failing) => (403, "Denied"),
            None => (404, "unknown"),
            Some((_, answer)) => (200, *answer),
        };
        self.asked.borrow_mut().push(question);
        let answer = Response::builder().status(answer.0).body(answer.1.into());
        async { Ok(answer.expect("a response")) }.boxed_local()
    }
}
