//! Records: every change of the head, and how those in the WAL and the checkpoint are encoded.
//!
//! The head changes by applying a [`Record`] and in no other way, so what recovery does is what was done live. The first three
//! kinds of payload are in the WAL, the second and the last in the checkpoint (the frame around them, with length, kind and
//! CRC, is theirs; `docs/formats/wal-records.md` is the page):
//!
//! ```text
//! APPEND    entry | entry | ...           one batch; see `append`
//! METADATA  entry | entry | ...
//!   entry     type: u8 | family, help, unit: uvarint length and text each
//! SEAL      first, end: uvarint | idle before: varint
//! STATE     pairs | entry | entry | ...   some series; see `state`
//! DELETED   entry | entry | ...           in the log, and in the checkpoint
//!   entry     series: uvarint | first ms: varint | last ms minus first: uvarint
//! DETAIL    entry | entry | ...           before the batch whose samples it belongs to, and in the checkpoint
//!   entry     see `details`
//! EXEMPLARS entry | entry | ...           in both
//!   entry     see `crate::exemplars`
//! ```

mod append;
mod state;
mod values;

use std::path::Path;

pub use append::AppendEncoder;
pub use state::StateEncoder;

use crate::chunk::bits::{push_uvarint, push_varint, unzigzag};
use crate::chunk::xor::Resume;
use crate::error::Error;
use crate::exemplars;
use crate::head::chunk_list::{ChunkRef, Place};
use crate::head::details::{SampleDetail, decode_detail};
use crate::index::SeriesRef;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Fingerprint;
use crate::model::metadata::{Metadata, MetricType};
use crate::model::sample::Sample;
use crate::model::time::{TimeRange, TimestampMs};

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
    /// Samples of one series that came after newer ones. Logged. Of those at one time the first counts.
    OutOfOrder {
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
    /// An exemplar. Logged, and in the checkpoint.
    Exemplar {
        /// The labels of its series in canonical encoding.
        series: &'a [u8],
        /// What.
        exemplar: &'a Exemplar,
    },
    /// The samples of a series in a range of time are deleted. Logged, and in the checkpoint.
    Deleted {
        /// Whose.
        series: SeriesRef,
        /// From when to when.
        range: TimeRange,
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
    /// A sealed chunk was written to a chunk file and synced: it is there now, and memory that it had is given back. The chunk file says so.
    Moved {
        /// Whose.
        series: SeriesRef,
        /// Where it was.
        from: Place,
        /// How and where it is now.
        chunk: ChunkRef,
    },
    /// A chunk that the chunk file or the checkpoint holds, met when the shard opens.
    Stored {
        /// Whose.
        series: SeriesRef,
        /// Where it is.
        chunk: ChunkRef,
    },
    /// What follows are [`Record::Known`] series with this many label pairs between them. In the checkpoint.
    Pairs {
        /// How many.
        count: usize,
    },
    /// A series that the checkpoint holds.
    Known {
        /// Its number.
        series: SeriesRef,
        /// That of its labels.
        fingerprint: Fingerprint,
        /// All pairs announced by the [`Record::Pairs`] before, each in canonical encoding.
        pairs: &'a [&'a [u8]],
        /// Which of them are its labels, in the order of their names.
        labels: &'a [u32],
    },
    /// An encoded chunk that the checkpoint holds, sealed or still open.
    Restored {
        /// Whose.
        series: SeriesRef,
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether it was sealed.
        sealed: bool,
        /// What its encoder knew, where the checkpoint says so.
        resume: Option<Resume>,
    },
}

/// Number of a batch's record in the WAL, as the first versions wrote it; read, not written.
const KIND_APPEND_1: u8 = 1;
/// Number of a metadata record in the WAL.
pub const KIND_METADATA: u8 = 2;
/// Number of a seal record in the WAL.
pub const KIND_SEAL: u8 = 3;

/// Number of a checkpoint's record of series, as the first versions wrote it; read, not written.
const KIND_STATE_1: u8 = 4;
/// Number of a record of details, in the WAL and in the checkpoint.
pub const KIND_DETAIL: u8 = 5;
/// Number of a batch's record in the WAL.
pub const KIND_APPEND: u8 = 6;
/// Number of a record of late samples, in the WAL and in the checkpoint. Its payload is that of a batch.
pub const KIND_OUT_OF_ORDER: u8 = 7;
/// Number of a record of exemplars, in the WAL and in the checkpoint.
pub const KIND_EXEMPLARS: u8 = 8;
/// Number of a record of deletions, in the WAL and in the checkpoint.
pub const KIND_DELETED: u8 = 9;

/// Number of a checkpoint's record of series.
pub const KIND_STATE: u8 = 10;

/// The highest kind that this version knows.
const KIND_NEWEST: u8 = KIND_STATE;

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

impl RecordError {
    /// Itself, where it costs no more than the record that was read from `path`.
    ///
    /// # Errors
    /// [`Error::NewerRecord`]: what only a newer version can read was acknowledged by it, and must not be passed over.
    pub fn unless_newer(self, path: &Path) -> Result<Self, Error> {
        match self {
            RecordError::UnknownKind(kind) => {
                Err(Error::NewerRecord { path: path.to_owned(), kind, known: KIND_NEWEST })
            }
            RecordError::Malformed { .. } => Ok(self),
        }
    }
}

/// Adds a metric family to a metadata payload.
pub fn encode_metadata(out: &mut Vec<u8>, family: &str, metadata: &Metadata) {
    out.push(metadata.kind as u8);
    for text in [family, &metadata.help, &metadata.unit] {
        push_bytes(out, text.as_bytes());
    }
}

/// Adds a deleted range of a series to a payload.
pub fn encode_deleted(out: &mut Vec<u8>, series: SeriesRef, range: TimeRange) {
    push_uvarint(out, u64::from(series));
    push_varint(out, range.start_ms);
    push_uvarint(out, range.end_ms.wrapping_sub(range.start_ms) as u64);
}

fn decode_deleted(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    while !input.bytes.is_empty() {
        let series = SeriesRef::try_from(input.uvarint()?).ok()?;
        let start_ms = input.varint()?;
        let end_ms = start_ms.wrapping_add(input.uvarint()? as i64);
        apply(&Record::Deleted { series, range: TimeRange::new(start_ms, end_ms) });
    }
    Some(())
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

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What records are applied to.
pub trait Apply {
    /// Changes it.
    fn apply(&mut self, record: &Record<'_>);

    /// Samples of a series come soon.
    fn soon(&self, _: SeriesRef) {}

    /// Samples of a series come next.
    fn next(&self, _: SeriesRef) {}

    /// Whether samples of a series, of which the last is at `last_ms`, would change anything.
    fn wants(&self, _: SeriesRef, _last_ms: TimestampMs) -> bool {
        true
    }
}

impl<F: FnMut(&Record<'_>)> Apply for F {
    fn apply(&mut self, record: &Record<'_>) {
        self(record);
    }
}

/// Decodes a payload and applies each record in it, in order. The records before a malformed one are applied.
pub fn decode(kind: u8, payload: &[u8], to: &mut (impl Apply + ?Sized)) -> Result<(), RecordError> {
    let mut input = Input { bytes: payload };
    let late = kind == KIND_OUT_OF_ORDER;
    if late || kind == KIND_APPEND {
        return append::decode(&mut input, late, to).ok_or(RecordError::Malformed { kind });
    }
    let apply = &mut |record: &Record<'_>| to.apply(record);
    let done = match kind {
        KIND_APPEND_1 => append::decode_1(&mut input, apply),
        KIND_METADATA => decode_metadata(&mut input, apply),
        KIND_SEAL => decode_seal(&mut input, apply),
        KIND_STATE => state::decode(&mut input, apply),
        KIND_STATE_1 => state::decode_1(&mut input, apply),
        KIND_DETAIL => decode_details(&mut input, apply),
        KIND_EXEMPLARS => exemplars::decode(payload, &mut |series, exemplar| {
            apply(&Record::Exemplar { series, exemplar });
        }),
        KIND_DELETED => decode_deleted(&mut input, apply),
        other => return Err(RecordError::UnknownKind(other)),
    };
    done.ok_or(RecordError::Malformed { kind })
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

/// Bytes of the longest varint of 64 bits; its last holds one bit.
const UVARINT_BYTES_MAX: usize = 10;

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
        let mut value = 0;
        for (i, &byte) in self.bytes.iter().enumerate().take(UVARINT_BYTES_MAX) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.bytes = &self.bytes[i + 1..];
                return (i + 1 < UVARINT_BYTES_MAX || byte <= 1).then_some(value);
            }
        }
        None
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

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A number of 1 to 8 bytes.
    #[inline]
    fn little_endian(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.bytes.split_at_checked(bytes)?;
        self.bytes = rest;
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(number);
        Some(u64::from_le_bytes(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::xor::XorEncoder;
    use crate::index::symbols::{SymbolList, Symbols};
    use crate::model::labels::Labels;
    use proptest::prelude::*;

    fn decode_to_text(kind: u8, payload: &[u8]) -> Result<Vec<String>, RecordError> {
        let mut seen = Vec::new();
        decode(kind, payload, &mut |record: &Record<'_>| seen.push(format!("{record:?}")))?;
        Ok(seen)
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let value = prop_oneof![any::<u64>(), (0_u32..100).prop_map(|v| f64::from(v).to_bits())];
        let sample = (any::<i64>(), value)
            .prop_map(|(t, bits)| Sample { timestamp_ms: t, value: f64::from_bits(bits) });
        let regular = (0_i64..3, 0_i64..3, 1_usize..9).prop_map(|(t0, step, count)| {
            let sample = |i| Sample { timestamp_ms: t0 + step * i as i64, value: 2.5 };
            (0..count).map(sample).collect()
        });
        prop_oneof![proptest::collection::vec(sample, 1..8), regular]
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
        fn no_bytes_panic(kind in 0_u8..=KIND_STATE, payload: Vec<u8>) {
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

        payload.clear();
        let range = TimeRange::new(-5, i64::MAX);
        encode_deleted(&mut payload, 3, range);
        let expected = format!("{:?}", Record::Deleted { series: 3, range });
        assert_eq!(decode_to_text(KIND_DELETED, &payload).unwrap(), [expected]);
    }

    #[test]
    fn states_go_round() {
        let mut symbols = Symbols::new();
        let sets = [[("__name__", "up"), ("job", "b")], [("__name__", "up"), ("job", "a")]];
        let sets = sets.map(Labels::from_pairs);
        let lists = sets.each_ref().map(|set| {
            let mut list = Vec::new();
            symbols.encode(set.encoded(), &mut list);
            list
        });
        let mut open = XorEncoder::new();
        open.push(1_000, 2.5);
        let mut encoder = StateEncoder::new();
        encoder.begin(&symbols, 70_000, sets[0].fingerprint(), SymbolList::new(&lists[0]));
        encoder.push_sealed(b"one");
        encoder.push_open(&open);
        encoder.begin(&symbols, 5, sets[1].fingerprint(), SymbolList::new(&lists[1]));
        let mut payload = Vec::new();
        encoder.finish(&symbols, &mut payload);
        let pair = |name: &str, value: &str| Labels::from_pairs([(name, value)]).encoded().to_vec();
        let pairs = [pair("__name__", "up"), pair("job", "a"), pair("job", "b")];
        let pairs = pairs.each_ref().map(Vec::as_slice);
        let known = |series, set: &Labels, labels| {
            let fingerprint = set.fingerprint();
            format!("{:?}", Record::Known { series, fingerprint, pairs: &pairs, labels })
        };
        let restored = |bytes, sealed, resume| {
            format!("{:?}", Record::Restored { series: 70_000, bytes, sealed, resume })
        };
        let expected = [
            format!("{:?}", Record::Pairs { count: 3 }),
            known(70_000, &sets[0], &[0, 2]),
            restored(b"one", true, None),
            restored(open.bytes(), false, Some(open.state())),
            known(5, &sets[1], &[0, 1]),
        ];
        assert_eq!(decode_to_text(KIND_STATE, &payload).unwrap(), expected);
    }

    #[test]
    fn states_with_labels_that_are_none_are_refused() {
        let up = b"\x08__name__\x02up";
        let two_names =
            [&[2][..], up, b"\x08__name__\x03upp", &[0], &[0; 16], &[2, 0, 1, 0]].concat();
        let unsorted = [&[2][..], b"\x01b\x01x", b"\x01a\x01x"].concat();
        let unknown = [&[1][..], up, &[0], &[0; 16], &[1, 1, 0]].concat();
        for payload in [two_names, unsorted, unknown] {
            let refused = Err(RecordError::Malformed { kind: KIND_STATE });
            assert_eq!(decode_to_text(KIND_STATE, &payload), refused);
        }
    }

    #[test]
    fn the_bytes_are_fixed_for_ever() {
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        let (mut append, mut encoder) = (Vec::new(), AppendEncoder::new());
        let entries = [
            (7, Some(&b"\x01a\x01b"[..]), vec![sample(1000, 1.0), sample(1015, 2.5)]),
            (6, None, vec![sample(1001, f64::NAN)]),
            (7, None, vec![sample(1001, -3.0), sample(1002, 9_999.0), sample(1004, 0.1 + 0.2)]),
            (8, None, vec![sample(1001, 4.0), sample(1016, 4.0), sample(1031, 4.0)]),
        ];
        for (series, labels, samples) in &entries {
            encoder.push(&mut append, *series, *labels, samples);
        }
        let (mut metadata, mut seal, mut state) = (Vec::new(), Vec::new(), Vec::new());
        let gauge = Metadata { kind: MetricType::Gauge, help: "h".into(), unit: String::new() };
        encode_metadata(&mut metadata, "up", &gauge);
        encode_seal(&mut seal, 0, 300, -2);
        let (mut symbols, mut list, mut states) = (Symbols::new(), Vec::new(), StateEncoder::new());
        symbols.encode(b"\x01a\x01b", &mut list);
        states.begin(&symbols, 7, Fingerprint(0x0102), SymbolList::new(&list));
        states.push_sealed(b"xy");
        let mut open = XorEncoder::new();
        open.push(1_000, 1.0);
        states.push_open(&open);
        states.finish(&symbols, &mut state);
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap();
        let hex = |bytes: &[u8]| -> String {
            bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
        };
        for (payload, fixed) in [
            (
                append,
                "71040161016209d00f1e02c9f4011a02e0000000000000f87f040c020205c1244ee034333333b3b4107f040f0008",
            ),
            (metadata, "02027570016800"),
            (seal, "00ac0203"),
            (
                state,
                "01016101620e02010000000000000000000000000000010002010278790200ff00d00f00000000000000f03f0c0001d00f3ff0000000000000",
            ),
        ] {
            assert_eq!(hex(&payload), fixed);
        }
    }

    #[test]
    fn states_of_the_first_versions_are_read() {
        let payload = b"\x0e\x04\x01a\x01b\x01\x01\x02xy";
        let expected = [
            Record::Series { series: 7, labels: b"\x01a\x01b" },
            Record::Restored { series: 7, bytes: b"xy", sealed: true, resume: None },
        ];
        let expected: Vec<String> = expected.iter().map(|record| format!("{record:?}")).collect();
        assert_eq!(decode_to_text(KIND_STATE_1, payload).unwrap(), expected);
    }

    #[test]
    fn batches_of_the_first_versions_are_read() {
        // Series 7 begins with the labels a="b" and gets 1.0 at 1000 and 2.5 at 1015; series 6 gets NaN at 1001.
        let hex = "1d040161016202d00f063ff01e067ff4020102067ff8";
        let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        let payload: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        let expected = [
            Record::Series { series: 7, labels: b"\x01a\x01b" },
            Record::Samples { series: 7, samples: &[sample(1000, 1.0), sample(1015, 2.5)] },
            Record::Samples { series: 6, samples: &[sample(1001, f64::NAN)] },
        ];
        let expected: Vec<String> = expected.iter().map(|record| format!("{record:?}")).collect();
        assert_eq!(decode_to_text(KIND_APPEND_1, &payload).unwrap(), expected);
    }

    #[test]
    fn the_samples_of_a_scrape_take_two_bytes_each() {
        let (mut encoder, mut payload) = (AppendEncoder::new(), Vec::new());
        for series in 0..100 {
            let sample = Sample { timestamp_ms: 1_700_000_000_000, value: f64::from(series % 60) };
            encoder.push(&mut payload, series, None, &[sample]);
        }
        assert_eq!(payload.len(), 6 + 2 * 100);
        payload.clear();
        let day: Vec<Sample> =
            (0..5760).map(|i| Sample { timestamp_ms: i * 15_000, value: 7.0 }).collect();
        AppendEncoder::new().push(&mut payload, 0, None, &day);
        assert_eq!(payload.len(), 1 + 3 + 3 + 1, "what never changes costs nothing");
    }

    #[test]
    fn kinds_of_newer_versions_are_named() {
        assert_eq!(decode_to_text(99, b""), Err(RecordError::UnknownKind(99)));
    }
}
