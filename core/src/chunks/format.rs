//! The bytes of a chunk file. Pure functions; `docs/formats/chunk-file.md` is the page, this file the code.
//!
//! ```text
//! file    | header, padded to a block | batch | batch | ...            every batch starts at a multiple of 4096
//!
//! header  | "TIDECHNK" 8 | version u32 | sequence u32 | crc32c u32 |
//!
//! batch   | magic u32 | chunks u32 | batch bytes u32 | sequence u32 | directory bytes u32 | crc32c of the 20 bytes before and the directory u32 |
//!         | directory: one entry a chunk | chunk | crc32c u32 | chunk | crc32c u32 | ... | zeros up to a block
//!
//! entry   | series, alike: uvarint | shape, unless alike | bytes: uvarint |
//! shape   | samples: uvarint | encoding: u8 | first ms, minus that of the entry before: varint | last ms minus first: uvarint |
//! ```
//!
//! Integers of fixed size are little-endian. The directory stands in front, so that opening a file reads a few bytes a chunk and none of
//! the samples. The sequence number in each batch keeps the bytes of a recycled disk block from passing for a batch.
//!
//! Version 1 had entries of 32 bytes, and its batches another magic; it is read.

use crate::chunk::Encoding;
use crate::chunk::bits::{push_uvarint, push_varint, unzigzag, zigzag};
use crate::head::record::Input;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::disk::whole_blocks;

/// Version of the format that this binary writes, and the newest that it reads.
pub(super) const VERSION: u32 = 2;
const FILE_MAGIC: &[u8; 8] = b"TIDECHNK";
const BATCH_MAGIC: u32 = 0x3243_4854;
const BATCH_MAGIC_1: u32 = 0x5443_4854;

/// Bytes of the file header.
pub(super) const FILE_HEADER_BYTES: usize = 20;
/// Bytes of the batch header, directory not included.
pub(super) const BATCH_HEADER_BYTES: usize = 24;
const BATCH_HEADER_1_BYTES: usize = 20;
/// Bytes of an entry at the most.
const ENTRY_BYTES_MAX: usize = 32;
const ENTRY_BYTES_MIN: usize = 2;
const ENTRY_1_BYTES: usize = 32;
const CRC_BYTES: usize = 4;

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLocation {
    /// Sequence number of the file.
    pub file: u32,
    /// Offset of its first byte.
    pub offset: u32,
    /// Its bytes, without the checksum behind them.
    pub len: u32,
}

impl ChunkLocation {
    /// Bytes on disk: the chunk and its checksum.
    pub(super) fn stored_bytes(self) -> usize {
        self.len as usize + CRC_BYTES
    }
}

/// A sealed chunk on its way to disk.
#[derive(Clone, Copy, Debug)]
pub struct SealedChunk<'a> {
    /// The series' id in its shard, the same after a restart.
    pub series: u32,
    /// How `bytes` are to be read.
    pub encoding: Encoding,
    /// Times of the first and the last sample.
    pub range: TimeRange,
    /// How many samples.
    pub samples: u16,
    /// The encoded samples.
    pub bytes: &'a [u8],
}

/// A chunk that a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// The series' id in its shard.
    pub series: u32,
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// Times of the first and the last sample.
    pub range: TimeRange,
    /// How many samples.
    pub samples: u16,
    /// Where its bytes stand.
    pub location: ChunkLocation,
}

/// What a batch's header says, its checksum not yet verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchHeader {
    version: u32,
    chunks: u32,
    /// Bytes from the header to the end of the last checksum.
    pub(super) bytes: u32,
    directory_bytes: u32,
    crc: u32,
}

impl BatchHeader {
    /// Bytes of the header alone.
    fn len(self) -> usize {
        if self.version == 1 { BATCH_HEADER_1_BYTES } else { BATCH_HEADER_BYTES }
    }

    /// Bytes of header and directory.
    pub(super) fn directory_end(self) -> usize {
        self.len() + self.directory_bytes as usize
    }

    /// Distance from this batch to the next.
    pub(super) fn stride(self) -> u64 {
        whole_blocks(self.bytes as usize) as u64
    }
}

/// The header of file `sequence`.
pub(super) fn file_header(sequence: u32) -> [u8; FILE_HEADER_BYTES] {
    let mut out = [0; FILE_HEADER_BYTES];
    out[..8].copy_from_slice(FILE_MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32c::crc32c(&out[..16]);
    out[16..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What is wrong with a file header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Not a header of this file.
    Damaged,
    /// A header of a later format.
    Newer(u32),
}

/// Checks the header of file `sequence`.
pub(super) fn check_file_header(bytes: &[u8], sequence: u32) -> Result<(), BadHeader> {
    let Some(bytes) = bytes.get(..FILE_HEADER_BYTES) else { return Err(BadHeader::Damaged) };
    if bytes[..8] != *FILE_MAGIC || crc32c::crc32c(&bytes[..16]) != u32_at(bytes, 16) {
        return Err(BadHeader::Damaged);
    }
    match u32_at(bytes, 8) {
        1..=VERSION if u32_at(bytes, 12) == sequence => Ok(()),
        0..=VERSION => Err(BadHeader::Damaged),
        other => Err(BadHeader::Newer(other)),
    }
}

/// Bytes that one chunk takes in a batch at the most: its entry, itself, its checksum.
pub(super) fn stored_bytes_max(chunk: &SealedChunk<'_>) -> usize {
    ENTRY_BYTES_MAX + chunk.bytes.len() + CRC_BYTES
}

/// A batch that is about to be written.
pub(super) struct Batch<'a> {
    chunks: &'a [SealedChunk<'a>],
    /// Room for the header, and the directory.
    head: Vec<u8>,
    /// Up to the end of the last checksum.
    bytes: usize,
}

impl<'a> Batch<'a> {
    /// A batch of these chunks.
    pub(super) fn of(chunks: &'a [SealedChunk<'a>]) -> Self {
        let mut head = vec![0; BATCH_HEADER_BYTES];
        let mut before = Before::default();
        for chunk in chunks {
            before.push(&mut head, chunk);
        }
        let stored = chunks.iter().map(|chunk| chunk.bytes.len() + CRC_BYTES).sum::<usize>();
        Batch { chunks, bytes: head.len() + stored, head }
    }

    /// Bytes that it takes, padding included.
    pub(super) fn whole_bytes(&self) -> usize {
        whole_blocks(self.bytes)
    }

    /// Writes it for file `file` at `position`: calls `put` with each piece in order, `stored` with each chunk.
    pub(super) fn encode(
        &mut self,
        file: u32,
        position: u32,
        mut put: impl FnMut(&[u8]),
        mut stored: impl FnMut(ChunkLocation),
    ) {
        let Batch { chunks, head, bytes } = self;
        let directory_bytes = (head.len() - BATCH_HEADER_BYTES) as u32;
        let words = [BATCH_MAGIC, chunks.len() as u32, *bytes as u32, file, directory_bytes];
        for (i, word) in words.into_iter().enumerate() {
            head[4 * i..4 * i + 4].copy_from_slice(&word.to_le_bytes());
        }
        let crc = directory_crc(head, BATCH_HEADER_BYTES);
        head[BATCH_HEADER_BYTES - CRC_BYTES..BATCH_HEADER_BYTES]
            .copy_from_slice(&crc.to_le_bytes());
        put(head);
        let mut offset = position + head.len() as u32;
        for chunk in *chunks {
            let location = ChunkLocation { file, offset, len: chunk.bytes.len() as u32 };
            stored(location);
            put(chunk.bytes);
            put(&crc32c::crc32c(chunk.bytes).to_le_bytes());
            offset += location.stored_bytes() as u32;
        }
    }
}

/// What all but the bytes of a chunk are said by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    range: TimeRange,
    samples: u16,
    encoding: Encoding,
}

/// What an entry is written in relation to.
#[derive(Default)]
struct Before {
    /// The number after that of the entry before.
    series: i64,
    first_ms: TimestampMs,
    shape: Option<Shape>,
}

impl Before {
    fn push(&mut self, out: &mut Vec<u8>, chunk: &SealedChunk<'_>) {
        let SealedChunk { series, encoding, range, samples, .. } = *chunk;
        let shape = Shape { range, samples, encoding };
        let alike = self.shape == Some(shape);
        push_uvarint(out, zigzag(i64::from(series) - self.series) << 1 | u64::from(alike));
        self.series = i64::from(series) + 1;
        if !alike {
            push_uvarint(out, u64::from(samples));
            out.push(encoding as u8);
            push_varint(out, range.start_ms.wrapping_sub(self.first_ms));
            push_uvarint(out, range.end_ms.wrapping_sub(range.start_ms) as u64);
            (self.first_ms, self.shape) = (range.start_ms, Some(shape));
        }
        push_uvarint(out, chunk.bytes.len() as u64);
    }

    /// Series, shape and length of the next chunk.
    fn read(&mut self, input: &mut Input<'_>) -> Option<(u32, Shape, u32)> {
        let head = input.uvarint()?;
        let series = self.series.checked_add(unzigzag(head >> 1))?;
        let number = u32::try_from(series).ok()?;
        self.series = series + 1;
        if head & 1 == 0 {
            let samples = u16::try_from(input.uvarint()?).ok()?;
            let encoding = Encoding::from_u8(input.byte()?).ok()?;
            let start_ms = self.first_ms.wrapping_add(input.varint()?);
            let end_ms = start_ms.wrapping_add(input.uvarint()? as i64);
            self.first_ms = start_ms;
            let range = TimeRange::new(start_ms, end_ms);
            self.shape = Some(Shape { range, samples, encoding });
        }
        Some((number, self.shape?, u32::try_from(input.uvarint()?).ok()?))
    }
}

/// Reads a batch header of file `file`; `None` if the bytes are none.
pub(super) fn batch_header(bytes: &[u8], file: u32) -> Option<BatchHeader> {
    let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
    let (chunks, batch_bytes) = (u32_at(bytes, 4), u32_at(bytes, 8));
    let (version, directory_bytes, crc) = match u32_at(bytes, 0) {
        BATCH_MAGIC => (2, u32_at(bytes, 16), u32_at(bytes, 20)),
        BATCH_MAGIC_1 => (1, chunks.checked_mul(ENTRY_1_BYTES as u32)?, u32_at(bytes, 16)),
        _ => return None,
    };
    let header = BatchHeader { version, chunks, bytes: batch_bytes, directory_bytes, crc };
    let entries = u64::from(chunks) * ENTRY_BYTES_MIN as u64 <= u64::from(directory_bytes);
    let fits = header.directory_end() as u64 <= u64::from(batch_bytes);
    (u32_at(bytes, 12) == file && entries && fits).then_some(header)
}

/// Reads the directory of a batch of file `file` at `position` from the bytes of header and directory.
///
/// `None` if the checksum or an entry is wrong.
pub(super) fn directory(
    bytes: &[u8],
    header: BatchHeader,
    file: u32,
    position: u32,
) -> Option<Vec<StoredChunk>> {
    let head = bytes.get(..header.directory_end())?;
    if directory_crc(head, header.len()) != header.crc {
        return None;
    }
    let data = u64::from(position) + header.directory_end() as u64;
    let end = u64::from(position) + u64::from(header.bytes);
    let entries = &head[header.len()..];
    let chunks = if header.version == 1 {
        entries_1(entries, file)
    } else {
        read_entries(entries, header.chunks, file, data)
    }?;
    let inside = |chunk: &StoredChunk| {
        let ChunkLocation { offset, .. } = chunk.location;
        data <= u64::from(offset) && u64::from(offset) + chunk.location.stored_bytes() as u64 <= end
    };
    chunks.iter().all(inside).then_some(chunks)
}

/// The entries of a directory whose chunks begin at `data`.
fn read_entries(entries: &[u8], count: u32, file: u32, data: u64) -> Option<Vec<StoredChunk>> {
    let (mut input, mut before, mut offset) = (Input { bytes: entries }, Before::default(), data);
    let mut chunks = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (series, Shape { range, samples, encoding }, len) = before.read(&mut input)?;
        let location = ChunkLocation { file, offset: u32::try_from(offset).ok()?, len };
        offset += location.stored_bytes() as u64;
        chunks.push(StoredChunk { series, encoding, range, samples, location });
    }
    input.bytes.is_empty().then_some(chunks)
}

/// The entries of version 1:
///
/// ```text
/// entry   | series u32 | offset in the file u32 | length u32 | samples u16 | encoding u8 | 0 u8 | first ms i64 | last ms i64 |
/// ```
fn entries_1(entries: &[u8], file: u32) -> Option<Vec<StoredChunk>> {
    let read = |entry: &[u8]| {
        Some(StoredChunk {
            series: u32_at(entry, 0),
            encoding: Encoding::from_u8(entry[14]).ok()?,
            range: TimeRange::new(i64_at(entry, 16), i64_at(entry, 24)),
            samples: u16::from_le_bytes([entry[12], entry[13]]),
            location: ChunkLocation { file, offset: u32_at(entry, 4), len: u32_at(entry, 8) },
        })
    };
    entries.chunks_exact(ENTRY_1_BYTES).map(read).collect()
}

/// The chunk in `stored`, the bytes that [`ChunkLocation`] points to with the checksum behind; the checksums
/// expected and found if it is damaged.
pub(super) fn check_chunk(stored: &[u8]) -> Result<&[u8], (u32, u32)> {
    let Some((chunk, crc)) = stored.split_last_chunk::<CRC_BYTES>() else { return Err((0, 0)) };
    let (expected, found) = (u32::from_le_bytes(*crc), crc32c::crc32c(chunk));
    if expected == found { Ok(chunk) } else { Err((expected, found)) }
}

/// The checksum of a batch: its header, of so many bytes, without the checksum, and the directory.
fn directory_crc(head: &[u8], header_bytes: usize) -> u32 {
    let crc = crc32c::crc32c(&head[..header_bytes - CRC_BYTES]);
    crc32c::crc32c_append(crc, &head[header_bytes..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}
