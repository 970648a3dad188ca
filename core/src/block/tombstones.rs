//! What was deleted of a block: ranges of time by series, in a file beside the block until the block is written anew.
//!
//! ```text
//! | "TIDETOMB" 8 | version u32 | series | series | ... | crc32c of all before u32 |
//! series    number, minus the number before: uvarint | ranges: uvarint | range | ...
//! range     first ms, minus the end of the range before: varint | last ms minus first: uvarint
//! ```
//!
//! `docs/formats/block.md` is the page. The file is replaced as a whole.

use std::collections::BTreeMap;
use std::path::Path;

use crate::chunk::bits::{push_uvarint, push_varint};
use crate::error::{Error, Result};
use crate::head::record::Input;
use crate::model::time::{TimeRange, TimestampMs};

const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"TIDETOMB";
const HEADER_BYTES: usize = 12;
const CRC_BYTES: usize = 4;

/// Deleted ranges by series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones(BTreeMap<u32, Vec<TimeRange>>);

impl Tombstones {
    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was deleted of a series: ranges that ascend and do not touch.
    pub fn of(&self, series: u32) -> &[TimeRange] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }

    /// Every series that something was deleted of.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[TimeRange])> {
        self.0.iter().map(|(series, ranges)| (*series, ranges.as_slice()))
    }

    /// Deletes a range of a series.
    pub fn add(&mut self, series: u32, range: TimeRange) {
        let ranges = self.0.entry(series).or_default();
        ranges.push(range);
        ranges.sort_unstable_by_key(|range| range.start_ms);
        let mut joined: Vec<TimeRange> = Vec::with_capacity(ranges.len());
        for range in ranges.drain(..) {
            match joined.last_mut() {
                Some(last) if range.start_ms <= last.end_ms.saturating_add(1) => {
                    last.end_ms = last.end_ms.max(range.end_ms);
                }
                _ => joined.push(range),
            }
        }
        *ranges = joined;
    }

    /// Forgets what was deleted of a series before a time.
    pub fn forget_before(&mut self, series: u32, floor_ms: TimestampMs) {
        let Some(ranges) = self.0.get_mut(&series) else { return };
        ranges.retain(|range| range.end_ms >= floor_ms);
        if ranges.is_empty() {
            self.0.remove(&series);
        }
    }

    /// Forgets the series for which `keep` says no.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.0.retain(|series, _| keep(*series));
    }

    /// Forgets a series.
    pub fn remove(&mut self, series: u32) {
        self.0.remove(&series);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        let mut before = 0;
        for (&series, ranges) in &self.0 {
            push_uvarint(&mut out, u64::from(series - before));
            before = series;
            push_uvarint(&mut out, ranges.len() as u64);
            let mut end_ms = 0_i64;
            for range in ranges {
                push_varint(&mut out, range.start_ms.wrapping_sub(end_ms));
                push_uvarint(&mut out, range.end_ms.wrapping_sub(range.start_ms) as u64);
                end_ms = range.end_ms;
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let corrupt = |found: String| {
            let (path, expected) = (path.to_owned(), "the tombstones of a block".to_owned());
            Error::Corrupt { path, offset: 0, expected, found }
        };
        let (content, stored) = bytes.split_last_chunk::<CRC_BYTES>().unwrap_or((&[], &[0; 4]));
        let (expected, found) = (u32::from_le_bytes(*stored), crc32c::crc32c(content));
        if content.len() < HEADER_BYTES || content[..8] != *MAGIC || expected != found {
            return Err(corrupt(format!("checksum {found:08x} and not {expected:08x}")));
        }
        let version =
            u32::from_le_bytes(*content[8..].first_chunk().expect("the length was compared"));
        if version > VERSION {
            let path = path.to_owned();
            return Err(Error::NewerFormat { path, found: version, known: VERSION });
        }
        let ranges = decode_ranges(&content[HEADER_BYTES..]);
        ranges.map(Tombstones).ok_or_else(|| corrupt("ranges that make no sense".to_owned()))
    }
}

fn decode_ranges(bytes: &[u8]) -> Option<BTreeMap<u32, Vec<TimeRange>>> {
    let (mut input, mut all, mut series) = (Input { bytes }, BTreeMap::new(), 0_u32);
    while !input.bytes.is_empty() {
        series = series.checked_add(u32::try_from(input.uvarint()?).ok()?)?;
        let (mut ranges, mut end_ms) = (Vec::new(), 0_i64);
        for _ in 0..input.uvarint()? {
            let start_ms = end_ms.wrapping_add(input.varint()?);
            end_ms = start_ms.wrapping_add(input.uvarint()? as i64);
            ranges.push(TimeRange::new(start_ms, end_ms));
        }
        all.insert(series, ranges);
    }
    Some(all)
}

impl Tombstones {
    /// The part of a block with samples in `range` and so many series that is deleted, from 0 to 1, as if samples were everywhere alike.
    pub fn share(&self, range: TimeRange, series: u32) -> f64 {
        let len = |range: TimeRange| range.len_ms() as f64 + 1.0;
        let inside = |deleted: &TimeRange| {
            let start_ms = deleted.start_ms.max(range.start_ms);
            let end_ms = deleted.end_ms.min(range.end_ms);
            if start_ms <= end_ms { len(TimeRange::new(start_ms, end_ms)) } else { 0.0 }
        };
        let deleted: f64 = self.0.values().flatten().map(inside).sum();
        deleted / (len(range) * f64::from(series.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let mut tombstones = Tombstones::default();
        for (start, end) in [(10, 20), (30, 40), (21, 25), (5, 7), (i64::MIN, i64::MIN), (36, 50)] {
            tombstones.add(7, TimeRange::new(start, end));
        }
        let found: Vec<_> = tombstones.of(7).iter().map(|r| (r.start_ms, r.end_ms)).collect();
        assert_eq!(found, [(i64::MIN, i64::MIN), (5, 7), (10, 25), (30, 50)]);
        tombstones.add(7, TimeRange::ALL);
        assert_eq!(tombstones.of(7), [TimeRange::ALL]);
        assert!(tombstones.of(8).is_empty());
    }

    #[test]
    fn the_share_is_of_all_series_and_the_time_of_the_block() {
        let mut tombstones = Tombstones::default();
        tombstones.add(0, TimeRange::ALL);
        tombstones.add(3, TimeRange::new(0, 149));
        tombstones.add(3, TimeRange::new(900, 950));
        let share = tombstones.share(TimeRange::new(100, 199), 10);
        assert!((share - 0.15).abs() < 1e-9, "{share}");
    }

    #[test]
    fn bytes_are_fixed_for_ever() {
        let mut tombstones = Tombstones::default();
        tombstones.add(3, TimeRange::new(1000, 1015));
        let bytes = tombstones.encode();
        assert_eq!(&bytes[..HEADER_BYTES + 5], b"TIDETOMB\x01\0\0\0\x03\x01\xd0\x0f\x0f");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::decode(Path::new("t"), &flipped).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn tombstones_go_round(all in proptest::collection::vec((any::<u32>(), any::<i64>(), any::<i64>()), 0..20)) {
            let mut tombstones = Tombstones::default();
            for (series, a, b) in all {
                tombstones.add(series, TimeRange::new(a.min(b), a.max(b)));
            }
            let again = Tombstones::decode(Path::new("t"), &tombstones.encode()).unwrap();
            prop_assert_eq!(again, tombstones);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            decode_ranges(&bytes);
        }
    }
}
