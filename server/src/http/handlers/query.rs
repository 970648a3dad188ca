//! `/api/v1/query`, `query_range`, `series`, `labels`, `label/<name>/values`, `metadata` and their like: parameters go to the
//! query crate, its bytes go to the client.
//!
//! Each runs in the queue of queries, whose share is small, so that a storm of them does not move how long ingestion takes. A
//! client that hangs up drops the handler, and with it the query.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_ENCODING, HeaderValue};
use tidemark_core::runtime::{Queue, clock, spawn_into};
use tidemark_core::shards::Shards;
use tidemark_query::api::federate::Federation;
use tidemark_query::api::query::{Format, InstantRequest, QuerySettings, RangeRequest};
use tidemark_query::api::remote_read::Reading;
use tidemark_query::api::search::{SearchSettings, Searched};
use tidemark_query::api::{self, Params, Response};
use tidemark_query::budget::Budget;
use tidemark_query::engine::QueryOptions;
use tidemark_query::value::{QueryError, QueryResult};

use crate::cli::Feature;
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::limits::FORM_BYTES_MAX;
use crate::node::Node;
use crate::queries::{Asked, Running};

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let status = StatusCode::from_u16(response.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = Answer::new(status, response.content_type, response.body);
        let answer = answer.followed_by(response.rest);
        match response.content_encoding {
            Some(coding) => answer.with(CONTENT_ENCODING, HeaderValue::from_static(coding)),
            None => answer,
        }
    }
}

/// Reads the parameters, waits for a turn, then answers (and compresses) in the queue of queries. `answer` is given the shards as
/// whoever asks may see them.
async fn answered<F, Fut>(node: Rc<Node>, request: Request, answer: F) -> Answer
where
    F: FnOnce(Rc<Node>, Shards, Params) -> Fut + 'static,
    Fut: Future<Output = Response> + 'static,
{
    let headers = request.headers.clone();
    let shards = node.shards_of(request.tenant.as_ref());
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let turn = node.query_turns.acquire(1).await;
    let answering = spawn_into(Queue::Query, async move {
        let response = answer(node, shards, params).await;
        let answer = Answer::from(response).compressed_for(&headers).await;
        drop(turn);
        answer
    });
    answering.await
}

fn options(settings: &QuerySettings) -> QueryOptions {
    QueryOptions {
        lookback_ms: settings.lookback_ms,
        explain: settings.explain,
        step_stats: settings.wants_step_stats(),
        no_cache: settings.no_cache,
        timeout: settings.timeout_ms.map(|ms| Duration::from_millis(ms.max(0).cast_unsigned())),
    }
}

/// What lists and log say of a request.
fn asked(
    request: &Request,
    path: &'static str,
) -> impl FnOnce(&QuerySettings, [i64; 3]) -> Asked + use<> {
    let (method, client) = (request.method.to_string(), request.client);
    move |settings, [start_ms, end_ms, step_ms]| {
        let query = Asked::shown(&settings.query);
        Asked { query, start_ms, end_ms, step_ms, path, method, client }
    }
}

/// How the client wants values.
fn preferred(request: &Request) -> Format {
    let accept = request.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    Format::of(accept.unwrap_or_default())
}

/// Takes a query off the list of those under way, and renders what the engine gave.
fn ended(
    running: Running,
    result: Result<QueryResult, QueryError>,
    settings: &QuerySettings,
    (format, shards): (Format, &Shards),
) -> Response {
    match &result {
        Ok(result) => running.end(Some(&result.stats), None),
        Err(error) => running.end(None, Some(&error.message)),
    }
    api::query::answer(result, settings, format, shards)
}

/// An expression at one time.
pub(crate) async fn instant(node: Rc<Node>, request: Request) -> Answer {
    let (listed, format) = (asked(&request, "/api/v1/query"), preferred(&request));
    answered(node, request, move |node, shards, params| async move {
        let asked = match InstantRequest::new(&params, clock::now_ms()) {
            Ok(asked) => asked,
            Err(error) => return api::failure(&error),
        };
        let settings = &asked.settings;
        let running = node.queries.begin(listed(settings, [asked.time_ms, asked.time_ms, 0]));
        let engine = node.engine().over(shards);
        let result = engine.instant(&settings.query, asked.time_ms, &options(settings)).await;
        ended(running, result, settings, (format, engine.shards()))
    })
    .await
}

/// An expression over a range of time.
pub(crate) async fn range(node: Rc<Node>, request: Request) -> Answer {
    let (listed, format) = (asked(&request, "/api/v1/query_range"), preferred(&request));
    answered(node, request, move |node, shards, params| async move {
        let asked = match RangeRequest::new(&params) {
            Ok(asked) => asked,
            Err(error) => return api::failure(&error),
        };
        let settings = &asked.settings;
        let (start, end, step) = (asked.start_ms, asked.end_ms, asked.step_ms);
        let running = node.queries.begin(listed(settings, [start, end, step]));
        let engine = node.engine().over(shards);
        let result = engine.range(&settings.query, start, end, step, &options(settings)).await;
        ended(running, result, settings, (format, engine.shards()))
    })
    .await
}

/// An expression, laid out.
pub(crate) async fn format(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |node, _, params| async move {
        api::query::format_query(&params, node.engine().options().parser)
    })
    .await
}

/// An expression as a tree.
pub(crate) async fn parse(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |node, _, params| async move {
        api::query::parse_query(&params, node.engine().options().parser)
    })
    .await
}

/// Label sets that match.
pub(crate) async fn series(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |_, shards, params| async move {
        api::series::series(&params, &shards).await
    })
    .await
}

/// Label names.
pub(crate) async fn labels(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |_, shards, params| async move {
        api::series::labels(&params, &shards).await
    })
    .await
}

/// The values of one label.
pub(crate) async fn label_values(node: Rc<Node>, mut request: Request) -> Answer {
    let name = request.captured.take().unwrap_or_default();
    answered(node, request, |_, shards, params| async move {
        api::series::label_values(&name, &params, &shards).await
    })
    .await
}

async fn search(searched: Searched, node: Rc<Node>, request: Request) -> Answer {
    if !node.flags.has(Feature::SearchApi) {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Answer::api_error(status, "unavailable", "search API disabled");
    }
    answered(node, request, move |node, shards, params| async move {
        let limit_max = node.flags.search_max_limit;
        let settings = SearchSettings { now_ms: clock::now_ms(), limit_max };
        api::search::search(searched, &params, &shards, settings).await
    })
    .await
}

/// Names of metrics that fit what is typed.
pub(crate) async fn search_metric_names(node: Rc<Node>, request: Request) -> Answer {
    search(Searched::MetricNames, node, request).await
}

/// Names of labels that fit.
pub(crate) async fn search_label_names(node: Rc<Node>, request: Request) -> Answer {
    search(Searched::LabelNames, node, request).await
}

/// Values of one label that fit.
pub(crate) async fn search_label_values(node: Rc<Node>, request: Request) -> Answer {
    search(Searched::LabelValues, node, request).await
}

/// Types, helps and units.
pub(crate) async fn metadata(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |_, shards, params| async move {
        api::series::metadata(&params, &shards).await
    })
    .await
}

/// Exemplars of what an expression selects.
pub(crate) async fn exemplars(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |node, shards, params| async move {
        let parser = node.engine().options().parser;
        api::exemplars::query_exemplars(&params, parser, &shards).await
    })
    .await
}

/// The newest samples, for another Prometheus to scrape.
pub(crate) async fn federate(node: Rc<Node>, request: Request) -> Answer {
    answered(node, request, |node, shards, params| async move {
        let federation = Federation {
            now_ms: clock::now_ms(),
            lookback_ms: node.flags.query_lookback_delta.as_millis(),
            external_labels: node.settings().config.global.external_labels.clone(),
            budget: budget(&node),
        };
        api::federate::federate(&params, &shards, &federation).await
    })
    .await
}

/// Stored samples, for another Prometheus to query.
pub(crate) async fn read(node: Rc<Node>, request: Request) -> Answer {
    let shards = node.shards_of(request.tenant.as_ref());
    let body = match request.read(FORM_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return error.answer(),
    };
    let turn = node.query_turns.acquire(1).await;
    let answering = spawn_into(Queue::Query, async move {
        let external_labels = node.settings().config.global.external_labels.clone();
        let reading = Reading { external_labels, budget: budget(&node) };
        let response = api::remote_read::read(&body.bytes, &shards, &reading).await;
        drop(turn);
        Answer::from(response)
    });
    answering.await
}

/// What a request for stored samples may cost: as much as a query.
fn budget(node: &Node) -> Budget {
    let deadline = clock::Instant::now() + node.flags.query_timeout.as_std();
    Budget::new(node.flags.query_max_samples, node.flags.query_max_memory, deadline)
}
