//! Asks over HTTP with everything that an HTTP client's configuration may say: identity, tokens, trust, proxies,
//! redirects.
//!
//! Over `reqwest`, HTTP/1.1, TLS by the same rustls configuration as scraping. An answer is read up to
//! [`CONTROL_ANSWER_BYTES_MAX`] and within the time-out. Redirects are followed here, so that what identifies us never
//! follows to another host: of a request's headers only what is wanted and from whom. After a failure the client is made anew, which reads certificates from their files again.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::header::{
    ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use http::{Method, Request, Response};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};
use tidemark_ingest::discovery::http::INTERVAL_HEADER;
use tidemark_ingest::discovery::{Ask, DiscoveryError};
use tokio::task::spawn_blocking;

use crate::config::http_client::{HttpClientConfig, OAuth2, ProxyConfig};
use crate::http::identity::Identity;
use crate::http::oauth2::{Blocking, TokenClient, Tokens};
use crate::http::tls::client_config;
use crate::limits::{
    CONTROL_ANSWER_BYTES_MAX, CONTROL_SMALL_FILE_BYTES_MAX, REDIRECTS_MAX, TOKEN_BYTES_MAX,
    TOKEN_TIMEOUT,
};

/// See the module.
pub(super) struct HttpAsk {
    config: HttpClientConfig,
    identity: Identity,
    tokens: Option<Tokens>,
    timeout: Duration,
    /// Longest answer, in bytes.
    bytes_max: usize,
    /// The Unix socket that all connections go to.
    socket: Option<String>,
    client: RefCell<Option<Client>>,
}

impl HttpAsk {
    /// As configured; `Err` names what cannot be.
    pub(super) fn new(config: &HttpClientConfig, timeout: Duration) -> Result<Self, String> {
        let identity = Identity::of(config)?;
        let tokens = config.oauth2.as_ref().map(tokens).transpose()?;
        let (config, client) = (config.clone(), RefCell::default());
        let bytes_max = CONTROL_ANSWER_BYTES_MAX;
        Ok(HttpAsk { config, identity, tokens, timeout, bytes_max, socket: None, client })
    }

    /// Over a Unix socket, as nobody.
    pub(super) fn over_socket(path: &str, timeout: Duration) -> Result<Self, String> {
        let plain = HttpAsk::new(&HttpClientConfig::default(), timeout)?;
        Ok(HttpAsk { socket: Some(path.to_owned()), ..plain })
    }

    /// The client; made when it is needed, since making it reads files.
    async fn client(&self) -> Result<Client, String> {
        if let Some(client) = &*self.client.borrow() {
            return Ok(client.clone());
        }
        let (config, socket) = (self.config.clone(), self.socket.clone());
        let made = spawn_blocking(move || make_client(&config, socket)).await;
        let client = made.map_err(|e| e.to_string())??;
        *self.client.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    /// What says who we are.
    async fn identity(&self) -> Result<HeaderMap, String> {
        let identity = self.identity.clone();
        let read = spawn_blocking(move || identity.headers()).await;
        let read = read.map_err(|e| e.to_string())?;
        let mut headers = read.map_err(|e| format!("unable to read {e}"))?;
        if let Some(tokens) = &self.tokens {
            headers.insert(AUTHORIZATION, tokens.header().await?);
        }
        Ok(headers)
    }

    /// An answer read whole within the time-out. After a failure the client is made anew.
    async fn whole(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let exchange = async { read(self.send(request).await?, self.bytes_max).await };
        let answer = tokio::time::timeout(self.timeout, exchange).await;
        let answer = answer.unwrap_or_else(|_| Err(self.out_of_time()));
        answer.inspect_err(|_| drop(self.client.take()))
    }

    /// Sends `request` and gives the answer as soon as its head is there: for answers that have no end.
    pub(super) async fn open(&self, request: Request<Bytes>) -> Result<reqwest::Response, String> {
        let opened = tokio::time::timeout(self.timeout, self.send(request)).await;
        let opened = opened.unwrap_or_else(|_| Err(self.out_of_time()));
        opened.inspect_err(|_| drop(self.client.take()))
    }

    fn out_of_time(&self) -> String {
        format!("no complete answer within {:?}", self.timeout)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<reqwest::Response, String> {
        let client = self.client().await?;
        let (mut parts, body) = request.into_parts();
        let mut identity = self.identity().await?;
        if parts.headers.contains_key(AUTHORIZATION) {
            identity.remove(AUTHORIZATION);
        }
        let agent = HeaderValue::from_static(concat!("Tidemark/", env!("CARGO_PKG_VERSION")));
        parts.headers.insert(USER_AGENT, agent);
        let first = url::Url::parse(&parts.uri.to_string()).map_err(|e| e.to_string())?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut headers = parts.headers.clone();
            if url.origin() == first.origin() {
                headers.extend(identity.clone());
            } else {
                headers = strangers_headers(&headers);
            }
            let asked = client.request(parts.method.clone(), url.clone());
            let response = asked.headers(headers).body(body.clone()).send().await;
            let response = response.map_err(|e| words(&e))?;
            match self.redirect(&url, &parts.method, &response)? {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(format!("stopped after {REDIRECTS_MAX} redirects"))
    }

    fn redirect(
        &self,
        from: &url::Url,
        method: &Method,
        response: &reqwest::Response,
    ) -> Result<Option<url::Url>, String> {
        let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        match location {
            Some(to) if moved && self.config.follow_redirects && *method == Method::GET => {
                from.join(to).map(Some).map_err(|e| format!("redirect to {to:?}: {e}"))
            }
            _ => Ok(None),
        }
    }
}

impl Ask for HttpAsk {
    fn ask(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
        async move {
            let (method, url) = (request.method().clone(), request.uri().to_string());
            let answer = self.whole(request).await;
            answer.map_err(|error| DiscoveryError::Exchange(format!("{method} {url:?}: {error}")))
        }
        .boxed_local()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn file<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<String, DiscoveryError>> {
        let name = path.to_owned();
        let wrong = move |e: String| DiscoveryError::Setting(format!("{path}: {e}"));
        async move {
            let text = spawn_blocking(move || small_file(&name)).await;
            text.unwrap_or_else(|e| Err(e.to_string())).map_err(wrong)
        }
        .boxed_local()
    }
}

impl TokenClient for HttpAsk {
    fn exchange(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, String>> {
        self.whole(request).boxed_local()
    }

    fn aside(&self, work: Blocking) -> LocalBoxFuture<'_, Result<String, String>> {
        let work = spawn_blocking(work);
        async move { work.await.map_err(|e| e.to_string())? }.boxed_local()
    }
}

/// Where tokens come from.
fn tokens(config: &OAuth2) -> Result<Tokens, String> {
    let (tls_config, proxy) = (config.tls_config.clone(), config.proxy.clone());
    let http = HttpClientConfig { tls_config, proxy, ..HttpClientConfig::default() };
    let asking = HttpAsk { bytes_max: TOKEN_BYTES_MAX, ..HttpAsk::new(&http, TOKEN_TIMEOUT)? };
    Ok(Tokens::of(config, Rc::new(asking)))
}

/// Of the headers of a request those that another server may see.
fn strangers_headers(headers: &HeaderMap) -> HeaderMap {
    let interval = HeaderName::from_static(INTERVAL_HEADER);
    let open = [ACCEPT, USER_AGENT, interval].into_iter();
    open.filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

fn small_file(path: &str) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    let bound = CONTROL_SMALL_FILE_BYTES_MAX as u64;
    let read = file.take(bound + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if read > CONTROL_SMALL_FILE_BYTES_MAX {
        return Err(format!("longer than {bound} bytes"));
    }
    Ok(text)
}

fn make_client(config: &HttpClientConfig, socket: Option<String>) -> Result<Client, String> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .tls_backend_preconfigured(client_config(&config.tls_config)?);
    let builder = match proxy(&config.proxy)? {
        Some(proxy) => builder.proxy(proxy),
        None if config.proxy.proxy_from_environment => builder,
        None => builder.no_proxy(),
    };
    let builder = match socket {
        Some(path) => builder.unix_socket(path),
        None => builder,
    };
    builder.build().map_err(|e| words(&e))
}

fn proxy(config: &ProxyConfig) -> Result<Option<Proxy>, String> {
    let Some(url) = &config.proxy_url else { return Ok(None) };
    let mut headers = HeaderMap::new();
    for (name, values) in &config.proxy_connect_header {
        for value in values {
            let bad = || format!("proxy_connect_header {name:?} cannot be sent");
            let name = name.parse::<HeaderName>().map_err(|_| bad())?;
            let value = HeaderValue::from_str(value.reveal()).map_err(|_| bad())?;
            headers.append(name, value);
        }
    }
    let proxy = Proxy::all(url.reveal()).map_err(|e| words(&e))?;
    Ok(Some(proxy.headers(headers).no_proxy(NoProxy::from_string(&config.no_proxy))))
}

/// Reads the body up to the bound.
async fn read(
    mut response: reqwest::Response,
    bytes_max: usize,
) -> Result<Response<Bytes>, String> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = response.headers().clone();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| words(&e))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(format!("the answer is longer than {bytes_max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    *answer.body_mut() = body.freeze();
    Ok(answer)
}

/// The innermost cause, which is the one that says something; a URL in it may carry a password.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
