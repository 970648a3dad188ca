//! Another number of shards: a data directory is written anew beside itself, and one atomic write of the manifest puts the new one in its place.
//!
//! ```text
//! manifest: 2 shards            shard-0000     shard-0001
//! being written                 shard-0000.1   shard-0001.1   shard-0002.1
//! manifest: 3 shards of generation 1                                          <- the moment
//! the old ones are removed
//! ```
//!
//! Until that moment everything is as it was, after it everything is new; whichever directories the manifest does not name are
//! what is left of an attempt, and go when the data directory is opened next. Blocks of all old shards that overlap in time are merged and dealt out,
//! long chunks as they are; then the heads are handed over, sample by sample. Offline: it takes the lock of the directory.

use std::path::{Path, PathBuf};

use super::lock;
use super::manifest::Manifest;
use crate::block::{BlockCursor, BlockMeta, BlockPlan, BlockWriter};
use crate::catalog::{Catalog, Change};
use crate::compaction::merge::{Source, merge};
use crate::compaction::plan::effort;
use crate::error::{Error, Result};
use crate::limits::{RESHARD_SEGMENT_BYTES, RESHARD_WRITERS_MAX};
use crate::model::labels::Fingerprint;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::disk::Disk;
use crate::shard::{Shard, ShardOptions};
use crate::wal::{SyncMode, WalOptions};

/// What a data directory was made into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resharded {
    /// Shards before.
    pub from: u32,
    /// Shards now.
    pub to: u32,
    /// Blocks that were written.
    pub blocks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Samples that are not in blocks.
    pub head_samples: u64,
}

/// Makes the data directory one of `shards` shards. If it is that already, nothing is done.
///
/// # Errors
/// When a server runs on it, when a block is damaged, when there is no room for a second copy, or the disk refuses. The directory is then as it was.
pub async fn reshard(disk: &Disk, data_dir: &Path, shards: u32) -> Result<Resharded> {
    let _lock = lock(disk, data_dir).await?;
    let old = Manifest::read(disk, data_dir).await?;
    old.remove_leftovers(disk, data_dir).await?;
    let mut done = Resharded { from: old.shards, to: shards, ..Resharded::default() };
    if old.shards == shards {
        return Ok(done);
    }
    let new = Manifest { shards, generation: old.generation + 1 };
    let (from, to) = (old.shard_dirs(data_dir), new.shard_dirs(data_dir));
    check_room(disk, data_dir, &from).await?;
    for directory in &to {
        disk.create_dir_all(directory).await?;
    }
    deal_blocks(disk, &from, &to, &mut done).await?;
    done.head_samples = deal_heads(disk, &from, &to).await?;
    disk.sync_dir(data_dir).await?;
    new.write(disk, data_dir).await?;
    new.remove_leftovers(disk, data_dir).await?;
    Ok(done)
}

/// Both the old and the new shards have to fit.
async fn check_room(disk: &Disk, data_dir: &Path, from: &[PathBuf]) -> Result<()> {
    let mut needed = 0;
    for directory in from {
        needed += tree_bytes(disk, directory).await?;
    }
    let free = disk.free_space(data_dir).await?.free;
    if free < needed {
        return Err(Error::NoRoom { directory: data_dir.to_owned(), needed, free });
    }
    Ok(())
}

/// Bytes of the files in a directory and in those below it.
pub(super) async fn tree_bytes(disk: &Disk, directory: &Path) -> Result<u64> {
    let (mut bytes, mut left) = (0, vec![directory.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in disk.list(&directory).await? {
            if entry.is_dir {
                left.push(directory.join(&entry.name));
            } else {
                bytes += entry.len;
            }
        }
    }
    Ok(bytes)
}

/// A block of an old shard.
struct OldBlock {
    blocks_dir: PathBuf,
    meta: BlockMeta,
}

async fn deal_blocks(
    disk: &Disk,
    from: &[PathBuf],
    to: &[PathBuf],
    done: &mut Resharded,
) -> Result<()> {
    let (mut old, mut cut_ms) = (Vec::new(), TimestampMs::MAX);
    for directory in from {
        let catalog = Catalog::open(disk, directory).await?;
        refuse_damaged(disk, catalog.blocks_dir()).await?;
        cut_ms = cut_ms.min(catalog.cut_ms());
        let blocks_dir = catalog.blocks_dir().to_owned();
        let of = |meta| OldBlock { blocks_dir: blocks_dir.clone(), meta };
        old.extend(catalog.metas().into_iter().map(of));
    }
    let groups = overlapping(old);
    for (pass, directories) in to.chunks(RESHARD_WRITERS_MAX).enumerate() {
        let mut catalogs = Vec::new();
        for directory in directories {
            let catalog = Catalog::open(disk, directory).await?;
            catalog.change(Change { cut: Some((cut_ms, 0)), ..Change::default() }).await?;
            catalogs.push(catalog);
        }
        let first = pass * RESHARD_WRITERS_MAX;
        let writer_of = |labels: &[u8]| {
            let owner = Fingerprint::of(labels).owner(to.len() as u32) as usize;
            owner.checked_sub(first).filter(|writer| *writer < directories.len())
        };
        for group in &groups {
            deal_group(disk, group, &catalogs, writer_of, done).await?;
        }
    }
    Ok(())
}

/// A block that was put aside would go with its shard.
async fn refuse_damaged(disk: &Disk, blocks_dir: &Path) -> Result<()> {
    let entries = disk.list(blocks_dir).await?;
    let damaged = entries.iter().find(|entry| entry.name.ends_with(".damaged"));
    damaged.map_or(Ok(()), |entry| {
        Err(Error::Corrupt {
            path: blocks_dir.join(&entry.name),
            offset: 0,
            expected: "only sound blocks".to_owned(),
            found: "one that was put aside: move it elsewhere, its samples cannot be dealt out"
                .to_owned(),
        })
    })
}

/// Groups of blocks that overlap in time, directly or through others, the oldest first.
fn overlapping(mut blocks: Vec<OldBlock>) -> Vec<Vec<OldBlock>> {
    blocks.sort_by_key(|block| block.meta.range.start_ms);
    let (mut groups, mut end_ms): (Vec<Vec<OldBlock>>, _) = (Vec::new(), TimestampMs::MIN);
    for block in blocks {
        let range = block.meta.range;
        match groups.last_mut() {
            Some(group) if range.start_ms <= end_ms => group.push(block),
            _ => groups.push(vec![block]),
        }
        end_ms = end_ms.max(range.end_ms);
    }
    groups
}

async fn deal_group(
    disk: &Disk,
    group: &[OldBlock],
    catalogs: &[Catalog],
    writer_of: impl Fn(&[u8]) -> Option<usize>,
    done: &mut Resharded,
) -> Result<()> {
    let (mut sources, mut writers) = (Vec::new(), Vec::new());
    for OldBlock { blocks_dir, meta } in group {
        let cursor = BlockCursor::open(disk, blocks_dir, meta.sequence).await?;
        sources.push(Source { cursor, copy: meta.level > 1 });
    }
    let metas = || group.iter().map(|block| &block.meta);
    let start_ms = metas().map(|meta| meta.range.start_ms).min().unwrap_or(0);
    let end_ms = metas().map(|meta| meta.range.end_ms).max().unwrap_or(start_ms);
    for catalog in catalogs {
        let plan = BlockPlan {
            sequence: catalog.next_block(),
            level: metas().map(|meta| meta.level).max().unwrap_or(1),
            base_ms: start_ms,
            cut_ms: catalog.cut_ms(),
            next_series: 0,
            sources: Vec::new(),
        };
        writers.push(BlockWriter::create(disk, catalog.blocks_dir(), plan).await?);
    }
    let effort = effort(TimeRange::new(start_ms, end_ms).len_ms());
    merge(sources, &mut writers, writer_of, effort, || Ok(())).await?;
    for (writer, catalog) in writers.into_iter().zip(catalogs) {
        if let Some(meta) = writer.finish().await? {
            done.blocks += 1;
            done.samples += meta.samples;
            catalog.change(Change { add: Some(meta.sequence), ..Change::default() }).await?;
        }
    }
    Ok(())
}

/// Hands over what is not in blocks; how many samples that is.
async fn deal_heads(disk: &Disk, from: &[PathBuf], to: &[PathBuf]) -> Result<u64> {
    let mut owners = Vec::new();
    for directory in to {
        let wal = WalOptions {
            sync: SyncMode::Off,
            segment_bytes: RESHARD_SEGMENT_BYTES,
            ..WalOptions::default()
        };
        let options = ShardOptions { wal, shards: to.len() as u32, ..everything() };
        owners.push(Shard::open(disk.clone(), directory, options).await?);
    }
    let mut handed = 0;
    for directory in from {
        let shard = Shard::open(disk.clone(), directory, everything()).await?;
        handed += shard.hand_over(&owners).await?;
        shard.close().await?;
    }
    for owner in owners {
        owner.close().await?;
    }
    Ok(handed)
}

/// Options of a shard that takes whatever another one has taken.
fn everything() -> ShardOptions {
    ShardOptions {
        future_ms_max: TimestampMs::MAX,
        out_of_order_window_ms: std::sync::Arc::new(TimestampMs::MAX.into()),
        ..ShardOptions::default()
    }
}
