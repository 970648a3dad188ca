//! `/api/v1/rules`, `alerts`, `alertmanagers`: what dashboards ask of alerting.
//!
//! Rule files are read and checked; nothing evaluates them, so there is no group with a state, no alert, and nobody who is
//! notified. The answers say so in Prometheus' shape.

use std::rc::Rc;

use http::StatusCode;
use serde_json::json;
use tidemark_query::api::params::parse_bool;
use tidemark_query::api::{self, Params};
use tidemark_query::parser::quote::quoted;

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;

/// The groups of rules that are evaluated: none. What the parameters say is checked all the same.
pub(crate) async fn rules(_: Rc<Node>, request: Request) -> Answer {
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    if let Some(problem) = params.malformed() {
        return bad(&format!("error parsing form values: {problem}"));
    }
    if let Err(error) = params.selectors() {
        return api::failure(&error).into();
    }
    match check_rules(&params) {
        Ok(()) => Answer::data(&json!({ "groups": [] })),
        Err(message) => bad(&message),
    }
}

fn check_rules(params: &Params) -> Result<(), String> {
    let invalid =
        |name: &str, problem: &str| format!("invalid parameter {}: {problem}", quoted(name));
    let kind = params.get("type").to_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        return Err(invalid("type", &format!("not supported value {}", quoted(&kind))));
    }
    let excluded = params.get("exclude_alerts");
    if !excluded.is_empty() && parse_bool(excluded).is_none() {
        return Err(invalid(
            "exclude_alerts",
            &format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing {}: invalid syntax",
                quoted(excluded)
            ),
        ));
    }
    Ok(())
}

/// The alerts that are pending or firing: none.
pub(crate) async fn alerts(_: Rc<Node>, _: Request) -> Answer {
    Answer::data(&json!({ "alerts": [] }))
}

/// The Alertmanagers that are told: none.
pub(crate) async fn alertmanagers(_: Rc<Node>, _: Request) -> Answer {
    Answer::data(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}

fn bad(message: &str) -> Answer {
    Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message)
}
