//! `search/metric_names`, `search/label_names`, `search/label_values`: names and values that fit what someone types.
//!
//! Each shard scores its own names and keeps the best; they are merged here. The answer is lines of JSON: batches of results, then
//! one line that says whether there would be more. Without times the last hour is searched.

mod score;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::metadata::Metadata;
use tidemark_core::model::time::{TimeRange, TimestampMs};
use tidemark_core::runtime::{Queue, yield_if_needed};
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;

use self::score::{Algorithm, Filter};
use super::json;
use super::params::{Params, bad_data, parse_int};
use super::response::{Response, failure};
use super::series::{Found, Selected};
use crate::eval::fragment::storage_error;
use crate::limits::{PIECE_BYTES, SEARCH_BATCH, SEARCH_RESULTS, SEARCH_TERMS_MAX};
use crate::parser::number::Plain;
use crate::parser::quote::quoted;
use crate::value::QueryError;

const LINES: &str = "application/x-ndjson; charset=utf-8";

/// How far back is searched without a start, in ms.
const WINDOW_MS: i64 = 3_600_000;

type Result<T> = std::result::Result<T, QueryError>;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    /// The names of metrics.
    MetricNames,
    /// The names of labels.
    LabelNames,
    /// The values of the label that the parameter `label` names.
    LabelValues,
}

/// What a search depends on beside the request.
#[derive(Clone, Copy, Debug)]
pub struct SearchSettings {
    /// The time of the request.
    pub now_ms: TimestampMs,
    /// The greatest `limit` that is taken; 0 for any.
    pub limit_max: usize,
}

/// Answers a request.
pub async fn search(
    searched: Searched,
    params: &Params,
    shards: &Shards,
    settings: SearchSettings,
) -> Response {
    match found(searched, params, shards, settings).await {
        Ok(lines) => lines,
        Err(error) => failure(&error),
    }
}

async fn found(
    searched: Searched,
    params: &Params,
    shards: &Shards,
    settings: SearchSettings,
) -> Result<Response> {
    let asked = Asked::new(searched, params, settings)?;
    let (with_metadata, with_score) = (asked.with_metadata, asked.with_score);
    let (batch, limit) = (asked.batch, asked.limit);
    let selected = Selected { selectors: asked.selectors, range: asked.range, limit: Some(limit) };
    let (label, filter, order) = (asked.label, asked.filter, asked.order);
    let ask = async move |shard: &Shard, matchers: &[Matcher], range, wanted| {
        let names = match &label {
            None => shard.label_names(matchers, range, usize::MAX).await?,
            Some(label) => shard.label_values(label, matchers, range, usize::MAX).await?,
        };
        let mut hits = Vec::new();
        for value in names {
            yield_if_needed().await;
            if let Some(score) = filter.score(&value) {
                hits.push(Hit { value, score, order });
            }
        }
        hits.sort_unstable();
        hits.truncate(wanted);
        Ok(hits)
    };
    let Found { items, truncated } = selected.gather(shards, ask).await?;
    let metadata = if with_metadata { metadata_of(&items, shards).await? } else { HashMap::new() };
    let member = if searched == Searched::LabelValues { "value" } else { "name" };
    let write = move |out: &mut Vec<u8>, hit: &Hit| {
        json::raw(out, "{\"");
        json::raw(out, member);
        json::raw(out, "\":");
        json::html_safe_string(out, &hit.value);
        if with_score {
            json::raw(out, &format!(",\"score\":{}", Plain(hit.score)));
        }
        if let Some(known) = metadata.get(&hit.value) {
            write_metadata(out, known);
        }
        out.push(b'}');
    };
    Ok(lines(items, batch, truncated, write))
}

fn write_metadata(out: &mut Vec<u8>, known: &Metadata) {
    let members = [("type", known.kind.as_str()), ("help", &known.help), ("unit", &known.unit)];
    for (name, text) in members.into_iter().filter(|(_, text)| !text.is_empty()) {
        json::raw(out, &format!(",\"{name}\":"));
        json::html_safe_string(out, text);
    }
}

/// Batches of results, and the line after them.
fn lines(
    hits: Vec<Hit>,
    batch: usize,
    has_more: bool,
    write: impl Fn(&mut Vec<u8>, &Hit) + 'static,
) -> Response {
    let (mut hits, mut begun) = (hits.into_iter(), false);
    Response::pieces(LINES, move |out| {
        while out.len() < PIECE_BYTES && (hits.len() > 0 || !begun) {
            begun = true;
            json::raw(out, r#"{"results":"#);
            json::array(out, hits.by_ref().take(batch), |out, hit| write(out, &hit));
            json::raw(out, "}\n");
        }
        if hits.len() == 0 {
            json::raw(out, &format!("{{\"status\":\"success\",\"has_more\":{has_more}}}\n"));
        }
        hits.len() > 0
    })
}

/// What is known of the metrics that were found.
async fn metadata_of(hits: &[Hit], shards: &Shards) -> Result<HashMap<String, Metadata>> {
    let wanted: Arc<HashSet<String>> = Arc::new(hits.iter().map(|hit| hit.value.clone()).collect());
    let answers = shards
        .scatter(Queue::Query, move |shard: Rc<Shard>| {
            let wanted = Arc::clone(&wanted);
            Box::pin(async move {
                let mut known = shard.metadata();
                known.retain(|(family, _)| wanted.contains(family));
                known
            })
        })
        .await
        .map_err(|error| storage_error(&error))?;
    Ok(answers.into_iter().flatten().collect())
}

/// In which order results come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    BestFirst,
}

/// A name that fits.
#[derive(Clone, Debug)]
struct Hit {
    value: String,
    score: f64,
    order: Order,
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_value = self.value.cmp(&other.value);
        match self.order {
            Order::Ascending => by_value,
            Order::Descending => by_value.reverse(),
            Order::BestFirst => other.score.total_cmp(&self.score).then(by_value),
        }
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Hit {}

/// The parameters.
#[derive(Debug)]
struct Asked {
    /// The label whose values are searched; none for the names of labels.
    label: Option<String>,
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
    filter: Filter,
    order: Order,
    with_score: bool,
    with_metadata: bool,
    limit: usize,
    batch: usize,
}

impl Asked {
    fn new(searched: Searched, params: &Params, settings: SearchSettings) -> Result<Self> {
        if let Some(problem) = params.malformed() {
            return Err(bad_data(format!("error parsing form values: {problem}")));
        }
        let start_ms = params.time_or("start", settings.now_ms - WINDOW_MS)?;
        let end_ms = params.time_or("end", settings.now_ms)?;
        if end_ms < start_ms {
            return Err(bad_data("end timestamp must not be before start timestamp"));
        }
        let selectors = params.selectors()?;
        let filter = filter(params)?;
        let with_score = params.boolean("include_score", false)?;
        let order = order(params)?;
        let limit = limit(params, settings.limit_max)?;
        let batch = positive(params, "batch_size")?.unwrap_or(SEARCH_BATCH);
        if !matches!(params.get("sort_by"), "" | "alpha" | "score") {
            let endpoint = match searched {
                Searched::MetricNames => "metric_names",
                Searched::LabelNames => "label_names",
                Searched::LabelValues => "label_values",
            };
            return Err(bad_data(format!(
                "invalid sort_by {} for {endpoint}: must be \"alpha\" or \"score\"",
                quoted(params.get("sort_by"))
            )));
        }
        let mut with_metadata = false;
        let label = match searched {
            Searched::MetricNames => {
                with_metadata = params.boolean("include_metadata", false)?;
                Some(METRIC_NAME.to_owned())
            }
            Searched::LabelNames => None,
            Searched::LabelValues if params.get("label").is_empty() => {
                return Err(bad_data("missing required parameter \"label\""));
            }
            Searched::LabelValues => Some(params.get("label").to_owned()),
        };
        let range = TimeRange::new(start_ms, end_ms);
        Ok(Asked {
            label,
            selectors,
            range,
            filter,
            order,
            with_score,
            with_metadata,
            limit,
            batch,
        })
    }
}

fn filter(params: &Params) -> Result<Filter> {
    let terms = params.get_all("search[]").count();
    if terms > SEARCH_TERMS_MAX {
        return Err(bad_data(format!(
            "too many search[] terms: got {terms}, maximum is {SEARCH_TERMS_MAX}"
        )));
    }
    let threshold = match params.get("fuzz_threshold") {
        "" => 0,
        text => parse_int(text).ok().filter(|n| (0..=100).contains(n)).ok_or_else(|| {
            bad_data(format!("invalid fuzz_threshold {}: must be 0-100", quoted(text)))
        })?,
    };
    let [(_, default), _] = Algorithm::ALL;
    let algorithm = match params.get("fuzz_alg") {
        "" => default,
        text => {
            let known = Algorithm::ALL.into_iter().find(|(name, _)| *name == text);
            let names = Algorithm::ALL.map(|(name, _)| name).join(" ");
            let unknown = || {
                let text = quoted(text);
                bad_data(format!("unsupported fuzz_alg {text}: must be one of [{names}]"))
            };
            known.ok_or_else(unknown)?.1
        }
    };
    let case_sensitive = params.boolean("case_sensitive", true)?;
    let threshold = threshold as f64 / 100.0;
    Ok(Filter::new(params.get_all("search[]"), algorithm, threshold, case_sensitive))
}

fn order(params: &Params) -> Result<Order> {
    let (by, direction) = (params.get("sort_by"), params.get("sort_dir"));
    match (by, direction) {
        ("", "asc" | "dsc") => Err(bad_data("sort_dir is only valid when sort_by is set")),
        ("score", "") if params.get_all("search[]").next().is_none() => {
            Err(bad_data("sort_by=score requires search[] to be set"))
        }
        ("score", "") => Ok(Order::BestFirst),
        ("score", _) => Err(bad_data("sort_dir is not supported for sort_by=score")),
        (_, "" | "asc") => Ok(Order::Ascending),
        (_, "dsc") => Ok(Order::Descending),
        ("", _) => Err(bad_data("sort_dir is only valid when sort_by is set")),
        (_, other) => {
            let other = quoted(other);
            Err(bad_data(format!("invalid sort_dir {other}: must be \"asc\" or \"dsc\"")))
        }
    }
}

fn limit(params: &Params, limit_max: usize) -> Result<usize> {
    let bounded = |limit: usize| if limit_max == 0 { limit } else { limit.min(limit_max) };
    match positive(params, "limit")? {
        None => Ok(bounded(SEARCH_RESULTS)),
        Some(limit) if bounded(limit) == limit => Ok(limit),
        Some(limit) => Err(bad_data(format!(
            "limit {limit} exceeds the configured maximum ({limit_max}, see --web.search.max-limit)"
        ))),
    }
}

/// A positive number, if given.
fn positive(params: &Params, name: &str) -> Result<Option<usize>> {
    let text = params.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    let number = parse_int(text).ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let wrong = || bad_data(format!("invalid {name} {}: must be a positive integer", quoted(text)));
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: SearchSettings = SearchSettings { now_ms: 7_200_000, limit_max: 500 };

    fn asked(query: &str) -> Result<Asked> {
        Asked::new(Searched::LabelNames, &Params::parse(query, b""), SETTINGS)
    }

    #[test]
    fn parameters_have_defaults() {
        let asked = asked("").unwrap();
        assert_eq!(asked.range, TimeRange::new(3_600_000, 7_200_000));
        assert_eq!((asked.limit, asked.batch), (SEARCH_RESULTS, SEARCH_BATCH));
        assert_eq!((asked.order, asked.with_score), (Order::Ascending, false));
        assert_eq!(asked.filter.score("anything"), Some(1.0));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let many = "search[]=x&".repeat(SEARCH_TERMS_MAX + 1);
        for (query, expected) in [
            ("end=1&start=2", "end timestamp must not be before start timestamp"),
            ("fuzz_threshold=101", "invalid fuzz_threshold \"101\": must be 0-100"),
            (
                "fuzz_alg=soundex",
                "unsupported fuzz_alg \"soundex\": must be one of [subsequence jarowinkler]",
            ),
            ("case_sensitive=maybe", "invalid case_sensitive \"maybe\": must be boolean"),
            ("sort_dir=asc", "sort_dir is only valid when sort_by is set"),
            ("sort_by=score", "sort_by=score requires search[] to be set"),
            (
                "sort_by=score&search[]=x&sort_dir=asc",
                "sort_dir is not supported for sort_by=score",
            ),
            ("sort_by=alpha&sort_dir=up", "invalid sort_dir \"up\": must be \"asc\" or \"dsc\""),
            (
                "sort_by=size",
                "invalid sort_by \"size\" for label_names: must be \"alpha\" or \"score\"",
            ),
            ("limit=0", "invalid limit \"0\": must be a positive integer"),
            (
                "limit=501",
                "limit 501 exceeds the configured maximum (500, see --web.search.max-limit)",
            ),
            ("batch_size=x", "invalid batch_size \"x\": must be a positive integer"),
            (&many, "too many search[] terms: got 33, maximum is 32"),
        ] {
            assert_eq!(asked(query).unwrap_err().message, expected);
        }
        let values = Asked::new(Searched::LabelValues, &Params::default(), SETTINGS);
        assert_eq!(values.unwrap_err().message, "missing required parameter \"label\"");
    }

    #[test]
    fn results_come_in_lines() {
        let hits = |count: usize| -> Vec<Hit> {
            let hit = |i| Hit { value: format!("n{i}"), score: 1.0, order: Order::Ascending };
            (0..count).map(hit).collect()
        };
        let name = |out: &mut Vec<u8>, hit: &Hit| json::string(out, &hit.value);
        let text = |response: Response| String::from_utf8(response.body.to_vec()).unwrap();
        assert_eq!(
            text(lines(hits(3), 2, true, name)),
            "{\"results\":[\"n0\",\"n1\"]}\n{\"results\":[\"n2\"]}\n{\"status\":\"success\",\"has_more\":true}\n"
        );
        assert_eq!(
            text(lines(hits(0), 2, false, name)),
            "{\"results\":[]}\n{\"status\":\"success\",\"has_more\":false}\n"
        );
    }

    #[test]
    fn hits_are_in_order() {
        let hit = |value: &str, score, order| Hit { value: value.to_owned(), score, order };
        for (order, expected) in [
            (Order::Ascending, ["a", "b", "c"]),
            (Order::Descending, ["c", "b", "a"]),
            (Order::BestFirst, ["b", "a", "c"]),
        ] {
            let mut hits = [hit("c", 0.5, order), hit("a", 0.5, order), hit("b", 0.9, order)];
            hits.sort_unstable();
            let values: Vec<_> = hits.iter().map(|hit| hit.value.as_str()).collect();
            assert_eq!(values, expected);
        }
    }
}
