//! What is known of a block without reading its pages: the end of its index, read when the block is opened.
//!
//! ```text
//! footer    block, level: uvarint | first ms, last ms: varint | end of the head's windows: varint | next series: uvarint | series, samples, chunks: uvarint
//!           time that chunks are counted from: varint | sources: uvarint, of each its number: uvarint
//!           series groups: uvarint, bytes of each: uvarint
//!           names: uvarint, of each: text | values: uvarint | groups: uvarint, of each: first value: text | bytes: uvarint
//!           bytes of all this: u32                                          the last 4 bytes of the stream
//! ```
//!
//! Groups stand in the stream one behind the other from its begin on, those of the series first, then those of the values, name by name.

use super::dictionary::{NameTable, ValueGroup};
use super::series::push_text;
use crate::chunk::bits::{push_uvarint, push_varint};
use crate::head::record::Input;
use crate::index::SeriesRef;
use crate::model::time::{TimeRange, TimestampMs};

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    /// Its number in the shard; its directory is called by it.
    pub sequence: u32,
    /// 1 as it was cut from the head, one more each time it was compacted.
    pub level: u32,
    /// Times of its first and its last sample.
    pub range: TimeRange,
    /// The end of the windows that had been cut from the head when it was written: every older sample is in blocks.
    pub cut_ms: TimestampMs,
    /// The number that the next series of the shard would have had.
    pub next_series: SeriesRef,
    /// How many series.
    pub series: u32,
    /// How many samples.
    pub samples: u64,
    /// How many chunks.
    pub chunks: u64,
    /// The blocks that it was compacted from, and those that they were.
    pub sources: Vec<u32>,
}

/// The footer of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) meta: BlockMeta,
    /// The time that the first chunk of each series is counted from.
    pub(super) base_ms: TimestampMs,
    /// Where each group of series begins, and where the last one ends.
    pub(super) series_groups: Vec<u64>,
    /// In the order of names.
    pub(super) names: Vec<NameTable>,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (meta, mut out) = (&self.meta, Vec::new());
        push_uvarint(&mut out, u64::from(meta.sequence));
        push_uvarint(&mut out, u64::from(meta.level));
        for time in [meta.range.start_ms, meta.range.end_ms, meta.cut_ms] {
            push_varint(&mut out, time);
        }
        for count in
            [u64::from(meta.next_series), u64::from(meta.series), meta.samples, meta.chunks]
        {
            push_uvarint(&mut out, count);
        }
        push_varint(&mut out, self.base_ms);
        push_uvarint(&mut out, meta.sources.len() as u64);
        meta.sources.iter().for_each(|&source| push_uvarint(&mut out, u64::from(source)));
        push_uvarint(&mut out, self.series_groups.len() as u64 - 1);
        for ends in self.series_groups.windows(2) {
            push_uvarint(&mut out, ends[1] - ends[0]);
        }
        push_uvarint(&mut out, self.names.len() as u64);
        for table in &self.names {
            push_text(&mut out, &table.name);
            push_uvarint(&mut out, u64::from(table.values));
            push_uvarint(&mut out, table.groups.len() as u64);
            for group in &table.groups {
                push_text(&mut out, &group.first);
                push_uvarint(&mut out, u64::from(group.len));
            }
        }
        let len = out.len() as u32;
        out.extend_from_slice(&len.to_le_bytes());
        out
    }

    /// Reads what [`Footer::encode`] wrote, without the length at its end, of a stream whose groups take `groups_len` bytes.
    pub(super) fn decode(bytes: &[u8], groups_len: u64) -> Option<Self> {
        let mut input = Input { bytes };
        let sequence = input.uvarint32()?;
        let level = input.uvarint32()?;
        let range = TimeRange::new(input.varint()?, input.varint()?);
        let cut_ms = input.varint()?;
        let (next_series, series) = (input.uvarint32()?, input.uvarint32()?);
        let (samples, chunks) = (input.uvarint()?, input.uvarint()?);
        let base_ms = input.varint()?;
        let sources = (0..input.uvarint()?).map(|_| input.uvarint32()).collect::<Option<_>>()?;
        let meta = BlockMeta {
            sequence,
            level,
            range,
            cut_ms,
            next_series,
            series,
            samples,
            chunks,
            sources,
        };
        let (mut end, mut series_groups) = (0_u64, vec![0]);
        for _ in 0..input.uvarint()? {
            end = end.checked_add(input.uvarint()?)?;
            series_groups.push(end);
        }
        let mut names = Vec::new();
        for _ in 0..input.uvarint()? {
            let (name, values) = (input.text()?.into(), input.uvarint32()?);
            let mut groups = Vec::new();
            for _ in 0..input.uvarint()? {
                let (first, len) = (input.text()?.into(), input.uvarint32()?);
                groups.push(ValueGroup { first, offset: end, len });
                end = end.checked_add(u64::from(len))?;
            }
            names.push(NameTable { name, values, groups });
        }
        let whole = input.bytes.is_empty() && end == groups_len;
        whole.then_some(Footer { meta, base_ms, series_groups, names })
    }
}

impl Input<'_> {
    fn uvarint32(&mut self) -> Option<u32> {
        u32::try_from(self.uvarint()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn footers_go_round() {
        let meta = BlockMeta {
            sequence: 7,
            level: 2,
            range: TimeRange::new(-5, 1 << 40),
            cut_ms: 1 << 41,
            next_series: 70,
            series: 3,
            samples: 1 << 33,
            chunks: 9,
            sources: vec![1, 5, 6],
        };
        let group = |first: &str, offset, len| ValueGroup { first: first.into(), offset, len };
        let names = vec![
            NameTable {
                name: "a".into(),
                values: 2,
                groups: vec![group("x", 30, 5), group("y", 35, 1)],
            },
            NameTable { name: "b".into(), values: 1, groups: vec![group("", 36, 4)] },
        ];
        let footer = Footer { meta, base_ms: -9, series_groups: vec![0, 10, 30], names };
        let bytes = footer.encode();
        let bytes = &bytes[..bytes.len() - 4];
        assert_eq!(Footer::decode(bytes, 40).as_ref(), Some(&footer));
        assert_eq!(Footer::decode(bytes, 41), None);
        for end in 0..bytes.len() {
            assert_eq!(Footer::decode(&bytes[..end], 40), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            Footer::decode(&bytes, 100);
        }
    }
}
