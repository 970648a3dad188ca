//! The record of a checkpoint: some series, with the chunks that they have in memory.
//!
//! ```text
//! pairs     uvarint, that many pairs in canonical encoding, in ascending order
//! entry     zigzag(series - number after that of the entry before): uvarint
//!           fingerprint: 16 bytes
//!           labels: uvarint, that many indices into the pairs, ascending: uvarint each
//!           chunks: uvarint, of each:
//!             flags: u8               1 sealed, 2 the encoder's state follows
//!             state                   free bits: u8, leading and trailing zeros: u8 each, time: varint, step: uvarint, value: 8 bytes
//!             length: uvarint, encoded chunk
//! ```
//!
//! The pairs belong to this record alone, so that one that is lost takes nothing with it. Reading it interns each pair once, hashes
//! no labels and decodes no samples; that is what makes the next start quick after a clean stop.
//!
//! The former record, [`super::KIND_STATE_1`], had the labels of each series in full. It is still read: `decode_1`.

use hashbrown::HashMap;

use super::{Input, Record, push_bytes};
use crate::chunk::bits::{push_uvarint, push_varint};
use crate::chunk::xor::{Resume, XorEncoder};
use crate::index::SeriesRef;
use crate::index::symbols::{Symbol, SymbolList, Symbols};
use crate::model::labels::{Fingerprint, is_canonical};

const SEALED: u8 = 1;
const RESUMES: u8 = 2;

/// Collects the series of one record.
#[derive(Debug, Default)]
pub struct StateEncoder {
    /// Each pair that occurs, and its place among them once all are known.
    places: HashMap<Symbol, u32>,
    /// Bytes of these pairs.
    pair_bytes: usize,
    /// The labels of all series.
    labels: Vec<Symbol>,
    series: Vec<Entry>,
    /// Encoded chunks, one after the other.
    chunks: Vec<u8>,
}

/// One series of the record.
#[derive(Debug)]
struct Entry {
    number: SeriesRef,
    fingerprint: Fingerprint,
    /// Where its labels end.
    labels_end: usize,
    chunk_count: u32,
    /// Where its chunks end.
    chunks_end: usize,
}

impl StateEncoder {
    /// An empty record.
    pub fn new() -> Self {
        StateEncoder::default()
    }

    /// Begins a series; its chunks follow, the sealed ones first.
    pub fn begin(
        &mut self,
        symbols: &Symbols,
        number: SeriesRef,
        fingerprint: Fingerprint,
        labels: SymbolList<'_>,
    ) {
        for symbol in labels {
            if self.places.insert(symbol, 0).is_none() {
                self.pair_bytes += symbols.encoded(symbol).len();
            }
            self.labels.push(symbol);
        }
        let (labels_end, chunks_end) = (self.labels.len(), self.chunks.len());
        self.series.push(Entry { number, fingerprint, labels_end, chunk_count: 0, chunks_end });
    }

    /// Adds a sealed chunk to the series begun last.
    pub fn push_sealed(&mut self, bytes: &[u8]) {
        self.push_chunk(SEALED, |_| {}, bytes);
    }

    /// Adds the open chunk of the series begun last.
    pub fn push_open(&mut self, open: &XorEncoder) {
        self.push_chunk(RESUMES, |out| push_resume(out, open.state()), open.bytes());
    }

    fn push_chunk(&mut self, flags: u8, push_state: impl FnOnce(&mut Vec<u8>), bytes: &[u8]) {
        let Some(entry) = self.series.last_mut() else { return };
        self.chunks.push(flags);
        push_state(&mut self.chunks);
        push_bytes(&mut self.chunks, bytes);
        entry.chunk_count += 1;
        entry.chunks_end = self.chunks.len();
    }

    /// About how many bytes the record takes.
    pub fn byte_len(&self) -> usize {
        let entries = self.series.len() * (size_of::<Fingerprint>() + 3);
        self.pair_bytes + self.chunks.len() + entries + self.labels.len() * 2
    }

    /// Writes the record to `out`, and begins another.
    pub fn finish(&mut self, symbols: &Symbols, out: &mut Vec<u8>) {
        let mut pairs: Vec<Symbol> = self.places.keys().copied().collect();
        pairs.sort_unstable_by_key(|&symbol| symbols.pair(symbol));
        push_uvarint(out, pairs.len() as u64);
        for (place, &symbol) in (0..).zip(&pairs) {
            out.extend_from_slice(symbols.encoded(symbol));
            self.places.insert(symbol, place);
        }
        let (mut next, mut labels_start, mut chunks_start) = (0_i64, 0, 0);
        for entry in &self.series {
            push_varint(out, i64::from(entry.number) - next);
            next = i64::from(entry.number) + 1;
            out.extend_from_slice(&entry.fingerprint.0.to_le_bytes());
            push_uvarint(out, (entry.labels_end - labels_start) as u64);
            for symbol in &self.labels[labels_start..entry.labels_end] {
                push_uvarint(out, u64::from(self.places[symbol]));
            }
            push_uvarint(out, u64::from(entry.chunk_count));
            out.extend_from_slice(&self.chunks[chunks_start..entry.chunks_end]);
            (labels_start, chunks_start) = (entry.labels_end, entry.chunks_end);
        }
        self.places.clear();
        self.pair_bytes = 0;
        self.labels.clear();
        self.series.clear();
        self.chunks.clear();
    }
}

fn push_resume(out: &mut Vec<u8>, state: Resume) {
    out.extend([state.free, state.leading, state.trailing]);
    push_varint(out, state.last_timestamp);
    push_uvarint(out, state.last_delta);
    out.extend(state.last_value.to_le_bytes());
}

fn read_resume(input: &mut Input<'_>) -> Option<Resume> {
    Some(Resume {
        free: input.byte()?,
        leading: input.byte()?,
        trailing: input.byte()?,
        last_timestamp: input.varint()?,
        last_delta: input.uvarint()?,
        last_value: input.little_endian(8)?,
    })
}

/// The pairs of a record, checked so that any ascending choice of one pair for each name is a canonical label set.
struct Dictionary<'a> {
    pairs: Vec<&'a [u8]>,
    /// Of each pair the number of its name: the same for pairs of the same name.
    names: Vec<u32>,
}

impl<'a> Dictionary<'a> {
    fn read(input: &mut Input<'a>) -> Option<Self> {
        let mut dictionary = Dictionary { pairs: Vec::new(), names: Vec::new() };
        let mut last: Option<(&str, &str)> = None;
        let mut name_number = 0;
        for _ in 0..input.uvarint()? {
            let start = input.bytes;
            let pair = (input.text()?, input.text()?);
            let encoded = &start[..start.len() - input.bytes.len()];
            if !is_canonical(encoded) || last.is_some_and(|last| pair <= last) {
                return None;
            }
            name_number += u32::from(last.is_some_and(|(name, _)| name != pair.0));
            last = Some(pair);
            dictionary.pairs.push(encoded);
            dictionary.names.push(name_number);
        }
        Some(dictionary)
    }

    /// Reads the labels of one series into `out`.
    fn labels(&self, input: &mut Input<'_>, out: &mut Vec<u32>) -> Option<()> {
        out.clear();
        let mut last = None;
        for _ in 0..input.uvarint()? {
            let place = u32::try_from(input.uvarint()?).ok()?;
            let name = *self.names.get(place as usize)?;
            if last.is_some_and(|last| name <= last) {
                return None;
            }
            last = Some(name);
            out.push(place);
        }
        Some(())
    }
}

/// Decodes a payload; `None` where it ends too early or makes no sense.
pub(super) fn decode(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let dictionary = Dictionary::read(input)?;
    let pairs = &*dictionary.pairs;
    apply(&Record::Pairs { count: pairs.len() });
    let (mut next, mut labels) = (0_i64, Vec::new());
    while !input.bytes.is_empty() {
        let number = next.checked_add(input.varint()?)?;
        let series = SeriesRef::try_from(number).ok()?;
        next = number + 1;
        let (fingerprint, rest) = input.bytes.split_first_chunk()?;
        input.bytes = rest;
        let fingerprint = Fingerprint(u128::from_le_bytes(*fingerprint));
        dictionary.labels(input, &mut labels)?;
        apply(&Record::Known { series, fingerprint, pairs, labels: &labels });
        for _ in 0..input.uvarint()? {
            let flags = input.byte()?;
            let resume = if flags & RESUMES == 0 { None } else { Some(read_resume(input)?) };
            let sealed = flags & SEALED != 0;
            apply(&Record::Restored { series, bytes: input.bytes()?, sealed, resume });
        }
    }
    Some(())
}

/// Decodes a payload of the former kind:
///
/// ```text
/// entry     zigzag(series - series before): uvarint
///           labels length: uvarint, canonical encoding
///           chunks in memory: uvarint, of each: sealed or open: u8, length: uvarint, encoded chunk
/// ```
pub(super) fn decode_1(input: &mut Input<'_>, apply: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let mut number = 0_i64;
    while !input.bytes.is_empty() {
        number = number.checked_add(input.varint()?)?;
        let series = SeriesRef::try_from(number).ok()?;
        apply(&Record::Series { series, labels: input.bytes()? });
        for _ in 0..input.uvarint()? {
            let sealed = input.byte()? == 1;
            apply(&Record::Restored { series, bytes: input.bytes()?, sealed, resume: None });
        }
    }
    Some(())
}
