//! What is known of a block without reading its pages: the end of its index, read when the block is opened.
//!
//! ```text
//! footer    block, level: uvarint | first ms, last ms: varint | end of the head's windows: varint | next series: uvarint | series, samples, chunks: uvarint
//!           time that chunks are counted from: varint | sources: uvarint, of each its number: uvarint
//!           series groups: uvarint, of each: bytes of its series: uvarint | bytes of its figures: uvarint
//!           names: uvarint, of each: text | values: uvarint | groups: uvarint, of each: first value: text | bytes: uvarint
//!           bytes of all this: u32                                          the last 4 bytes of the stream
//! ```
//!
//! Groups stand in the stream one behind the other from its begin on, those of the series first, each with its figures behind it, then those of
//! the values, name by name. Version 1 had no figures, and no bytes of them.

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

/// Where a group of series stands, and the figures of its chunks behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesGroup {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) figures_len: u32,
}

impl SeriesGroup {
    /// Where the figures stand.
    pub(super) fn figures(self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// The footer of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) meta: BlockMeta,
    /// The time that the first chunk of each series is counted from.
    pub(super) base_ms: TimestampMs,
    pub(super) series_groups: Vec<SeriesGroup>,
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
        push_uvarint(&mut out, self.series_groups.len() as u64);
        for group in &self.series_groups {
            push_uvarint(&mut out, u64::from(group.len));
            push_uvarint(&mut out, u64::from(group.figures_len));
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

    /// Reads what [`Footer::encode`] wrote, without the length at its end, of a stream of this version whose groups take `groups_len` bytes.
    pub(super) fn decode(bytes: &[u8], version: u32, groups_len: u64) -> Option<Self> {
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
        let (mut end, mut series_groups) = (0_u64, Vec::new());
        for _ in 0..input.uvarint()? {
            let len = input.uvarint32()?;
            let figures_len = if version == 1 { 0 } else { input.uvarint32()? };
            series_groups.push(SeriesGroup { offset: end, len, figures_len });
            end = end.checked_add(u64::from(len) + u64::from(figures_len))?;
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
        let series_groups = vec![
            SeriesGroup { offset: 0, len: 10, figures_len: 2 },
            SeriesGroup { offset: 12, len: 15, figures_len: 3 },
        ];
        let footer = Footer { meta, base_ms: -9, series_groups, names };
        let bytes = footer.encode();
        let bytes = &bytes[..bytes.len() - 4];
        assert_eq!(Footer::decode(bytes, 2, 40).as_ref(), Some(&footer));
        assert_eq!(Footer::decode(bytes, 2, 41), None);
        for end in 0..bytes.len() {
            assert_eq!(Footer::decode(&bytes[..end], 2, 40), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), version in 1_u32..3) {
            Footer::decode(&bytes, version, 100);
        }
    }
}
