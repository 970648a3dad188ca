//! The checkpoint of a shard: every series with the chunks it has in memory, so that the WAL before it can go.
//!
//! It is *fuzzy*: the WAL is cut first, then the series are written a slice at a time while samples go on arriving, so a
//! series may be captured with samples that are also in the WAL behind the cut. Applying those again changes nothing.
//!
//! ```text
//! header   one block: "TIDECKPT" 8 | version u32 | crc32c of the 12 bytes before u32
//! frames   each at the start of a block:
//!          magic u32 | payload bytes u32 | ordinal u32 | kind u32 | crc32c of the 16 bytes before and the payload u32 | payload
//! ```
//!
//! `docs/formats/checkpoint.md` is its page. Integers are little-endian. Payloads are records (`head/record.rs`); the last frame has kind [`KIND_END`] and no payload. The file is
//! written under another name, synced and renamed, so it is there whole or not at all; damage costs the frames it hits.
//! Owned by the core that owns the shard.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::head::record::RecordError;
use crate::limits::CHECKPOINT_FRAME_BYTES_MAX;
use crate::runtime::disk::{BLOCK_BYTES, Buffer, Disk, File, Open, Window, whole_blocks};
use crate::runtime::yield_if_needed;

/// Version of the format that this binary writes, and the newest that it reads.
const VERSION: u32 = 2;
const FILE_MAGIC: &[u8; 8] = b"TIDECKPT";
const FRAME_MAGIC: u32 = 0x4d52_4654;
const FRAME_HEADER_BYTES: usize = 20;
const FILE_HEADER_BYTES: usize = 16;

/// Kind of the last frame.
pub const KIND_END: u8 = 0;

/// What is read at once: many frames, so that reading one does not read its neighbours again.
const WINDOW_BYTES: usize = CHECKPOINT_FRAME_BYTES_MAX;

const FILE_NAME: &str = "checkpoint";
const TEMPORARY_NAME: &str = "checkpoint.tmp";

/// Writes a checkpoint, frame by frame.
pub struct CheckpointWriter {
    disk: Disk,
    directory: PathBuf,
    file: File,
    frame: Buffer,
    ordinal: u32,
    end: u64,
}

impl CheckpointWriter {
    /// Begins a checkpoint of the shard in `directory`; the one that is there stays until [`CheckpointWriter::finish`].
    pub async fn begin(disk: &Disk, directory: &Path) -> Result<Self> {
        let file = disk.open(&directory.join(TEMPORARY_NAME), Open::Create).await?;
        file.truncate(0).await?;
        let mut header = file.alloc(BLOCK_BYTES);
        header[..8].copy_from_slice(FILE_MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let crc = crc32c::crc32c(&header[..12]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        file.write_at(&mut header, 0).await?;
        Ok(CheckpointWriter {
            disk: disk.clone(),
            directory: directory.to_owned(),
            frame: disk.buffer(BLOCK_BYTES),
            file,
            ordinal: 0,
            end: BLOCK_BYTES as u64,
        })
    }

    /// Writes one record.
    pub async fn write(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        self.frame = self.disk.buffer(FRAME_HEADER_BYTES + payload.len());
        let mut head = [0; FRAME_HEADER_BYTES];
        let words = [FRAME_MAGIC, payload.len() as u32, self.ordinal, u32::from(kind)];
        for (i, word) in words.into_iter().enumerate() {
            head[4 * i..4 * i + 4].copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..16]), payload);
        head[16..].copy_from_slice(&crc.to_le_bytes());
        self.frame.extend_from_slice(&head);
        self.frame.extend_from_slice(payload);
        let bytes = whole_blocks(self.frame.len()) as u64;
        self.file.write_at(&mut self.frame, self.end).await?;
        self.end += bytes;
        self.ordinal += 1;
        Ok(())
    }

    /// Puts it in place of the one before, durably; its length in bytes.
    pub async fn finish(mut self) -> Result<u64> {
        self.write(KIND_END, &[]).await?;
        self.file.sync_data().await?;
        self.file.close().await?;
        let (from, to) = (self.directory.join(TEMPORARY_NAME), self.directory.join(FILE_NAME));
        self.disk.rename(&from, &to).await?;
        self.disk.sync_dir(&self.directory).await?;
        Ok(self.end)
    }
}

/// What reading a checkpoint found.
#[derive(Debug, Default)]
pub struct CheckpointReport {
    /// Bytes of the file; 0 if there is none.
    pub bytes: u64,
    /// Records handed out.
    pub records: u64,
    /// Damaged places: the series in them are lost, unless the WAL still defines them.
    pub damaged: Vec<Error>,
}

/// Reads the checkpoint of the shard in `directory`, if there is one, and hands each record to `on_record`.
///
/// # Errors
/// When a newer version wrote it, or it cannot be read at all.
pub async fn read(
    disk: &Disk,
    directory: &Path,
    mut on_record: impl FnMut(u8, &[u8]) -> Result<(), RecordError>,
) -> Result<CheckpointReport> {
    let mut report = CheckpointReport::default();
    if !disk.list(directory).await?.iter().any(|entry| entry.name == FILE_NAME) {
        return Ok(report);
    }
    let mut window = Window::open(disk, &directory.join(FILE_NAME), WINDOW_BYTES).await?;
    report.bytes = window.len();
    check_header(&mut window, &mut report).await?;
    let (mut position, mut complete) = (BLOCK_BYTES as u64, false);
    while position < report.bytes && !complete {
        let Some((kind, payload)) = frame_at(&mut window, position).await? else {
            let next = resume_after(&mut window, position).await?;
            let found = format!("none up to byte {next}");
            report.damaged.push(corrupt(window.file(), position, "a frame", &found));
            position = next;
            continue;
        };
        let bytes = whole_blocks(FRAME_HEADER_BYTES + payload.len()) as u64;
        complete = kind == KIND_END;
        if !complete {
            report.records += 1;
            if let Err(error) = on_record(kind, payload) {
                let why = error.unless_newer(window.file().path())?.to_string();
                report.damaged.push(corrupt(window.file(), position, "a record", &why));
            }
            yield_if_needed().await;
        }
        position += bytes;
    }
    if !complete && report.damaged.is_empty() {
        let found = "the end of the file";
        report.damaged.push(corrupt(window.file(), position, "the last frame", found));
    }
    Ok(report)
}

async fn check_header(window: &mut Window, report: &mut CheckpointReport) -> Result<()> {
    let header = window.get(0, FILE_HEADER_BYTES).await?.unwrap_or_default();
    let sound = header.len() == FILE_HEADER_BYTES
        && header[..8] == *FILE_MAGIC
        && word(header, 12) == crc32c::crc32c(&header[..12]);
    let version = if sound { word(header, 8) } else { 0 };
    if !sound {
        let damage = corrupt(window.file(), 0, "the header of a checkpoint", "something else");
        report.damaged.push(damage);
    } else if version > VERSION {
        let path = window.file().path().to_owned();
        return Err(Error::NewerFormat { path, found: version, known: VERSION });
    }
    Ok(())
}

/// Kind and payload of the frame at `position`, if there is one whose checksum is right.
async fn frame_at(window: &mut Window, position: u64) -> Result<Option<(u8, &[u8])>> {
    let head = window.get(position, FRAME_HEADER_BYTES).await?;
    let Some(head) = head.filter(|head| word(head, 0) == FRAME_MAGIC) else { return Ok(None) };
    let bytes = FRAME_HEADER_BYTES + word(head, 4) as usize;
    if bytes > CHECKPOINT_FRAME_BYTES_MAX {
        return Ok(None);
    }
    let Some(bytes) = window.get(position, bytes).await? else { return Ok(None) };
    let (head, payload) = bytes.split_at(FRAME_HEADER_BYTES);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..16]), payload);
    Ok((word(head, 16) == crc).then_some((word(head, 12) as u8, payload)))
}

/// The next position behind a damaged one where a sound frame stands, or the end.
async fn resume_after(window: &mut Window, damaged: u64) -> Result<u64> {
    let end = window.len();
    let mut position = damaged + BLOCK_BYTES as u64;
    while position < end && frame_at(window, position).await?.is_none() {
        position += BLOCK_BYTES as u64;
    }
    Ok(position.min(end))
}

fn corrupt(file: &File, offset: u64, expected: &str, found: &str) -> Error {
    Error::Corrupt {
        path: file.path().to_owned(),
        offset,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim::{self, SimDisk};

    const DIRECTORY: &str = "/shard";

    async fn write(disk: &Disk, payloads: &[&[u8]]) -> Result<()> {
        let directory = Path::new(DIRECTORY);
        disk.create_dir_all(directory).await?;
        let mut writer = CheckpointWriter::begin(disk, directory).await?;
        for (kind, payload) in (1..).zip(payloads) {
            writer.write(kind, payload).await?;
        }
        writer.finish().await?;
        Ok(())
    }

    async fn read_all(disk: &Disk) -> (Vec<(u8, Vec<u8>)>, CheckpointReport) {
        let mut records = Vec::new();
        let report = read(disk, Path::new(DIRECTORY), |kind, payload| {
            records.push((kind, payload.to_vec()));
            Ok(())
        });
        let report = report.await.unwrap();
        (records, report)
    }

    #[test]
    fn records_come_back() {
        sim::run(1, async {
            let disk = SimDisk::new(1).disk();
            let large = vec![7; 100_000];
            write(&disk, &[b"one", &large, b""]).await.unwrap();
            let (records, report) = read_all(&disk).await;
            assert_eq!(records, [(1, b"one".to_vec()), (2, large), (3, Vec::new())]);
            assert!(report.damaged.is_empty());
        });
    }

    #[test]
    fn a_crash_leaves_the_old_one_or_the_new_one() {
        let mut finished = false;
        for operations in 0.. {
            finished = sim::run(operations, async move {
                let live = SimDisk::new(operations);
                write(&live.disk(), &[b"old"]).await.unwrap();
                live.crash_after(operations);
                let done = write(&live.disk(), &[b"new", b"new"]).await.is_ok();
                let (records, report) = read_all(&live.crash().disk()).await;
                assert!(report.damaged.is_empty(), "{operations}: {report:?}");
                match records.len() {
                    1 => assert!(!done && records[0].1 == b"old"),
                    2 => assert_eq!(records[0].1, b"new"),
                    n => panic!("{n} records"),
                }
                done
            });
            if finished {
                break;
            }
        }
        assert!(finished);
    }

    #[test]
    fn a_flipped_bit_costs_a_frame_and_is_named() {
        for block in 0..5_u64 {
            sim::run(block, async move {
                let live = SimDisk::new(3);
                let disk = live.disk();
                write(&disk, &[b"one", &[2; 5000], b"three"]).await.unwrap();
                let path = Path::new(DIRECTORY).join(FILE_NAME);
                live.flip_bit(&path, (block * BLOCK_BYTES as u64 + 5) * 8);
                let (records, report) = read_all(&disk).await;
                assert_eq!(report.damaged.len(), 1);
                let lost = usize::from(block > 0);
                assert_eq!(records.len(), 3 - lost, "block {block}: {report:?}");
            });
        }
    }
}
