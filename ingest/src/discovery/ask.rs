//! The door to the world: requests out, answers in, and what can go wrong on the way.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::limits::{DISCOVERY_PAGES_MAX, DISCOVERY_VALUES_MAX, OBJECT_VALUES, excerpt};
use crate::scrape::TargetGroup;

/// Why a mechanism has no groups to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// There is no answer: nobody listens, time is up, the answer is too long. Says which, and where.
    #[error("{0}")]
    Exchange(String),
    /// The server says no.
    #[error("{:?}: server returned HTTP status {status}: {text}", without_password(url))]
    Status {
        /// What was asked for.
        url: String,
        /// What it said.
        status: StatusCode,
        /// How its answer begins.
        text: String,
    },
    /// The answer is not what it should be.
    #[error("{:?}: {reason}", without_password(url))]
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

/// Asks over HTTP on behalf of one mechanism, with the identity, trust and time-out of its configuration; and whatever else
/// of the world a mechanism needs to find out who it is.
pub trait Ask {
    /// Sends `request`, whose URI is absolute, and reads the whole answer, whatever its status. An `Authorization` header
    /// that it has goes before the configured one.
    fn ask(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>>;

    /// The wall clock, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64 {
        tidemark_core::runtime::clock::now_ms()
    }

    /// A variable of the environment, if it is set and not empty.
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    /// The text of a small file.
    fn file<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<String, DiscoveryError>> {
        let missing = DiscoveryError::Setting(format!("{path}: no files can be read"));
        Box::pin(std::future::ready(Err(missing)))
    }
}

/// A mechanism that asks for everything now and then.
pub trait Refresh {
    /// All groups as of now.
    fn refresh<'a>(
        &'a mut self,
        ask: &'a dyn Ask,
    ) -> LocalBoxFuture<'a, Result<Vec<TargetGroup>, DiscoveryError>>;
}

/// Gives a mechanism whose method asks for everything the shape of [`Refresh`].
macro_rules! refresh_by {
    ($mechanism:ty, $method:ident) => {
        impl $crate::discovery::Refresh for $mechanism {
            fn refresh<'a>(
                &'a mut self,
                ask: &'a dyn $crate::discovery::Ask,
            ) -> futures_util::future::LocalBoxFuture<
                'a,
                Result<Vec<$crate::scrape::TargetGroup>, $crate::discovery::DiscoveryError>,
            > {
                Box::pin(self.$method(ask))
            }
        }
    };
}
pub(crate) use refresh_by;

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

/// A POST of `json` to `url`.
pub(crate) fn post_json(
    url: &str,
    json: &serde_json::Value,
) -> Result<Request<Bytes>, DiscoveryError> {
    post(url, "application/json", json.to_string())
}

/// A PUT of nothing to `url`.
pub(crate) fn put(url: &str) -> Result<Request<Bytes>, DiscoveryError> {
    build(Method::PUT, url, Bytes::new())
}

/// A POST of a form to `url`.
pub(crate) fn post_form(
    url: &str,
    pairs: &[(&str, &str)],
) -> Result<Request<Bytes>, DiscoveryError> {
    let form = with_query("?", pairs.iter().copied());
    post(url, "application/x-www-form-urlencoded", form[2..].to_owned())
}

/// A POST of `body` to `url`.
pub(crate) fn post(
    url: &str,
    content_type: &'static str,
    body: String,
) -> Result<Request<Bytes>, DiscoveryError> {
    let mut request = build(Method::POST, url, Bytes::from(body))?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(request)
}

/// Adds a header whose value is not shown.
pub(crate) fn with_secret(
    mut request: Request<Bytes>,
    name: http::HeaderName,
    value: &str,
) -> Result<Request<Bytes>, DiscoveryError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| DiscoveryError::Setting(format!("{name}: characters a header cannot have")))?;
    value.set_sensitive(true);
    request.headers_mut().insert(name, value);
    Ok(request)
}

/// Adds the header that shows a token.
pub(crate) fn with_bearer(
    request: Request<Bytes>,
    token: &str,
) -> Result<Request<Bytes>, DiscoveryError> {
    with_secret(request, http::header::AUTHORIZATION, &format!("Bearer {token}"))
}

fn build(method: Method, url: &str, body: Bytes) -> Result<Request<Bytes>, DiscoveryError> {
    let request = Request::builder().method(method).uri(url);
    let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
    request
        .body(body)
        .map_err(|e| DiscoveryError::Setting(format!("{:?}: {e}", without_password(url))))
}

/// A URL as it may be shown: `xxxxx` for the password of `scheme://user:password@host`, whether or not the rest of it makes sense.
pub fn without_password(url: &str) -> Cow<'_, str> {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    let login = url[begin..end].rfind('@').map(|at| &url[begin..begin + at]);
    match login.and_then(|login| login.split_once(':')) {
        None => Cow::Borrowed(url),
        Some((user, password)) => {
            let rest = &url[begin + user.len() + 1 + password.len()..];
            Cow::Owned(format!("{}{user}:xxxxx{rest}", &url[..begin]))
        }
    }
}

/// Sends `request`; an answer other than 2xx is an error.
pub(crate) async fn ask_ok(
    ask: &dyn Ask,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, DiscoveryError> {
    let url = request.uri().to_string();
    let response = ask.ask(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refused(&url, &response))
}

/// That the answer to a question at `url` is a no.
pub(crate) fn refused(url: &str, response: &Response<Bytes>) -> DiscoveryError {
    let text = excerpt(String::from_utf8_lossy(response.body()).trim());
    DiscoveryError::Status { url: url.to_owned(), status: response.status(), text }
}

/// Sends `request` and reads the answer as JSON.
pub(crate) async fn ask_json<T: Answer>(
    ask: &dyn Ask,
    request: Request<Bytes>,
) -> Result<T, DiscoveryError> {
    let url = request.uri().to_string();
    let response = ask_ok(ask, request).await?;
    read_json(response.body(), &mut 0).map_err(|reason| DiscoveryError::Answer { url, reason })
}

/// Reads JSON of at most [`DISCOVERY_VALUES_MAX`] values, those in `values` included, to which its own are added.
pub(crate) fn read_json<T: Answer>(bytes: &[u8], values: &mut usize) -> Result<T, String> {
    *values += bytes.iter().map(|b| weight(*b)).sum::<usize>();
    if *values > DISCOVERY_VALUES_MAX {
        return Err(format!("more than {DISCOVERY_VALUES_MAX} values"));
    }
    match bytes.trim_ascii_start().first() {
        Some(first) if !T::may_begin_with(*first) => Err(format!(
            "it is no {}",
            if *first == b'[' { "object but a list" } else { "such value" }
        )),
        _ => serde_json::from_slice(bytes).map_err(|e| e.to_string()),
    }
}

/// What an answer may be. serde reads a list as an object too, whose fields it gives in order, so that `[]` would be an
/// object without anything: no targets where there is no answer.
pub(crate) trait Answer: DeserializeOwned {
    /// Whether the JSON of it may have this as its first byte.
    fn may_begin_with(byte: u8) -> bool;
}

impl<T: DeserializeOwned> Answer for Vec<T> {
    fn may_begin_with(byte: u8) -> bool {
        byte == b'['
    }
}

impl<T: DeserializeOwned> Answer for std::collections::BTreeMap<String, T> {
    fn may_begin_with(byte: u8) -> bool {
        byte == b'{'
    }
}

impl<T: Answer> Answer for Option<T> {
    fn may_begin_with(byte: u8) -> bool {
        byte == b'n' || T::may_begin_with(byte)
    }
}

impl Answer for i64 {
    fn may_begin_with(byte: u8) -> bool {
        byte == b'-' || byte.is_ascii_digit()
    }
}

/// What a byte of JSON may begin, counted in values.
fn weight(byte: u8) -> usize {
    match byte {
        b'{' | b'[' => OBJECT_VALUES,
        b',' => 1,
        _ => 0,
    }
}

/// Asks page after page, each in the way of the `first`, as long as `next` gives the URL of a following one: from a page, and
/// how many there are with it. A URL that leads to another server is refused, since credentials go with each request.
pub(crate) async fn ask_pages<P: Answer>(
    ask: &dyn Ask,
    first: Request<Bytes>,
    next: impl Fn(&P, usize) -> Option<String>,
) -> Result<Vec<P>, DiscoveryError> {
    let (mut pages, mut values, mut request) = (Vec::new(), 0, first);
    loop {
        let url = request.uri().to_string();
        let wrong = |reason| DiscoveryError::Answer { url: url.clone(), reason };
        let response = ask_ok(ask, request.clone()).await?;
        let page: P = read_json(response.body(), &mut values).map_err(wrong)?;
        let following = next(&page, pages.len() + 1);
        pages.push(page);
        let Some(following) = following else { return Ok(pages) };
        if pages.len() == DISCOVERY_PAGES_MAX {
            return Err(wrong(format!("more than {DISCOVERY_PAGES_MAX} pages")));
        }
        let uri: Uri = following.parse().map_err(|e| wrong(format!("next page: {e}")))?;
        let place = |uri: &Uri| (uri.scheme().cloned(), uri.authority().cloned());
        if place(&uri) != place(request.uri()) {
            return Err(wrong("the next page is on another server".to_owned()));
        }
        *request.uri_mut() = uri;
    }
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
        #[allow(clippy::struct_field_names, reason = "the names are those of the answers")]
        pub(crate) struct $name {
            $(
                #[serde(rename = $json, deserialize_with = "crate::discovery::ask::nullable")]
                pub(crate) $field: $ty,
            )*
        }

        impl crate::discovery::ask::Answer for $name {
            fn may_begin_with(byte: u8) -> bool {
                byte == b'{'
            }
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
        pub(crate) answers: Vec<(&'static str, u16, String)>,
        /// What was asked, in order: method, URL and body.
        pub(crate) asked: RefCell<Vec<Request<Bytes>>>,
        /// What time it is.
        pub(crate) now_ms: i64,
        /// The environment's variables, and files.
        pub(crate) texts: BTreeMap<&'static str, String>,
    }

    impl Recorded {
        pub(crate) fn new(answers: &[(&'static str, u16, &str)]) -> Self {
            let owned = answers.iter().map(|(url, status, body)| (*url, *status, (*body).into()));
            Recorded { answers: owned.collect(), ..Recorded::default() }
        }

        /// With variables of the environment and files.
        pub(crate) fn with(mut self, texts: &[(&'static str, &str)]) -> Self {
            self.texts.extend(texts.iter().map(|(name, text)| (*name, (*text).to_owned())));
            self
        }

        /// The bodies that were sent.
        pub(crate) fn bodies(&self) -> Vec<String> {
            let text = |r: &Request<Bytes>| String::from_utf8_lossy(r.body()).into_owned();
            self.asked.borrow().iter().map(text).collect()
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

        fn now_ms(&self) -> i64 {
            self.now_ms
        }

        fn variable(&self, name: &str) -> Option<String> {
            self.texts.get(name).cloned()
        }

        fn file<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<String, DiscoveryError>> {
            let missing = || DiscoveryError::Setting(format!("{path}: No such file"));
            let text = self.texts.get(path).cloned().ok_or_else(missing);
            async { text }.boxed_local()
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::recorded::Recorded;
    use super::*;

    answer! { Page { next: Option<String> = "next", } }

    fn pages(ask: &Recorded, next: &str) -> Result<usize, String> {
        let first = get("http://h/1?x=y").unwrap();
        let all = ask_pages(ask, first, |page: &Page, number| {
            page.next.clone().or((number == 1).then(|| next.to_owned()))
        });
        all.now_or_never().unwrap().map(|all| all.len()).map_err(|e| e.to_string())
    }

    #[test]
    fn pages_follow_one_another_on_one_server() {
        let ask = Recorded::new(&[
            ("/1", 200, "{}"),
            ("/2", 200, "{}"),
            ("/loop", 200, r#"{"next": "http://h/loop"}"#),
        ]);
        assert_eq!(pages(&ask, "http://h/2"), Ok(2));
        assert_eq!(ask.urls(), ["http://h/1?x=y", "http://h/2"]);
        let other = r#""http://h/1?x=y": the next page is on another server"#;
        for elsewhere in ["http://h:81/2", "https://h/2", "/2"] {
            assert_eq!(pages(&ask, elsewhere).unwrap_err(), other);
        }
        let endless = pages(&ask, "http://h/loop").unwrap_err();
        assert_eq!(endless, format!(r#""http://h/loop": more than {DISCOVERY_PAGES_MAX} pages"#));
    }

    #[test]
    fn answers_of_too_many_values_are_refused() {
        let text = |n: usize| format!("[{}{{}}]", "{},".repeat(n));
        let read = |text: &str| read_json::<Vec<serde::de::IgnoredAny>>(text.as_bytes(), &mut 0);
        assert_eq!(read(&text(10)).unwrap().len(), 11);
        let many = read(&text(DISCOVERY_VALUES_MAX / OBJECT_VALUES)).unwrap_err();
        assert_eq!(many, format!("more than {DISCOVERY_VALUES_MAX} values"));
    }

    #[test]
    fn forms_are_encoded() {
        let form = post_form("http://h/", &[("a", "b c"), ("d", "é&")]).unwrap();
        assert_eq!(form.body(), "a=b%20c&d=%C3%A9%26");
        assert!(with_bearer(form, "a\nb").is_err());
    }
}
