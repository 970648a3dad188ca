//! Outlines of series: what they tell is what reading gives, and nothing is missing.

use super::blocks::fill;
use super::*;
use crate::chunk::ChunkStatistics;
use crate::shard::{Selection, Stretch};

/// Reads a series in `range` as its outline says, checks what the outline tells, and says of how many samples it does.
async fn checked(selection: &Selection, i: usize, range: TimeRange) -> u64 {
    let (mut stretches, mut told): (Vec<Stretch>, u64) = (Vec::new(), 0);
    selection.outline(i, range, &mut stretches).await.unwrap();
    let (mut pieces, mut whole) = (SampleColumns::new(), SampleColumns::new());
    for stretch in &stretches {
        let mut piece = SampleColumns::new();
        selection.read(i, stretch.range, &mut piece).await.unwrap();
        if let Some(statistics) = stretch.statistics {
            assert_eq!(ChunkStatistics::of(&piece.values), Some(statistics));
            let ends = [piece.timestamps[0], *piece.timestamps.last().unwrap()];
            assert_eq!(ends, [stretch.range.start_ms, stretch.range.end_ms]);
            told += statistics.samples;
        }
        pieces.extend_from(&piece);
    }
    selection.read(i, range, &mut whole).await.unwrap();
    assert_eq!((&pieces.timestamps, &pieces.values), (&whole.timestamps, &whole.values));
    assert!(stretches.is_sorted_by(|a, b| a.range.end_ms < b.range.start_ms), "{stretches:?}");
    told
}

#[test]
fn outlines_tell_what_reading_gives() {
    sim::run(5, async {
        let disk = SimDisk::new(5);
        let shard = open(&disk).await;
        fill(&shard, 0..70, 0..60 * 21).await;
        let deleted = TimeRange::new(3 * 3_600_000, 4 * 3_600_000);
        shard.delete_series(&[Matcher::equal("host", "3")], deleted).await.unwrap();
        let selection = shard.select(&[], TimeRange::ALL).await.unwrap();
        let hours = |a: i64, b: i64| TimeRange::new(a * 3_600_000 + 5, b * 3_600_000 - 5);
        for i in 0..selection.len() {
            let told = checked(&selection, i, TimeRange::ALL).await;
            let touched = selection.labels(i) == labels(3);
            let expected = if touched { 0..60 * 14 } else { 60 * 18..60 * 20 };
            assert!(expected.contains(&told), "{told} samples of series {i} are told");
            assert_eq!(checked(&selection, i, hours(7, 7)).await, 0, "no whole chunk");
            checked(&selection, i, hours(1, 19)).await;
            checked(&selection, i, hours(20, 40)).await;
        }
        drop(selection);
        let early = shard.select(&[], hours(0, 2)).await.unwrap();
        checked(&early, 0, hours(0, 2)).await;
    });
}
