//! `series`, `labels`, `label/<name>/values` and `metadata`: what is stored, without samples.
//!
//! Each is one scatter: a shard answers for its own series, sorted and no longer than the limit, and the answers are
//! merged here. One more than the limit is asked for, so that it is seen when something was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::identity;
use std::rc::Rc;
use std::sync::Arc;

use tidemark_core::error::Error;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::metadata::Metadata;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::Queue;
use tidemark_core::shard::Shard;
use tidemark_core::shards::Shards;

use super::json::{self, Object};
use super::params::{Params, bad_data, invalid, parse_int};
use super::response::{Notes, Response, failure, success, success_list};
use super::time::{TIME_MAX, TIME_MIN};
use crate::parser::quote::quoted;
use crate::value::{ErrorType, QueryError};

type Result<T> = std::result::Result<T, QueryError>;

/// What the client asks about.
pub(super) struct Selected {
    /// One a `match[]`; none for everything.
    pub(super) selectors: Vec<Vec<Matcher>>,
    pub(super) range: TimeRange,
    pub(super) limit: Option<usize>,
}

impl Selected {
    /// Reads the parameters; `selector_error` says how this endpoint words the error of a bad `match[]`.
    fn new(params: &Params, selector_error: impl Fn(QueryError) -> QueryError) -> Result<Self> {
        let limit = params.limit()?;
        let start_ms = params.time_or("start", TIME_MIN)?;
        let end_ms = params.time_or("end", TIME_MAX)?;
        let selectors = params.selectors().map_err(selector_error)?;
        Ok(Selected { selectors, range: TimeRange::new(start_ms, end_ms), limit })
    }

    /// Asks every shard about every selector, and merges what they say.
    pub(super) async fn gather<T, F>(self, shards: &Shards, ask: F) -> Result<Found<T>>
    where
        T: Ord + Send + 'static,
        F: AsyncFn(&Shard, &[Matcher], TimeRange, usize) -> tidemark_core::error::Result<Vec<T>>
            + Send
            + Sync
            + 'static,
    {
        let Selected { mut selectors, range, limit } = self;
        if selectors.is_empty() {
            selectors.push(Vec::new());
        }
        let wanted = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
        let work = Arc::new((selectors, ask));
        let answers = shards
            .scatter(Queue::Query, move |shard: Rc<Shard>| {
                let work = Arc::clone(&work);
                Box::pin(async move {
                    let (selectors, ask) = &*work;
                    let mut found = BTreeSet::new();
                    for matchers in selectors {
                        found.extend(ask(&shard, matchers, range, wanted).await?);
                    }
                    Ok(found)
                })
            })
            .await
            .map_err(|error| storage_error(&error))?;
        let mut found = BTreeSet::new();
        for answer in answers {
            found.extend(answer.map_err(|error: Error| storage_error(&error))?);
        }
        Ok(Found::new(found, limit))
    }
}

fn storage_error(error: &Error) -> QueryError {
    let kind = if error.is_transient() { ErrorType::Unavailable } else { ErrorType::Internal };
    QueryError::new(kind, error.to_string())
}

/// What was found, sorted, cut to the limit.
pub(super) struct Found<T> {
    pub(super) items: Vec<T>,
    pub(super) truncated: bool,
}

impl<T> Found<T> {
    fn new(items: BTreeSet<T>, limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        let truncated = items.len() > limit;
        Found { items: items.into_iter().take(limit).collect(), truncated }
    }
}

fn answer<T: 'static>(
    found: Result<Found<T>>,
    write: impl Fn(&mut Vec<u8>, &T) + 'static,
) -> Response {
    match found {
        Ok(found) => {
            let warning = found.truncated.then(|| "results truncated due to limit".to_owned());
            success_list(warning.into_iter().collect(), found.items, write)
        }
        Err(error) => failure(&error),
    }
}

/// The label sets of the series that some `match[]` selects.
pub async fn series(params: &Params, shards: &Shards) -> Response {
    answer(find_series(params, shards).await, json::labels)
}

async fn find_series(params: &Params, shards: &Shards) -> Result<Found<Labels>> {
    if let Some(problem) = params.malformed() {
        return Err(bad_data(format!("error parsing form values: {problem}")));
    }
    if params.get_all("match[]").next().is_none() {
        return Err(bad_data("no match[] parameter provided"));
    }
    let selected = Selected::new(params, |error| invalid("match[]", error))?;
    selected.gather(shards, Shard::series).await
}

/// The names of all labels.
pub async fn labels(params: &Params, shards: &Shards) -> Response {
    let found = match Selected::new(params, identity) {
        Ok(selected) => selected.gather(shards, Shard::label_names).await,
        Err(error) => Err(error),
    };
    answer(found, |out, name| json::html_safe_string(out, name))
}

/// The values of the label `name`, which is as it stands in the path, unescaped.
pub async fn label_values(name: &str, params: &Params, shards: &Shards) -> Response {
    let name = unescape_name(name);
    if name.is_empty() {
        return failure(&bad_data(format!("invalid label name: {}", quoted(&name))));
    }
    let found = match Selected::new(params, identity) {
        Ok(selected) => {
            let ask = async move |shard: &Shard, matchers: &[Matcher], range, limit| {
                shard.label_values(&name, matchers, range, limit).await
            };
            selected.gather(shards, ask).await
        }
        Err(error) => Err(error),
    };
    answer(found, |out, value| json::html_safe_string(out, value))
}

/// Undoes the escaping of names that paths cannot hold: `U__a_2e_b` is `a.b`. What is not well-formed is itself.
fn unescape_name(name: &str) -> String {
    name.strip_prefix("U__").and_then(unescaped).unwrap_or_else(|| name.to_owned())
}

fn unescaped(mut rest: &str) -> Option<String> {
    const HEX_DIGITS_MAX: usize = 5;
    let mut out = String::new();
    while let Some((plain, after)) = rest.split_once('_') {
        out.push_str(plain);
        rest = if let Some(after) = after.strip_prefix('_') {
            out.push('_');
            after
        } else {
            let (code, after) = after.split_once('_')?;
            if code.len() > HEX_DIGITS_MAX || !code.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            after
        };
    }
    out.push_str(rest);
    Some(out)
}

/// Type, unit and help of metric families.
pub async fn metadata(params: &Params, shards: &Shards) -> Response {
    match find_metadata(params, shards).await {
        Ok(families) => success(Notes::default(), |out| {
            json::object(out, &families, |out, (family, known)| {
                json::html_safe_string(out, family);
                out.push(b':');
                json::array(out, known, write_metadata);
            });
        }),
        Err(error) => failure(&error),
    }
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    Object::open(out)
        .text("type", metadata.kind.as_str())
        .text("unit", &metadata.unit)
        .text("help", &metadata.help)
        .close();
}

type Families = BTreeMap<String, Vec<Metadata>>;

async fn find_metadata(params: &Params, shards: &Shards) -> Result<Families> {
    let bound = |name: &str| match params.get(name) {
        "" => Ok(None),
        text => match parse_int(text) {
            Ok(n) => Ok(usize::try_from(n).ok()),
            Err(_) => Err(bad_data(format!("{name} must be a number"))),
        },
    };
    // Unlike elsewhere, a limit of 0 is one.
    let families_max = bound("limit")?;
    let per_family_max = bound("limit_per_metric")?.filter(|max| *max > 0);
    let metric = params.get("metric").to_owned();
    let answers = shards
        .scatter(Queue::Query, move |shard: Rc<Shard>| {
            let metric = metric.clone();
            Box::pin(async move {
                let mut known = shard.metadata();
                known.retain(|(family, _)| metric.is_empty() || *family == metric);
                known
            })
        })
        .await
        .map_err(|error| storage_error(&error))?;
    let mut families = Families::new();
    for (family, metadata) in answers.into_iter().flatten() {
        let known = families.entry(family).or_default();
        if !known.contains(&metadata) && per_family_max.is_none_or(|max| known.len() < max) {
            known.push(metadata);
        }
    }
    Ok(families.into_iter().take(families_max.unwrap_or(usize::MAX)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        for (name, expected) in [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U___e9_", "é"),
            ("U__a_2e", "U__a_2e"),
            ("U__a_zz_", "U__a_zz_"),
            ("U__a_1234567_", "U__a_1234567_"),
        ] {
            assert_eq!(unescape_name(name), expected);
        }
    }

    #[test]
    fn what_is_cut_is_said() {
        let found = Found::new(BTreeSet::from(["b".to_owned(), "a".to_owned()]), Some(1));
        let response = answer(Ok(found), |out, name| json::string(out, name));
        assert_eq!(
            response.body,
            r#"{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}"#
        );
        let found = Found::new(BTreeSet::<String>::new(), None);
        let response = answer(Ok(found), |out, name| json::string(out, name));
        assert_eq!(response.body, r#"{"status":"success","data":[]}"#);
    }
}
