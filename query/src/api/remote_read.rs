//! `/api/v1/read`: stored samples for another Prometheus to query, as samples or as streamed XOR chunks.
//!
//! ```text
//! request   snappy block: ReadRequest
//! samples   snappy block: ReadResponse                                    (accepted by every client), see `sampled`
//! chunks    frame | frame | ...    length: uvarint | CRC-32C: u32 BE | ChunkedReadResponse
//! ```
//!
//! A client says which of the two it takes, the one it likes best first. Chunks are bit for bit Prometheus' own, so that it
//! keeps them as they come. Native histograms travel as samples only: an answer that has any is given as samples.

mod sampled;
mod wire;

use std::collections::BTreeMap;

use bytes::BufMut;
use prost::Message;
use tidemark_core::chunk::xor::XorEncoder;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::{MatchOp, Matcher};
use tidemark_core::model::time::TimeRange;
use tidemark_core::shards::Shards;

use self::wire::{Chunk, ChunkedReadResponse, ChunkedSeries, Label, Query, ReadRequest};
use super::raw::gather;
use super::response::Response;
use crate::budget::Budget;
use crate::limits::{
    PIECE_BYTES, READ_CHUNK_SAMPLES_MAX, READ_FRAME_BYTES_MAX, READ_REQUEST_BYTES_MAX,
};
use crate::value::QueryError;

const PROTOBUF: &str = "application/x-protobuf";
const STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Number of the response type that is a stream of chunks; 0 is samples.
const STREAMED_XOR_CHUNKS: i32 = 1;

/// Encoding numbers of chunks.
const XOR: i32 = 1;

/// What reading depends on beside the request.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The labels of everything that leaves this server.
    pub external_labels: BTreeMap<String, String>,
    /// What it may cost.
    pub budget: Budget,
}

/// Answers the body of a request.
pub async fn read(body: &[u8], shards: &Shards, reading: &Reading) -> Response {
    match answer(body, shards, reading).await {
        Ok(response) => response,
        Err((status, message)) => {
            Response::whole(status, "text/plain; charset=utf-8", format!("{message}\n"))
        }
    }
}

type Failure = (u16, String);

async fn answer(body: &[u8], shards: &Shards, reading: &Reading) -> Result<Response, Failure> {
    let request = decode(body).map_err(|message| (400, message))?;
    let mut results = Vec::with_capacity(request.queries.len());
    for query in &request.queries {
        let matchers = matchers(query, &reading.external_labels)?;
        let (start, end) = (query.start_timestamp_ms, query.end_timestamp_ms);
        if end < start {
            results.push(BTreeMap::new());
            continue;
        }
        let each = |columns: &SampleColumns, budget: &Budget| {
            budget.hold(columns.len())?;
            Ok(Some(columns.clone()))
        };
        let range = TimeRange::new(start, end);
        let found = gather(shards, vec![matchers], range, &reading.budget, each)
            .await
            .map_err(|error: QueryError| (error.kind.status(), error.message))?;
        let outside = |labels: Labels| with_external(&labels, &reading.external_labels);
        results.push(found.into_iter().map(|(labels, all)| (outside(labels), all)).collect());
    }
    let has_histograms =
        results.iter().flat_map(BTreeMap::values).any(|c| !c.histograms.is_empty());
    // Of those named, the first that is known here; without any, samples.
    let known = request.accepted_response_types.iter().find(|kind| matches!(kind, 0 | 1));
    if known == Some(&STREAMED_XOR_CHUNKS) && !has_histograms {
        return Ok(streamed(results));
    }
    sampled::answer(results).await
}

/// Reads a request; its length is looked at before memory is taken for it.
fn decode(body: &[u8]) -> Result<ReadRequest, String> {
    let bytes = snap::raw::decompress_len(body).map_err(|error| error.to_string())?;
    if bytes > READ_REQUEST_BYTES_MAX {
        return Err(format!(
            "the request has {bytes} bytes; {READ_REQUEST_BYTES_MAX} are the most that is taken"
        ));
    }
    let plain =
        snap::raw::Decoder::new().decompress_vec(body).map_err(|error| error.to_string())?;
    ReadRequest::decode(&*plain).map_err(|error| error.to_string())
}

/// The matchers of a query, without those that only say what the external labels say.
fn matchers(query: &Query, external: &BTreeMap<String, String>) -> Result<Vec<Matcher>, Failure> {
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let mut out = Vec::with_capacity(query.matchers.len());
    for m in &query.matchers {
        let op = usize::try_from(m.r#type).ok().and_then(|number| ops.get(number));
        let Some(&op) = op else { return Err((400, "invalid matcher type".to_owned())) };
        if op == MatchOp::Equal && external.get(&m.name) == Some(&m.value) {
            continue;
        }
        let matcher = Matcher::new(op, m.name.as_str(), m.value.as_str());
        out.push(matcher.map_err(|error| (400, error.to_string()))?);
    }
    Ok(out)
}

/// The labels of a series as the world sees them: its own win over the external ones.
fn with_external(labels: &Labels, external: &BTreeMap<String, String>) -> Labels {
    if external.is_empty() {
        return labels.clone();
    }
    let lacking = external.iter().filter(|(name, _)| labels.get(name).is_none());
    Labels::from_pairs(labels.iter().chain(lacking.map(|(n, v)| (n.as_str(), v.as_str()))))
}

fn named(labels: &Labels) -> Vec<Label> {
    let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
    labels.iter().map(label).collect()
}

type Results = Vec<BTreeMap<Labels, SampleColumns>>;

/// Frames of one series each; a series of many chunks has several. Each series is encoded when the client is ready for it.
fn streamed(results: Results) -> Response {
    let of_query = |(index, found): (usize, BTreeMap<_, _>)| {
        found.into_iter().map(move |(labels, columns)| (index, labels, columns))
    };
    let mut all = results.into_iter().enumerate().flat_map(of_query);
    Response::pieces(STREAMED, move |out| {
        while out.len() < PIECE_BYTES {
            let Some((query_index, labels, columns)) = all.next() else { return false };
            push_series(out, query_index, &labels, &columns);
        }
        true
    })
}

fn push_series(out: &mut Vec<u8>, query_index: usize, labels: &Labels, columns: &SampleColumns) {
    let mut series = ChunkedSeries { labels: named(labels), chunks: Vec::new() };
    let mut bytes = 0;
    for chunk in chunks(columns) {
        if bytes > READ_FRAME_BYTES_MAX {
            push_frame(out, &mut series, query_index);
            bytes = 0;
        }
        bytes += chunk.data.len();
        series.chunks.push(chunk);
    }
    push_frame(out, &mut series, query_index);
}

/// Adds a frame and takes the chunks that are in it.
fn push_frame(out: &mut Vec<u8>, series: &mut ChunkedSeries, query_index: usize) {
    let chunked_series =
        ChunkedSeries { labels: series.labels.clone(), chunks: std::mem::take(&mut series.chunks) };
    let frame = ChunkedReadResponse {
        chunked_series: vec![chunked_series],
        query_index: query_index as i64,
    };
    let payload = frame.encode_to_vec();
    prost::encoding::encode_varint(payload.len() as u64, out);
    out.put_u32(crc32c::crc32c(&payload));
    out.put_slice(&payload);
}

/// XOR chunks of the floats, as long as Prometheus' own.
fn chunks(columns: &SampleColumns) -> impl Iterator<Item = Chunk> + '_ {
    let times = columns.timestamps.chunks(READ_CHUNK_SAMPLES_MAX);
    times.zip(columns.values.chunks(READ_CHUNK_SAMPLES_MAX)).map(|(times, values)| {
        let mut encoder = XorEncoder::new();
        for (&t, &value) in times.iter().zip(values) {
            encoder.push(t, value);
        }
        Chunk {
            min_time_ms: times.first().copied().unwrap_or_default(),
            max_time_ms: times.last().copied().unwrap_or_default(),
            r#type: XOR,
            data: encoder.seal(),
        }
    })
}

#[cfg(test)]
mod tests;
