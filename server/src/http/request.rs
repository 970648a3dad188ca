//! A request as handlers see it: what was captured of the path, and the parameters of query string and form together.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use hyper::body::Incoming;
use tidemark_core::model::tenant::Tenant;
use tidemark_query::api::Params;

use super::body::{BodyBudget, BodyError, Held};
use crate::limits::FORM_BYTES_MAX;

/// A request.
pub(crate) struct Request {
    /// The method.
    pub(crate) method: Method,
    /// What stood in the place of the route's `:name`, decoded.
    pub(crate) captured: Option<String>,
    /// The query string, encoded.
    pub(crate) query: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, not read yet.
    pub(crate) body: Incoming,
    /// Which tenant asks, where tenants are told apart and the route is one that has to know.
    pub(crate) tenant: Option<Tenant>,
    /// Who asks, as far as the socket knows.
    pub(crate) client: Option<SocketAddr>,
    /// What bodies may hold.
    pub(crate) budget: BodyBudget,
    /// How long the body may take.
    pub(crate) read_timeout: Duration,
}

impl Request {
    /// Reads the body.
    pub(crate) async fn read(self, bytes_max: usize) -> Result<Held, BodyError> {
        self.budget.read(self.body, bytes_max, self.read_timeout).await
    }

    /// Reads the form, if there is one, and joins the query string.
    pub(crate) async fn params(self) -> Result<Params, BodyError> {
        if self.method != Method::POST || !is_form(&self.headers) {
            return Ok(Params::parse(&self.query, b""));
        }
        let query = self.query.clone();
        let form = self.read(FORM_BYTES_MAX).await?;
        Ok(Params::parse(&query, &form.bytes))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}
