//! Texts: the landing page, `/metrics`, and the description of the API.

use std::rc::Rc;

use http::StatusCode;

use crate::http::answer::Answer;
use crate::http::handlers::status::API_VERSION;
use crate::http::request::Request;
use crate::metrics::gather;
use crate::node::Node;

const LANDING: &str = include_str!("landing.html");

const OPENAPI: &str = include_str!("../openapi.yaml");

/// Says what runs here and where to look.
pub(crate) async fn landing(_: Rc<Node>, _: Request) -> Answer {
    let page = LANDING.replace("{version}", env!("CARGO_PKG_VERSION"));
    Answer::new(StatusCode::OK, "text/html; charset=utf-8", page)
}

/// The server's own metrics.
pub(crate) async fn metrics(node: Rc<Node>, _: Request) -> Answer {
    match gather::exposition(&node).await {
        Ok(all) => {
            Answer::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", all.text())
        }
        Err(error) => error.answer(),
    }
}

/// The API for machines, as `OpenAPI` 3.1.
pub(crate) async fn openapi(_: Rc<Node>, _: Request) -> Answer {
    let text = OPENAPI.replace("{version}", API_VERSION);
    Answer::new(StatusCode::OK, "application/yaml; charset=utf-8", text)
}
