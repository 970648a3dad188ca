//! The series of a block as its index holds them: groups of neighbours, each series told by its difference from the one before.
//!
//! ```text
//! group     offset of the first chunk: uvarint | series | series | ...      GROUP_SERIES of them, the first after one without labels
//! series    labels | chunks: uvarint | chunk | chunk | ...
//!
//! labels    pairs: uvarint | mask: a bit a pair, set where the series before has the same pair at the same place | of each other pair:
//!             bytes shared with the value at the same place << 1 | same name: uvarint
//!             name: uvarint length and text                       unless it is the same
//!             the rest of the value: uvarint length and text
//! chunk     encoding, +128 if it has details, +64 if it is alike: u8 | shape, unless alike | bytes: uvarint | bytes of details: uvarint, if it has any
//! shape     first ms, minus the begin of the block or the last ms before: uvarint | last ms minus first: uvarint | samples: uvarint
//! ```
//!
//! Since neighbours are alike, labels of a hundred bytes and more take ten, and a chunk with the times and the number of samples of the chunk
//! at the same place in the series before takes three. Chunks stand in the file of chunks in the same order without
//! gaps, so their offsets follow from their lengths. Version 1 knew no chunks that are alike, and wrote the shape first. Pure functions.

use crate::chunk::Encoding;
use crate::chunk::bits::push_uvarint;
use crate::head::record::Input;
use crate::model::labels::{Pairs, is_canonical, push_pair};
use crate::model::time::{TimeRange, TimestampMs};

/// Series of a group.
pub(super) const GROUP_SERIES: usize = 64;

const HAS_DETAILS: u8 = 0x80;
const IS_ALIKE: u8 = 0x40;

/// A chunk of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockChunk {
    /// Times of its first and its last sample.
    pub range: TimeRange,
    /// Where it begins in the stream of chunks.
    pub offset: u64,
    /// Its bytes, without the details behind them.
    pub len: u32,
    /// Bytes of the details.
    pub details_len: u32,
    /// How many samples.
    pub samples: u16,
    /// How it is encoded.
    pub encoding: Encoding,
}

impl BlockChunk {
    /// Where the next chunk begins.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len) + u64::from(self.details_len)
    }
}

/// Times of the first and the last sample of a chunk, and how many there are.
type Shape = (TimeRange, u16);

/// Encodes one group.
#[derive(Debug, Default)]
pub(super) struct GroupEncoder {
    labels: Vec<u8>,
    /// Of the chunks of the series before.
    shapes: Vec<Shape>,
    series: usize,
    /// The group.
    pub(super) bytes: Vec<u8>,
}

impl GroupEncoder {
    /// How many series it holds.
    pub(super) fn series(&self) -> usize {
        self.series
    }

    /// Adds a series, whose labels follow those of the one before, of a block that begins at `base_ms`.
    pub(super) fn push(&mut self, base_ms: TimestampMs, labels: &[u8], chunks: &[BlockChunk]) {
        if self.series == 0 {
            push_uvarint(&mut self.bytes, chunks.first().map_or(0, |chunk| chunk.offset));
        }
        self.series += 1;
        encode_labels(&self.labels, labels, &mut self.bytes);
        self.labels.clear();
        self.labels.extend_from_slice(labels);
        push_uvarint(&mut self.bytes, chunks.len() as u64);
        let mut before = base_ms;
        for (i, chunk) in chunks.iter().enumerate() {
            let shape = (chunk.range, chunk.samples);
            let is_alike = self.shapes.get(i) == Some(&shape);
            let details = if chunk.details_len > 0 { HAS_DETAILS } else { 0 };
            let alike = if is_alike { IS_ALIKE } else { 0 };
            self.bytes.push(chunk.encoding as u8 | details | alike);
            let TimeRange { start_ms, end_ms } = chunk.range;
            if !is_alike {
                push_uvarint(&mut self.bytes, start_ms.wrapping_sub(before) as u64);
                push_uvarint(&mut self.bytes, end_ms.wrapping_sub(start_ms) as u64);
                push_uvarint(&mut self.bytes, u64::from(chunk.samples));
            }
            push_uvarint(&mut self.bytes, u64::from(chunk.len));
            if chunk.details_len > 0 {
                push_uvarint(&mut self.bytes, u64::from(chunk.details_len));
            }
            before = end_ms;
        }
        self.shapes.clear();
        self.shapes.extend(chunks.iter().map(|chunk| (chunk.range, chunk.samples)));
    }

    /// Empties it for the next group.
    pub(super) fn clear(&mut self) {
        self.labels.clear();
        self.shapes.clear();
        self.bytes.clear();
        self.series = 0;
    }
}

/// Reads one group, series by series.
pub(super) struct GroupDecoder<'a> {
    input: Input<'a>,
    version: u32,
    base_ms: TimestampMs,
    offset: u64,
    /// Labels of the series read last, in canonical encoding.
    pub(super) labels: Vec<u8>,
    spare: Vec<u8>,
    /// Of the chunks of the series read last.
    shapes: Vec<Shape>,
}

impl<'a> GroupDecoder<'a> {
    /// Begins to read a group of a block of this version that begins at `base_ms`; `None` if the bytes are none.
    pub(super) fn new(bytes: &'a [u8], version: u32, base_ms: TimestampMs) -> Option<Self> {
        let mut input = Input { bytes };
        let offset = input.uvarint()?;
        let (labels, spare, shapes) = (Vec::new(), Vec::new(), Vec::new());
        Some(GroupDecoder { input, version, base_ms, offset, labels, spare, shapes })
    }

    /// Whether another series follows.
    pub(super) fn has_next(&self) -> bool {
        !self.input.bytes.is_empty()
    }

    /// Reads a series: its labels into [`GroupDecoder::labels`], each of its chunks to `visit`. `None` if the bytes make no sense.
    pub(super) fn read(&mut self, mut visit: impl FnMut(BlockChunk)) -> Option<()> {
        self.spare.clear();
        decode_labels(&mut self.input, &self.labels, &mut self.spare)?;
        std::mem::swap(&mut self.labels, &mut self.spare);
        let (mut before, count) = (self.base_ms, usize::try_from(self.input.uvarint()?).ok()?);
        for i in 0..count {
            let (head, (range, samples)) = self.read_head(i, before)?;
            let len = u32::try_from(self.input.uvarint()?).ok()?;
            let details_len = match head & HAS_DETAILS {
                0 => 0,
                _ => u32::try_from(self.input.uvarint()?).ok()?,
            };
            let encoding = Encoding::from_u8(head & !(HAS_DETAILS | IS_ALIKE)).ok()?;
            let chunk =
                BlockChunk { range, offset: self.offset, len, details_len, samples, encoding };
            self.offset = self.offset.checked_add(u64::from(len) + u64::from(details_len))?;
            before = range.end_ms;
            visit(chunk);
        }
        self.shapes.truncate(count);
        Some(())
    }

    /// Encoding and flags of chunk `i` of a series, and its shape, which takes the place of that of the series before.
    fn read_head(&mut self, i: usize, before: TimestampMs) -> Option<(u8, Shape)> {
        if self.version == 1 {
            let shape = self.read_shape(before)?;
            return Some((self.input.byte()?, shape));
        }
        let head = self.input.byte()?;
        if head & IS_ALIKE != 0 {
            return Some((head, *self.shapes.get(i)?));
        }
        let shape = self.read_shape(before)?;
        match self.shapes.get_mut(i) {
            Some(place) => *place = shape,
            None => self.shapes.push(shape),
        }
        Some((head, shape))
    }

    fn read_shape(&mut self, before: TimestampMs) -> Option<Shape> {
        let start_ms = before.wrapping_add(self.input.uvarint()? as i64);
        let end_ms = start_ms.wrapping_add(self.input.uvarint()? as i64);
        let samples = u16::try_from(self.input.uvarint()?).ok()?;
        Some((TimeRange::new(start_ms, end_ms), samples))
    }
}

fn encode_labels(before: &[u8], labels: &[u8], out: &mut Vec<u8>) {
    push_uvarint(out, Pairs::new(labels).count() as u64);
    let mut mask = 0_u8;
    let mut of_before = Pairs::new(before);
    for (i, pair) in Pairs::new(labels).enumerate() {
        mask |= u8::from(of_before.next() == Some(pair)) << (i % 8);
        if i % 8 == 7 {
            out.push(std::mem::take(&mut mask));
        }
    }
    if !Pairs::new(labels).count().is_multiple_of(8) {
        out.push(mask);
    }
    let mut of_before = Pairs::new(before);
    for pair in Pairs::new(labels) {
        let there = of_before.next();
        if there == Some(pair) {
            continue;
        }
        let (same_name, value_there) =
            there.map_or((false, ""), |(name, value)| (name == pair.0, value));
        let shared = shared_bytes(value_there, pair.1);
        push_uvarint(out, (shared as u64) << 1 | u64::from(same_name));
        if !same_name {
            push_text(out, pair.0);
        }
        push_text(out, &pair.1[shared..]);
    }
}

fn decode_labels(input: &mut Input<'_>, before: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let count = usize::try_from(input.uvarint()?).ok()?;
    let (mask, rest) = input.bytes.split_at_checked(count.div_ceil(8))?;
    input.bytes = rest;
    let mut of_before = Pairs::new(before);
    let mut value = String::new();
    for i in 0..count {
        let there = of_before.next();
        if mask[i / 8] >> (i % 8) & 1 == 1 {
            let (name, value) = there?;
            push_pair(out, name, value);
            continue;
        }
        let head = input.uvarint()?;
        let name = if head & 1 == 1 { there?.0 } else { input.text()? };
        value.clear();
        value.push_str(there.map_or("", |(_, value)| value).get(..(head >> 1) as usize)?);
        value.push_str(input.text()?);
        push_pair(out, name, &value);
    }
    is_canonical(out).then_some(())
}

/// How many bytes two texts begin with alike, cut between characters.
pub(super) fn shared_bytes(a: &str, b: &str) -> usize {
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    b.floor_char_boundary(shared)
}

pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    push_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use proptest::prelude::*;

    /// Gap, span, samples, bytes and bytes of details of a chunk.
    type Drawn = (u32, u32, u16, u16, u16);

    fn drawn() -> impl Strategy<Value = Drawn> {
        prop_oneof![
            any::<Drawn>(),
            any::<(u16, u16)>().prop_map(|(len, details)| (15, 7185, 480, len, details)),
        ]
    }

    fn series() -> impl Strategy<Value = (Labels, Vec<Drawn>)> {
        let labels = proptest::collection::btree_map("[a-c]{1,2}", "[xé]{1,5}", 0..11);
        let labels =
            labels.prop_map(|pairs| pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect());
        (labels, proptest::collection::vec(drawn(), 0..4))
    }

    proptest! {
        #[test]
        fn groups_go_round(base in any::<i64>(), all in proptest::collection::vec(series(), 0..20)) {
            let (mut encoder, mut offset, mut expected) = (GroupEncoder::default(), 77, Vec::new());
            for (labels, shapes) in all {
                let mut start_ms = base;
                let mut chunks = Vec::new();
                for (gap, span, samples, len, details_len) in shapes {
                    start_ms = start_ms.wrapping_add(i64::from(gap));
                    let range = TimeRange::new(start_ms, start_ms.wrapping_add(i64::from(span)));
                    let (len, details_len) = (u32::from(len), u32::from(details_len) % 3);
                    let chunk = BlockChunk { range, offset, len, details_len, samples, encoding: Encoding::Xor };
                    offset = chunk.end();
                    start_ms = range.end_ms;
                    chunks.push(chunk);
                }
                encoder.push(base, labels.encoded(), &chunks);
                expected.push((labels, chunks));
            }
            if expected.is_empty() {
                return Ok(());
            }
            // The first series tells where the chunks begin; one without any tells nothing.
            let shift = expected[0].1.first().map_or(77, |_| 0);
            let mut decoder = GroupDecoder::new(&encoder.bytes, 2, base).unwrap();
            for (labels, chunks) in expected {
                let mut found = Vec::new();
                decoder.read(|chunk| found.push(BlockChunk { offset: chunk.offset + shift, ..chunk })).unwrap();
                prop_assert_eq!(&*decoder.labels, labels.encoded());
                prop_assert_eq!(found, chunks);
            }
            prop_assert!(!decoder.has_next());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), version in 1_u32..3) {
            if let Some(mut decoder) = GroupDecoder::new(&bytes, version, 0) {
                while decoder.has_next() && decoder.read(|_| ()).is_some() {}
            }
        }
    }

    #[test]
    fn neighbours_take_few_bytes() {
        let mut encoder = GroupEncoder::default();
        let labels = |mode: &str| {
            Labels::from_pairs([
                ("__name__", "node_cpu_seconds_total"),
                ("cpu", "0"),
                ("instance", "host-001.example.com:9100"),
                ("job", "node"),
                ("mode", mode),
            ])
        };
        encoder.push(0, labels("idle").encoded(), &[]);
        let before = encoder.bytes.len();
        encoder.push(0, labels("iowait").encoded(), &[]);
        assert_eq!(encoder.bytes.len() - before, 1 + 1 + 1 + 1 + 5 + 1);
        let chunk = BlockChunk {
            range: TimeRange::new(1000, 7_186_000),
            offset: 0,
            len: 400,
            details_len: 0,
            samples: 480,
            encoding: Encoding::Columnar,
        };
        encoder.push(0, labels("iowait").encoded(), &[chunk]);
        let before = encoder.bytes.len();
        encoder.push(0, labels("iowait").encoded(), &[BlockChunk { offset: 400, ..chunk }]);
        assert_eq!(encoder.bytes.len() - before, 1 + 1 + 1 + 3);
    }
}
