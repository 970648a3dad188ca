//! `/api/v1/features`: what this server can do, by Prometheus' names, so that clients need not guess it from a version.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};
use tidemark_query::functions::signature::Function;

use crate::cli::Feature;
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;

/// Operators and aggregations that are always there.
const OPERATORS: &[&str] = &[
    "!=",
    "!~",
    "%",
    "*",
    "+",
    "-",
    "/",
    "<",
    "</",
    "<=",
    "==",
    "=~",
    ">",
    ">/",
    ">=",
    "@",
    "^",
    "and",
    "atan2",
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "max",
    "min",
    "or",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "unless",
];

/// Parts of the language that are always there.
const LANGUAGE: &[&str] = &[
    "at_modifier",
    "bool",
    "by",
    "duration_expr",
    "group_left",
    "group_right",
    "ignoring",
    "negative_offset",
    "offset",
    "on",
    "per_query_lookback_delta",
    "subqueries",
    "without",
];

/// See the module.
pub(crate) async fn features(node: Rc<Node>, _: Request) -> Answer {
    let has = |feature| node.flags.has(feature);
    let experimental = has(Feature::PromqlExperimentalFunctions);
    let names = |names: &[&str]| -> Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), Value::Bool(true))).collect()
    };
    let mut language = names(LANGUAGE);
    for (name, on) in [
        ("anchored", has(Feature::PromqlExtendedRangeSelectors)),
        ("smoothed", has(Feature::PromqlExtendedRangeSelectors)),
        ("fill", has(Feature::PromqlBinopFillModifiers)),
        ("fill_left", has(Feature::PromqlBinopFillModifiers)),
        ("fill_right", has(Feature::PromqlBinopFillModifiers)),
        ("delayed_name_removal", has(Feature::PromqlDelayedNameRemoval)),
        ("per_step_stats", true),
        ("type_and_unit_labels", false),
    ] {
        language.insert(name.to_owned(), Value::Bool(on));
    }
    let mut operators = names(OPERATORS);
    for name in ["limitk", "limit_ratio"] {
        operators.insert(name.to_owned(), Value::Bool(experimental));
    }
    let on = |function: &Function| !function.signature().experimental || experimental;
    let functions: BTreeMap<_, _> = Function::ALL.iter().map(|f| (f.name(), on(f))).collect();
    Answer::data(&json!({
        "api": {
            "admin": node.flags.enable_admin_api,
            "label_values_match": true,
            "lifecycle": node.flags.enable_lifecycle,
            "query_stats": true,
            "query_warnings": true,
            "remote_write_receiver": true,
            "search": has(Feature::SearchApi),
            "time_range_labels": true,
            "time_range_series": true,
        },
        "prometheus": { "agent_mode": false, "server_mode": true },
        "promql": language,
        "promql_functions": functions,
        "promql_operators": operators,
        "tsdb": { "exemplar_storage": true, "native_histograms": true },
    }))
}
