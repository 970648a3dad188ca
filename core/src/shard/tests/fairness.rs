//! Appends go on while a large block is compacted: counted in turns of the scheduler and in appends, not in time.

use std::cell::Cell;

use super::*;
use crate::runtime::{spawn, yield_now};

const SERIES: u64 = 150;

/// More than the eight hours of a first window of compaction, and the hours that stay in the head.
const MINUTES: i64 = 12 * 60;

/// Turns of the scheduler that one append may wait for: those that its own two operations of the disk take at most, and as many again.
const TURNS_MAX: u64 = 4_000;

/// A compaction of these samples has many more steps than this, between which others come to their turn.
const APPENDS_MIN: u64 = 20;

#[test]
fn appends_wait_a_bounded_number_of_turns_while_a_large_block_is_compacted() {
    sim::run(23, async {
        let disk = SimDisk::new(23);
        let shard = open(&disk).await;
        for minute in (0..MINUTES).step_by(2) {
            let rows: Vec<_> =
                (0..SERIES).map(|s| (s, minute * 60_000, (minute + s as i64) as f64)).collect();
            shard.append(batch(&rows)).await.unwrap();
        }
        let turns = Rc::new(Cell::new(0_u64));
        let counted = Rc::clone(&turns);
        let _metronome = spawn(async move {
            loop {
                counted.update(|turns| turns + 1);
                yield_now().await;
            }
        });
        let mut at_ms = MINUTES * 60_000;
        loop {
            let before = shard.stats();
            let (done, working) = (Rc::new(Cell::new(false)), Rc::clone(&shard));
            let ended = Rc::clone(&done);
            let work = spawn(async move {
                let outcome = working.maintain().await;
                ended.set(true);
                outcome
            });
            let (mut appends, mut slowest) = (0_u64, 0);
            while !done.get() {
                let began = turns.get();
                let outcome = shard.append(batch(&[(appends % SERIES, at_ms, 1.0)])).await.unwrap();
                assert_eq!(outcome.appended, 1);
                slowest = slowest.max(turns.get() - began);
                (appends, at_ms) = (appends + 1, at_ms + 1);
            }
            work.await.unwrap();
            let after = shard.stats();
            if after.compactions > before.compactions {
                assert!(slowest <= TURNS_MAX, "an append waited for {slowest} turns");
                assert!(appends >= APPENDS_MIN, "{appends} appends during a compaction");
                break;
            }
            assert!(after.cuts > before.cuts, "neither a cut nor a compaction is due: {after:?}");
        }
    });
}
