//! `/federate`: the newest sample of each series that some `match[]` selects, in the text format, for another Prometheus to
//! scrape.
//!
//! A sample is as old as the lookback at most, has its own time, and gets the external labels that its series lacks; `instance`
//! is among them, empty, so that the scraper sets none of its own. Staleness markers and native histograms have no form in the
//! text format and are left out, as Prometheus leaves them out.

use std::collections::BTreeMap;
use std::io::Write as _;

use tidemark_core::model::histogram::GoFloat;
use tidemark_core::model::labels::{Labels, METRIC_NAME};
use tidemark_core::model::sample::{Sample, is_stale};
use tidemark_core::model::time::{TimeRange, TimestampMs};
use tidemark_core::shards::Shards;

use super::params::Params;
use super::raw::gather;
use super::response::Response;
use crate::budget::Budget;
use crate::limits::PIECE_BYTES;
use crate::parser::parse_metric_selector;
use crate::value::QueryError;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";
const ERROR: &str = "text/plain; charset=utf-8";

/// What federation depends on beside the request.
#[derive(Clone, Debug)]
pub struct Federation {
    /// The time of the request.
    pub now_ms: TimestampMs,
    /// How old a sample may be, in ms.
    pub lookback_ms: i64,
    /// The labels of everything that leaves this server.
    pub external_labels: BTreeMap<String, String>,
    /// What it may cost.
    pub budget: Budget,
}

/// Answers a request.
pub async fn federate(params: &Params, shards: &Shards, federation: &Federation) -> Response {
    match newest(params, shards, federation).await {
        Ok(samples) => page(samples, &federation.external_labels),
        Err((status, message)) => Response::whole(status, ERROR, format!("{message}\n")),
    }
}

async fn newest(
    params: &Params,
    shards: &Shards,
    federation: &Federation,
) -> Result<BTreeMap<Labels, Sample>, (u16, String)> {
    if let Some(problem) = params.malformed() {
        return Err((400, format!("error parsing form values: {problem}")));
    }
    let selectors = params.get_all("match[]").map(parse_metric_selector);
    let selectors =
        selectors.collect::<Result<Vec<_>, _>>().map_err(|error| (400, error.to_string()))?;
    let now = federation.now_ms;
    let range = TimeRange::new(now.saturating_sub(federation.lookback_ms), now);
    let last = |columns: &tidemark_core::model::columns::SampleColumns, budget: &Budget| {
        let (Some(&timestamp_ms), Some(&value)) =
            (columns.timestamps.last(), columns.values.last())
        else {
            return Ok(None);
        };
        if is_stale(value) || columns.histograms.last().is_some_and(Option::is_some) {
            return Ok(None);
        }
        budget.hold(1)?;
        Ok(Some(Sample { timestamp_ms, value }))
    };
    gather(shards, selectors, range, &federation.budget, last)
        .await
        .map_err(|error: QueryError| (error.kind.status(), error.message))
}

/// The page, by names and then by labels, written as fast as the client takes it.
fn page(samples: BTreeMap<Labels, Sample>, external: &BTreeMap<String, String>) -> Response {
    let named = |(labels, _): &(Labels, Sample)| !labels.metric_name().is_empty();
    let mut sorted: Vec<_> = samples.into_iter().filter(named).collect();
    // The sort is stable: labels stay in order.
    sorted.sort_by(|a, b| a.0.metric_name().cmp(b.0.metric_name()));
    let mut added = external.clone();
    added.entry("instance".to_owned()).or_default();
    let (mut sorted, mut last_name) = (sorted.into_iter(), String::new());
    Response::pieces(TEXT, move |out| {
        while out.len() < PIECE_BYTES
            && let Some((labels, sample)) = sorted.next()
        {
            let name = labels.metric_name();
            if name != last_name {
                out.extend_from_slice(b"# TYPE ");
                push_name(out, name, true);
                out.extend_from_slice(b" untyped\n");
                name.clone_into(&mut last_name);
            }
            push_sample(out, &labels, sample, &added);
        }
        sorted.len() > 0
    })
}

/// A line: the series with the labels that it lacks, value and time.
fn push_sample(
    out: &mut Vec<u8>,
    labels: &Labels,
    sample: Sample,
    added: &BTreeMap<String, String>,
) {
    let name = labels.metric_name();
    let mut separator = b'{';
    if !is_plain(name, true) {
        out.push(std::mem::replace(&mut separator, b','));
    }
    push_name(out, name, true);
    let own = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    let lacking = added.iter().filter(|(name, _)| labels.get(name).is_none());
    for (name, value) in own.chain(lacking.map(|(name, value)| (name.as_str(), value.as_str()))) {
        out.push(std::mem::replace(&mut separator, b','));
        push_name(out, name, false);
        out.push(b'=');
        push_quoted(out, value);
    }
    out.push(b'}');
    writeln!(out, " {} {}", GoFloat(sample.value), sample.timestamp_ms)
        .expect("a Vec takes everything");
}

/// A name, in quotes if it needs them.
fn push_name(out: &mut Vec<u8>, name: &str, colons: bool) {
    if is_plain(name, colons) {
        out.extend_from_slice(name.as_bytes());
    } else {
        push_quoted(out, name);
    }
}

/// Whether a name needs no quotes; only those of metrics may have colons.
fn is_plain(name: &str, colons: bool) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':'))
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page() {
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        let samples = BTreeMap::from([
            (Labels::from_pairs([("__name__", "up"), ("a", "x\"\\\n")]), sample(7, 1e6)),
            (Labels::from_pairs([("__name__", "up"), ("instance", "i")]), sample(8, f64::NAN)),
            (Labels::from_pairs([("__name__", "a.b"), ("c.d", "e")]), sample(9, -0.5)),
            (Labels::from_pairs([("nameless", "x")]), sample(9, 1.0)),
        ]);
        let external = BTreeMap::from([("site".to_owned(), "s".to_owned())]);
        let text = String::from_utf8(page(samples, &external).body.to_vec()).unwrap();
        assert_eq!(
            text,
            "# TYPE \"a.b\" untyped\n\
             {\"a.b\",\"c.d\"=\"e\",instance=\"\",site=\"s\"} -0.5 9\n\
             # TYPE up untyped\n\
             up{a=\"x\\\"\\\\\\n\",instance=\"\",site=\"s\"} 1e+06 7\n\
             up{instance=\"i\",site=\"s\"} NaN 8\n"
        );
    }
}
