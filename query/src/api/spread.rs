//! The text of a large matrix, written on all cores.
//!
//! Writing numbers as decimals costs more than computing most of them. So the series are cut into parts of about a piece of text each,
//! which the cores write in turn, and which are sent in their order. Few are under way at a time; a part is let go of when it is
//! written.
//!
//! ```text
//! series      | part | part | part | part | ...
//! written by  core 1 | core 0 | core 1 | core 0 | ...       PARTS_AHEAD of each core are under way
//! body        head  text   text   text   text   ...  tail
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use tidemark_core::error::Result as CoreResult;
use tidemark_core::runtime::{Queue, Task, spawn_into};
use tidemark_core::shards::Shards;

use super::json;
use crate::limits::{PARTS_AHEAD, PIECE_BYTES, SPREAD_SAMPLES_MIN};
use crate::value::Series;

/// Bytes of the text of a sample, about.
const SAMPLE_BYTES: usize = 32;

/// Makes the pieces of the text.
pub(super) struct Spread {
    shards: Shards,
    parts: VecDeque<Arc<Part>>,
    under_way: VecDeque<(Arc<Part>, Writing)>,
    next_core: usize,
    tail: Vec<u8>,
}

/// The text of a part, on its way.
type Writing = Task<CoreResult<Vec<u8>>>;

/// Neighbouring series.
struct Part {
    is_first: bool,
    series: Vec<Series>,
}

impl Part {
    fn text(&self) -> Vec<u8> {
        let samples: usize = self.series.iter().map(|series| series.floats.len()).sum();
        let mut out = Vec::with_capacity(samples * SAMPLE_BYTES);
        for (i, series) in self.series.iter().enumerate() {
            let separator = if self.is_first && i == 0 { "" } else { "," };
            json::raw(&mut out, separator);
            json::raw(&mut out, r#"{"metric":"#);
            json::labels(&mut out, &series.labels);
            json::raw(&mut out, r#","values":["#);
            for (i, sample) in series.floats.iter().enumerate() {
                json::raw(&mut out, if i == 0 { "" } else { "," });
                json::sample(&mut out, sample.timestamp_ms, sample.value);
            }
            json::raw(&mut out, "]}");
        }
        out
    }
}

/// Whether the text of a matrix is long enough to be worth the messages. Histograms, which may be of any length, are written where
/// the query was asked.
pub(super) fn pays(matrix: &[Series], shards: &Shards) -> bool {
    let samples: usize = matrix.iter().map(|series| series.floats.len()).sum();
    let plain = |series: &Series| series.histograms.is_empty() && !series.floats.is_empty();
    shards.cores() > 1 && samples >= SPREAD_SAMPLES_MIN && matrix.iter().all(plain)
}

impl Spread {
    /// The series of `matrix`, separated by commas, and then `tail`.
    pub(super) fn new(shards: Shards, matrix: Vec<Series>, tail: Vec<u8>) -> Self {
        let (mut parts, mut series, mut bytes) = (VecDeque::new(), Vec::new(), 0);
        let mut end_part = |series: &mut Vec<Series>| {
            let is_first = parts.is_empty();
            parts.push_back(Arc::new(Part { is_first, series: std::mem::take(series) }));
        };
        for one in matrix {
            bytes += one.floats.len() * SAMPLE_BYTES;
            series.push(one);
            if bytes >= PIECE_BYTES {
                end_part(&mut series);
                bytes = 0;
            }
        }
        if !series.is_empty() {
            end_part(&mut series);
        }
        // This core has the sending to do besides.
        let next_core = (shards.core() + 1) % shards.cores();
        Spread { shards, parts, under_way: VecDeque::new(), next_core, tail }
    }

    /// The next piece, and whether there is more.
    pub(super) async fn next(&mut self) -> (Vec<u8>, bool) {
        while self.under_way.len() < PARTS_AHEAD * self.shards.cores()
            && let Some(part) = self.parts.pop_front()
        {
            let writing = self.start(Arc::clone(&part));
            self.under_way.push_back((part, writing));
        }
        let Some((part, writing)) = self.under_way.pop_front() else {
            return (std::mem::take(&mut self.tail), false);
        };
        // What no other core writes any more, since all are stopping, is written here.
        let text = writing.await.unwrap_or_else(|_| part.text());
        (text, true)
    }

    fn start(&mut self, part: Arc<Part>) -> Writing {
        let core = self.next_core;
        self.next_core = (core + 1) % self.shards.cores();
        let shards = self.shards.clone();
        spawn_into(Queue::Query, async move {
            let write = move |_: Shards| async move { part.text() }.boxed_local();
            shards.on_core(core, Queue::Query, write).await
        })
    }
}

#[cfg(test)]
mod tests {
    use tidemark_core::model::labels::Labels;
    use tidemark_core::model::sample::Sample;
    use tidemark_core::runtime::sim;

    use super::*;
    use crate::api::value_json::QueryData;
    use crate::value::Value;

    #[test]
    fn the_text_is_that_of_one_core() {
        sim::run(1, async {
            let series = |number: usize| Series {
                labels: Labels::from_pairs([("__name__", "m"), ("n", &number.to_string())]),
                floats: (0..=number as i64 * 7)
                    .map(|i| Sample { timestamp_ms: i * 15_500, value: i as f64 / 7.0 })
                    .collect(),
                ..Series::default()
            };
            let matrix: Vec<Series> = (0..60).map(series).collect();
            let mut whole = Vec::new();
            let mut data = QueryData::new(Value::Matrix(matrix.clone()), None, None);
            let mut more = true;
            while more {
                let mut piece = Vec::new();
                more = data.write(&mut piece);
                whole.extend_from_slice(&piece);
            }
            let mut spread = Spread::new(Shards::local(Vec::new()), matrix, b"]}".to_vec());
            let parts = spread.parts.len();
            let mut text = br#"{"resultType":"matrix","result":["#.to_vec();
            loop {
                let (piece, more) = spread.next().await;
                text.extend_from_slice(&piece);
                assert!(spread.under_way.len() <= PARTS_AHEAD);
                if !more {
                    break;
                }
            }
            assert!(parts > 3, "{parts} parts");
            assert_eq!(String::from_utf8(text), String::from_utf8(whole));
        });
    }
}
