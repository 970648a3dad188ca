//! Records: every change of the head, and how those in the WAL and the checkpoint are encoded.
//!
//! The head changes by applying a [`Record`] and in no other way, so what recovery does is what was done live. The first three
//! kinds of payload are in the WAL, the second and the last in the checkpoint (the frame around them, with length, kind and
//! CRC, is theirs; `docs/formats/wal-records.md` is the page):
//!
//! ```text
//! APPEND    entry | entry | ...           one batch
//!   entry     head: uvarint               zigzag(series - series before) << 1 | new
//!             labels length: uvarint, canonical encoding        if new
//!             samples: uvarint
//!             t0: varint                  minus t0 of the entry before
//!             t1: varint                  minus t0, then deltas of deltas
//!             values                      one after the other, see below
//! METADATA  entry | entry | ...
//!   entry     type: u8 | family, help, unit: uvarint length and text each
//! SEAL      first, end: uvarint | idle before: varint
//! STATE     entry | entry | ...           some series
//!   entry     zigzag(series - series before): uvarint
//!             labels length: uvarint, canonical encoding
//!             chunks in memory: uvarint, of each: sealed or open: u8, length: uvarint, encoded chunk
//! DETAIL    entry | entry | ...           before the batch whose samples it belongs to, and in the checkpoint
//!   entry     see `details`
//!
//! value     leading zero bytes << 4 | trailing zero bytes of (bits ^ bits before): u8, then the bytes between, big-endian;
//!           0x80 if nothing changed
//! ```
//!
//! Small integers and repeated values take 1 to 3 bytes, and encoding is a few shifts: the log is read once at most.

use crate::chunk::bits::{BitReader, push_uvarint, push_varint, unzigzag, zigzag};
use crate::head::chunk_list::ChunkRef;
use crate::head::details::{SampleDetail, decode_detail};
use crate::index::SeriesRef;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::sample::Sample;
use crate::model::time::TimestampMs;

/// One change of the head.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A series begins. Logged.
    Series {
        /// Its number.
        series: SeriesRef,
        /// Its labels in canonical encoding.
        labels: &'a [u8],
    },
    /// Samples of one series, ascending. Logged. Those not newer than what the series has are there already.
    Samples {
        /// Whose.
        series: SeriesRef,
        /// What.
        samples: &'a [Sample],
    },
    /// What a sample has besides a float. Logged before the samples themselves, and in the checkpoint.
    Detail {
        /// Whose.
        series: SeriesRef,
        /// Of which sample.
        timestamp_ms: TimestampMs,
        /// What.
        detail: &'a SampleDetail,
        /// Whether the sample is there already, as it is for a checkpoint.
        attached: bool,
    },
    /// What is known about a metric family. Logged, and in the checkpoint.
    Metadata {
        /// The family's name.
        family: &'a str,
        /// Type, help, unit.
        metadata: &'a Metadata,
    },
    /// The open chunks of some series are sealed if their last sample is older than a time. Logged.
    Seal {
        /// The first series.
        first: SeriesRef,
        /// The series after the last.
        end: SeriesRef,
        /// The time.
        idle_before_ms: TimestampMs,
    },
    /// A sealed chunk was written to the chunk file and synced: its memory is given back. The chunk file says so.
    Spilled {
        /// Whose.
        series: SeriesRef,
        /// The chunk's key in the backlog.
        key: u32,
        /// Where it is now.
        chunk: ChunkRef,
    },
    /// A chunk that the chunk file or the checkpoint holds, met when the shard opens.
    Stored {
        /// Whose.
        series: SeriesRef,
        /// Where it is.
        chunk: ChunkRef,
    },
    /// An encoded chunk that the checkpoint holds, sealed or still open.
    Restored {
        /// Whose.
        series: SeriesRef,
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether it was sealed.
        sealed: bool,
    },
}

/// Number of a batch's record in the WAL.
pub const KIND_APPEND: u8 = 1;
/// Number of a metadata record in the WAL.
pub const KIND_METADATA: u8 = 2;
/// Number of a seal record in the WAL.
pub const KIND_SEAL: u8 = 3;

/// Number of a checkpoint's record.
pub const KIND_STATE: u8 = 4;
/// Number of a record of details, in the WAL and in the checkpoint.
pub const KIND_DETAIL: u8 = 5;

/// A payload that passed its CRC and still makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too early, or a number is out of range.
    #[error("the record of kind {kind} is malformed")]
    Malformed {
        /// Its kind.
        kind: u8,
    },
    /// A kind that this version does not know.
    #[error("the record kind {0} is unknown; it was written by a newer version")]
    UnknownKind(u8),
}

/// Encodes the payload of one batch, entry by entry.
#[derive(Debug, Default)]
pub struct AppendEncoder {
    series: SeriesRef,
    timestamp: TimestampMs,
}

impl AppendEncoder {
    /// Begins a payload.
    pub fn new() -> Self {
        AppendEncoder::default()
    }

    /// Adds one series with its samples, and its labels if it is new.
    #[inline]
    pub fn push(
        &mut self,
        out: &mut Vec<u8>,
        series: SeriesRef,
        new_labels: Option<&[u8]>,
        samples: &[Sample],
    ) {
        let step = zigzag(i64::from(series) - i64::from(self.series));
        push_uvarint(out, step << 1 | u64::from(new_labels.is_some()));
        self.series = series;
        if let Some(labels) = new_labels {
            push_bytes(out, labels);
        }
        push_uvarint(out, samples.len() as u64);
        let first = samples.first().map_or(self.timestamp, |sample| sample.timestamp_ms);
        let mut before = std::mem::replace(&mut self.timestamp, first);
        let (mut delta, mut bits) = (0_i64, 0_u64);
        for (i, sample) in samples.iter().enumerate() {
            let step = sample.timestamp_ms.wrapping_sub(before);
            push_varint(out, if i < 2 { step } else { step.wrapping_sub(delta) });
            (before, delta) = (sample.timestamp_ms, step);
            push_value(out, sample.value.to_bits() ^ bits);
            bits = sample.value.to_bits();
        }
    }
}

#[inline]
fn push_value(out: &mut Vec<u8>, xor: u64) {
    let (leading, trailing) = match xor {
        0 => (8, 0),
        _ => (xor.leading_zeros() / 8, xor.trailing_zeros() / 8),
    };
    out.push((leading << 4 | trailing) as u8);
    let width = (8 - leading - trailing) as usize;
    let bytes = xor.checked_shl(leading * 8).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&bytes[..width]);
}

/// Adds a metric family to a metadata payload.
pub fn encode_metadata(out: &mut Vec<u8>, family: &str, metadata: &Metadata) {
    out.push(metadata.kind as u8);
    for text in [family, &metadata.help, &metadata.unit] {
        push_bytes(out, text.as_bytes());
    }
}

/// Encodes a seal payload.
pub fn encode_seal(
    out: &mut Vec<u8>,
    first: SeriesRef,
    end: SeriesRef,
    idle_before_ms: TimestampMs,
) {
    push_uvarint(out, u64::from(first));
    push_uvarint(out, u64::from(end));
    push_varint(out, idle_before_ms);
}

/// Encodes the payload of a checkpoint's record, series by series.
#[derive(Debug, Default)]
pub struct StateEncoder {
    series: SeriesRef,
}

impl StateEncoder {
    /// Begins a payload.
    pub fn new() -> Self {
        StateEncoder::default()
    }

    /// Adds one series with its encoded chunks, the sealed ones first, each with whether it is sealed.
    pub fn push(
        &mut self,
        out: &mut Vec<u8>,
        series: SeriesRef,
        labels: &[u8],
        chunks: &[(bool, &[u8])],
    ) {
        push_varint(out, i64::from(series) - i64::from(self.series));
        self.series = series;
        push_bytes(out, labels);
        push_uvarint(out, chunks.len() as u64);
        for (sealed, bytes) in chunks {
            out.push(u8::from(*sealed));
            push_bytes(out, bytes);
        }
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Decodes a payload and calls `apply` with each record in it, in order. The records before a malformed one are applied.
pub fn decode(
    kind: u8,
    payload: &[u8],
    apply: &mut dyn FnMut(&Record<'_>),
) -> Result<(), RecordError> {
    let mut input = Input { bytes: payload };
    let done = match kind {
        KIND_APPEND => decode_append(&mut input, apply),
        KIND_METADATA => decode_metadata(&mut input, apply),
        KIND_SEAL => decode_seal(&mut input, apply),
        KIND_STATE => decode_state(&mut input, apply),
        KIND_DETAIL => decode_details(&mut input, apply),
        other => return Err(RecordError::UnknownKind(other)),
    };
    done.ok_or(RecordError::Malformed { kind })
}

fn decode_append(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let (mut series, mut timestamp) = (0_i64, 0_i64);
    let mut samples = Vec::new();
    while !input.bytes.is_empty() {
        let head = input.uvarint()?;
        series = series.checked_add(unzigzag(head >> 1))?;
        let number = SeriesRef::try_from(series).ok()?;
        if head & 1 == 1 {
            apply(&Record::Series { series: number, labels: input.bytes()? });
        }
        let count = input.uvarint()?;
        samples.clear();
        let (mut before, mut delta, mut bits) = (timestamp, 0_i64, 0_u64);
        for i in 0..count {
            let step = input.varint()?;
            let step = if i < 2 { step } else { step.wrapping_add(delta) };
            (before, delta) = (before.wrapping_add(step), step);
            bits ^= input.value()?;
            samples.push(Sample { timestamp_ms: before, value: f64::from_bits(bits) });
            if i == 0 {
                timestamp = before;
            }
        }
        if !samples.is_empty() {
            apply(&Record::Samples { series: number, samples: &samples });
        }
    }
    Some(())
}

fn decode_details(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    while !input.bytes.is_empty() {
        let (series, timestamp_ms, detail, attached) = decode_detail(input)?;
        apply(&Record::Detail { series, timestamp_ms, detail: &detail, attached });
    }
    Some(())
}

fn decode_metadata(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    while !input.bytes.is_empty() {
        let kind = MetricType::from_u8(input.byte()?)?;
        let family = input.text()?;
        let (help, unit) = (input.text()?.to_owned(), input.text()?.to_owned());
        apply(&Record::Metadata { family, metadata: &Metadata { kind, help, unit } });
    }
    Some(())
}

fn decode_seal(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let first = SeriesRef::try_from(input.uvarint()?).ok()?;
    let end = SeriesRef::try_from(input.uvarint()?).ok()?;
    apply(&Record::Seal { first, end, idle_before_ms: input.varint()? });
    Some(())
}

fn decode_state(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let mut number = 0_i64;
    while !input.bytes.is_empty() {
        number = number.checked_add(input.varint()?)?;
        let series = SeriesRef::try_from(number).ok()?;
        apply(&Record::Series { series, labels: input.bytes()? });
        for _ in 0..input.uvarint()? {
            let sealed = input.byte()? == 1;
            apply(&Record::Restored { series, bytes: input.bytes()?, sealed });
        }
    }
    Some(())
}

/// Takes fields off the front; `None` where they end too early.
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Input<'a> {
    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        if let [byte @ ..0x80, rest @ ..] = self.bytes {
            self.bytes = rest;
            return Some(u64::from(*byte));
        }
        let mut reader = BitReader::new(self.bytes);
        let value = reader.read_uvarint()?;
        self.bytes = self.bytes.get(reader.position() / 8..)?;
        Some(value)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i64> {
        self.uvarint().map(unzigzag)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.uvarint()?).ok()?;
        let (bytes, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The xor of a value with the one before.
    #[inline]
    fn value(&mut self) -> Option<u64> {
        let shape = u32::from(self.byte()?);
        let (leading, trailing) = (shape >> 4, shape & 15);
        let width = 8_u32.checked_sub(leading + trailing)? as usize;
        let (bytes, rest) = self.bytes.split_at_checked(width)?;
        self.bytes = rest;
        let mut word = [0; 8];
        word[..width].copy_from_slice(bytes);
        Some(u64::from_be_bytes(word).checked_shr(leading * 8).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_to_text(kind: u8, payload: &[u8]) -> Result<Vec<String>, RecordError> {
        let mut seen = Vec::new();
        decode(kind, payload, &mut |record| seen.push(format!("{record:?}")))?;
        Ok(seen)
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let value = prop_oneof![any::<u64>(), (0_u32..100).prop_map(|v| f64::from(v).to_bits())];
        let sample = (any::<i64>(), value)
            .prop_map(|(t, bits)| Sample { timestamp_ms: t, value: f64::from_bits(bits) });
        proptest::collection::vec(sample, 1..8)
    }

    proptest! {
        #[test]
        fn batches_go_round(entries in proptest::collection::vec(
            (any::<u32>(), proptest::option::of(any::<Vec<u8>>()), samples()), 0..20)) {
            let (mut encoder, mut payload, mut expected) = (AppendEncoder::new(), Vec::new(), Vec::new());
            for (series, labels, samples) in &entries {
                encoder.push(&mut payload, *series, labels.as_deref(), samples);
                if let Some(labels) = labels {
                    expected.push(format!("{:?}", Record::Series { series: *series, labels }));
                }
                expected.push(format!("{:?}", Record::Samples { series: *series, samples }));
            }
            prop_assert_eq!(decode_to_text(KIND_APPEND, &payload).unwrap(), expected);
        }

        #[test]
        fn values_go_round_bit_for_bit(values: Vec<u64>) {
            let mut out = Vec::new();
            for &value in &values {
                push_value(&mut out, value);
            }
            let mut input = Input { bytes: &out };
            for value in values {
                prop_assert_eq!(input.value(), Some(value));
            }
        }

        #[test]
        fn no_bytes_panic(kind in 0_u8..6, payload: Vec<u8>) {
            let _ = decode_to_text(kind, &payload);
        }
    }

    #[test]
    fn metadata_and_seals_go_round() {
        let metadata = Metadata { kind: MetricType::Counter, help: "é".into(), unit: "s".into() };
        let mut payload = Vec::new();
        encode_metadata(&mut payload, "up", &metadata);
        let expected = format!("{:?}", Record::Metadata { family: "up", metadata: &metadata });
        assert_eq!(decode_to_text(KIND_METADATA, &payload).unwrap(), [expected]);

        payload.clear();
        encode_seal(&mut payload, 3, 900, -5);
        let expected = format!("{:?}", Record::Seal { first: 3, end: 900, idle_before_ms: -5 });
        assert_eq!(decode_to_text(KIND_SEAL, &payload).unwrap(), [expected]);
    }

    #[test]
    fn states_go_round() {
        let (mut encoder, mut payload) = (StateEncoder::new(), Vec::new());
        encoder.push(&mut payload, 70_000, b"labels", &[(true, b"one"), (false, b"two")]);
        encoder.push(&mut payload, 5, b"", &[]);
        let expected = [
            Record::Series { series: 70_000, labels: b"labels" },
            Record::Restored { series: 70_000, bytes: b"one", sealed: true },
            Record::Restored { series: 70_000, bytes: b"two", sealed: false },
            Record::Series { series: 5, labels: b"" },
        ];
        let expected: Vec<String> = expected.iter().map(|record| format!("{record:?}")).collect();
        assert_eq!(decode_to_text(KIND_STATE, &payload).unwrap(), expected);
    }

    #[test]
    fn the_bytes_are_fixed_for_ever() {
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        let (mut append, mut encoder) = (Vec::new(), AppendEncoder::new());
        encoder.push(&mut append, 7, Some(b"\x01a\x01b"), &[sample(1000, 1.0), sample(1015, 2.5)]);
        encoder.push(&mut append, 6, None, &[sample(1001, f64::NAN)]);
        let (mut metadata, mut seal, mut state) = (Vec::new(), Vec::new(), Vec::new());
        let gauge = Metadata { kind: MetricType::Gauge, help: "h".into(), unit: String::new() };
        encode_metadata(&mut metadata, "up", &gauge);
        encode_seal(&mut seal, 0, 300, -2);
        StateEncoder::new().push(&mut state, 7, b"\x01a\x01b", &[(true, b"xy")]);
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap();
        let hex = |bytes: &[u8]| -> String {
            bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
        };
        for (payload, fixed) in [
            (append, "1d040161016202d00f063ff01e067ff4020102067ff8"),
            (metadata, "02027570016800"),
            (seal, "00ac0203"),
            (state, "0e04016101620101027879"),
        ] {
            assert_eq!(hex(&payload), fixed);
        }
    }

    #[test]
    fn a_repeated_value_takes_one_byte() {
        let sample = |t| Sample { timestamp_ms: t, value: 1.5 };
        let mut payload = Vec::new();
        AppendEncoder::new().push(&mut payload, 0, None, &[sample(0), sample(15), sample(30)]);
        assert_eq!(payload.len(), 2 + 3 + (3 + 1 + 1));
    }

    #[test]
    fn kinds_of_newer_versions_are_named() {
        assert_eq!(decode_to_text(9, b""), Err(RecordError::UnknownKind(9)));
    }
}
