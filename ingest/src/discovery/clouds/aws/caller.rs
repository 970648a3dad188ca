//! Calls of AWS' services during one refresh: signed, several at once, page after page.
//!
//! A [`Session`] is what a mechanism knows from refresh to refresh. At the begin of one it gives a [`Caller`], once it knows the
//! region and has credentials that are still good; all calls of the refresh share it. They come in three protocols:
//!
//! ```text
//! query   POST /  Action=...&Version=...        XML    EC2, ElastiCache, RDS
//! JSON    POST /  X-Amz-Target: API.Action      JSON   ECS, Lightsail
//! REST    GET /v1/clusters/...                  JSON   MSK
//! ```

use std::cell::Cell;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderValue, Request, Response, StatusCode};
use roxmltree::Node;
use serde_json::Value;

use super::super::super::ask::{
    Answer, Ask, DiscoveryError, ask_ok, get, post, post_form, read_json,
};
use super::super::super::xml;
use super::credentials::{self, Credentials};
use super::sigv4::{self, TARGET};
use super::{AwsOptions, endpoint, with_path};
use crate::limits::{DISCOVERY_PAGES_MAX, DISCOVERY_REQUESTS_MAX};

/// What a mechanism knows from refresh to refresh.
pub(crate) struct Session {
    options: AwsOptions,
    region: String,
    credentials: Option<Credentials>,
    /// Whether a service would not have the credentials.
    refused: Cell<bool>,
}

/// A form of the query protocol: names and values.
pub(super) type Form = Vec<(String, String)>;

/// A service that is spoken to in the query protocol.
#[derive(Clone, Copy)]
pub(super) struct QueryApi {
    /// The service as it is signed, which is its host too.
    pub(super) service: &'static str,
    /// The version of its API.
    pub(super) version: &'static str,
}

/// Where a list goes on: what that is called in an answer, and in the next question.
pub(super) type Marker = (&'static str, &'static str);

/// Who asks in one refresh.
pub(crate) struct Caller<'a> {
    ask: &'a dyn Ask,
    /// The region that is asked.
    pub(super) region: &'a str,
    endpoint: &'a str,
    concurrency: usize,
    credentials: &'a Credentials,
    refused: &'a Cell<bool>,
    /// JSON values read in this refresh.
    values: Cell<usize>,
}

impl Session {
    pub(super) fn new(options: AwsOptions) -> Self {
        let region = options.region.clone();
        Session { options, region, credentials: None, refused: Cell::new(false) }
    }

    /// Begins a refresh. The region is found out once; credentials are found anew when they end soon, and after they were refused.
    pub(super) async fn caller<'a>(
        &'a mut self,
        ask: &'a dyn Ask,
    ) -> Result<Caller<'a>, DiscoveryError> {
        if self.region.is_empty() {
            self.region = credentials::region(&self.options, ask).await?;
        }
        let refused = self.refused.take();
        let known = self.credentials.take();
        let known = known.filter(|known| !refused && known.good_at(ask.now_ms()));
        let credentials = match known {
            Some(known) => known,
            None => credentials::find(&self.options, &self.region, ask).await?,
        };
        Ok(Caller {
            ask,
            region: &self.region,
            endpoint: &self.options.endpoint,
            concurrency: self.options.concurrency.clamp(1, DISCOVERY_REQUESTS_MAX),
            credentials: self.credentials.insert(credentials),
            refused: &self.refused,
            values: Cell::new(0),
        })
    }
}

impl<'a> Caller<'a> {
    /// The same where AWS has a service, whatever endpoint is configured.
    pub(super) fn at_aws(&self) -> Caller<'a> {
        Caller { endpoint: "", values: Cell::new(0), ..*self }
    }

    /// Does `each` of `things`, as many at once as configured; results are in the order of the things. The first failure ends it.
    pub(super) async fn each<T, R>(
        &self,
        things: impl IntoIterator<Item = T>,
        each: impl AsyncFn(T) -> Result<R, DiscoveryError>,
    ) -> Result<Vec<R>, DiscoveryError> {
        stream::iter(things).map(|thing| each(thing)).buffered(self.concurrency).try_collect().await
    }

    /// Sends a signed request to the service; what `request` makes of where it is.
    async fn send(
        &self,
        service: &str,
        request: impl FnOnce(&str) -> Result<Request<Bytes>, DiscoveryError>,
    ) -> Result<Response<Bytes>, DiscoveryError> {
        let url = match self.endpoint {
            "" => endpoint(service, self.region),
            endpoint => with_path(endpoint),
        };
        let (region, now_ms) = (self.region, self.ask.now_ms());
        let signed = sigv4::sign(request(&url)?, self.credentials, region, service, now_ms)?;
        let answer = ask_ok(self.ask, signed).await;
        if let Err(DiscoveryError::Status {
            status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN,
            ..
        }) = &answer
        {
            self.refused.set(true);
        }
        answer
    }

    /// Asks in JSON what `target`, an API and its action, says to `question`.
    pub(super) async fn json<T: Answer>(
        &self,
        service: &str,
        target: &str,
        question: &Value,
    ) -> Result<T, DiscoveryError> {
        let target_value =
            HeaderValue::from_str(target).map_err(|e| wrong(target, e.to_string()))?;
        let request = |url: &str| {
            let json = "application/x-amz-json-1.1";
            let mut request = post(url, json, question.to_string())?;
            request.headers_mut().insert(TARGET, target_value);
            Ok(request)
        };
        let answer = self.send(service, request).await?;
        self.read(target, answer.body())
    }

    /// Gets `path`, which is encoded, with its query.
    pub(super) async fn rest<T: Answer>(
        &self,
        service: &str,
        path: &str,
    ) -> Result<T, DiscoveryError> {
        let answer =
            self.send(service, |url| get(&format!("{}{path}", url.trim_end_matches('/')))).await?;
        self.read(path, answer.body())
    }

    fn read<T: Answer>(&self, what: &str, body: &[u8]) -> Result<T, DiscoveryError> {
        let mut values = self.values.get();
        let read = read_json(body, &mut values).map_err(|reason| wrong(what, reason));
        self.values.set(values);
        read
    }

    /// Asks in the query protocol; `take` is given what the answer holds.
    pub(super) async fn query<R>(
        &self,
        api: QueryApi,
        action: &str,
        form: &Form,
        take: impl FnOnce(Node<'_, '_>) -> R,
    ) -> Result<R, DiscoveryError> {
        let named = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let first = [("Action", action), ("Version", api.version)];
        let pairs: Vec<_> = first.into_iter().chain(named).collect();
        let request = |url: &str| post_form(url, &pairs);
        let answer = self.send(api.service, request).await?;
        let wrong = |reason| wrong(action, reason);
        let document = xml::parse(xml::utf8(answer.body()).map_err(wrong)?).map_err(wrong)?;
        let root = document.root_element();
        Ok(take(xml::child(root, &format!("{action}Result")).unwrap_or(root)))
    }

    /// The same for a list in pages.
    pub(super) async fn query_pages<R>(
        &self,
        api: QueryApi,
        action: &str,
        marker: Marker,
        mut form: Form,
        take: impl Fn(Node<'_, '_>) -> Vec<R>,
    ) -> Result<Vec<R>, DiscoveryError> {
        let (mut all, fixed) = (Vec::new(), form.len());
        for _ in 0..DISCOVERY_PAGES_MAX {
            let page = |node: Node| (take(node), xml::text(node, marker.0).to_owned());
            let (some, next) = self.query(api, action, &form, page).await?;
            all.extend(some);
            super::bounded(all.len(), action)?;
            if next.is_empty() {
                return Ok(all);
            }
            form.truncate(fixed);
            form.push(pair(marker.1, next));
        }
        Err(too_many_pages(action))
    }
}

/// One pair of a form.
pub(super) fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// That an answer to `what` is not what it should be.
pub(super) fn wrong(what: &str, reason: String) -> DiscoveryError {
    DiscoveryError::Answer { url: what.to_owned(), reason }
}

/// That a list does not end.
pub(super) fn too_many_pages(what: &str) -> DiscoveryError {
    wrong(what, format!("more than {DISCOVERY_PAGES_MAX} pages"))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::future::{FutureExt, LocalBoxFuture, poll_fn};

    use super::super::recorded::options;
    use super::*;

    /// Answers after it was asked a few times whether it has the answer; the later the question, the sooner.
    #[derive(Default)]
    struct Slow {
        asked: Cell<usize>,
        under_way: Cell<usize>,
        most: Cell<usize>,
    }

    impl Ask for Slow {
        fn ask(
            &self,
            request: Request<Bytes>,
        ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
            self.asked.set(self.asked.get() + 1);
            self.under_way.set(self.under_way.get() + 1);
            self.most.set(self.most.get().max(self.under_way.get()));
            let mut polls = 300_usize.saturating_sub(self.asked.get());
            poll_fn(move |context| {
                context.waker().wake_by_ref();
                if polls > 0 {
                    polls -= 1;
                    return Poll::Pending;
                }
                self.under_way.set(self.under_way.get() - 1);
                let name = request.uri().path().trim_start_matches('/');
                let no = name == "9";
                let body = format!("{{\"name\": {name:?}}}");
                let status = if no { StatusCode::FORBIDDEN } else { StatusCode::OK };
                let response = Response::builder().status(status).body(body.into());
                Poll::Ready(Ok(response.expect("a response")))
            })
            .boxed_local()
        }
    }

    crate::discovery::ask::answer! {
        /// What [`Slow`] says.
        Named { name: String = "name", }
    }

    /// Runs what wakes itself.
    fn run<R>(future: impl Future<Output = R>) -> R {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                return done;
            }
        }
    }

    fn names(
        session: &mut Session,
        slow: &Slow,
        things: u32,
    ) -> Result<Vec<String>, DiscoveryError> {
        run(async {
            let caller = session.caller(slow).await?;
            let each = async |n: u32| {
                let named: Named = caller.rest("kafka", &format!("/{n}")).await?;
                Ok(named.name)
            };
            caller.each(0..things, each).await
        })
    }

    #[test]
    fn as_many_at_once_as_configured_and_in_order() {
        for (configured, most) in [(0, 1), (1, 1), (3, 3), (1_000_000, 9)] {
            let slow = Slow::default();
            let mut session = Session::new(AwsOptions { concurrency: configured, ..options() });
            let expected: Vec<String> = (0..9).map(|n| n.to_string()).collect();
            assert_eq!(names(&mut session, &slow, 9).unwrap(), expected);
            assert_eq!((slow.most.get(), slow.asked.get()), (most, 9), "{configured}");
        }
    }

    #[test]
    fn there_is_a_bound_and_a_refusal_ends_all_and_forgets_the_credentials() {
        let slow = Slow::default();
        let mut session = Session::new(AwsOptions { concurrency: 1_000_000, ..options() });
        let refused = names(&mut session, &slow, 10_000).unwrap_err();
        assert!(refused.to_string().contains("403"), "{refused}");
        assert_eq!(slow.most.get(), DISCOVERY_REQUESTS_MAX);
        assert!(slow.asked.get() < 2 * DISCOVERY_REQUESTS_MAX);
        assert!(session.refused.get());
        assert_eq!(names(&mut session, &slow, 2).unwrap(), ["0", "1"]);
        assert!(!session.refused.get());
    }
}
