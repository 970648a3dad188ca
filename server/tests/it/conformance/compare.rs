//! What makes two answers equal.

use std::collections::BTreeMap;

use serde_json::Value;
use tidemark_bench::http::Response;

use super::call::Check;

/// How far two numbers may be apart, relative to the larger.
const RELATIVE: f64 = 1e-9;

/// What an answer says, apart from its framing.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Said {
    /// Reads an answer; what is no JSON is text.
    pub(super) fn new(response: &Response) -> Self {
        let body = serde_json::from_slice(&response.body);
        Said { status: response.status, body: body.unwrap_or_else(|_| response.text().into()) }
    }

    /// The words of an error.
    pub(super) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or("")
    }

    /// Whether it is an answer and no error.
    pub(super) fn is_success(&self) -> bool {
        self.status == 200
    }
}

/// The first difference, if there is one.
pub(super) fn difference(ours: &Said, theirs: &Said, check: Check) -> Option<String> {
    if ours.status != theirs.status {
        return Some(format!("status {} and {}", ours.status, theirs.status));
    }
    match check {
        Check::Status => None,
        Check::Shape => shape_difference("", &ours.body, &theirs.body),
        Check::Value | Check::Ordered if !ours.is_success() => error_difference(ours, theirs),
        Check::Value | Check::Ordered => {
            let (a, b) = (&ours.body["data"], &theirs.body["data"]);
            if a["resultType"] != b["resultType"] {
                return Some(format!("result types {} and {}", a["resultType"], b["resultType"]));
            }
            match a["resultType"].as_str() {
                Some("vector" | "matrix") => {
                    series_difference(&a["result"], &b["result"], check == Check::Ordered)
                }
                Some(_) => value_difference("result", &a["result"], &b["result"]),
                None => value_difference("data", &sorted(a), &sorted(b)),
            }
        }
    }
}

/// Lists of label sets have no order.
fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(list) = value.as_array_mut()
        && list.iter().all(Value::is_object)
    {
        list.sort_by_key(Value::to_string);
    }
    value
}

fn error_difference(ours: &Said, theirs: &Said) -> Option<String> {
    if ours.body["errorType"] != theirs.body["errorType"] {
        return Some(format!("errors {} and {}", ours.body, theirs.body));
    }
    let (a, b) = (plain(ours.error()), plain(theirs.error()));
    (a != b).then(|| format!("\n      ours:   {a}\n      theirs: {b}"))
}

/// An error without the label sets in it: of several that are wrong, either may be named.
fn plain(error: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    for c in error.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth <= 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Series by their labels; as they come if their order counts.
fn series_difference(ours: &Value, theirs: &Value, ordered: bool) -> Option<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (ours, theirs) = (list(ours), list(theirs));
    if ours.len() != theirs.len() {
        let names = |list: &[Value]| {
            list.iter()
                .take(6)
                .map(|s| s.to_string().chars().take(160).collect::<String>())
                .collect::<Vec<_>>()
                .join("\n        ")
        };
        return Some(format!(
            "{} and {} series\n      ours:   {}\n      theirs: {}",
            ours.len(),
            theirs.len(),
            names(&ours),
            names(&theirs)
        ));
    }
    if ordered {
        let mut both = ours.iter().zip(&theirs);
        return both.find_map(|(a, b)| one_series_difference(a, b));
    }
    let by_labels = |list: Vec<Value>| -> BTreeMap<String, Value> {
        list.into_iter().map(|series| (series["metric"].to_string(), series)).collect()
    };
    let (ours, theirs) = (by_labels(ours), by_labels(theirs));
    let mut both = ours.iter().zip(&theirs);
    both.find_map(|((_, a), (_, b))| one_series_difference(a, b))
}

fn one_series_difference(ours: &Value, theirs: &Value) -> Option<String> {
    if ours["metric"] != theirs["metric"] {
        return Some(format!("series {} and {}", ours["metric"], theirs["metric"]));
    }
    let name = ours["metric"].to_string();
    ["value", "values"]
        .into_iter()
        .find_map(|member| value_difference(&name, &ours[member], &theirs[member]))
}

fn value_difference(place: &str, ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| value_difference(place, a, b))
        }
        (Value::String(a), Value::String(b)) if a == b || close(a, b) => None,
        (a, b) if a == b => None,
        (a, b) => {
            let short = |value: &Value| value.to_string().chars().take(300).collect::<String>();
            Some(format!("{place}\n      ours:   {}\n      theirs: {}", short(a), short(b)))
        }
    }
}

fn close(a: &str, b: &str) -> bool {
    let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= RELATIVE * a.abs().max(b.abs())
}

/// Objects must have the other's members at least, values its kinds.
fn shape_difference(place: &str, ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => b.iter().find_map(|(name, theirs)| {
            let place = format!("{place}.{name}");
            // Flags and metric families are the system's own.
            if matches!(place.as_str(), ".data.global") || place.starts_with(".data.web") {
                return None;
            }
            match a.get(name) {
                Some(ours) => shape_difference(&place, ours, theirs),
                None => Some(format!("no {place}")),
            }
        }),
        (Value::Array(a), Value::Array(b)) => match (a.first(), b.first()) {
            (Some(a), Some(b)) => shape_difference(&format!("{place}[]"), a, b),
            _ => None,
        },
        (Value::String(a), Value::String(b)) if place == ".error" || place == ".errorType" => {
            (a != b).then(|| format!("{place}: {a:?} and {b:?}"))
        }
        (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => None,
        (a, b) => Some(format!("{place}: {a} and {b}")),
    }
}
