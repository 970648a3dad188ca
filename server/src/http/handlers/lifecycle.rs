//! `/-/...`: is it alive, is it ready, read the configuration anew, stop.

use std::rc::Rc;

use http::StatusCode;

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;

/// Alive as long as it answers.
pub(crate) async fn healthy(_: Rc<Node>, _: Request) -> Answer {
    Answer::text("Tidemark is Healthy.\n")
}

/// Ready once storage is open on every core.
pub(crate) async fn ready(node: Rc<Node>, _: Request) -> Answer {
    if node.is_ready() { Answer::text("Tidemark is Ready.\n") } else { not_ready() }
}

/// What everything but the simplest says until then.
pub(crate) fn not_ready() -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").retry_after(1)
}

/// Loads the configuration; the answer says how that went.
pub(crate) async fn reload(node: Rc<Node>, _: Request) -> Answer {
    if !node.flags.enable_lifecycle {
        return not_enabled();
    }
    match node.reload_everywhere().await {
        Ok(()) => Answer::empty(StatusCode::OK),
        Err(message) => Answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("failed to reload config: {message}"),
        ),
    }
}

/// Stops the server.
pub(crate) async fn quit(node: Rc<Node>, _: Request) -> Answer {
    if !node.flags.enable_lifecycle {
        return not_enabled();
    }
    tracing::info!("asked to stop by /-/quit");
    node.stop();
    Answer::text("Requesting termination... Goodbye!\n")
}

fn not_enabled() -> Answer {
    Answer::error(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
}
