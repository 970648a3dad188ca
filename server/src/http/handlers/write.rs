//! `/api/v1/write`: remote write 1.0, answered when the samples are as durable as `--wal.sync` asks.
//!
//! | what happened | answer | what a sender does |
//! |---|---|---|
//! | stored, or was stored already | 204 | goes on |
//! | some samples refused, the others stored | 400, says which | goes on without them |
//! | not a write request | 400, 413, 415 | drops the request |
//! | no room now: in memory, on the disk | 503 with `Retry-After` | sends again |

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tidemark_core::append::{AppendOutcome, RefusalKind};
use tidemark_core::error::Error;
use tidemark_core::model::tenant::Tenant;
use tidemark_core::runtime::yield_if_needed;
use tidemark_ingest::known::{Known, SeriesKey};
use tidemark_ingest::limits::PUSH_BODY_BYTES_MAX;
use tidemark_ingest::protocols::remote_write_v1::{DecodeError, Decoder, Report, decompress};
use tidemark_ingest::route;
use tidemark_ingest::rows::Rows;

use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::limits::WRITE_BYTES_MAX;
use crate::node::Node;

/// Seconds after which a refused sender should come again.
const RETRY_SECONDS: u64 = 1;

/// Memory that is used again from request to request; more than one, since requests overlap while they wait.
#[derive(Default)]
pub(crate) struct Spare(RefCell<Vec<(Vec<u8>, Rows)>>);

/// Sets that are kept.
const SPARE_MAX: usize = 4;

/// Decompressed bytes that a kept set may hold on to.
const SPARE_BYTES_MAX: usize = 8 << 20;

impl Spare {
    fn take(&self) -> (Vec<u8>, Rows) {
        self.0.borrow_mut().pop().unwrap_or_else(|| (Vec::new(), Rows::new()))
    }

    fn give(&self, mut set: (Vec<u8>, Rows)) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < SPARE_MAX && set.0.capacity() <= SPARE_BYTES_MAX {
            set.1.clear();
            kept.push(set);
        }
    }
}

/// Stores what a remote-write sender sends.
pub(crate) async fn remote_write(node: Rc<Node>, request: Request) -> Answer {
    if let Some(refusal) = unsupported(&request.headers) {
        return refusal;
    }
    let tenant = request.tenant.clone();
    let held = match request.read(WRITE_BYTES_MAX).await {
        Ok(held) => held,
        Err(error) => return error.answer(),
    };
    let mut report = Report::default();
    let stored = store(&node, tenant.as_ref(), &held.bytes, &mut report).await;
    drop(held);
    count(&node, &report, stored.as_ref().ok());
    match stored {
        Ok(outcome) => answer(&report, &outcome, tenant.as_ref()),
        Err(Failure::Decode(error)) => Answer::error(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(Failure::Storage(error)) => refusal(&error),
    }
}

/// Why a body was not stored.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Decodes a body and appends it. Should a series that was known be known no longer, it does so once more without trust in what is
/// known; what the first time has stored is a duplicate then.
async fn store(
    node: &Node,
    tenant: Option<&Tenant>,
    body: &[u8],
    report: &mut Report,
) -> Result<AppendOutcome, Failure> {
    let outcome = attempt(node, tenant, body, true, report).await?;
    if outcome.stale == 0 {
        return Ok(outcome);
    }
    let again = attempt(node, tenant, body, false, report).await?;
    Ok(AppendOutcome {
        appended: outcome.appended + again.appended,
        duplicates: again.duplicates.saturating_sub(outcome.appended),
        new_series: outcome.new_series + again.new_series,
        ..again
    })
}

/// Decodes a body, appends it, and learns where the series are that were new to this core.
async fn attempt(
    node: &Node,
    tenant: Option<&Tenant>,
    body: &[u8],
    trusts: bool,
    report: &mut Report,
) -> Result<AppendOutcome, Failure> {
    let (mut plain, mut rows) = node.spare.take();
    rows.set_tenant(tenant.cloned());
    let decoded = decode(node, body, trusts, &mut plain, &mut rows).await;
    let shards = node.shards();
    let split = decoded.map(|decoded| {
        *report = decoded;
        route::split_asking(&mut rows, shards.count())
    });
    node.spare.give((plain, rows));
    let asking = split?;
    let mut outcome = shards.append(asking.batches).await?;
    // In the order of the body, in which they will come again.
    outcome.numbers.sort_unstable();
    let mut known = node.known.borrow_mut();
    for &(ticket, number) in &outcome.numbers {
        if let Some(&(key, shard)) = asking.keys.get(ticket as usize) {
            known.learn(key, Known { shard, number });
        }
    }
    Ok(outcome)
}

async fn decode(
    node: &Node,
    body: &[u8],
    trusts: bool,
    plain: &mut Vec<u8>,
    rows: &mut Rows,
) -> Result<Report, DecodeError> {
    decompress(body, PUSH_BODY_BYTES_MAX, plain)?;
    yield_if_needed().await;
    let sender = match rows.tenant() {
        Some(tenant) => node.known.borrow().key_of_tenant(tenant),
        None => SeriesKey::NEUTRAL,
    };
    let mut decoder = Decoder::new(plain).trusting(trusts).within(sender);
    while decoder.step(rows, &mut node.known.borrow_mut())? {
        yield_if_needed().await;
    }
    Ok(decoder.finish())
}

/// The encodings of later versions are told from the first one's by their headers.
fn unsupported(headers: &HeaderMap) -> Option<Answer> {
    let text =
        |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok()).unwrap_or("");
    let encoding = text(CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        let message = format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        );
        return Some(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message));
    }
    let kind = text(CONTENT_TYPE);
    let mut parts = kind.split(';').map(str::trim);
    let protobuf = parts
        .next()
        .is_some_and(|t| t.is_empty() || t.eq_ignore_ascii_case("application/x-protobuf"));
    let first = parts
        .all(|p| p.strip_prefix("proto=").is_none_or(|proto| proto == "prometheus.WriteRequest"));
    if protobuf && first {
        return None;
    }
    let message = format!(
        "content type {kind:?} is not accepted by this server; only application/x-protobuf with prometheus.WriteRequest is"
    );
    Some(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message))
}

fn count(node: &Node, report: &Report, outcome: Option<&AppendOutcome>) {
    let counters = &node.counters;
    counters.refused_exemplars.add(report.refused_exemplars);
    counters.refused_samples.add(report.refused_samples);
    if let Some(outcome) = outcome {
        counters.written_samples.add(outcome.appended);
        counters.duplicate_samples.add(outcome.duplicates);
        counters.refused_samples.add(outcome.refused_total());
    }
}

/// 204 if all was stored; else 400, which tells the sender not to send it again.
fn answer(report: &Report, outcome: &AppendOutcome, tenant: Option<&Tenant>) -> Answer {
    let mut message = String::new();
    if let Some(why) = &report.first_refusal {
        // Writing to a string cannot fail, here and below.
        let _ = write!(message, "{} samples refused, the first: {why}", report.refused_samples);
    }
    if let Some(first) = &outcome.first_refusal {
        let sep = if message.is_empty() { "" } else { "; " };
        let labels = match tenant {
            Some(tenant) => tenant.show(first.labels.clone()),
            None => first.labels.clone(),
        };
        let _ = write!(
            message,
            "{sep}{} samples refused, the first: {} (series {}, timestamp {})",
            outcome.refused_total(),
            first.kind.message(),
            labels,
            first.timestamp_ms
        );
    }
    if message.is_empty() {
        return Answer::empty(StatusCode::NO_CONTENT);
    }
    if RefusalKind::all().any(|k| k.is_of_new_series() && outcome.refused_as(k) > 0) {
        return Answer::error(StatusCode::TOO_MANY_REQUESTS, &message)
            .retry_after(RETRY_SECONDS * 30);
    }
    Answer::error(StatusCode::BAD_REQUEST, &message)
}

/// Storage did not take it. What another try may mend is a 503, so that the sender keeps the samples.
fn refusal(error: &Error) -> Answer {
    tracing::debug!(%error, "remote write not stored");
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()).retry_after(RETRY_SECONDS)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_first_version_is_taken() {
        for (kind, encoding, taken) in [
            ("application/x-protobuf", "snappy", true),
            ("", "", true),
            ("application/x-protobuf;proto=prometheus.WriteRequest", "snappy", true),
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", false),
            ("application/json", "snappy", false),
            ("application/x-protobuf", "zstd", false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(CONTENT_TYPE, kind), (CONTENT_ENCODING, encoding)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(unsupported(&headers).is_none(), taken, "{kind} {encoding}");
        }
    }
}
