//! Remote-write 1.0 bodies: encoded once, sent many times with other timestamps.
//!
//! A [`Body`] is a compressed `WriteRequest` of a run of neighbouring series with the same number of samples each. All
//! series of a body share their timestamps, as the series of one scrape do, so re-dating a body of 10,000 samples means
//! overwriting a few hundred bytes. See [`crate::snappy`] for how that is possible inside a compressed body.

use std::ops::Range;

use crate::dataset::{Dataset, STEP_MS, Walk};
use crate::snappy::{self, Patch, Symbol, varint};

/// Bytes of a timestamp's varint, for every time between 2004 and 2109.
const TIMESTAMP_BYTES: usize = 6;

/// A compressed request whose timestamps can be changed.
pub struct Body {
    bytes: Vec<u8>,
    patches: Vec<Patch>,
    steps: usize,
    series: usize,
}

impl Body {
    /// How many samples it holds.
    pub fn samples(&self) -> u64 {
        (self.steps * self.series) as u64
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The body with its first sample at `first_ms` and the others [`STEP_MS`] apart.
    pub fn dated(&mut self, first_ms: i64) -> &[u8] {
        let dates: Vec<[u8; TIMESTAMP_BYTES]> =
            (0..self.steps).map(|step| timestamp(first_ms + step as i64 * STEP_MS)).collect();
        let dates = dates.as_flattened();
        for patch in &self.patches {
            self.bytes[patch.position as usize] = dates[patch.identity as usize - 1];
        }
        &self.bytes
    }
}

fn timestamp(ms: i64) -> [u8; TIMESTAMP_BYTES] {
    let mut encoded = Vec::with_capacity(TIMESTAMP_BYTES);
    varint(ms as u64, &mut encoded);
    encoded.try_into().expect("a time between 2004 and 2109")
}

/// Writes the bodies of a run of series, step after step.
pub struct Encoder {
    /// Each series' encoded labels and its values from here on.
    series: Vec<(Vec<u8>, Walk)>,
    symbols: Vec<Symbol>,
}

impl Encoder {
    /// For the series with these numbers, from step 0.
    pub fn new(dataset: &Dataset, series: Range<usize>) -> Self {
        let encode = |n| {
            let series = dataset.series(n);
            let mut labels = Vec::new();
            for (name, value) in &series.labels {
                labels.push(0x0a);
                varint(text_len(name) + text_len(value), &mut labels);
                text(0x0a, name, &mut labels);
                text(0x12, value, &mut labels);
            }
            (labels, series.walk)
        };
        Self { series: series.map(encode).collect(), symbols: Vec::new() }
    }

    /// The body of the next `steps` samples of every series.
    pub fn next_body(&mut self, steps: usize) -> Body {
        self.symbols.clear();
        let mut message = Vec::new();
        for (labels, walk) in &mut self.series {
            message.clear();
            let values: Vec<f64> = (0..steps).map(|_| walk.advance()).collect();
            // A zero is left out, as protobuf does with default values.
            let sample_len = |value: &f64| 1 + TIMESTAMP_BYTES + if *value == 0.0 { 0 } else { 9 };
            let samples: usize = values.iter().map(|value| 2 + sample_len(value)).sum();
            message.push(0x0a);
            varint((labels.len() + samples) as u64, &mut message);
            message.extend_from_slice(labels);
            self.symbols.extend(message.iter().map(|byte| Symbol::from(*byte)));
            for (step, value) in values.iter().enumerate() {
                self.symbols.extend([0x12, sample_len(value) as Symbol]);
                if *value != 0.0 {
                    self.symbols.push(0x09);
                    self.symbols.extend(value.to_le_bytes().map(Symbol::from));
                }
                self.symbols.push(0x10);
                let identity = (step * TIMESTAMP_BYTES) as Symbol + 1;
                // `Body::dated` writes the bytes of the time itself.
                self.symbols.extend((0..TIMESTAMP_BYTES as Symbol).map(|at| (identity + at) << 8));
            }
        }
        let mut body =
            Body { bytes: Vec::new(), patches: Vec::new(), steps, series: self.series.len() };
        snappy::compress(&self.symbols, &mut body.bytes, &mut body.patches);
        body.bytes.shrink_to_fit();
        body.patches.shrink_to_fit();
        body
    }
}

fn text_len(text: &str) -> u64 {
    // Every text of the data set is shorter than 128 bytes, so tag and length are a byte each.
    debug_assert!(text.len() < 128);
    text.len() as u64 + 2
}

fn text(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// The messages of remote write 1.0, by an encoder that is not ours.
    #[derive(Clone, PartialEq, Message)]
    struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        timeseries: Vec<TimeSeries>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        samples: Vec<Sample>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Label {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        value: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Sample {
        #[prost(double, tag = "1")]
        value: f64,
        #[prost(int64, tag = "2")]
        timestamp: i64,
    }

    fn decode(bytes: &[u8]) -> WriteRequest {
        let plain = snap::raw::Decoder::new().decompress_vec(bytes).expect("valid snappy");
        WriteRequest::decode(&*plain).expect("valid protobuf")
    }

    #[test]
    fn bodies_are_remote_write_requests_at_every_date() {
        let dataset = Dataset::new();
        let mut encoder = Encoder::new(&dataset, 100..1_200);
        let mut walks: Vec<_> = (100..1_200).map(|n| dataset.series(n)).collect();
        for _ in 0..2 {
            let mut body = encoder.next_body(5);
            assert_eq!(body.samples(), 5_500);
            let values: Vec<Vec<f64>> =
                walks.iter_mut().map(|s| (0..5).map(|_| s.walk.advance()).collect()).collect();
            for first_ms in [1_700_000_000_000, 1_763_000_012_345] {
                let request = decode(body.dated(first_ms));
                assert_eq!(request.timeseries.len(), 1_100);
                for ((got, want), values) in request.timeseries.iter().zip(&walks).zip(&values) {
                    let labels = got.labels.iter().map(|label| (&*label.name, &label.value));
                    assert!(labels.eq(want.labels.iter().map(|(name, value)| (*name, value))));
                    let samples = values.iter().enumerate().map(|(step, value)| Sample {
                        value: *value,
                        timestamp: first_ms + step as i64 * STEP_MS,
                    });
                    assert!(got.samples.iter().cloned().eq(samples));
                }
            }
        }
    }

    #[test]
    fn dating_touches_few_bytes_and_compression_is_real() {
        let dataset = Dataset::new();
        let mut encoder = Encoder::new(&dataset, 0..1_000);
        encoder.next_body(10);
        let mut body = encoder.next_body(10);
        let by_reference = {
            let plain = snap::raw::Decoder::new()
                .decompress_vec(body.dated(1_763_000_000_000))
                .expect("valid");
            snap::raw::Encoder::new().compress_vec(&plain).expect("compresses").len()
        };
        assert!(body.patches.len() < 2_000, "{} of 60,000 bytes change", body.patches.len());
        assert!(
            body.len() < by_reference * 11 / 10,
            "{} bytes, the reference makes {by_reference}",
            body.len()
        );
    }
}
