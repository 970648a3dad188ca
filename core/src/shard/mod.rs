//! A shard: a fixed part of all series, with its own head, write-ahead log, chunk files, checkpoint and blocks. One core owns it.
//!
//! ```text
//! append: admit -> wal.buffer -> head.apply -> wal.commit().await -> answer
//! select: index -> pinned series; reading: blocks, then chunk files, then chunks in memory
//! tick:   seal idle chunks -> spill sealed chunks -> checkpoint -> retire WAL segments
//! maintain: let old blocks go -> cut a block from the head -> forget what is in it -> compact
//! open:   catalog of blocks -> checkpoint -> directories of the chunk files -> WAL, all through head.apply
//! ```
//!
//! Whatever changes the head is a synchronous function; awaits stand before or after it, and no borrow crosses one. What is durable
//! where: a sample is in the WAL from its acknowledgement on, then also in memory, then in a chunk file or a checkpoint that has been
//! synced; only then may its WAL segment go.

mod admit;
mod append;
mod census;
mod changes;
mod compact;
mod cut;
mod delete;
mod exemplars;
mod hand_over;
mod import;
mod labels;
mod late;
mod memory;
mod open;
mod progress;
mod recode;
mod select;
mod snapshot;
mod stats;
#[cfg(test)]
mod tests;
mod tick;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use crate::cardinality::{Guard, Limit, LimitStatus, MetricActivity};
use crate::catalog::Catalog;
use crate::chunks::ChunkStore;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::limits::{FUTURE_MS_MAX, OUT_OF_ORDER_WINDOW_MS, SHARD_EXEMPLARS_MAX, SHARD_SERIES_MAX};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::tenant::Tenant;
use crate::retention::Retention;
use crate::runtime::clock::{self, Instant};
use crate::runtime::disk::Disk;
use crate::wal::{Wal, WalOptions};

pub use census::{Census, PairCount};
pub use import::BlockImport;
pub use memory::MemoryStats;
pub use progress::ReplayProgress;
pub use select::{Selection, Stretch};
use stats::Counters;
pub use stats::{LabelCount, ShardStats, TopLabels};

/// How a shard is run.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// The write-ahead log: when appends are acknowledged, and the size of segments.
    pub wal: WalOptions,
    /// Series that it may hold; new ones past it are refused, existing ones keep flowing.
    pub series_max: u32,
    /// What is kept.
    pub retention: Retention,
    /// Shards of the data directory, which share its bounds.
    pub shards: u32,
    /// Exemplars that it keeps; the oldest make room for new ones.
    pub exemplars_max: usize,
    /// How far ahead of the wall clock a sample may be, in ms.
    pub future_ms_max: i64,
    /// How late a sample may come after newer ones of its series, in ms; shared by all shards of the process, and may be
    /// changed while they run. 0 refuses all such samples.
    pub out_of_order_window_ms: Arc<AtomicI64>,
    /// Limits on new series.
    pub cardinality: Arc<[Limit]>,
    /// Where opening tells how far it is; shared by all shards of the process.
    pub progress: Arc<ReplayProgress>,
}

impl Default for ShardOptions {
    fn default() -> Self {
        ShardOptions {
            wal: WalOptions::default(),
            series_max: SHARD_SERIES_MAX,
            retention: Retention::default(),
            shards: 1,
            exemplars_max: SHARD_EXEMPLARS_MAX,
            future_ms_max: FUTURE_MS_MAX,
            out_of_order_window_ms: Arc::new(AtomicI64::new(OUT_OF_ORDER_WINDOW_MS)),
            cardinality: Arc::default(),
            progress: Arc::default(),
        }
    }
}

/// A shard, as everybody sees it or as one tenant does. Belongs to the core that opened it.
pub struct Shard(Rc<Inner>, Option<Tenant>);

/// What a shard and the selections from it share.
struct Inner {
    disk: Disk,
    directory: PathBuf,
    options: ShardOptions,
    head: RefCell<Head>,
    wal: Wal,
    chunks: ChunkStore,
    /// What opening found to be missing of the chunk files, for people.
    damage: Vec<String>,
    catalog: Catalog,
    /// Held by every selection that sees the head as it is now.
    pin: RefCell<Rc<()>>,
    /// After a cut, what the selections from before hold; the head forgets when they are gone.
    truncation: RefCell<Option<Rc<()>>>,
    /// A chunk file that was written anew, and what the selections from before hold; it goes when they are gone.
    recoded: RefCell<Option<(u32, Rc<()>)>>,
    counters: RefCell<Counters>,
    changes: RefCell<changes::Changes>,
    guard: RefCell<Guard>,
    /// Used again: the record of an append.
    payload: Cell<Vec<u8>>,
    /// The series that the next tick begins to examine for being idle.
    next_idle: Cell<u32>,
    /// Memory, as far as it has to be walked through.
    walk: memory::Walk,
    checkpoint_bytes: Cell<u64>,
    /// Samples that went to chunk files since the last checkpoint was begun.
    spilled_samples: Cell<u64>,
    /// Whether a checkpoint is worth its cost whatever the length of the log.
    checkpoint_wanted: Cell<bool>,
    /// Samples that the head had counted at the last tick.
    ticked_samples: Cell<u64>,
    /// Whether so few came before it that there is time to encode what is written.
    quiet: Cell<bool>,
    /// Whether a tick is under way.
    ticking: Cell<bool>,
    retention: Cell<Retention>,
    /// When a compaction failed last, if the next has to wait for that.
    compaction_failed: Cell<Option<Instant>>,
    /// Whether maintenance is under way.
    maintaining: Cell<bool>,
    closing: Cell<bool>,
}

impl Shard {
    /// The same shard as `tenant` sees it: selectors find only what is its, and nothing tells whose it is.
    pub fn seen_by(&self, tenant: &Tenant) -> Self {
        Shard(Rc::clone(&self.0), Some(tenant.clone()))
    }

    /// `matchers`, and that a series is of the tenant who looks.
    fn narrowed<'a>(&self, matchers: &'a [Matcher]) -> Cow<'a, [Matcher]> {
        match &self.1 {
            Some(tenant) => Cow::Owned(tenant.narrow(matchers)),
            None => Cow::Borrowed(matchers),
        }
    }

    /// `labels` as whoever looks may see them.
    fn shown(&self, labels: Labels) -> Labels {
        match &self.1 {
            Some(tenant) => tenant.show(labels),
            None => labels,
        }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.0.directory
    }

    /// The disk that it is on.
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// Refuses every new series from now on, or no more: for when memory is short.
    pub fn shed_new_series(&self, shedding: bool) {
        self.0.guard.borrow_mut().shed(shedding);
    }

    /// What each cardinality limit has refused here, with at most `offenders` offenders.
    pub fn limits(&self, offenders: usize) -> Vec<LimitStatus> {
        self.0.guard.borrow().status(offenders)
    }

    /// Which metrics begin series, and which are asked for.
    pub fn activity(&self) -> Vec<MetricActivity> {
        self.0.guard.borrow().activity(clock::now_ms())
    }

    /// Its write-ahead log.
    pub fn wal(&self) -> &Wal {
        &self.0.wal
    }
}

impl Inner {
    fn check_open(&self) -> Result<()> {
        if self.closing.get() { Err(Error::Closing) } else { Ok(()) }
    }
}
