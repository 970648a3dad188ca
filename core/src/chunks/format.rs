//! The bytes of a chunk file. Pure functions; `docs/formats/chunk-file.md` is the page, this file the code.
//!
//! ```text
//! file    | header, padded to a block | batch | batch | ...            every batch starts at a multiple of 4096
//!
//! header  | "TIDECHNK" 8 | version u32 | sequence u32 | crc32c u32 |
//!
//! batch   | magic u32 | chunks u32 | batch bytes u32 | sequence u32 | crc32c of the 16 bytes before and the directory u32 |
//!         | directory: one entry a chunk | chunk | crc32c u32 | chunk | crc32c u32 | ... | zeros up to a block
//!
//! entry   | series u32 | offset in the file u32 | length u32 | samples u16 | encoding u8 | 0 u8 | first ms i64 | last ms i64 |
//! ```
//!
//! Integers are little-endian. The directory stands in front, so that opening a file reads 32 bytes a chunk and none of
//! the samples. The sequence number in each batch keeps the bytes of a recycled disk block from passing for a batch.

use crate::chunk::Encoding;
use crate::model::time::TimeRange;
use crate::runtime::disk::whole_blocks;

/// Version of the format that this binary writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;
const FILE_MAGIC: &[u8; 8] = b"TIDECHNK";
const BATCH_MAGIC: u32 = 0x5443_4854;

/// Bytes of the file header.
pub(super) const FILE_HEADER_BYTES: usize = 20;
/// Bytes of the batch header, directory not included.
pub(super) const BATCH_HEADER_BYTES: usize = 20;
const ENTRY_BYTES: usize = 32;
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
    chunks: u32,
    /// Bytes from the header to the end of the last checksum.
    pub(super) bytes: u32,
    crc: u32,
}

impl BatchHeader {
    /// Bytes of header and directory.
    pub(super) fn directory_end(self) -> usize {
        BATCH_HEADER_BYTES + self.chunks as usize * ENTRY_BYTES
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
        VERSION if u32_at(bytes, 12) == sequence => Ok(()),
        VERSION => Err(BadHeader::Damaged),
        other => Err(BadHeader::Newer(other)),
    }
}

/// Bytes that one chunk takes in a batch: its entry, itself, its checksum.
pub(super) fn stored_bytes(chunk: &SealedChunk<'_>) -> usize {
    ENTRY_BYTES + chunk.bytes.len() + CRC_BYTES
}

/// Bytes that a batch of these chunks takes, padding included.
pub(super) fn batch_bytes(chunks: &[SealedChunk<'_>]) -> usize {
    whole_blocks(BATCH_HEADER_BYTES + chunks.iter().map(stored_bytes).sum::<usize>())
}

/// Writes a batch for file `file` at `position`: calls `put` with each piece in order, `stored` with each chunk.
pub(super) fn encode_batch(
    chunks: &[SealedChunk<'_>],
    file: u32,
    position: u32,
    mut put: impl FnMut(&[u8]),
    mut stored: impl FnMut(ChunkLocation),
) {
    let mut head = Vec::with_capacity(BATCH_HEADER_BYTES + chunks.len() * ENTRY_BYTES);
    head.resize(BATCH_HEADER_BYTES, 0);
    let mut end = BATCH_HEADER_BYTES + chunks.len() * ENTRY_BYTES;
    for chunk in chunks {
        let len = chunk.bytes.len() as u32;
        let location = ChunkLocation { file, offset: position + end as u32, len };
        push_entry(&mut head, chunk, location);
        stored(location);
        end += location.stored_bytes();
    }
    for (i, word) in [BATCH_MAGIC, chunks.len() as u32, end as u32, file].into_iter().enumerate() {
        head[4 * i..4 * i + 4].copy_from_slice(&word.to_le_bytes());
    }
    let crc = directory_crc(&head);
    head[16..20].copy_from_slice(&crc.to_le_bytes());
    put(&head);
    for chunk in chunks {
        put(chunk.bytes);
        put(&crc32c::crc32c(chunk.bytes).to_le_bytes());
    }
}

fn push_entry(out: &mut Vec<u8>, chunk: &SealedChunk<'_>, location: ChunkLocation) {
    for word in [chunk.series, location.offset, location.len] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&chunk.samples.to_le_bytes());
    out.extend_from_slice(&[chunk.encoding as u8, 0]);
    out.extend_from_slice(&chunk.range.start_ms.to_le_bytes());
    out.extend_from_slice(&chunk.range.end_ms.to_le_bytes());
}

/// Reads a batch header of file `file`; `None` if the bytes are none.
pub(super) fn batch_header(bytes: &[u8], file: u32) -> Option<BatchHeader> {
    let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
    let header =
        BatchHeader { chunks: u32_at(bytes, 4), bytes: u32_at(bytes, 8), crc: u32_at(bytes, 16) };
    let whole = u32_at(bytes, 0) == BATCH_MAGIC && u32_at(bytes, 12) == file;
    let fits = u64::from(header.chunks) * ENTRY_BYTES as u64 + BATCH_HEADER_BYTES as u64
        <= u64::from(header.bytes);
    (whole && fits).then_some(header)
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
    if directory_crc(head) != header.crc {
        return None;
    }
    let data = u64::from(position) + header.directory_end() as u64;
    let end = u64::from(position) + u64::from(header.bytes);
    head[BATCH_HEADER_BYTES..]
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| {
            let location = ChunkLocation { file, offset: u32_at(entry, 4), len: u32_at(entry, 8) };
            let last = u64::from(location.offset) + location.stored_bytes() as u64;
            let inside = data <= u64::from(location.offset) && last <= end;
            inside.then_some(StoredChunk {
                series: u32_at(entry, 0),
                encoding: Encoding::from_u8(entry[14]).ok()?,
                range: TimeRange::new(i64_at(entry, 16), i64_at(entry, 24)),
                samples: u16::from_le_bytes([entry[12], entry[13]]),
                location,
            })
        })
        .collect()
}

/// The chunk in `stored`, the bytes that [`ChunkLocation`] points to with the checksum behind; the checksums
/// expected and found if it is damaged.
pub(super) fn check_chunk(stored: &[u8]) -> Result<&[u8], (u32, u32)> {
    let Some((chunk, crc)) = stored.split_last_chunk::<CRC_BYTES>() else { return Err((0, 0)) };
    let (expected, found) = (u32::from_le_bytes(*crc), crc32c::crc32c(chunk));
    if expected == found { Ok(chunk) } else { Err((expected, found)) }
}

/// The checksum of a batch: its header without the checksum, and the directory.
fn directory_crc(head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..16]), &head[BATCH_HEADER_BYTES..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}
