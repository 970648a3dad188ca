//! The log against a disk that crashes, fills up, fails to sync and decays.
//!
//! A [`Model`] knows what was sent and what was acknowledged. After every recovery the log must hold a prefix of what was
//! sent, without gaps, with everything acknowledged in it, and nothing else.

mod behaviour;
mod crash;
mod damage;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::runtime::sim::{Random, SimDisk};

const DIRECTORY: &str = "/shard/wal";

/// Small segments, so that a short scenario fills several.
fn small() -> WalOptions {
    WalOptions { segment_bytes: 8 * BLOCK_BYTES as u64, ..WalOptions::default() }
}

type Payloads = BTreeMap<u64, (u8, Vec<u8>)>;

/// What the log must hold.
#[derive(Default)]
struct Model {
    sent: Payloads,
    /// All positions below are acknowledged.
    acknowledged: u64,
    /// All positions below may be gone.
    retired: u64,
}

/// A payload of random length, mostly short, that is like no other.
fn payload(random: &mut Random) -> (u8, Vec<u8>) {
    let len = match random.below(10) {
        0 => 0,
        1..8 => random.below(100),
        8 => random.below(3_000),
        _ => random.below(20_000),
    };
    let kind = 1 + random.below(3) as u8;
    (kind, (0..len).map(|_| random.bits() as u8).collect())
}

async fn open(sim: &SimDisk, options: WalOptions) -> (Wal, Payloads, ReplayReport) {
    let mut found = Payloads::new();
    let mut last = None;
    let on_record = |position: Position, kind, payload: &[u8]| {
        assert!(last.is_none_or(|last| position.0 > last), "positions ascend");
        last = Some(position.0);
        found.insert(position.0, (kind, payload.to_vec()));
        Ok(())
    };
    let (wal, report) =
        Wal::open(sim.disk(), Path::new(DIRECTORY), options, on_record).await.unwrap();
    assert_eq!(report.records, found.len() as u64);
    (wal, found, report)
}

fn send(wal: &Wal, model: &RefCell<Model>, random: &mut Random) -> Result<Position, WalError> {
    let (kind, bytes) = payload(random);
    let position = wal.buffer(kind, |out| {
        // In pieces, as encoders do.
        bytes.chunks(7.max(bytes.len() / 3)).for_each(|piece| out.put(piece));
    })?;
    model.borrow_mut().sent.insert(position.0, (kind, bytes));
    Ok(position)
}

/// Checks what recovery found and makes it the truth from here on.
fn recover(model: &mut Model, found: &Payloads, report: &ReplayReport, next: Position) {
    assert_eq!(report.damage, [], "nothing was damaged");
    assert!(next.0 >= model.acknowledged, "{next:?} < {}", model.acknowledged);
    let first = found.keys().next().copied().unwrap_or(next.0);
    assert!(first <= model.retired, "starts at {first}, not at {}", model.retired);
    assert_eq!(found.len() as u64, next.0 - first, "no gap");
    for (position, payload) in found {
        assert_eq!(Some(payload), model.sent.get(position), "record {position} as it was sent");
    }
    model.sent.retain(|position, _| *position < next.0);
    model.acknowledged = next.0;
}

/// Seeds of the long tests: more by `TIDEMARK_SEEDS`.
fn seeds(quick: u64) -> std::ops::Range<u64> {
    let chosen = std::env::var("TIDEMARK_SEEDS").ok().and_then(|text| text.parse().ok());
    0..chosen.unwrap_or(quick)
}
