//! `/api/v1/targets`, `/api/v1/targets/metadata`, `/api/v1/scrape_pools`: what is scraped, and how that goes.
//!
//! Each core scrapes some of the targets, so each is asked; what was dropped by relabelling is the same on all.

use std::collections::BTreeMap;
use std::rc::Rc;

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_ingest::label_set::LabelSet;
use tidemark_ingest::relabel;
use tidemark_ingest::scrape::status::{DroppedTarget, TargetMetadata, TargetStatus};
use tidemark_query::parser::parse_metric_selector;
use tidemark_query::parser::quote::quoted;

use crate::config;
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::node::Node;

/// Active and dropped targets.
#[derive(Serialize)]
struct Targets {
    #[serde(rename = "activeTargets")]
    active: Vec<TargetStatus>,
    #[serde(rename = "droppedTargets")]
    dropped: Vec<DroppedTarget>,
    #[serde(rename = "droppedTargetCounts", skip_serializing_if = "Option::is_none")]
    dropped_counts: Option<BTreeMap<String, u64>>,
}

/// What one target says of one metric; the metric is left out where it was asked for by name.
#[derive(Serialize)]
struct OneMetadata<'a> {
    target: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    help: &'a str,
    unit: &'a str,
}

/// `state` is `active`, `dropped` or `any`; `scrapePool` is a job's name.
pub(crate) async fn targets(node: Rc<Node>, request: Request) -> Answer {
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let state = params.get("state").to_ascii_lowercase();
    let pool = params.get("scrapePool");
    let wanted = |name: &str| pool.is_empty() || pool == name;
    let mut answer = Targets { active: Vec::new(), dropped: Vec::new(), dropped_counts: None };
    if matches!(state.as_str(), "" | "any" | "active") {
        let all = match node.on_every_core(|node| node.scraper().targets()).await {
            Ok(all) => all,
            Err(error) => return error.answer(),
        };
        answer.active = all.into_iter().flatten().filter(|t| wanted(&t.scrape_pool)).collect();
        answer.active.sort_by(|a, b| {
            (&a.scrape_pool, &a.scrape_url, &a.labels).cmp(&(
                &b.scrape_pool,
                &b.scrape_url,
                &b.labels,
            ))
        });
    }
    if matches!(state.as_str(), "" | "any" | "dropped") {
        let scraper = node.scraper();
        let dropped = scraper.dropped_targets().into_iter();
        answer.dropped = dropped.filter(|t| wanted(&t.scrape_pool)).collect();
        answer.dropped_counts = Some(scraper.dropped_target_counts());
    }
    Answer::data(&answer)
}

/// The names of the jobs.
pub(crate) async fn pools(node: Rc<Node>, _: Request) -> Answer {
    Answer::data(&json!({ "scrapePools": node.scraper().job_names() }))
}

/// The configuration in force of the job `scrapePool`, secrets hidden.
pub(crate) async fn pool_config(node: Rc<Node>, request: Request) -> Answer {
    let bad = |message: &str| Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message);
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let pool = params.get("scrapePool");
    if pool.is_empty() {
        return bad("no scrapePool parameter provided");
    }
    let settings = node.settings();
    let Some(job) = settings.config.scrape_configs.iter().find(|job| job.job_name == pool) else {
        let pool = quoted(pool);
        return bad(&format!("error retrieving scrape config: scrape pool {pool} not found"));
    };
    Answer::data(&json!({ "yaml": config::yaml(job) }))
}

/// What targets say of their metrics: `match_target` selects targets, `metric` one metric, `limit` how many.
pub(crate) async fn metadata(node: Rc<Node>, request: Request) -> Answer {
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let bad = |message: &str| Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message);
    let limit = match params.get("limit") {
        "" => usize::MAX,
        text => match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
            Err(_) => return bad("limit must be a number"),
        },
    };
    let matchers = match params.get("match_target") {
        "" => Vec::new(),
        text => match parse_metric_selector(text) {
            Ok(matchers) => matchers,
            Err(error) => return bad(&format!("invalid parameter \"match_target\": {error}")),
        },
    };
    let gathered =
        node.on_every_core(move |node| node.scraper().metadata(|labels| pass(labels, &matchers)));
    let all = match gathered.await {
        Ok(all) => all,
        Err(error) => return error.answer(),
    };
    let metric = params.get("metric");
    let wanted = |found: &TargetMetadata| metric.is_empty() || found.metric == metric;
    let mut found: Vec<_> = all.into_iter().flatten().filter(wanted).collect();
    found.sort_by(|a, b| (&a.target, &a.metric).cmp(&(&b.target, &b.metric)));
    found.truncate(limit);
    let shown = found.iter().map(|found| OneMetadata {
        target: found.target.iter().collect(),
        metric: metric.is_empty().then_some(found.metric.as_str()),
        kind: found.metadata.kind.as_str(),
        help: &found.metadata.help,
        unit: &found.metadata.unit,
    });
    Answer::data(&shown.collect::<Vec<_>>())
}

fn pass(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
}
/// What the relabelling of job `scrapePool` makes of the labels given as a JSON object, rule by rule.
pub(crate) async fn relabel_steps(node: Rc<Node>, request: Request) -> Answer {
    let bad = |message: &str| Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", message);
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let (pool, labels) = (params.get("scrapePool"), params.get("labels"));
    if pool.is_empty() {
        return bad("no scrapePool parameter provided");
    }
    if labels.is_empty() {
        return bad("no labels parameter provided");
    }
    let labels: BTreeMap<String, String> = match serde_json::from_str(labels) {
        Ok(labels) => labels,
        Err(error) => return bad(&format!("error parsing labels: {error}")),
    };
    let settings = node.settings();
    let job = settings.jobs.iter().find(|job| job.name == pool);
    let config = settings.config.scrape_configs.iter().find(|job| job.job_name == pool);
    let Some((job, config)) = job.zip(config) else {
        let pool = quoted(pool);
        return bad(&format!("error getting scrape config: scrape pool {pool} not found"));
    };
    let set: LabelSet = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let steps = relabel::steps(&job.relabel_rules, &set);
    let shown = config.relabel_configs.iter().zip(&steps).map(|(rule, step)| {
        let output = step.iter().flat_map(LabelSet::iter).collect::<BTreeMap<_, _>>();
        json!({ "rule": rule, "output": output, "keep": step.is_some() })
    });
    Answer::data(&json!({ "steps": shown.collect::<Vec<_>>() }))
}
