//! `/api/v1/admin/tsdb/...`: delete series, rewrite what was deleted of, take a snapshot. Only with `--web.enable-admin-api`.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::StatusCode;
use serde_json::json;
use tidemark_core::error::{Error, Result};
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::{Queue, clock};
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;
use tidemark_query::api::Params;
use tidemark_query::value::QueryError;

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;
use crate::time::Rfc3339;

/// Hides the samples of the series that some `match[]` selects, for good.
pub(crate) async fn delete_series(node: Rc<Node>, request: Request) -> Answer {
    let shards = node.shards_of(request.tenant.as_ref());
    let params = match parameters(&node, request).await {
        Ok(params) => params,
        Err(answer) => return answer,
    };
    if params.get_all("match[]").next().is_none() {
        return bad("no match[] parameter provided");
    }
    let (selectors, range) = match selected(&params) {
        Ok(selected) => selected,
        Err(error) => return bad(&error.to_string()),
    };
    let selectors = Arc::new(selectors);
    let deleted = on_every_shard(&shards, move |shard| {
        let selectors = Arc::clone(&selectors);
        async move {
            for matchers in &*selectors {
                shard.delete_series(matchers, range).await?;
            }
            Ok(())
        }
        .boxed_local()
    });
    done(deleted.await)
}

/// Writes the blocks anew that something was deleted of.
pub(crate) async fn clean_tombstones(node: Rc<Node>, request: Request) -> Answer {
    if let Err(answer) = parameters(&node, request).await {
        return answer;
    }
    let clean = |shard: Rc<Shard>| async move { shard.clean_tombstones().await }.boxed_local();
    done(on_every_shard(node.shards(), clean).await)
}

/// Links all files as they stand into a directory below the data; its name is the answer.
pub(crate) async fn snapshot(node: Rc<Node>, request: Request) -> Answer {
    let params = match parameters(&node, request).await {
        Ok(params) => params,
        Err(answer) => return answer,
    };
    let skip_head = match params.get("skip_head") {
        "" | "false" | "0" => false,
        "true" | "1" => true,
        other => {
            return bad(&format!(
                "invalid parameter \"skip_head\": {other:?} is not true or false"
            ));
        }
    };
    let name = snapshot_name(clock::now_ms(), std::process::id());
    match node.shards().snapshot(&name, skip_head).await {
        Ok(()) => Answer::data(&json!({ "name": name })),
        Err(error) => failed(&error),
    }
}

fn selected(params: &Params) -> std::result::Result<(Vec<Vec<Matcher>>, TimeRange), QueryError> {
    let start_ms = params.time_or("start", TimeRange::ALL.start_ms)?;
    let end_ms = params.time_or("end", TimeRange::ALL.end_ms)?;
    Ok((params.selectors()?, TimeRange::new(start_ms, end_ms)))
}

async fn parameters(node: &Node, request: Request) -> std::result::Result<Params, Answer> {
    if !node.flags.enable_admin_api {
        let what = "admin APIs disabled";
        return Err(Answer::api_error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", what));
    }
    request.params().await.map_err(|error| error.answer())
}

async fn on_every_shard(
    shards: &Shards,
    run: impl Fn(Rc<Shard>) -> LocalBoxFuture<'static, Result<()>> + Send + Sync + 'static,
) -> Result<()> {
    shards.scatter(Queue::Background, run).await?.into_iter().collect()
}

fn done(outcome: Result<()>) -> Answer {
    match outcome {
        Ok(()) => Answer::empty(StatusCode::NO_CONTENT),
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> Answer {
    let (status, kind) = if error.is_transient() {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "internal")
    };
    Answer::api_error(status, kind, &error.to_string())
}

fn bad(message: &str) -> Answer {
    Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message)
}

/// `20261123T072246Z-0000019c3f4d2a10`: when it was taken, and what keeps two apart.
fn snapshot_name(now_ms: i64, process: u32) -> String {
    let time = Rfc3339(now_ms).to_string();
    let second = time.split('.').next().unwrap_or_default();
    let digits: String = second.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{digits}Z-{:016x}", now_ms.cast_unsigned() ^ u64::from(process) << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_snapshots_sort_by_time() {
        assert_eq!(snapshot_name(1_795_418_566_123, 0), "20261123T072246Z-000001a207492deb");
        assert!(snapshot_name(0, 7) < snapshot_name(1000, 1));
    }
}
