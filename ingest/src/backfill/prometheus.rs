//! Blocks of Prometheus: index of version 2, chunks of version 1, tombstones. Integers of fixed size are big-endian, CRCs Castagnoli.
//!
//! ```text
//! index        magic baaad700, version: u8 | symbols | series | ... | table of contents: 6 offsets u64, crc u32
//!   symbols    length u32 | count u32 | of each: length uvarint, text | crc u32
//!   series     at multiples of 16: length uvarint | content | crc u32            sorted by labels
//!     content  labels uvarint | of each: symbol of the name, of the value: uvarint | chunks uvarint |
//!              of each: first ms (varint; later ones uvarint, since the end of the one before), length in ms uvarint,
//!              reference (uvarint; later ones varint, minus the one before)
//! chunks/NNN   magic 85bd40dd, version: u8, 3 zeros | chunk | chunk ...          reference = file << 32 | offset
//!   chunk      length of the data uvarint | encoding u8 | data | crc u32 of encoding and data
//! tombstones   magic 0130ba30, version: u8 | of each: series uvarint, first and last ms varint | crc u32
//! ```
//!
//! A series is referred to by its offset divided by 16.

use super::histograms;
use tidemark_core::chunk::bits::BitReader;
use tidemark_core::chunk::{self, Encoding};
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::time::TimeRange;

/// Bytes at the start of an index.
pub const INDEX_HEADER_BYTES: usize = 5;
/// Bytes of the table of contents at the end of an index.
pub const CONTENTS_BYTES: usize = 52;
/// Series begin at multiples of it.
pub const SERIES_ALIGNMENT: u64 = 16;
/// Bytes of a CRC.
pub const CRC_BYTES: usize = 4;
/// Most bytes in front of the content of a series or the data of a chunk.
pub const LENGTH_BYTES_MAX: usize = 11;
/// The encoding of chunks of floats, of native histograms, of those of floats.
const XOR: u8 = 1;
const HISTOGRAM: u8 = 2;
const FLOAT_HISTOGRAM: u8 = 3;

/// Bytes that are not what Prometheus writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of another kind, or of another version.
    #[error("it is no {0} that this version reads")]
    Unknown(&'static str),
    /// They end too early, or a number in them is out of range.
    #[error("{0} is malformed")]
    Broken(&'static str),
    /// A checksum does not fit.
    #[error("the checksum of {0} does not fit: it is damaged")]
    Checksum(&'static str),
}

type Result<T> = std::result::Result<T, Malformed>;

/// Where the sections of an index are that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Where the symbols begin.
    pub symbols: u64,
    /// Where the series begin, and the symbols end.
    pub series: u64,
    /// Where the series end.
    pub series_end: u64,
}

/// A chunk of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Times of its first and its last sample.
    pub range: TimeRange,
    /// Which file it is in, counted from 0.
    pub file: u32,
    /// Where in it.
    pub offset: u32,
}

/// A series as the index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Symbols of name and value of each label, sorted by name.
    pub labels: Vec<(u32, u32)>,
    /// The oldest first.
    pub chunks: Vec<ChunkEntry>,
}

/// Checks the start of an index.
pub fn check_index(header: [u8; INDEX_HEADER_BYTES]) -> Result<()> {
    let known = header == [0xba, 0xaa, 0xd7, 0x00, 2];
    if known { Ok(()) } else { Err(Malformed::Unknown("index of version 2")) }
}

/// Reads the table of contents.
pub fn contents(bytes: &[u8; CONTENTS_BYTES]) -> Result<Contents> {
    let offsets = checked(bytes, "the table of contents")?;
    let offset = |i: usize| {
        u64::from_be_bytes(*offsets[i * 8..].first_chunk().expect("there are six of eight bytes"))
    };
    // Label indices follow the series, and where there are none, postings.
    let series_end = if offset(2) == 0 { offset(4) } else { offset(2) };
    let contents = Contents { symbols: offset(0), series: offset(1), series_end };
    let ascending = contents.symbols <= contents.series && contents.series <= series_end;
    if ascending { Ok(contents) } else { Err(Malformed::Broken("the table of contents")) }
}

/// Reads the section of symbols: all label names and values, in the order of their numbers.
pub fn symbols(section: &[u8]) -> Result<Vec<String>> {
    const WHAT: &str = "the table of symbols";
    let broken = Malformed::Broken(WHAT);
    let (len, rest) = section.split_first_chunk().ok_or(broken)?;
    let end = u32::from_be_bytes(*len) as usize + CRC_BYTES;
    let body = checked(rest.get(..end).ok_or(broken)?, WHAT)?;
    let (count, mut body) = body.split_first_chunk().ok_or(broken)?;
    let count = u32::from_be_bytes(*count) as usize;
    let mut symbols = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        let (len, rest) = length(body).ok_or(broken)?;
        let (text, rest) = rest.split_at_checked(len).ok_or(broken)?;
        symbols.push(std::str::from_utf8(text).map_err(|_| broken)?.to_owned());
        body = rest;
    }
    Ok(symbols)
}

/// A length in front of what it is of, and what follows it.
pub fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut reader = BitReader::new(bytes);
    let len = usize::try_from(reader.read_uvarint()?).ok()?;
    Some((len, bytes.get(reader.position() / 8..)?))
}

/// Reads the content of a series with the CRC behind it.
pub fn series(content: &[u8]) -> Result<SeriesEntry> {
    let content = checked(content, "a series")?;
    read_series(content).ok_or(Malformed::Broken("a series"))
}

fn read_series(content: &[u8]) -> Option<SeriesEntry> {
    let mut reader = BitReader::new(content);
    let mut entry = SeriesEntry::default();
    // Each field takes a byte at least, so a count is bounded by what is there.
    let bounded = |count: u64| usize::try_from(count).ok().filter(|n| *n <= content.len());
    for _ in 0..bounded(reader.read_uvarint()?)? {
        let mut symbol = || u32::try_from(reader.read_uvarint()?).ok();
        entry.labels.push((symbol()?, symbol()?));
    }
    let (mut end_ms, mut reference) = (0_i64, 0_i64);
    for i in 0..bounded(reader.read_uvarint()?)? {
        let start_ms = match i {
            0 => reader.read_varint()?,
            _ => end_ms.checked_add_unsigned(reader.read_uvarint()?)?,
        };
        end_ms = start_ms.checked_add_unsigned(reader.read_uvarint()?)?;
        reference = match i {
            0 => i64::try_from(reader.read_uvarint()?).ok()?,
            _ => reference.checked_add(reader.read_varint()?)?,
        };
        entry.chunks.push(ChunkEntry {
            range: TimeRange::new(start_ms, end_ms),
            file: u32::try_from(reference >> 32).ok()?,
            offset: reference as u32,
        });
    }
    (!reader.overran()).then_some(entry)
}

/// Reads a chunk (encoding, data and the CRC behind them), and appends its samples to `out`.
pub fn chunk(bytes: &[u8], out: &mut SampleColumns) -> Result<()> {
    let broken = Malformed::Broken("a chunk");
    let (&encoding, data) = checked(bytes, "a chunk")?.split_first().ok_or(broken)?;
    match encoding {
        XOR => chunk::decode(Encoding::Xor, data, TimeRange::ALL, out).map_err(|_| broken),
        HISTOGRAM => histograms::decode(data, false, out).ok_or(broken),
        FLOAT_HISTOGRAM => histograms::decode(data, true, out).ok_or(broken),
        _ => Err(Malformed::Unknown("encoding of chunks")),
    }
}

/// Reads a file of tombstones: the series, by their references, and what is deleted of them.
pub fn tombstones(file: &[u8]) -> Result<Vec<(u64, TimeRange)>> {
    let Some((&[0x01, 0x30, 0xba, 0x30, 1], body)) = file.split_first_chunk() else {
        return Err(Malformed::Unknown("file of tombstones"));
    };
    let body = checked(body, "the tombstones")?;
    let mut reader = BitReader::new(body);
    let mut deleted = Vec::new();
    let entry = |reader: &mut BitReader<'_>| {
        let (series, first) = (reader.read_uvarint()?, reader.read_varint()?);
        Some((series, TimeRange::new(first, reader.read_varint()?)))
    };
    while reader.position() < body.len() * 8 {
        let entry = entry(&mut reader).filter(|_| !reader.overran());
        deleted.push(entry.ok_or(Malformed::Broken("a tombstone"))?);
    }
    Ok(deleted)
}

/// What stands before the CRC at the end of `bytes`, if that fits.
fn checked<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8]> {
    let (body, crc) = bytes.split_last_chunk().ok_or(Malformed::Broken(what))?;
    let fits = crc32c::crc32c(body) == u32::from_be_bytes(*crc);
    if fits { Ok(body) } else { Err(Malformed::Checksum(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemark_core::chunk::bits::{push_uvarint, push_varint};
    use tidemark_core::chunk::xor::XorEncoder;

    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn a_series_is_read_with_its_chunks() {
        let mut content = Vec::new();
        for number in [1_u64, 3, 9, 2] {
            push_uvarint(&mut content, number);
        }
        push_varint(&mut content, -5);
        for number in [100, (7 << 32) | 8, 10, 50] {
            push_uvarint(&mut content, number);
        }
        push_varint(&mut content, -3);
        let chunk =
            |start, end, offset| ChunkEntry { range: TimeRange::new(start, end), file: 7, offset };
        let expected = SeriesEntry {
            labels: vec![(3, 9)],
            chunks: vec![chunk(-5, 95, 8), chunk(105, 155, 5)],
        };
        let bytes = with_crc(content);
        assert_eq!(series(&bytes), Ok(expected));
        assert_eq!(series(&bytes[1..]), Err(Malformed::Checksum("a series")));
    }

    #[test]
    fn chunks_are_read_and_unknown_ones_are_told() {
        let mut encoder = XorEncoder::new();
        encoder.push(10, 1.5);
        let mut bytes = vec![XOR];
        bytes.extend(encoder.seal());
        let mut out = SampleColumns::new();
        assert_eq!(chunk(&with_crc(bytes), &mut out), Ok(()));
        assert_eq!((out.timestamps, out.values), (vec![10], vec![1.5]));
        let unknown = chunk(&with_crc(vec![9, 0, 0]), &mut SampleColumns::new());
        assert_eq!(unknown, Err(Malformed::Unknown("encoding of chunks")));
    }

    #[test]
    fn tombstones_are_read() {
        let mut body = Vec::new();
        push_uvarint(&mut body, 77);
        push_varint(&mut body, -1);
        push_varint(&mut body, 500);
        let file = [&[0x01, 0x30, 0xba, 0x30, 1][..], &with_crc(body)].concat();
        assert_eq!(tombstones(&file), Ok(vec![(77, TimeRange::new(-1, 500))]));
        assert!(tombstones(&file[..file.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(encoding in 0_u8..5, bytes: Vec<u8>) {
            let _ = chunk(&with_crc([&[encoding][..], &bytes].concat()), &mut SampleColumns::new());
            let bytes = with_crc(bytes);
            let _ = series(&bytes);
            let _ = chunk(&bytes, &mut SampleColumns::new());
            let _ = symbols(&bytes);
            let _ = symbols(&[&(bytes.len() as u32 - 4).to_be_bytes()[..], &bytes].concat());
            let _ = tombstones(&[&[0x01, 0x30, 0xba, 0x30, 1][..], &bytes].concat());
        }
    }
}
