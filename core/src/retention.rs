//! How long blocks are kept: by age, by size, by their part of the disk, whichever comes first. Pure functions.

use crate::block::BlockMeta;
use crate::model::time::TimestampMs;

/// How much is kept of a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Retention {
    /// How much older than the newest sample a block's newest may be, in ms.
    pub time_ms: Option<i64>,
    /// Bytes of all shards, the log and chunk files included.
    pub bytes: Option<u64>,
    /// The part of the file system that these bytes may take, in percent.
    pub percent: Option<f64>,
}

/// A block, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its number.
    pub sequence: u32,
    /// Time of its newest sample.
    pub end_ms: TimestampMs,
    /// Its bytes.
    pub bytes: u64,
}

impl Kept {
    /// A block of so many bytes.
    pub fn new(meta: &BlockMeta, bytes: u64) -> Self {
        Kept { sequence: meta.sequence, end_ms: meta.range.end_ms, bytes }
    }
}

impl Retention {
    /// The bytes that one of `shards` may take on a disk of `disk_bytes`.
    pub fn bytes_max(&self, shards: u32, disk_bytes: u64) -> Option<u64> {
        let part = self.percent.map(|percent| (disk_bytes as f64 * percent / 100.0) as u64);
        let all = [self.bytes, part].into_iter().flatten().min()?;
        Some(all / u64::from(shards.max(1)))
    }

    /// The blocks that go, of those of a shard, the oldest first: those that are too old, and as many of the others as make the rest, with
    /// `other_bytes` that are no blocks, fit in `bytes_max`.
    pub fn expired(
        &self,
        blocks: &[Kept],
        newest_ms: TimestampMs,
        other_bytes: u64,
        bytes_max: Option<u64>,
    ) -> Vec<u32> {
        let oldest_ms = self.time_ms.map_or(TimestampMs::MIN, |ms| newest_ms.saturating_sub(ms));
        let (mut left, mut gone) = (other_bytes, Vec::new());
        for block in blocks.iter().rev() {
            left = left.saturating_add(block.bytes);
            if block.end_ms < oldest_ms || bytes_max.is_some_and(|max| left > max) {
                gone.push(block.sequence);
            }
        }
        gone.reverse();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_comes_first() {
        let blocks: Vec<Kept> =
            (0..5).map(|i| Kept { sequence: i, end_ms: i64::from(i) * 100, bytes: 10 }).collect();
        let none = Retention::default();
        assert!(none.expired(&blocks, 1 << 40, 1 << 40, None).is_empty());
        let time = Retention { time_ms: Some(250), ..none };
        assert_eq!(time.expired(&blocks, 450, 0, None), [0, 1]);
        assert_eq!(time.expired(&blocks, 450, 5, Some(26)), [0, 1, 2]);
        assert_eq!(time.expired(&blocks, 450, 5, Some(4)), [0, 1, 2, 3, 4]);
        let size = Retention { bytes: Some(100), percent: Some(5.0), ..none };
        assert_eq!((size.bytes_max(2, 4000), size.bytes_max(2, 1000)), (Some(50), Some(25)));
        assert_eq!(none.bytes_max(2, 4000), None);
    }
}
