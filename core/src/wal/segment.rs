//! The files of a log: their names, how one begins its life, and how it is reused.
//!
//! ```text
//!   00000007.spare ──header written, synced──▶ renamed ──directory synced──▶ 00000009.wal
//!        ▲                                                                        │
//!        └──────────────── retired: renamed, directory synced ◀───────────────────┘
//! ```
//!
//! A file that has the name of a segment therefore always has a durable header, and the segments that exist have
//! consecutive numbers: what is missing or has no header was damaged. A spare's content means nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::format::Header;
use crate::limits::WAL_SPARES_MAX;
use crate::runtime::clock;
use crate::runtime::disk::{self, BLOCK_BYTES, Disk, File, Open};

/// The segment that is being written.
pub(super) struct Active {
    pub(super) file: File,
    pub(super) header: Header,
    /// Where the next run goes.
    pub(super) tail: u64,
}

/// A segment that is complete.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) id: u64,
    /// The sequence number behind its last record.
    pub(super) end_sequence: u64,
    /// Whether the disk failed to sync it, so that the file is not to be trusted again.
    pub(super) tainted: bool,
}

/// What a log's directory holds.
pub(super) struct Listing {
    /// Numbers of the segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Names of files to reuse.
    pub(super) spares: VecDeque<PathBuf>,
}

/// The path of a segment.
pub(super) fn path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:08}.wal"))
}

fn spare_path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:08}.spare"))
}

/// Lists a log's directory and removes the spares that are too many.
pub(super) async fn list(disk: &Disk, directory: &Path) -> disk::Result<Listing> {
    let mut listing = Listing { segments: Vec::new(), spares: VecDeque::new() };
    for entry in disk.list(directory).await? {
        let Some((stem, extension)) = entry.name.split_once('.') else { continue };
        let Ok(id) = stem.parse::<u64>() else { continue };
        match extension {
            "wal" => listing.segments.push(id),
            "spare" => listing.spares.push_back(spare_path(directory, id)),
            _ => {}
        }
    }
    listing.segments.sort_unstable();
    // If only the process died, a spare may still have the name of a segment on the disk; it must not be written before it has not.
    disk.sync_dir(directory).await?;
    while listing.spares.len() > WAL_SPARES_MAX
        && let Some(spare) = listing.spares.pop_back()
    {
        disk.remove(&spare).await?;
    }
    Ok(listing)
}

/// Begins a segment in a spare file, or in a new one. After an error the spare is still one.
pub(super) async fn begin(
    disk: &Disk,
    directory: &Path,
    header: Header,
    spare: Option<&Path>,
) -> disk::Result<Active> {
    let fresh = spare.is_none();
    let spare = spare.map_or_else(|| spare_path(directory, header.id), Path::to_owned);
    if fresh {
        // What an attempt with a failed sync has left is not to be trusted.
        match disk.remove(&spare).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    let file = disk.open(&spare, Open::Create).await?;
    if file.len().await? > header.segment_bytes {
        file.truncate(header.segment_bytes).await?;
    }
    file.preallocate(header.segment_bytes).await?;
    let mut block = file.alloc(BLOCK_BYTES);
    block.copy_from_slice(&header.encode());
    file.write_at(&mut block, 0).await?;
    file.sync_data().await?;
    file.close().await?;
    let path = path(directory, header.id);
    disk.rename(&spare, &path).await?;
    disk.sync_dir(directory).await?;
    // Opened anew, so that errors name the segment and not the spare.
    let file = disk.open(&path, Open::Write).await?;
    Ok(Active { file, header, tail: BLOCK_BYTES as u64 })
}

/// A header for a segment that begins now.
pub(super) fn header(id: u64, first_sequence: u64, segment_bytes: u64) -> Header {
    Header { id, first_sequence, segment_bytes, created_ms: clock::now_ms() }
}

/// Takes a segment out of the log, durably; the path of the spare it has become, unless there are enough.
pub(super) async fn retire(
    disk: &Disk,
    directory: &Path,
    segment: &Closed,
    keep: bool,
) -> disk::Result<Option<PathBuf>> {
    let path = path(directory, segment.id);
    let spare = (keep && !segment.tainted).then(|| spare_path(directory, segment.id));
    let taken = match &spare {
        Some(spare) => disk.rename(&path, spare).await,
        None => disk.remove(&path).await,
    };
    let gone = match taken {
        // An earlier attempt came this far, and could not make it durable. What became of the file is found when the log is opened.
        Err(error) if error.is_not_found() => true,
        taken => taken.map(|()| false)?,
    };
    disk.sync_dir(directory).await?;
    Ok(spare.filter(|_| !gone))
}
