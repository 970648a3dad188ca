//! The bytes of a WAL segment: encoding and checking, no I/O. `docs/formats/wal.md` is the page about it.
//!
//! ```text
//! segment   +--------+-------------------+---------+-------------------+---------+--
//!           | header | run               | zeros   | run               | zeros   | ...
//!           | 1 block| frame frame frame | to block| frame             | to block|
//!           +--------+-------------------+---------+-------------------+---------+--
//!
//! header    0      8       12      16   24                32              40          48   52
//!           +------+-------+-------+----+-----------------+---------------+-----------+----+
//!           |magic | version| 0    | id | first sequence  | segment bytes | created ms| crc|  again at 2048
//!           +------+-------+-------+----+-----------------+---------------+-----------+----+
//!
//! frame     0    4              8        12    13     14        16
//!           +----+--------------+--------+-----+------+---------+---------+
//!           | crc| payload bytes| ordinal| kind| flags| id & ffff| payload |
//!           +----+--------------+--------+-----+------+---------+---------+
//! ```
//!
//! Integers are little-endian. A *run* is what one write carries; it starts on a block boundary and its last frame is
//! marked. A run whose first frame is a *barrier* was written after everything before it had been made durable: that is
//! how a reader tells damage (a later barrier is intact) from a torn tail. The CRC-32C of a frame starts from the
//! header's, so frames of the segment's former life, which a recycled file is full of, never pass.

use crate::runtime::disk::BLOCK_BYTES;

/// First bytes of every segment.
pub(super) const MAGIC: [u8; 8] = *b"tidewal\0";

/// The version this code writes, and the only one so far.
pub(super) const VERSION: u32 = 1;

/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 16;

/// Where the second copy of the header stands in the first block.
const SECOND_COPY: usize = 2048;

const HEADER_BYTES: usize = 52;

const LAST: u8 = 1;
const BARRIER: u8 = 2;

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Number of the segment; also in its name.
    pub(super) id: u64,
    /// Sequence number of its first record.
    pub(super) first_sequence: u64,
    /// Length of the file.
    pub(super) segment_bytes: u64,
    /// When it was begun, milliseconds since the epoch.
    pub(super) created_ms: i64,
}

/// What a header is, when it is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Neither copy is intact.
    Damaged,
    /// Intact, of a version this code does not know.
    Version(u32),
}

impl Header {
    /// The first block of a segment.
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.id.to_le_bytes());
        block[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        block[32..40].copy_from_slice(&self.segment_bytes.to_le_bytes());
        block[40..48].copy_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32c::crc32c(&block[..48]);
        block[48..52].copy_from_slice(&crc.to_le_bytes());
        block.copy_within(0..HEADER_BYTES, SECOND_COPY);
        block
    }

    /// Reads a first block; either copy will do.
    pub(super) fn decode(block: &[u8]) -> Result<Header, BadHeader> {
        let second = block.get(SECOND_COPY..).unwrap_or_default();
        Header::decode_copy(block).or_else(|first| match Header::decode_copy(second) {
            Ok(header) => Ok(header),
            Err(BadHeader::Damaged) => Err(first),
            Err(version) => Err(version),
        })
    }

    fn decode_copy(bytes: &[u8]) -> Result<Header, BadHeader> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(BadHeader::Damaged)?;
        if bytes[..8] != MAGIC || u32_at(bytes, 48) != crc32c::crc32c(&bytes[..48]) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Header {
                id: u64_at(bytes, 16),
                first_sequence: u64_at(bytes, 24),
                segment_bytes: u64_at(bytes, 32),
                created_ms: u64_at(bytes, 40) as i64,
            }),
            newer => Err(BadHeader::Version(newer)),
        }
    }

    /// What the CRC of every frame of this segment starts from.
    pub(super) fn seed(&self) -> u32 {
        u32_at(&self.encode(), 48)
    }

    fn life(&self) -> u16 {
        self.id as u16
    }
}

/// Writes the parts of a frame's header that are known when its payload is complete.
pub(super) fn begin_frame(frame: &mut [u8], kind: u8) {
    let payload_bytes = (frame.len() - FRAME_HEADER_BYTES) as u32;
    frame[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
    frame[12] = kind;
}

/// Completes the frames of a run for the segment it is written to: ordinals, flags, CRCs. Done again when the run has to
/// be written to another segment.
pub(super) fn seal_run(run: &mut [u8], first_sequence: u64, header: &Header, barrier: bool) {
    let seed = header.seed();
    let mut ordinal = (first_sequence - header.first_sequence) as u32;
    let mut flags = if barrier { BARRIER } else { 0 };
    let mut rest = run;
    while !rest.is_empty() {
        let frame_bytes = FRAME_HEADER_BYTES + u32_at(rest, 4) as usize;
        let (frame, behind) = rest.split_at_mut(frame_bytes);
        rest = behind;
        if rest.is_empty() {
            flags |= LAST;
        }
        frame[8..12].copy_from_slice(&ordinal.to_le_bytes());
        frame[13] = flags;
        frame[14..16].copy_from_slice(&header.life().to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &frame[4..]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
        ordinal += 1;
        flags = 0;
    }
}

/// The header of a frame that may be one: its length is possible and it names this segment. Only [`Frame::check`] tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    crc: u32,
    payload_bytes: u32,
    ordinal: u32,
    /// What the payload is.
    pub(super) kind: u8,
    flags: u8,
}

impl Frame {
    /// Reads a frame header of the segment; `None` when no frame of it can look like this.
    pub(super) fn decode(bytes: &[u8], header: &Header) -> Option<Frame> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        let life = u16::from_le_bytes([bytes[14], bytes[15]]);
        let possible =
            life == header.life() && bytes[12] != 0 && bytes[13] & !(LAST | BARRIER) == 0;
        possible.then(|| Frame {
            crc: u32_at(bytes, 0),
            payload_bytes: u32_at(bytes, 4),
            ordinal: u32_at(bytes, 8),
            kind: bytes[12],
            flags: bytes[13],
        })
    }

    /// Length with its header.
    pub(super) fn bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    /// The sequence number of its record.
    pub(super) fn sequence(&self, header: &Header) -> u64 {
        header.first_sequence + u64::from(self.ordinal)
    }

    /// Whether the next frame starts at the next block.
    pub(super) fn is_last(&self) -> bool {
        self.flags & LAST != 0
    }

    /// Whether everything before it was durable when it was written.
    pub(super) fn is_barrier(&self) -> bool {
        self.flags & BARRIER != 0
    }

    /// Whether `bytes`, the whole frame, is what was written; if not, the CRC that is stored and the one computed.
    pub(super) fn check(&self, bytes: &[u8], seed: u32) -> Result<(), (u32, u32)> {
        let computed = crc32c::crc32c_append(seed, &bytes[4..]);
        if computed == self.crc { Ok(()) } else { Err((self.crc, computed)) }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        id: 7,
        first_sequence: 1_000,
        segment_bytes: 65_536,
        created_ms: 1_767_225_600_000,
    };

    #[test]
    fn either_copy_of_a_header_will_do() {
        let block = HEADER.encode();
        for at in 0..BLOCK_BYTES {
            let mut damaged = block;
            damaged[at] ^= 0x10;
            assert_eq!(Header::decode(&damaged), Ok(HEADER), "byte {at}");
        }
        let mut damaged = block;
        damaged[3] ^= 1;
        damaged[SECOND_COPY + 20] ^= 1;
        assert_eq!(Header::decode(&damaged), Err(BadHeader::Damaged));
        for len in 0..HEADER_BYTES {
            assert_eq!(Header::decode(&block[..len]), Err(BadHeader::Damaged));
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut block = HEADER.encode();
        block[8] = 9;
        let crc = crc32c::crc32c(&block[..48]);
        block[48..52].copy_from_slice(&crc.to_le_bytes());
        block.copy_within(0..HEADER_BYTES, SECOND_COPY);
        assert_eq!(Header::decode(&block), Err(BadHeader::Version(9)));
    }

    #[test]
    fn frames_of_another_life_never_pass() {
        let mut run = vec![0; FRAME_HEADER_BYTES + 3];
        run[FRAME_HEADER_BYTES..].copy_from_slice(b"abc");
        begin_frame(&mut run, 4);
        seal_run(&mut run, 1_002, &HEADER, true);
        let frame = Frame::decode(&run, &HEADER).unwrap();
        assert_eq!((frame.sequence(&HEADER), frame.kind, frame.bytes()), (1_002, 4, 19));
        assert!(frame.is_last() && frame.is_barrier());
        frame.check(&run, HEADER.seed()).unwrap();
        let next_life = Header { id: 7 + 65_536, ..HEADER };
        let frame = Frame::decode(&run, &next_life).unwrap();
        frame.check(&run, next_life.seed()).unwrap_err();
        assert!(Frame::decode(&run, &Header { id: 8, ..HEADER }).is_none());
    }
}
