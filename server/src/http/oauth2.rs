//! OAuth 2.0: tokens by client credentials (RFC 6749, 4.4) or by a signed assertion (RFC 7523), kept until shortly before
//! they expire.
//!
//! One token serves all targets of a job on a core; while one request fetches it the others wait for it. A token server is
//! first told the client's secret in the `Authorization` header; if it refuses that, in the body, which is remembered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use tidemark_core::runtime::clock::{self, Instant};
use tidemark_core::runtime::mailbox::local::Semaphore;
use tidemark_core::runtime::unblock;
use tidemark_ingest::handshake::token;
use tidemark_ingest::scrape::FetchLimits;
use tidemark_ingest::scrape::room::Room;

use super::client::Client;
use super::identity::{Source, sensitive};
use crate::config::http_client::OAuth2;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_TIMEOUT};

mod assertion;

use assertion::Assertion;

/// How long before its end a token is not used any more.
const RENEW_BEFORE: Duration = Duration::from_secs(10);

/// How long an assertion is good for.
const ASSERTION_LIFE_SECONDS: i64 = 3600;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Who asks a token server: a core's client, or that of the control thread.
pub(crate) trait TokenClient {
    /// Sends a request and reads the answer, within [`TOKEN_BYTES_MAX`] and [`TOKEN_TIMEOUT`].
    fn exchange(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, String>>;

    /// Runs what may block, apart from the thread that asks.
    fn aside(&self, work: Blocking) -> LocalBoxFuture<'_, Result<String, String>>;
}

/// Reads a secret's file, or signs with it.
pub(crate) type Blocking = Box<dyn FnOnce() -> Result<String, String> + Send>;

impl TokenClient for Client {
    fn exchange(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, String>> {
        let limits = FetchLimits {
            body_bytes_max: TOKEN_BYTES_MAX,
            timeout: TOKEN_TIMEOUT,
            room: Room::default(),
        };
        async move { self.fetch(request, &limits).await.map_err(|e| e.to_string()) }.boxed_local()
    }

    fn aside(&self, work: Blocking) -> LocalBoxFuture<'_, Result<String, String>> {
        unblock(work).boxed_local()
    }
}

/// Where tokens come from, and the one that is good now.
pub(crate) struct Tokens {
    client: Rc<dyn TokenClient>,
    url: String,
    grant: Grant,
    /// What every request says, as a form.
    parameters: Vec<(String, String)>,
    token: RefCell<Option<Token>>,
    /// Held by whoever fetches.
    turn: Semaphore,
    /// The server does not take the secret in a header.
    in_body: Cell<bool>,
}

enum Grant {
    ClientCredentials { id: String, secret: Source },
    Assertion(Assertion),
}

struct Token {
    header: HeaderValue,
    good_until: Option<Instant>,
}

impl Tokens {
    /// As configured; `client` is what asks for tokens.
    pub(crate) fn of(config: &OAuth2, client: Rc<dyn TokenClient>) -> Self {
        let mut parameters: Vec<(String, String)> =
            config.endpoint_params.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        let grant = if config.grant_type == JWT_BEARER {
            Grant::Assertion(Assertion::of(config))
        } else {
            if !config.scopes.is_empty() {
                parameters.push(("scope".to_owned(), config.scopes.join(" ")));
            }
            let secret = Source::of(config.client_secret.reveal(), &config.client_secret_file);
            Grant::ClientCredentials { id: config.client_id.clone(), secret }
        };
        Tokens {
            client,
            url: config.token_url.to_string(),
            grant,
            parameters,
            token: RefCell::new(None),
            turn: Semaphore::new(1),
            in_body: Cell::new(false),
        }
    }

    /// The `Authorization` header to send now; `Err` says why there is none.
    pub(crate) async fn header(&self) -> Result<HeaderValue, String> {
        if let Some(header) = self.kept() {
            return Ok(header);
        }
        let _turn = self.turn.acquire(1).await;
        if let Some(header) = self.kept() {
            return Ok(header);
        }
        let token = self.fetch().await.map_err(|e| format!("oauth2: cannot fetch token: {e}"))?;
        let header = token.header.clone();
        *self.token.borrow_mut() = Some(token);
        Ok(header)
    }

    fn kept(&self) -> Option<HeaderValue> {
        let token = self.token.borrow();
        let token = token.as_ref()?;
        let good =
            token.good_until.is_none_or(|until| !until.duration_since(Instant::now()).is_zero());
        good.then(|| token.header.clone())
    }

    async fn fetch(&self) -> Result<Token, String> {
        match &self.grant {
            Grant::Assertion(assertion) => {
                let now_s = clock::now_ms() / 1000;
                let (assertion, url) = (assertion.clone(), self.url.clone());
                let sign = Box::new(move || assertion.sign(&url, now_s));
                let signed = self.client.aside(sign).await?;
                let own = [("grant_type", JWT_BEARER), ("assertion", &signed)];
                self.ask(&own, None).await?.1
            }
            Grant::ClientCredentials { id, secret } => {
                let source = secret.clone();
                let secret = self.client.aside(Box::new(move || source.get())).await?;
                let kind = ("grant_type", "client_credentials");
                if !self.in_body.get() {
                    let (status, token) = self.ask(&[kind], Some((id, &secret))).await?;
                    if token.is_ok() || status.is_server_error() {
                        return token;
                    }
                }
                let own = [kind, ("client_id", id), ("client_secret", &secret)];
                let (_, token) = self.ask(&own, None).await?;
                self.in_body.set(token.is_ok());
                token
            }
        }
    }

    /// One request; the status, and the token or why there is none.
    async fn ask(
        &self,
        own: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<(StatusCode, Result<Token, String>), String> {
        let shared = self.parameters.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let body = form(own.iter().copied().chain(shared));
        let mut request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some((id, secret)) = basic {
            let pair = format!("{}:{}", encoded(id), encoded(secret));
            let text = format!("Basic {}", STANDARD.encode(pair));
            request = request.header(AUTHORIZATION, sensitive(&text, "client_secret")?);
        }
        let request = request.body(Bytes::from(body)).map_err(|e| format!("token_url: {e}"))?;
        let response = self.client.exchange(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Ok((status, Err(format!("the token server answered {status}"))));
        }
        Ok((status, token(response.body())))
    }
}

fn token(body: &[u8]) -> Result<Token, String> {
    let read = token::read(body)?;
    Ok(Token {
        header: sensitive(&read.authorization, "access_token")?,
        good_until: read.life.map(|life| Instant::now() + life.saturating_sub(RENEW_BEFORE)),
    })
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn form<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end_before_they_do() {
        let good = token(br#"{"access_token":"x","expires_in":3600}"#).unwrap();
        assert_eq!(good.header, "Bearer x");
        assert!(good.header.is_sensitive() && good.good_until.is_some());
        assert!(token(br#"{"access_token":"x"}"#).unwrap().good_until.is_none());
        let error = token(br#"{"access_token":"a\nb"}"#).err().unwrap();
        assert!(!error.contains("a\nb"), "no token in an error: {error}");
    }
}
