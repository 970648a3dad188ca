//! Restoring: a snapshot, or any data directory that no server runs on, copied to where the data belongs, and checked before anybody sees it.
//!
//! ```text
//! restoring               a file that says that what is here is not whole
//! shard-0000 ...          copied, synced, every block verified, every shard opened once
//! manifest                                                                     <- the moment
//! ```
//!
//! Without a manifest nothing opens the directory. After a crash `restoring` is still there, and another attempt begins anew.

use std::path::Path;

use super::lock;
use super::manifest::{Manifest, RESTORING, SHARD_PREFIX};
use super::reshard::tree_bytes;
use crate::catalog;
use crate::error::{Error, Result};
use crate::limits::COPY_BYTES;
use crate::runtime::disk::{Disk, Open};
use crate::shard::{Shard, ShardOptions};

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Shards.
    pub shards: u32,
    /// Blocks, all of them sound.
    pub blocks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Series that have samples which are not in blocks.
    pub head_series: u64,
}

/// Copies the snapshot to `data_dir`, which must not exist, or hold no data.
///
/// # Errors
/// When `data_dir` holds data or is in use, when anything of the snapshot is damaged, when there is no room, or the disk refuses. A directory
/// that a failed attempt leaves does not open; another attempt takes it.
pub async fn restore(disk: &Disk, snapshot: &Path, data_dir: &Path) -> Result<Restored> {
    let manifest = Manifest::read(disk, snapshot).await?;
    disk.create_dir_all(data_dir).await?;
    let _lock = lock(disk, data_dir).await?;
    let entries = disk.list(data_dir).await?;
    let interrupted = entries.iter().any(|entry| entry.name == RESTORING);
    let is_data = |name: &str| name == super::manifest::FILE_NAME || name.starts_with(SHARD_PREFIX);
    if !interrupted && entries.iter().any(|entry| is_data(&entry.name)) {
        return Err(Error::NotEmpty { directory: data_dir.to_owned() });
    }
    if entries.iter().any(|entry| entry.name == super::manifest::FILE_NAME) {
        return Err(Error::NotEmpty { directory: data_dir.to_owned() });
    }
    disk.write_atomic(&data_dir.join(RESTORING), b"tidemark tsdb restore\n").await?;
    for left in entries.iter().filter(|entry| entry.name.starts_with(SHARD_PREFIX)) {
        disk.remove_dir_all(&data_dir.join(&left.name)).await?;
    }
    copy_shards(disk, manifest, snapshot, data_dir).await?;
    let restored = check(disk, manifest, data_dir).await?;
    disk.sync_dir(data_dir).await?;
    manifest.write(disk, data_dir).await?;
    disk.remove(&data_dir.join(RESTORING)).await?;
    disk.sync_dir(data_dir).await?;
    Ok(restored)
}

async fn copy_shards(
    disk: &Disk,
    manifest: Manifest,
    snapshot: &Path,
    data_dir: &Path,
) -> Result<()> {
    let mut needed = 0;
    for directory in manifest.shard_dirs(snapshot) {
        needed += tree_bytes(disk, &directory).await?;
    }
    let free = disk.free_space(data_dir).await?.free;
    if free < needed {
        return Err(Error::NoRoom { directory: data_dir.to_owned(), needed, free });
    }
    let pairs = manifest.shard_dirs(snapshot).into_iter().zip(manifest.shard_dirs(data_dir));
    let mut left: Vec<_> = pairs.collect();
    while let Some((from, to)) = left.pop() {
        disk.create_dir_all(&to).await?;
        for entry in disk.list(&from).await? {
            let (from, to) = (from.join(&entry.name), to.join(&entry.name));
            if entry.is_dir {
                left.push((from, to));
            } else {
                copy_file(disk, &from, &to).await?;
            }
        }
        disk.sync_dir(&to).await?;
    }
    Ok(())
}

async fn copy_file(disk: &Disk, from: &Path, to: &Path) -> Result<()> {
    let (source, copy) = (disk.open(from, Open::Read).await?, disk.open(to, Open::Create).await?);
    let len = source.len().await?;
    copy.truncate(0).await?;
    let mut position = 0;
    while position < len {
        let bytes = source.read_at(position, COPY_BYTES).await?;
        if bytes.is_empty() {
            return Err(Error::Corrupt {
                path: from.to_owned(),
                offset: position,
                expected: format!("a file of {len} bytes"),
                found: "its end".to_owned(),
            });
        }
        let mut buffer = disk.buffer(bytes.len());
        buffer.extend_from_slice(&bytes);
        copy.write_at(&mut buffer, position).await?;
        position += bytes.len() as u64;
    }
    copy.truncate(len).await?;
    copy.sync_data().await?;
    source.close().await?;
    Ok(copy.close().await?)
}

/// Verifies every page of every block, and opens and closes every shard.
async fn check(disk: &Disk, manifest: Manifest, data_dir: &Path) -> Result<Restored> {
    let mut restored = Restored { shards: manifest.shards, ..Restored::default() };
    for directory in manifest.shard_dirs(data_dir) {
        for (_, block) in catalog::inspect(disk, &directory).await? {
            let block = block?;
            block.verify().await?;
            restored.blocks += 1;
            restored.samples += block.meta().samples;
        }
        let options = ShardOptions { shards: manifest.shards, ..ShardOptions::default() };
        let shard = Shard::open(disk.clone(), &directory, options).await?;
        restored.head_series += shard.stats().series;
        shard.close().await?;
    }
    Ok(restored)
}
