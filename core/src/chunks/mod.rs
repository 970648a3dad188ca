//! Chunk files: where a shard keeps its sealed chunks.
//!
//! Append-only files of bounded size. Each spill writes one *batch* (directory in front, chunks behind, drawn in
//! `format.rs`) by one write and one sync, and only then may the WAL forget the samples. Since a batch is synced before the
//! next is begun, only the last batch of a file can be torn; it is recognised by the checksums of all its chunks and left
//! out, and its samples are still in the WAL. Nothing that was written is ever overwritten: after a restart, or an error
//! other than a full disk, the next batch goes to a new file.
//!
//! A crash between the sync and the WAL's retirement, or an error after the write, can leave the same chunk in two
//! batches: whoever collects them on opening keeps one of a series and a first time.
//!
//! Reading goes through a small cache (`cache.rs`), since direct I/O has none.
//!
//! Owned by the core that owns the shard.

pub(crate) mod cache;
mod format;
mod open;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::chunk::Encoding;
use crate::error::{Error, Result};
use crate::limits::{
    CHUNK_BATCH_BYTES_MAX, CHUNK_CACHE_BYTES_MAX, CHUNK_FILE_BYTES_MAX, CHUNK_FILES_OPEN_MAX,
    CHUNK_RANGE_MS_MAX, CHUNK_SAMPLES_MAX,
};
use crate::model::time::TimestampMs;
use crate::runtime::disk::{BLOCK_BYTES, Disk, File, Open};

pub use cache::CacheStats;
use cache::{Cache, EXTENT_BYTES};
pub use format::{ChunkLocation, SealedChunk, StoredChunk};
pub use open::OpenReport;

/// The chunk files of one shard.
pub struct ChunkStore {
    disk: Disk,
    directory: PathBuf,
    /// Files opened for reading, at most [`CHUNK_FILES_OPEN_MAX`].
    readers: RefCell<HashMap<u32, File>>,
    cache: RefCell<Cache>,
    /// The file that grows. Taken out while a batch is under way, so that an error or a dropped future begins a new one.
    writer: RefCell<Option<Writer>>,
    /// Sequence number of the next file.
    next: Cell<u32>,
    bytes: Cell<u64>,
    /// Of each file that holds chunks, or may: the end of its newest chunk, and its bytes.
    files: RefCell<HashMap<u32, Contents>>,
}

/// What a file holds.
#[derive(Clone, Copy)]
struct Contents {
    end_ms: TimestampMs,
    bytes: u64,
    /// Bytes of long chunks that were spilled in haste, as they were in memory.
    loose: u64,
}

impl Contents {
    const NONE: Contents = Contents { end_ms: TimestampMs::MIN, bytes: 0, loose: 0 };

    /// Adds a chunk that ends at `end_ms`.
    fn cover(&mut self, end_ms: TimestampMs, encoding: Encoding, samples: u16, len: usize) {
        self.end_ms = self.end_ms.max(end_ms);
        if encoding == Encoding::Xor && samples >= LOOSE_SAMPLES_MIN {
            self.loose += len as u64;
        }
    }
}

/// Samples from which on a chunk surely takes less when it is encoded anew.
const LOOSE_SAMPLES_MIN: u16 = CHUNK_SAMPLES_MAX / 4;

struct Writer {
    file: File,
    sequence: u32,
    end: u64,
    /// The newest window of two hours of the chunks in it.
    window: i64,
}

impl ChunkStore {
    /// Opens the files under `directory`, made if it is missing, and hands every chunk in them to `on_chunk` in the order
    /// of writing. Damaged parts are left out and named in the report.
    pub async fn open(
        disk: Disk,
        directory: &Path,
        mut on_chunk: impl FnMut(StoredChunk) -> Result<()>,
    ) -> Result<(ChunkStore, OpenReport)> {
        disk.create_dir_all(directory).await?;
        let mut files: HashMap<u32, Contents> = HashMap::new();
        let on_chunk = |chunk: StoredChunk| {
            let StoredChunk { range, encoding, samples, location, .. } = chunk;
            let file = files.entry(location.file).or_insert(Contents::NONE);
            file.cover(range.end_ms, encoding, samples, location.len as usize);
            on_chunk(chunk)
        };
        let report = open::scan(&disk, directory, on_chunk).await?;
        for &(file, bytes) in &report.lens {
            files.entry(file).or_insert(Contents::NONE).bytes = bytes;
        }
        let store = ChunkStore {
            disk,
            directory: directory.to_owned(),
            readers: RefCell::default(),
            cache: RefCell::new(Cache::new(CHUNK_CACHE_BYTES_MAX)),
            writer: RefCell::default(),
            next: Cell::new(report.next_sequence),
            bytes: Cell::new(report.bytes),
            files: RefCell::new(files),
        };
        Ok((store, report))
    }

    /// Writes `chunks` and syncs them; their places in the same order. One call at a time. Each time that another window of two hours begins
    /// among them, so does another batch.
    ///
    /// After an error none of them counts as stored; unless the disk was merely full, the next call begins a new file.
    pub async fn append(&self, chunks: &[SealedChunk<'_>]) -> Result<Vec<ChunkLocation>> {
        let mut locations = Vec::with_capacity(chunks.len());
        let mut rest = chunks;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_len(rest));
            self.append_batch(batch, &mut locations).await?;
            rest = later;
        }
        Ok(locations)
    }

    async fn append_batch(
        &self,
        chunks: &[SealedChunk<'_>],
        locations: &mut Vec<ChunkLocation>,
    ) -> Result<()> {
        let mut batch = format::Batch::of(chunks);
        let bytes = batch.whole_bytes();
        let window = chunks.first().map_or(0, window_of);
        let mut writer = self.writer_for(bytes, window).await?;
        let mut buffer = self.disk.buffer(bytes);
        let put = |piece: &[u8]| buffer.extend_from_slice(piece);
        batch.encode(writer.sequence, writer.end as u32, put, |at| locations.push(at));
        let written = match writer.file.write_at(&mut buffer, writer.end).await {
            Ok(()) => writer.file.sync_data().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            // Give the room back; if that fails too, opening tells the torn batch by its checksums.
            let truncated = writer.file.truncate(writer.end).await;
            if error.is_no_space() && truncated.is_ok() {
                self.writer.replace(Some(writer));
            }
            return Err(error.into());
        }
        writer.end += bytes as u64;
        self.bytes.set(self.bytes.get() + bytes as u64);
        let mut files = self.files.borrow_mut();
        let file = files.entry(writer.sequence).or_insert(Contents::NONE);
        file.bytes = writer.end;
        for chunk in chunks {
            file.cover(chunk.range.end_ms, chunk.encoding, chunk.samples, chunk.bytes.len());
        }
        drop(files);
        self.writer.replace(Some(writer));
        Ok(())
    }

    /// The file that grows, or a new one when it is full or a new window begins: so that a file can go as soon as its window is in a block.
    async fn writer_for(&self, bytes: usize, window: i64) -> Result<Writer> {
        let present = self.writer.take();
        match present {
            Some(writer)
                if writer.end + bytes as u64 <= CHUNK_FILE_BYTES_MAX && window <= writer.window =>
            {
                Ok(writer)
            }
            _ => self.begin_file(window).await,
        }
    }

    async fn begin_file(&self, window: i64) -> Result<Writer> {
        let sequence = self.next.get();
        let path = self.path(sequence);
        let file = self.disk.open(&path, Open::Create).await?;
        let mut header = file.alloc(0);
        header.extend_from_slice(&format::file_header(sequence));
        file.write_at(&mut header, 0).await?;
        file.sync_data().await?;
        self.disk.sync_dir(&self.directory).await?;
        self.next.set(sequence + 1);
        self.bytes.set(self.bytes.get() + BLOCK_BYTES as u64);
        Ok(Writer { file, sequence, end: BLOCK_BYTES as u64, window })
    }

    /// Lets the next batch begin a new file. Not while a call of [`ChunkStore::append`] is under way.
    pub fn rotate(&self) {
        self.writer.take();
    }

    /// Removes the files that hold no chunk that ends at or after a time, but for the one that grows.
    pub async fn remove_before(&self, floor_ms: TimestampMs) -> Result<()> {
        let growing = self.writer.borrow().as_ref().map(|writer| writer.sequence);
        let idle: Vec<u32> = {
            let files = self.files.borrow();
            let idle = files.iter().filter(|(_, file)| file.end_ms < floor_ms);
            idle.map(|(file, _)| *file).filter(|file| Some(*file) != growing).collect()
        };
        for &file in &idle {
            self.remove(file).await?;
        }
        Ok(())
    }

    /// Removes a file that nobody reads any more and that does not grow.
    pub async fn remove(&self, file: u32) -> Result<()> {
        self.disk.remove(&self.path(file)).await?;
        self.readers.borrow_mut().remove(&file);
        self.cache.borrow_mut().forget(file);
        let bytes = self.files.borrow_mut().remove(&file).map_or(0, |file| file.bytes);
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
        Ok(self.disk.sync_dir(&self.directory).await?)
    }

    /// The oldest file that would be much smaller if its chunks were encoded anew.
    pub fn loose(&self) -> Option<u32> {
        let files = self.files.borrow();
        let loose = files.iter().filter(|(_, file)| file.loose * 2 > file.bytes);
        loose.map(|(file, _)| *file).min()
    }

    /// Takes `file`, and those from `first` on, as they are: they hold what was encoded anew, or could not be.
    pub fn settle(&self, file: u32, first: u32) {
        let mut files = self.files.borrow_mut();
        for (_, file) in files.iter_mut().filter(|(at, _)| **at == file || **at >= first) {
            file.loose = 0;
        }
    }

    /// Ends the file that grows and says the number of the next. Not while a call of [`ChunkStore::append`] is under way.
    pub fn begin_next(&self) -> u32 {
        self.rotate();
        self.next.get()
    }

    /// Reads one chunk and verifies its checksum.
    pub async fn read(&self, location: ChunkLocation) -> Result<Vec<u8>> {
        let mut stored = Vec::with_capacity(location.stored_bytes());
        let mut position = u64::from(location.offset);
        let end = position + location.stored_bytes() as u64;
        while position < end {
            let number = (position / EXTENT_BYTES) as u32;
            let start = u64::from(number) * EXTENT_BYTES;
            let from = (position - start) as usize;
            let to = (end - start).min(EXTENT_BYTES) as usize;
            let extent = self.extent((location.file, number), to).await?;
            let Some(part) = extent.get(from..to) else { break };
            stored.extend_from_slice(part);
            position = start + to as u64;
        }
        match format::check_chunk(&stored) {
            Ok(chunk) if chunk.len() == location.len as usize => {
                stored.truncate(location.len as usize);
                Ok(stored)
            }
            checked => {
                let checksums = checked.err().unwrap_or_default();
                Err(damaged_chunk(&self.path(location.file), location, checksums))
            }
        }
    }

    /// An extent of a file, at least up to `end`, unless the file is shorter.
    async fn extent(&self, key: cache::Key, end: usize) -> Result<Rc<[u8]>> {
        if let Some(extent) = self.cache.borrow_mut().get(key, end) {
            return Ok(extent);
        }
        let file = self.reader(key.0).await?;
        let read = file.read_at(u64::from(key.1) * EXTENT_BYTES, EXTENT_BYTES as usize).await?;
        let bytes: Rc<[u8]> = read.to_vec().into();
        self.cache.borrow_mut().insert(key, Rc::clone(&bytes));
        Ok(bytes)
    }

    async fn reader(&self, sequence: u32) -> Result<File> {
        if let Some(file) = self.readers.borrow().get(&sequence) {
            return Ok(file.clone());
        }
        let path = self.path(sequence);
        let file = self.disk.open(&path, Open::Read).await?;
        let mut readers = self.readers.borrow_mut();
        if readers.len() >= CHUNK_FILES_OPEN_MAX {
            // Old files are read least: queries are about now.
            let oldest = readers.keys().copied().min();
            oldest.and_then(|oldest| readers.remove(&oldest));
        }
        readers.insert(sequence, file.clone());
        Ok(file)
    }

    /// The path of a file, for messages.
    pub fn path(&self, sequence: u32) -> PathBuf {
        self.directory.join(file_name(sequence))
    }

    /// Their directory.
    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How the cache stands.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.borrow().stats()
    }
}

/// The window of two hours that a chunk is in; none is in two.
fn window_of(chunk: &SealedChunk<'_>) -> i64 {
    chunk.range.start_ms.div_euclid(CHUNK_RANGE_MS_MAX)
}

/// How many of `chunks`, at least one, fit in one batch: those of the window of the first.
fn batch_len(chunks: &[SealedChunk<'_>]) -> usize {
    let (mut bytes, window) = (0, chunks.first().map(window_of));
    let fitting = chunks.iter().take_while(|chunk| {
        bytes += format::stored_bytes_max(chunk);
        bytes <= CHUNK_BATCH_BYTES_MAX && Some(window_of(chunk)) == window
    });
    fitting.count().max(1)
}

fn damaged_chunk(path: &Path, location: ChunkLocation, (expected, found): (u32, u32)) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        offset: u64::from(location.offset),
        expected: format!("a chunk of {} bytes with checksum {expected:08x}", location.len),
        found: format!("checksum {found:08x}"),
    }
}

/// The name of file `sequence`.
fn file_name(sequence: u32) -> String {
    format!("{sequence:08}.chunks")
}

/// The sequence number in a file name, if it is one of ours.
fn sequence_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".chunks")?;
    (digits.len() == 8).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests;
