//! Samples as one protobuf message in one snappy block, made as the client takes it.
//!
//! Message and block say their lengths first, so each series is encoded twice: for its length, and to be sent. A snappy block is a
//! sequence of stretches of 64 KiB, none of which looks back into another, so that each is compressed by itself.
//!
//! ```text
//! length of the whole: uvarint | stretch | stretch | ...
//! whole      ReadResponse: QueryResult ...        tag 1, length, and so for each
//! result     QueryResult: TimeSeries ...
//! ```

use bytes::BufMut;
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::yield_if_needed;

use super::wire::{self, Sample, TimeSeries};
use super::{Failure, PROTOBUF, Response, Results, named};
use crate::limits::PIECE_BYTES;

/// The first field, and its value has a length: what begins both a result and a series.
const TAG: u8 = 1 << 3 | 2;

/// Bytes that a stretch of a snappy block holds before it is compressed.
const STRETCH_BYTES: usize = 64 << 10;

/// What is written one after the other.
enum Item {
    /// The head of a result, of so many bytes.
    Result(usize),
    Series(Labels, SampleColumns),
}

/// Answers with the samples of each result.
pub(super) async fn answer(results: Results) -> Result<Response, Failure> {
    let (mut items, mut whole) = (Vec::new(), 0);
    for found in results {
        let (at, mut bytes) = (items.len(), 0);
        items.push(Item::Result(0));
        for (labels, columns) in found {
            yield_if_needed().await;
            bytes += framed(series(&labels, &columns).encoded_len());
            items.push(Item::Series(labels, columns));
        }
        items[at] = Item::Result(bytes);
        whole += framed(bytes);
    }
    if u32::try_from(whole).is_err() {
        let message = format!("the answer has {whole} bytes, more than a snappy block can hold");
        return Err((422, message));
    }
    let mut block = Block { items: items.into_iter(), plain: Vec::new(), from: 0 };
    let mut head = Some(whole as u64);
    let response = Response::pieces(PROTOBUF, move |out| {
        if let Some(whole) = head.take() {
            encode_varint(whole, out);
        }
        block.write(out)
    });
    Ok(Response { content_encoding: Some("snappy"), ..response })
}

/// The bytes of a message with its tag and its length.
fn framed(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn series(labels: &Labels, columns: &SampleColumns) -> TimeSeries {
    let mut out = TimeSeries { labels: named(labels), ..TimeSeries::default() };
    for (i, (&timestamp, &value)) in columns.timestamps.iter().zip(&columns.values).enumerate() {
        match columns.histograms.get(i).and_then(Option::as_ref) {
            Some(histogram) => out.histograms.push(wire::histogram(timestamp, histogram)),
            None => out.samples.push(Sample { value, timestamp }),
        }
    }
    out
}

/// The block, as far as it is not sent.
struct Block {
    items: std::vec::IntoIter<Item>,
    /// What is encoded; up to `from` it is sent.
    plain: Vec<u8>,
    from: usize,
}

impl Block {
    /// Appends stretches until a piece is full; whether there are more.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        while out.len() < PIECE_BYTES {
            self.fill();
            let stretch = &self.plain[self.from..];
            let stretch = &stretch[..stretch.len().min(STRETCH_BYTES)];
            if stretch.is_empty() {
                return false;
            }
            let compressed = snap::raw::Encoder::new().compress_vec(stretch);
            let compressed = compressed.expect("a stretch is short");
            // The length in front is that of the stretch; the block has its own.
            out.extend_from_slice(&compressed[encoded_len_varint(stretch.len() as u64)..]);
            self.from += stretch.len();
        }
        true
    }

    /// Encodes until there is a stretch, or nothing left.
    fn fill(&mut self) {
        if self.plain.len() - self.from >= STRETCH_BYTES {
            return;
        }
        self.plain.drain(..self.from);
        self.from = 0;
        while self.plain.len() < STRETCH_BYTES
            && let Some(item) = self.items.next()
        {
            self.plain.put_u8(TAG);
            match item {
                Item::Result(bytes) => encode_varint(bytes as u64, &mut self.plain),
                Item::Series(labels, columns) => {
                    let encoded =
                        series(&labels, &columns).encode_length_delimited(&mut self.plain);
                    encoded.expect("a Vec takes everything");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tidemark_core::runtime::sim;

    use super::super::wire::{QueryResult, ReadResponse};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_block_is_the_message(
            results in proptest::collection::vec(proptest::collection::vec(0_usize..6_000, 0..5), 0..4),
        ) {
            let results: Results = results.iter().map(|lens| {
                let series = lens.iter().enumerate().map(|(i, len)| {
                    let mut columns = SampleColumns::new();
                    for t in 0..*len as i64 {
                        columns.push(t * 15_000, (t * t % 977) as f64 / 7.0);
                    }
                    (Labels::from_pairs([("__name__", "m"), ("n", &i.to_string())]), columns)
                });
                series.collect::<BTreeMap<_, _>>()
            }).collect();
            let timeseries = |found: &BTreeMap<_, _>| found.iter().map(|(l, c)| series(l, c)).collect();
            let message = ReadResponse {
                results: results.iter().map(|found| QueryResult { timeseries: timeseries(found) }).collect(),
            };
            let (body, largest) = sim::run(1, async {
                let response = answer(results).await.unwrap();
                let (mut body, mut rest, mut largest) = (response.body.to_vec(), response.rest, 0);
                while let Some(more) = &mut rest {
                    let (piece, goes_on) = more.next().await;
                    largest = largest.max(piece.len());
                    body.extend_from_slice(&piece);
                    rest = rest.filter(|_| goes_on);
                }
                (body, largest)
            });
            let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
            prop_assert_eq!(plain, message.encode_to_vec());
            prop_assert!(largest < PIECE_BYTES + 2 * STRETCH_BYTES);
        }
    }
}
