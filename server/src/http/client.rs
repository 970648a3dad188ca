//! The client that scrapes: HTTP/1.1 with kept connections, redirects, one deadline over all of it and a cap on the body
//! while it is read. Content codings are left as they are.
//!
//! One client a job a core. A connection is used by one request at a time and goes back when its answer was read whole. A
//! kept connection that the other end closed meanwhile is noticed by the failing request, which is sent once more on a
//! new one.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, HOST, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tidemark_core::runtime::net::{TcpStream, resolve};
use tidemark_core::runtime::{Queue, spawn_into, timeout};
use tidemark_ingest::scrape::FetchLimits;

use super::codec::{Codec, Scratch, scratch};
use super::identity::Identity;
use super::oauth2::Tokens;
use super::pool::{Pool, Sender};
use super::proxy::{Origin, Proxies, Proxy};
use super::tls::{Connector, Stream};
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, REDIRECTS_MAX};

/// Why there is no answer, in Go's words where they are known to everybody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Not a URL that can be asked.
    #[error("unsupported URL {0}")]
    Url(String),
    /// The name has no address.
    #[error("dial tcp: lookup {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody listens.
    #[error("dial tcp {address}: connect: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No trust.
    #[error("tls: {0}")]
    Tls(String),
    /// A secret's file cannot be read.
    #[error("unable to read {0}")]
    Secret(String),
    /// There is no token to be had.
    #[error("{0}")]
    Token(String),
    /// The proxy does not connect.
    #[error("proxy {host}: {message}")]
    Proxy {
        /// Which.
        host: String,
        /// What it says.
        message: String,
    },
    /// The bodies of all targets take all the room there is.
    #[error("no room for the body")]
    NoRoom,
    /// The exchange broke.
    #[error("{0}")]
    Exchange(String),
    /// Too long.
    #[error("context deadline exceeded")]
    Timeout,
    /// Too much.
    #[error("body size limit exceeded")]
    BodyTooLarge,
    /// Redirects without end.
    #[error("stopped after {REDIRECTS_MAX} redirects")]
    Redirects,
}

/// How a client behaves.
pub(crate) struct ClientOptions {
    /// Who it says it is.
    pub(crate) identity: Identity,
    /// Where its tokens come from, if it needs some.
    pub(crate) tokens: Option<Tokens>,
    /// Whom it trusts.
    pub(crate) connector: Connector,
    /// Whom it goes through.
    pub(crate) proxies: Proxies,
    /// Whether it goes where a 3xx answer points.
    pub(crate) follow_redirects: bool,
}

/// See the module.
pub(crate) struct Client {
    options: ClientOptions,
    idle: RefCell<Pool>,
    scratch: Scratch,
}

impl Client {
    /// A client without connections.
    pub(crate) fn new(options: ClientOptions) -> Rc<Self> {
        Rc::new(Client { options, idle: RefCell::new(Pool::new()), scratch: scratch() })
    }

    /// Sends `request` and reads the answer within `limits`.
    pub(crate) async fn fetch(
        &self,
        request: Request<Bytes>,
        limits: &FetchLimits,
    ) -> Result<Response<Bytes>, ClientError> {
        let fetching = self.fetch_following(request, limits);
        timeout(limits.timeout, fetching).await.unwrap_or(Err(ClientError::Timeout))
    }

    async fn fetch_following(
        &self,
        mut request: Request<Bytes>,
        limits: &FetchLimits,
    ) -> Result<Response<Bytes>, ClientError> {
        let stranger = self.complete(&mut request).await?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.exchange(&request, limits).await?;
            let Some(next) = self.redirect(request.uri(), &response)? else { return Ok(response) };
            if origin(&next)? != origin(request.uri())? {
                // Not even if a later redirect leads back: who redirects could choose where to.
                request.headers_mut().clone_from(&stranger);
            }
            *request.uri_mut() = next;
        }
        Err(ClientError::Redirects)
    }

    /// Adds the headers that are the client's to say; returns those that any host may see.
    async fn complete(&self, request: &mut Request<Bytes>) -> Result<HeaderMap, ClientError> {
        let headers = request.headers_mut();
        if !headers.contains_key(USER_AGENT) {
            let agent = concat!("Tidemark/", env!("CARGO_PKG_VERSION"));
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        }
        let stranger = headers.clone();
        self.options.identity.apply(headers).await.map_err(ClientError::Secret)?;
        if let Some(tokens) = &self.options.tokens {
            let token = tokens.header().await.map_err(ClientError::Token)?;
            headers.insert(AUTHORIZATION, token);
        }
        Ok(stranger)
    }

    fn redirect(&self, from: &Uri, response: &Response<Bytes>) -> Result<Option<Uri>, ClientError> {
        let moved = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        let (true, true, Some(location)) = (self.options.follow_redirects, moved, location) else {
            return Ok(None);
        };
        let target = url::Url::parse(&from.to_string()).and_then(|base| base.join(location));
        let bad = || ClientError::Url(location.to_owned());
        target.map_err(|_| bad())?.as_str().parse().map(Some).map_err(|_| bad())
    }

    /// One request, one answer.
    async fn exchange(
        &self,
        request: &Request<Bytes>,
        limits: &FetchLimits,
    ) -> Result<Response<Bytes>, ClientError> {
        let origin = origin(request.uri())?;
        let kept = self.idle.borrow_mut().take(&origin);
        if let Some(kept) = kept
            && let Ok(response) = self.exchange_on(kept, &origin, request, limits).await?
        {
            return Ok(response);
        }
        let fresh = self.connect(&origin).await?;
        let sent = self.exchange_on(fresh, &origin, request, limits).await?;
        sent.map_err(|e| ClientError::Exchange(words(&e)))
    }

    /// The inner error means that no answer had begun, so that another connection may be tried.
    async fn exchange_on(
        &self,
        mut sender: Sender,
        origin: &Origin,
        request: &Request<Bytes>,
        limits: &FetchLimits,
    ) -> Result<Result<Response<Bytes>, hyper::Error>, ClientError> {
        let proxy = self.options.proxies.relaying(origin);
        let response = match sender.send_request(on_the_wire(request, proxy)).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        let (parts, body) = response.into_parts();
        let bytes = read(body, limits).await?;
        self.idle.borrow_mut().put(origin, sender);
        Ok(Ok(Response::from_parts(parts, bytes)))
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, ClientError> {
        let stream = match self.options.proxies.toward(origin) {
            Some(proxy) => self.connect_through(proxy, origin).await?,
            None => self.secured(dial(origin).await?, origin).await?,
        };
        self.handshake(stream).await
    }

    /// TLS over `stream` if `origin` is one that asks for it.
    async fn secured(&self, stream: Stream, origin: &Origin) -> Result<Stream, ClientError> {
        let (secure, host, _) = origin;
        if !secure {
            return Ok(stream);
        }
        self.options.connector.secure(stream, host).await.map_err(ClientError::Tls)
    }

    /// To the proxy, and through it to `origin` unless the proxy takes requests whole.
    async fn connect_through(&self, proxy: &Proxy, origin: &Origin) -> Result<Stream, ClientError> {
        let mut stream = self.secured(dial(&proxy.origin).await?, &proxy.origin).await?;
        let connected = self.options.proxies.connect(proxy, &mut stream, origin).await;
        connected.map_err(|message| {
            let (_, host, port) = &proxy.origin;
            ClientError::Proxy { host: format!("{host}:{port}"), message }
        })?;
        self.secured(stream, origin).await
    }

    async fn handshake(&self, stream: Stream) -> Result<Sender, ClientError> {
        let codec = Codec::new(stream, Rc::clone(&self.scratch));
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(codec)
            .await
            .map_err(|e| ClientError::Exchange(words(&e)))?;
        spawn_into(Queue::Ingest, async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a target broke");
            }
        })
        .detach();
        Ok(sender)
    }
}

/// A connection to the first address of the host that takes one.
async fn dial((_, host, port): &Origin) -> Result<Stream, ClientError> {
    let addresses = match host.trim_matches(['[', ']']).parse() {
        Ok(ip) => vec![SocketAddr::new(ip, *port)],
        Err(_) => resolve(host, *port)
            .await
            .map_err(|source| ClientError::Resolve { host: host.clone(), source })?,
    };
    let mut failure = ClientError::Resolve {
        host: host.clone(),
        source: std::io::Error::new(std::io::ErrorKind::NotFound, "no such host"),
    };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it an answer that comes in two packets may wait for an acknowledgement.
                drop(stream.set_nodelay(true));
                return Ok(Stream::Plain(stream));
            }
            Err(source) => failure = ClientError::Connect { address, source },
        }
    }
    Err(failure)
}

/// The innermost cause, which is the one that says something.
fn words(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.to_string() {
        _ if error.is_incomplete_message() => "EOF".to_owned(),
        text if text.contains("end of file") => "unexpected EOF".to_owned(),
        text => text,
    }
}

fn origin(uri: &Uri) -> Result<Origin, ClientError> {
    let bad = || ClientError::Url(uri.to_string());
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(bad()),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok((secure, host.to_ascii_lowercase(), port))
}

/// The request with a `Host` and its target in origin form; for a proxy the whole URL, and who we are.
fn on_the_wire(request: &Request<Bytes>, proxy: Option<&Proxy>) -> Request<Full<Bytes>> {
    let mut wire = Request::new(Full::new(request.body().clone()));
    *wire.method_mut() = request.method().clone();
    *wire.headers_mut() = request.headers().clone();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    *wire.uri_mut() = match proxy {
        Some(_) => request.uri().clone(),
        None => target.parse().unwrap_or_default(),
    };
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization().cloned()) {
        wire.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
    }
    if !wire.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
    {
        let host = authority.as_str().rsplit('@').next().unwrap_or("");
        if let Ok(host) = HeaderValue::from_str(host) {
            wire.headers_mut().insert(HOST, host);
        }
    }
    wire
}

/// Reads the body as it is on the wire, up to a cap, and within the room that there is for all.
async fn read(mut body: Incoming, limits: &FetchLimits) -> Result<Bytes, ClientError> {
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut share = limits.room.share();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ClientError::Exchange(words(&e)))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limits.body_bytes_max {
            return Err(ClientError::BodyTooLarge);
        }
        if !share.grow(data.len()) {
            return Err(ClientError::NoRoom);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    Ok(share.with(if rest.is_empty() { first } else { rest.freeze() }))
}
