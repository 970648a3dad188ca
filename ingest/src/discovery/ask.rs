//! The door to the world: requests out, answers in, and what can go wrong on the way.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::limits::excerpt;
use crate::scrape::TargetGroup;

/// Why a mechanism has no groups to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// There is no answer: nobody listens, time is up, the answer is too long. Says which, and where.
    #[error("{0}")]
    Exchange(String),
    /// The server says no.
    #[error("{url:?}: server returned HTTP status {status}: {text}")]
    Status {
        /// What was asked for.
        url: String,
        /// What it said.
        status: StatusCode,
        /// How its answer begins.
        text: String,
    },
    /// The answer is not what it should be.
    #[error("{url:?}: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration leads nowhere.
    #[error("{0}")]
    Setting(String),
}

/// Asks over HTTP on behalf of one mechanism, with the identity, trust and time-out of its configuration.
pub trait Ask {
    /// Sends `request`, whose URI is absolute, and reads the whole answer, whatever its status.
    fn ask(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>>;
}

/// A mechanism that asks for everything now and then.
pub trait Refresh {
    /// All groups as of now.
    fn refresh<'a>(
        &'a mut self,
        ask: &'a dyn Ask,
    ) -> LocalBoxFuture<'a, Result<Vec<TargetGroup>, DiscoveryError>>;
}

/// `base` with a query of `pairs`, each encoded.
pub fn with_query<'a>(base: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut url = base.to_owned();
    let mut separator = if base.contains('?') { '&' } else { '?' };
    for (name, value) in pairs {
        url.push(separator);
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        separator = '&';
    }
    url
}

/// A GET of `url` for JSON.
pub(crate) fn get(url: &str) -> Result<Request<Bytes>, DiscoveryError> {
    build(Method::GET, url, Bytes::new())
}

fn build(method: Method, url: &str, body: Bytes) -> Result<Request<Bytes>, DiscoveryError> {
    let request = Request::builder().method(method).uri(url);
    let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
    request.body(body).map_err(|e| DiscoveryError::Setting(format!("{url:?}: {e}")))
}

/// Sends `request`; an answer other than 2xx is an error.
pub(crate) async fn ask_ok(
    ask: &dyn Ask,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, DiscoveryError> {
    let url = request.uri().to_string();
    let response = ask.ask(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = excerpt(String::from_utf8_lossy(response.body()).trim());
    Err(DiscoveryError::Status { url, status, text })
}

/// Sends `request` and reads the answer as JSON.
pub(crate) async fn ask_json<T: DeserializeOwned>(
    ask: &dyn Ask,
    request: Request<Bytes>,
) -> Result<T, DiscoveryError> {
    let url = request.uri().to_string();
    let response = ask_ok(ask, request).await?;
    serde_json::from_slice(response.body())
        .map_err(|e| DiscoveryError::Answer { url, reason: e.to_string() })
}

/// Reads `null` as the default, as Go does.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Declares the part of a JSON object that is read: fields with their types and names. A field that is missing or `null`
/// has the default of its type; fields that are not named are skipped.
macro_rules! answer {
    (
        $(#[$meta:meta])*
        $name:ident { $( $field:ident: $ty:ty = $json:literal, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $(
                #[serde(rename = $json, deserialize_with = "crate::discovery::ask::nullable")]
                pub(crate) $field: $ty,
            )*
        }
    };
}
pub(crate) use answer;

/// Answers written down beforehand, for tests.
#[cfg(test)]
pub(crate) mod recorded {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use futures_util::FutureExt;
    use http::header::CONTENT_TYPE;

    use super::*;

    /// Answers by what their URL contains; the first that fits is given.
    #[derive(Default)]
    pub(crate) struct Recorded {
        answers: Vec<(&'static str, u16, String)>,
        /// What was asked, in order: method, URL and body.
        pub(crate) asked: RefCell<Vec<Request<Bytes>>>,
    }

    impl Recorded {
        pub(crate) fn new(answers: &[(&'static str, u16, &str)]) -> Self {
            let owned = answers.iter().map(|(url, status, body)| (*url, *status, (*body).into()));
            Recorded { answers: owned.collect(), asked: RefCell::default() }
        }

        /// The URLs that were asked for.
        pub(crate) fn urls(&self) -> Vec<String> {
            self.asked.borrow().iter().map(|request| request.uri().to_string()).collect()
        }
    }

    impl Ask for Recorded {
        fn ask(
            &self,
            request: Request<Bytes>,
        ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
            let url = request.uri().to_string();
            self.asked.borrow_mut().push(request);
            let found = self.answers.iter().find(|(part, ..)| url.contains(part));
            let answer = match found {
                Some((_, status, body)) => Response::builder()
                    .status(*status)
                    .header(CONTENT_TYPE, "application/json")
                    .body(Bytes::from(body.clone()))
                    .map_err(|e| DiscoveryError::Exchange(e.to_string())),
                None => Err(DiscoveryError::Exchange(format!("nobody answers {url:?}"))),
            };
            async { answer }.boxed_local()
        }
    }

    /// The groups that a mechanism gives for recorded answers.
    pub(crate) fn refresh(
        mechanism: &mut dyn Refresh,
        ask: &Recorded,
    ) -> Result<Vec<TargetGroup>, DiscoveryError> {
        mechanism.refresh(ask).now_or_never().expect("recorded answers are there at once")
    }

    /// Groups as text: `source`, common labels, then each target on a line of its own.
    pub(crate) fn shown(groups: &[TargetGroup]) -> String {
        let line = |target: &BTreeMap<String, String>| format!("  {target:?}\n");
        let one = |group: &TargetGroup| {
            let targets: String = group.targets.iter().map(line).collect();
            format!("{} {:?}\n{targets}", group.source, group.labels)
        };
        groups.iter().map(one).collect()
    }
}
