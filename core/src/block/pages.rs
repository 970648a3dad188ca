//! Files of checked pages: what the files of a block are made of. A page is what is read, verified and cached at once.
//!
//! ```text
//! file       | page | page | ... | last page |
//! page       | payload 65532 | crc32c u32 |                                                   64 KiB
//! last page  | payload | zeros | length u64 | magic 8 | version u32 | crc32c u32 |            whole blocks of 4 KiB
//! ```
//!
//! The payloads in a row are a *stream* of `length` bytes; positions in a stream know nothing of pages. A checksum covers the
//! number of the block, the kind of the file, the number of the page and everything before it in the page, so that no page passes for another.
//! Integers are little-endian. A file is written once from its begin to its end, by one [`PageWriter`], and never changed.
//!
//! Owned by the core that owns the shard.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use crate::chunks::cache::Cache;
use crate::error::{Error, Result};
use crate::limits::{BLOCK_READ_PAGES_MAX, BLOCK_WRITE_BYTES};
use crate::runtime::disk::{Disk, File, Open, whole_blocks};

/// Version of the format that this binary writes, and the newest that it reads. Pages are the same in all of them.
const VERSION: u32 = 2;
/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 64 << 10;
const CRC_BYTES: usize = 4;
/// Bytes of the stream that a page carries, unless it is the last.
pub(super) const PAYLOAD_BYTES: usize = PAGE_BYTES - CRC_BYTES;
const TRAILER_BYTES: usize = 20;

/// What a file of pages holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// The chunks of a block.
    Chunks = 0,
    /// The index of a block.
    Index = 1,
    /// Postings on their way to an index; never read after a restart.
    Run = 2,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Chunks => b"TIDEBLKC",
            Kind::Index => b"TIDEBLKI",
            Kind::Run => b"TIDEBLKR",
        }
    }
}

/// Recently read pages of the blocks of one shard.
pub(super) type PageCache = RefCell<Cache>;

/// Writes a file of pages.
pub(super) struct PageWriter {
    disk: Disk,
    file: File,
    kind: Kind,
    block: u32,
    /// Whole pages that are not written yet, and the beginning of the next.
    run: Vec<u8>,
    /// Where in `run` the page that grows begins.
    page_start: usize,
    page: u32,
    /// Where in the file `run` begins.
    position: u64,
    len: u64,
}

impl PageWriter {
    /// Makes the file, in place of one that is there.
    pub(super) async fn create(disk: &Disk, path: &Path, kind: Kind, block: u32) -> Result<Self> {
        let file = disk.open(path, Open::Create).await?;
        file.truncate(0).await?;
        Ok(PageWriter {
            disk: disk.clone(),
            file,
            kind,
            block,
            run: Vec::new(),
            page_start: 0,
            page: 0,
            position: 0,
            len: 0,
        })
    }

    /// Length of the stream so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends to the stream.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = PAYLOAD_BYTES - (self.run.len() - self.page_start);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.run.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.end_page();
                if self.run.len() >= BLOCK_WRITE_BYTES {
                    self.flush().await?;
                }
            }
        }
        Ok(())
    }

    fn end_page(&mut self) {
        let crc = checksum(self.kind, self.block, self.page, &self.run[self.page_start..]);
        self.run.extend_from_slice(&crc.to_le_bytes());
        self.page += 1;
        self.page_start = self.run.len();
    }

    async fn flush(&mut self) -> Result<()> {
        let mut buffer = self.disk.buffer(self.run.len());
        buffer.extend_from_slice(&self.run);
        self.file.write_at(&mut buffer, self.position).await?;
        self.position += self.run.len() as u64;
        self.run.clear();
        self.page_start = 0;
        Ok(())
    }

    /// Writes the last page and makes the file durable, though not its name; its length in bytes.
    pub(super) async fn finish(mut self) -> Result<u64> {
        if self.run.len() - self.page_start > PAYLOAD_BYTES - TRAILER_BYTES {
            self.run.resize(self.page_start + PAYLOAD_BYTES, 0);
            self.end_page();
        }
        let filled = self.run.len() - self.page_start + TRAILER_BYTES + CRC_BYTES;
        let zeros = whole_blocks(filled) - filled;
        self.run.resize(self.run.len() + zeros, 0);
        self.run.extend_from_slice(&self.len.to_le_bytes());
        self.run.extend_from_slice(self.kind.magic());
        self.run.extend_from_slice(&VERSION.to_le_bytes());
        self.end_page();
        self.flush().await?;
        self.file.sync_data().await?;
        let bytes = self.position;
        self.file.close().await?;
        Ok(bytes)
    }
}

/// Reads a file of pages.
pub(super) struct PageReader {
    file: File,
    kind: Kind,
    block: u32,
    bytes: u64,
    len: u64,
    version: u32,
}

impl PageReader {
    /// Opens a file: reads its last page.
    ///
    /// # Errors
    /// [`Error::NewerFormat`], [`Error::Corrupt`] if it is no such file.
    pub(super) async fn open(disk: &Disk, path: &Path, kind: Kind, block: u32) -> Result<Self> {
        let file = disk.open(path, Open::Read).await?;
        let bytes = file.len().await?;
        let mut reader = PageReader { file, kind, block, bytes, len: 0, version: 0 };
        let last = reader.page_count().checked_sub(1).ok_or_else(|| reader.no_end("nothing"))?;
        let start = u64::from(last) * PAGE_BYTES as u64;
        let page = reader.file.read_at(start, PAGE_BYTES).await?;
        let Some(trailer) = page.len().checked_sub(TRAILER_BYTES + CRC_BYTES) else {
            return Err(reader.no_end(&format!("{} bytes", page.len())));
        };
        let payload = reader.verified(last, &page)?;
        let trailer = &payload[trailer..];
        let version = u32_at(trailer, 16);
        if trailer[8..16] != *kind.magic() {
            return Err(reader.no_end("another file"));
        }
        if version > VERSION {
            let path = path.to_owned();
            return Err(Error::NewerFormat { path, found: version, known: VERSION });
        }
        reader.version = version;
        reader.len = u64::from_le_bytes(*trailer.first_chunk().expect("a trailer has 20 bytes"));
        let held = u64::from(last) * PAYLOAD_BYTES as u64 + payload.len() as u64;
        if reader.len + TRAILER_BYTES as u64 > held {
            return Err(reader.no_end(&format!("the end of a stream of {} bytes", reader.len)));
        }
        Ok(reader)
    }

    /// Length of the stream.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Version of the format that it is written in.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    fn page_count(&self) -> u32 {
        self.bytes.div_ceil(PAGE_BYTES as u64) as u32
    }

    fn key(&self, page: u32) -> (u32, u32) {
        (self.block << 1 | self.kind as u32 & 1, page)
    }

    /// The page that holds byte `position` of the stream, and where in its payload.
    pub(super) fn place(position: u64) -> (u32, usize) {
        let payload = PAYLOAD_BYTES as u64;
        ((position / payload) as u32, (position % payload) as usize)
    }

    /// The payload of a page, verified; with it the pages up to `ahead` are read, as far as one read reaches.
    pub(super) async fn page(&self, cache: &PageCache, page: u32, ahead: u32) -> Result<Rc<[u8]>> {
        if let Some(payload) = cache.borrow_mut().get(self.key(page), 0) {
            return Ok(payload);
        }
        let pages = (ahead.max(page) - page + 1).min(BLOCK_READ_PAGES_MAX);
        let start = u64::from(page) * PAGE_BYTES as u64;
        let read = self.file.read_at(start, pages as usize * PAGE_BYTES).await?;
        if read.is_empty() {
            let found = format!("a file of {} bytes", self.bytes);
            return Err(self.corrupt(start, "a page", &found));
        }
        let mut first = None;
        for (number, bytes) in (page..).zip(read.chunks(PAGE_BYTES)) {
            let payload: Rc<[u8]> = match self.verified(number, bytes) {
                Ok(payload) => payload.into(),
                Err(error) if number == page => return Err(error),
                // Whoever wants that page will learn what is wrong with it.
                Err(_) => break,
            };
            cache.borrow_mut().insert(self.key(number), Rc::clone(&payload));
            first.get_or_insert(payload);
        }
        Ok(first.expect("what was read is not empty"))
    }

    /// Appends `len` bytes at `position` of the stream to `out`.
    pub(super) async fn read(
        &self,
        cache: &PageCache,
        position: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let end = position.saturating_add(len as u64);
        if end > self.len {
            let expected = format!("{len} bytes of a stream at {position}");
            let found = format!("a stream of {} bytes", self.len);
            return Err(self.corrupt(0, &expected, &found));
        }
        out.reserve(len);
        let (last, _) = PageReader::place(end.max(1) - 1);
        let mut at = position;
        while at < end {
            let (page, from) = PageReader::place(at);
            let payload = self.page(cache, page, last).await?;
            let to = payload.len().min(from + (end - at) as usize);
            let part = payload.get(from..to).unwrap_or_default();
            if part.is_empty() {
                return Err(self.corrupt(
                    u64::from(page) * PAGE_BYTES as u64,
                    "a whole page",
                    "a short one",
                ));
            }
            out.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Reads every page and checks it.
    pub(super) async fn verify(&self) -> Result<()> {
        for page in 0..self.page_count() {
            let start = u64::from(page) * PAGE_BYTES as u64;
            self.verified(page, &self.file.read_at(start, PAGE_BYTES).await?)?;
        }
        Ok(())
    }

    /// The payload of a page, if its checksum is right.
    fn verified<'a>(&self, page: u32, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (payload, stored) = bytes.split_last_chunk::<CRC_BYTES>().unwrap_or((&[], &[0; 4]));
        let (expected, found) =
            (u32::from_le_bytes(*stored), checksum(self.kind, self.block, page, payload));
        if expected == found {
            return Ok(payload);
        }
        let offset = u64::from(page) * PAGE_BYTES as u64;
        let expected = format!("a page with checksum {expected:08x}");
        Err(self.corrupt(offset, &expected, &format!("checksum {found:08x}")))
    }

    /// What is said of bytes that make no sense although their checksum is right.
    pub(super) fn corrupt(&self, offset: u64, expected: &str, found: &str) -> Error {
        Error::Corrupt {
            path: self.file.path().to_owned(),
            offset,
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    fn no_end(&self, found: &str) -> Error {
        self.corrupt(self.bytes, "the end of a file of a block", found)
    }
}

fn checksum(kind: Kind, block: u32, page: u32, payload: &[u8]) -> u32 {
    let mut crc = 0;
    for word in [block, kind as u32, page] {
        crc = crc32c::crc32c_append(crc, &word.to_le_bytes());
    }
    crc32c::crc32c_append(crc, payload)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim::{self, SimDisk};

    const PATH: &str = "/block/chunks";

    async fn written(disk: &Disk, stream: &[u8]) -> Result<PageReader> {
        disk.create_dir_all(Path::new("/block")).await?;
        let mut writer = PageWriter::create(disk, Path::new(PATH), Kind::Chunks, 7).await?;
        for piece in stream.chunks(10_007) {
            writer.write(piece).await?;
        }
        let bytes = writer.finish().await?;
        let reader = PageReader::open(disk, Path::new(PATH), Kind::Chunks, 7).await?;
        assert_eq!((reader.len(), reader.bytes()), (stream.len() as u64, bytes));
        Ok(reader)
    }

    fn stream(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn streams_of_every_length_come_back() {
        for near in [0, PAYLOAD_BYTES - TRAILER_BYTES, PAYLOAD_BYTES, 3 * PAYLOAD_BYTES] {
            for len in near.saturating_sub(1)..near + 2 {
                sim::run(1, async {
                    let disk = SimDisk::new(1).disk();
                    let (stream, cache) = (stream(len), PageCache::new(Cache::new(1 << 20)));
                    let reader = written(&disk, &stream).await.unwrap();
                    reader.verify().await.unwrap();
                    let mut out = Vec::new();
                    reader.read(&cache, 0, len, &mut out).await.unwrap();
                    assert!(out == stream, "{len}");
                    assert!(reader.read(&cache, 1, len, &mut out).await.is_err());
                });
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_told_with_its_page() {
        sim::run(1, async {
            let disk = SimDisk::new(1);
            let reader = written(&disk.disk(), &stream(200_000)).await.unwrap();
            disk.flip_bit(Path::new(PATH), (PAGE_BYTES as u64 + 9) * 8);
            let mut out = Vec::new();
            let cache = PageCache::new(Cache::new(1 << 20));
            reader.read(&cache, 0, 100, &mut out).await.unwrap();
            let error = reader.read(&cache, 60_000, 10_000, &mut out).await.unwrap_err();
            assert!(error.to_string().contains("damaged at byte 65536"), "{error}");
            assert!(reader.verify().await.is_err());
            let other = PageReader::open(&disk.disk(), Path::new(PATH), Kind::Chunks, 8).await;
            assert!(other.is_err(), "a file of another block");
        });
    }
}
