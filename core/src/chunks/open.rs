//! Opening chunk files: the directories of all batches, without reading the samples.

use std::path::Path;

use hashbrown::HashSet;

use super::format::{self, BadHeader, BatchHeader, StoredChunk};
use super::sequence_of;
use crate::error::{Error, Result};
use crate::runtime::disk::{BLOCK_BYTES, Disk, File, Open};

/// What opening the chunk files found.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Files read.
    pub files: u32,
    /// Chunks found whole.
    pub chunks: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Last batches that a crash left unfinished. Their samples are still in the WAL.
    pub torn: Vec<Error>,
    /// Damage that no crash explains: chunks in these places are lost.
    pub damaged: Vec<Error>,
    /// Bytes of each file.
    pub(super) lens: Vec<(u32, u64)>,
    /// Sequence number for the next new file.
    pub(super) next_sequence: u32,
}

/// Reads the directories of all files under `directory`, in order.
pub(super) async fn scan(
    disk: &Disk,
    directory: &Path,
    mut on_chunk: impl FnMut(StoredChunk) -> Result<()>,
) -> Result<OpenReport> {
    let mut sequences: Vec<u32> =
        disk.list(directory).await?.iter().filter_map(|entry| sequence_of(&entry.name)).collect();
    sequences.sort_unstable();
    // If only the process died, the last batch and the name of its file may be there and not be durable yet. The WAL will be
    // retired on the strength of what is found here, so it has to stay.
    disk.sync_dir(directory).await?;
    let mut report = OpenReport::default();
    for (i, &sequence) in sequences.iter().enumerate() {
        report.next_sequence = sequence + 1;
        let path = directory.join(super::file_name(sequence));
        let file = disk.open(&path, Open::Read).await?;
        if i + 1 == sequences.len() {
            file.sync_data().await?;
        }
        let end = file.len().await?;
        report.files += 1;
        report.bytes += end;
        report.lens.push((sequence, end));
        Scan { file, sequence, end }.run(&mut report, &mut on_chunk).await?;
    }
    Ok(report)
}

/// The scan of one file.
struct Scan {
    file: File,
    sequence: u32,
    end: u64,
}

/// A batch whose directory is sound.
struct Batch {
    header: BatchHeader,
    chunks: Vec<StoredChunk>,
}

impl Scan {
    async fn run(
        &self,
        report: &mut OpenReport,
        on_chunk: &mut impl FnMut(StoredChunk) -> Result<()>,
    ) -> Result<()> {
        self.check_header(report).await?;
        let mut position = BLOCK_BYTES as u64;
        while position < self.end {
            let Some(batch) = self.batch_at(position).await? else {
                let Some(next) = self.resume_after(position).await? else {
                    report.torn.push(self.corrupt(position, "a whole batch", "an unfinished one"));
                    return Ok(());
                };
                let found = format!("no batch up to byte {next}");
                report.damaged.push(self.corrupt(position, "a batch of chunks", &found));
                position = next;
                continue;
            };
            let next = position + batch.header.stride();
            let chunks = if next < self.end {
                batch.chunks
            } else {
                self.whole_series(position, batch, report).await?
            };
            report.chunks += chunks.len() as u64;
            chunks.into_iter().try_for_each(&mut *on_chunk)?;
            position = next;
        }
        Ok(())
    }

    async fn check_header(&self, report: &mut OpenReport) -> Result<()> {
        let header = self.file.read_at(0, format::FILE_HEADER_BYTES).await?;
        match format::check_file_header(&header, self.sequence) {
            Ok(()) => {}
            Err(BadHeader::Newer(found)) => {
                let path = self.file.path().to_owned();
                return Err(Error::NewerFormat { path, found, known: format::VERSION });
            }
            // A file without batches was being made when the crash came. Otherwise the batches speak for themselves.
            Err(BadHeader::Damaged) if self.end <= BLOCK_BYTES as u64 => {
                report.torn.push(self.corrupt(0, "a file header", "an unfinished one"));
            }
            Err(BadHeader::Damaged) => {
                report.damaged.push(self.corrupt(0, "a file header", "something else"));
            }
        }
        Ok(())
    }

    async fn batch_at(&self, position: u64) -> Result<Option<Batch>> {
        let head = self.file.read_at(position, format::BATCH_HEADER_BYTES).await?;
        let Some(header) = format::batch_header(&head, self.sequence) else { return Ok(None) };
        if position + u64::from(header.bytes) > self.end {
            return Ok(None);
        }
        let head = self.file.read_at(position, header.directory_end()).await?;
        let chunks = format::directory(&head, header, self.sequence, position as u32);
        Ok(chunks.map(|chunks| Batch { header, chunks }))
    }

    /// The next position behind a damaged one where a sound batch stands.
    async fn resume_after(&self, damaged: u64) -> Result<Option<u64>> {
        let mut position = damaged + BLOCK_BYTES as u64;
        while position < self.end {
            if self.batch_at(position).await?.is_some() {
                return Ok(Some(position));
            }
            position += BLOCK_BYTES as u64;
        }
        Ok(None)
    }

    /// Of the last batch, which may be torn, the chunks of those series that have all theirs whole. A series with a
    /// damaged chunk keeps none, because the WAL is replayed from the end of what its chunks hold.
    async fn whole_series(
        &self,
        position: u64,
        batch: Batch,
        report: &mut OpenReport,
    ) -> Result<Vec<StoredChunk>> {
        let bytes = self.file.read_at(position, batch.header.bytes as usize).await?;
        let mut torn = HashSet::new();
        for chunk in &batch.chunks {
            let start = (u64::from(chunk.location.offset) - position) as usize;
            let stored =
                bytes.get(start..start + chunk.location.stored_bytes()).unwrap_or_default();
            if let Err(checksums) = format::check_chunk(stored) {
                report.torn.push(super::damaged_chunk(self.file.path(), chunk.location, checksums));
                torn.insert(chunk.series);
            }
        }
        Ok(batch.chunks.into_iter().filter(|chunk| !torn.contains(&chunk.series)).collect())
    }

    fn corrupt(&self, offset: u64, expected: &str, found: &str) -> Error {
        Error::Corrupt {
            path: self.file.path().to_owned(),
            offset,
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}
