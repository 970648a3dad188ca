//! `query_exemplars`: the exemplars of the series that a query selects.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tidemark_core::model::exemplar::Exemplar;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::Queue;
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;

use super::json;
use super::params::{Params, bad_data};
use super::response::{Notes, Response, failure, success};
use super::time::{TIME_MAX, TIME_MIN};
use crate::eval::fragment::storage_error;
use crate::parser::ast::{Expr, VectorSelector};
use crate::parser::walk::walk;
use crate::parser::{ParserOptions, parse};
use crate::value::QueryError;

type Found = BTreeMap<Labels, Vec<Exemplar>>;

/// Answers a request.
pub async fn query_exemplars(params: &Params, options: ParserOptions, shards: &Shards) -> Response {
    match find(params, options, shards).await {
        Ok(Some(found)) => success(Notes::default(), |out| {
            json::array(out, &found, |out, (series, exemplars)| {
                json::raw(out, r#"{"seriesLabels":"#);
                json::labels(out, series);
                json::raw(out, r#","exemplars":"#);
                json::array(out, exemplars, write_exemplar);
                out.push(b'}');
            });
        }),
        // A query that selects no series has no exemplars, and no list of them.
        Ok(None) => Response::whole(204, "application/json", Vec::new()),
        Err(error) => failure(&error),
    }
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    json::raw(out, r#"{"labels":"#);
    json::labels(out, &exemplar.labels);
    json::raw(out, r#","value":"#);
    json::quoted_float(out, exemplar.value);
    json::raw(out, r#","timestamp":"#);
    json::timestamp(out, exemplar.timestamp_ms);
    out.push(b'}');
}

async fn find(
    params: &Params,
    options: ParserOptions,
    shards: &Shards,
) -> Result<Option<Found>, QueryError> {
    let start_ms = params.time_or("start", TIME_MIN)?;
    let end_ms = params.time_or("end", TIME_MAX)?;
    if end_ms < start_ms {
        return Err(bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parse(params.get("query"), &options).map_err(|error| bad_data(error.to_string()))?;
    let selectors = selectors(&expr);
    if selectors.is_empty() {
        return Ok(None);
    }
    let (selectors, range) = (Arc::new(selectors), TimeRange::new(start_ms, end_ms));
    let answers = shards
        .scatter(Queue::Query, move |shard: Rc<Shard>| {
            let selectors = Arc::clone(&selectors);
            Box::pin(async move { shard.exemplars(&selectors, range) })
        })
        .await
        .map_err(|error| storage_error(&error))?;
    let mut found = Found::new();
    for answer in answers {
        // A series lies in one shard.
        found.append(&mut answer.map_err(|error| storage_error(&error))?);
    }
    Ok(Some(found))
}

/// The matchers of every selector in an expression.
fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut out = Vec::new();
    let mut add = |selector: &VectorSelector| out.push(selector.matchers.clone());
    walk(expr, &mut |expr, _| {
        match expr {
            Expr::Vector(selector) => add(selector),
            Expr::Matrix(matrix) => add(&matrix.selector),
            _ => {}
        }
        true
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_of_a_query_counts() {
        let expr = parse("sum(rate(a[5m])) / b{x='y'} + 1", &ParserOptions::ALL).unwrap();
        let found = selectors(&expr);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert!(selectors(&parse("1 + time()", &ParserOptions::ALL).unwrap()).is_empty());
    }
}
