//! Which blocks are compacted next.
//!
//! Time is divided into windows of 8 h, 32 h, 128 h and so on, each four of those before, counted from the epoch; the largest is a tenth of the
//! retention, and no more than 31 days. A window that the head has been cut up to the end of is complete; if it holds two blocks or more, they
//! become one. Smaller windows go first, and of the same size the oldest.

use std::collections::BTreeMap;

use crate::block::BlockMeta;
use crate::chunk::Effort;
use crate::limits::{BLOCK_RANGE_MS_MAX, CHUNK_RANGE_MS_MAX};
use crate::model::time::TimestampMs;

/// Windows of one level of those of the level before. Each level writes every sample once more, and the first of them is the time of one full
/// chunk at 15 s, which later levels copy as it is.
const FANOUT: i64 = 4;

/// The blocks to be compacted next, the oldest first, and the window that they fill, in ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Numbers of the blocks.
    pub sources: Vec<u32>,
    /// Width of the window.
    pub range_ms: i64,
}

/// What is due, if anything is: of `blocks`, where everything before `cut_ms` has been cut from the head.
pub fn plan(blocks: &[BlockMeta], cut_ms: TimestampMs, retention_ms: Option<i64>) -> Option<Plan> {
    windows(retention_ms).find_map(|range_ms| {
        let mut by_window: BTreeMap<i64, Vec<&BlockMeta>> = BTreeMap::new();
        for block in blocks {
            let window = block.range.start_ms.div_euclid(range_ms);
            if block.range.end_ms.div_euclid(range_ms) == window {
                by_window.entry(window).or_default().push(block);
            }
        }
        let complete = |window: i64| (window + 1).saturating_mul(range_ms) <= cut_ms;
        let due = |(window, blocks): &(i64, Vec<&BlockMeta>)| blocks.len() > 1 && complete(*window);
        let (_, mut blocks) = by_window.into_iter().find(due)?;
        blocks.sort_by_key(|block| block.range.start_ms);
        Some(Plan { sources: blocks.iter().map(|block| block.sequence).collect(), range_ms })
    })
}

/// Widths of the windows, ascending.
fn windows(retention_ms: Option<i64>) -> impl Iterator<Item = i64> {
    let max_ms = retention_ms.map_or(BLOCK_RANGE_MS_MAX, |ms| (ms / 10).min(BLOCK_RANGE_MS_MAX));
    let first = CHUNK_RANGE_MS_MAX * FANOUT;
    std::iter::successors(Some(first), |ms| ms.checked_mul(FANOUT))
        .take_while(move |ms| *ms <= max_ms)
}

/// How hard the chunks of a block that fills a window of this width are encoded: those that were compacted are kept long and read less.
pub fn effort(range_ms: i64) -> Effort {
    if range_ms > CHUNK_RANGE_MS_MAX { Effort::Dense } else { Effort::Fast }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::TimeRange;

    const HOUR: i64 = 60 * 60 * 1000;

    fn block(sequence: u32, start_h: i64, end_h: i64) -> BlockMeta {
        BlockMeta {
            sequence,
            level: 1,
            range: TimeRange::new(start_h * HOUR, end_h * HOUR - 1),
            cut_ms: 0,
            next_series: 0,
            series: 1,
            samples: 1,
            chunks: 1,
            sources: Vec::new(),
        }
    }

    fn sources(blocks: &[BlockMeta], cut_h: i64, retention_h: i64) -> Vec<u32> {
        let due = plan(blocks, cut_h * HOUR, Some(retention_h * HOUR));
        due.map(|plan| plan.sources).unwrap_or_default()
    }

    #[test]
    fn complete_windows_are_compacted_small_ones_first() {
        let two: Vec<_> = (0..5).map(|i| block(i as u32, 2 * i, 2 * i + 2)).collect();
        assert_eq!(sources(&two, 7, 9999), Vec::<u32>::new(), "the window is not complete");
        assert_eq!(sources(&two, 8, 9999), [0, 1, 2, 3]);
        assert_eq!(sources(&two[2..], 14, 9999), [2, 3]);
        assert_eq!(sources(&two[3..], 14, 9999), Vec::<u32>::new(), "one alone stays");
        let eight = [
            block(7, 0, 8),
            block(9, 16, 24),
            block(8, 8, 16),
            block(10, 24, 26),
            block(11, 26, 28),
        ];
        assert_eq!(sources(&eight, 32, 9999), [10, 11]);
        assert_eq!(sources(&eight[..4], 32, 9999), [7, 8, 9, 10]);
        assert_eq!(sources(&eight[..4], 32, 319), Vec::<u32>::new(), "a tenth of the retention");
    }

    #[test]
    fn windows_end_at_31_days() {
        let hours: Vec<i64> = windows(None).map(|ms| ms / HOUR).collect();
        assert_eq!(hours, [8, 32, 128, 512]);
    }
}
