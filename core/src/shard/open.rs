//! Opening a shard: catalog, checkpoint, directories of the chunk files, WAL, all through [`Head::apply`]; then closing it.
//!
//! The order matters for memory and time, not for the result: the checkpoint defines the series, the chunk files' chunks take the
//! place of copies in it, and the WAL then adds only what neither has.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use tracing::{info, warn};

use super::memory::Walk;
use super::progress::Teller;
use super::stats::Counters;
use super::{Inner, Shard, ShardOptions};
use crate::cardinality::Guard;
use crate::catalog::Catalog;
use crate::checkpoint;
use crate::chunks::ChunkStore;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::head::chunk_list::ChunkRef;
use crate::head::record::{self, Record};
use crate::limits::DAMAGE_WARNINGS_MAX;
use crate::model::time::TimestampMs;
use crate::runtime::clock::Instant;
use crate::runtime::disk::Disk;
use crate::wal::{ReplayReport, Wal};

const WAL_DIRECTORY: &str = "wal";
const CHUNKS_DIRECTORY: &str = "chunks";

impl Shard {
    /// Opens the shard in `directory`, which is made if it is missing. Damage is logged and left out.
    ///
    /// # Errors
    /// When a file was written by a newer version, or cannot be read at all.
    pub async fn open(disk: Disk, directory: &Path, options: ShardOptions) -> Result<Rc<Shard>> {
        let started = Instant::now();
        disk.create_dir_all(directory).await?;
        let catalog = Catalog::open(&disk, directory).await?;
        let mut head = Head::new();
        head.keep_exemplars(options.exemplars_max);
        head.raise_floor(catalog.cut_ms(), catalog.next_series());
        let head = RefCell::new(head);
        let checkpoint_bytes = read_checkpoint(&disk, directory, &head).await?;
        let (chunks, damage) = open_chunks(&disk, directory, &head).await?;
        chunks.remove_before(catalog.cut_ms()).await?;
        let (wal, report) = open_wal(&disk, directory, &options, &head).await?;
        let orphans = head.borrow_mut().forget_unclaimed();
        if orphans > 0 {
            warn!(shard = %directory.display(), chunks = orphans, "stored chunks belong to no known series");
        }
        info!(
            shard = %directory.display(),
            series = head.borrow().series_count(),
            blocks = catalog.blocks().len(),
            wal_records = report.records,
            took_ms = started.elapsed().as_millis() as u64,
            "opened"
        );
        let inner = Inner {
            disk,
            directory: directory.to_owned(),
            retention: Cell::new(options.retention),
            compaction_failed: Cell::new(None),
            guard: RefCell::new(Guard::new(&options.cardinality, options.shards)),
            options,
            head,
            wal,
            chunks,
            damage,
            catalog,
            pin: RefCell::default(),
            truncation: RefCell::default(),
            recoded: RefCell::default(),
            counters: RefCell::new(Counters::after_replay(&report)),
            changes: RefCell::default(),
            payload: Cell::default(),
            next_idle: Cell::new(0),
            walk: Walk::default(),
            checkpoint_bytes: Cell::new(checkpoint_bytes),
            spilled_samples: Cell::default(),
            checkpoint_wanted: Cell::new(false),
            ticked_samples: Cell::new(0),
            quiet: Cell::new(false),
            ticking: Cell::new(false),
            maintaining: Cell::new(false),
            closing: Cell::new(false),
        };
        Ok(Rc::new(Shard(Rc::new(inner), None)))
    }

    /// Takes no more, writes all chunks to a file and the series to a checkpoint, and makes everything durable, so that the next start has
    /// nothing to replay and what is left takes little room. Selections made before can still be read.
    pub async fn close(&self) -> Result<()> {
        if self.0.closing.replace(true) {
            return Ok(());
        }
        self.0.wal.sync().await?;
        self.0.finish_background().await;
        self.0.seal_all(TimestampMs::MAX).await?;
        self.0.spill_as(true).await?;
        self.0.wal.end_with_next_cut();
        self.0.checkpoint().await?;
        Ok(self.0.wal.remove_spares().await?)
    }
}

async fn read_checkpoint(disk: &Disk, directory: &Path, head: &RefCell<Head>) -> Result<u64> {
    let report = checkpoint::read(disk, directory, |kind, payload| {
        let mut head = head.borrow_mut();
        record::decode(kind, payload, &mut *head)
    });
    let report = report.await?;
    warn_of(&report.damaged);
    Ok(report.bytes)
}

/// Opens the chunk files; also what is missing of them.
async fn open_chunks(
    disk: &Disk,
    directory: &Path,
    head: &RefCell<Head>,
) -> Result<(ChunkStore, Vec<String>)> {
    let directory = directory.join(CHUNKS_DIRECTORY);
    let on_chunk = |stored| {
        if let Some(chunk) = ChunkRef::stored(&stored) {
            head.borrow_mut().apply(&Record::Stored { series: stored.series, chunk });
        } else {
            warn!(chunk = ?stored, "a stored chunk is like no chunk can be: left out");
        }
        Ok(())
    };
    let (store, report) = ChunkStore::open(disk.clone(), &directory, on_chunk).await?;
    warn_of(&report.damaged);
    for torn in &report.torn {
        info!(%torn, "an unfinished write of chunks was left out; the log has the samples");
    }
    let damaged = report.damaged.iter().take(DAMAGE_WARNINGS_MAX);
    Ok((store, damaged.map(|error| format!("samples are missing: {error}")).collect()))
}

async fn open_wal(
    disk: &Disk,
    directory: &Path,
    options: &ShardOptions,
    head: &RefCell<Head>,
) -> Result<(Wal, ReplayReport)> {
    let directory = directory.join(WAL_DIRECTORY);
    disk.create_dir_all(&directory).await?;
    let listed = disk.list(&directory).await?;
    let mut teller = Teller::new(&options.progress, &directory, &listed);
    let on_record = |_, kind, payload: &[u8]| {
        if let Err(error) = record::decode(kind, payload, &mut *head.borrow_mut()) {
            let error = error.unless_newer(&directory)?;
            warn!(%error, wal = %directory.display(), "a record of the log is left out");
        }
        teller.replayed(payload.len() as u64);
        Ok(())
    };
    let opened = Wal::open(disk.clone(), &directory, options.wal.clone(), on_record).await?;
    teller.finish();
    for damage in &opened.1.damage {
        warn!(%damage, "the write-ahead log is damaged");
    }
    Ok(opened)
}

fn warn_of(damaged: &[Error]) {
    for error in damaged {
        warn!(%error, "left out");
    }
}
