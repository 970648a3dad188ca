//! Reading a log from its first segment to its end.
//!
//! Records are numbered without gaps, every segment says the number of its first record, and runs that are barriers say
//! that all before them was durable. So where a frame is not intact, one of three things is known:
//!
//! * the next segment begins with the number expected here, or a smaller one: this segment simply ends, what is behind
//!   was never acknowledged from here;
//! * no later segment and no intact barrier follows: the log ends here, at most with a torn write nobody was told of;
//! * otherwise something acknowledged is damaged: it is reported, and reading goes on at the next intact frame.
//!
//! Records whose number was already seen are skipped: a run whose sync failed was written again to a later segment.

use std::path::{Path, PathBuf};

use super::error::Damage;
use super::format::{BadHeader, FRAME_HEADER_BYTES, Frame, Header, VERSION};
use super::{Position, segment};
use crate::error::{Error, Result};
use crate::limits::WAL_DAMAGE_REPORTS_MAX;
use crate::runtime::disk::{self, BLOCK_BYTES, Disk, Open, Window};
use crate::runtime::yield_if_needed;

/// What is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// Records between two offers to yield the core.
const RECORDS_PER_YIELD: u64 = 64;

/// What replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Segments read.
    pub segments: u64,
    /// Records handed out.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Records known to be lost to damage.
    pub records_lost: u64,
    /// Where a write was torn that nobody was told had succeeded: segment and offset.
    pub torn_tail: Option<(PathBuf, u64)>,
    /// The first places that are damaged.
    pub damage: Vec<Damage>,
    /// How many places are damaged in all.
    pub damage_count: u64,
}

/// A segment that is being read.
struct Readable {
    path: PathBuf,
    header: Header,
    /// What the CRC of each of its frames starts from.
    seed: u32,
    window: Window,
}

/// Where reading a frame ended.
enum Found {
    Intact(Frame),
    /// Not a frame of this segment at all.
    Nothing,
    /// It claims to be one, and its CRC (stored, computed) or its length denies it.
    Broken(Frame, Option<(u32, u32)>),
}

/// Reads the log and hands every record to `on_record`. Also returns the number that the next record gets.
pub(super) async fn replay(
    disk: &Disk,
    directory: &Path,
    segments: &[u64],
    on_record: impl FnMut(Position, u8, &[u8]) -> Result<()>,
) -> Result<(ReplayReport, Ends)> {
    let mut reader = Reader { on_record, expected: None, report: ReplayReport::default() };
    let readable = reader.read_headers(disk, directory, segments).await?;
    let mut ends = Vec::with_capacity(readable.len());
    for (i, &header) in readable.iter().enumerate() {
        let next = readable.get(i + 1);
        let mut segment = Readable::open(disk, directory, header).await?;
        reader.read_segment(&mut segment, next.map(|next| next.first_sequence)).await?;
        ends.push((header.id, reader.expected.unwrap_or(0)));
        if next.is_none() {
            // What was read may not be durable yet if only the process died, and what comes will build on it.
            segment.window.file().sync_data().await?;
        }
    }
    reader.report.segments = readable.len() as u64;
    Ok((reader.report, Ends { next_sequence: reader.expected.unwrap_or(0), segments: ends }))
}

/// Where the records end.
pub(super) struct Ends {
    /// The number that the next record gets.
    pub(super) next_sequence: u64,
    /// Of each readable segment its number, and the sequence number behind its last record.
    pub(super) segments: Vec<(u64, u64)>,
}

struct Reader<F> {
    on_record: F,
    /// The number of the next record; unknown before the first segment.
    expected: Option<u64>,
    report: ReplayReport,
}

impl<F: FnMut(Position, u8, &[u8]) -> Result<()>> Reader<F> {
    fn damage(&mut self, path: &Path, offset: u64, expected: String, found: String) {
        self.report.damage_count += 1;
        if self.report.damage.len() < WAL_DAMAGE_REPORTS_MAX {
            self.report.damage.push(Damage { path: path.to_owned(), offset, expected, found });
        }
    }

    /// The headers of the segments that can be read; the others are reported.
    async fn read_headers(
        &mut self,
        disk: &Disk,
        directory: &Path,
        segments: &[u64],
    ) -> Result<Vec<Header>> {
        let mut readable = Vec::with_capacity(segments.len());
        for (i, &id) in segments.iter().enumerate() {
            if i > 0 && segments[i - 1] + 1 != id {
                let path = segment::path(directory, segments[i - 1] + 1);
                let expected = format!("the segments before {id:08}.wal");
                self.damage(&path, 0, expected, "no such file".to_owned());
            }
            let path = segment::path(directory, id);
            let file = disk.open(&path, Open::Read).await?;
            let found = match Header::decode(&file.read_at(0, BLOCK_BYTES).await?) {
                Ok(header) if header.id == id => {
                    readable.push(header);
                    continue;
                }
                Ok(header) => format!("the header of segment {}", header.id),
                Err(BadHeader::Damaged) => "neither copy of it intact".to_owned(),
                Err(BadHeader::Version(found)) => {
                    return Err(Error::NewerFormat { path, found, known: VERSION });
                }
            };
            self.damage(&path, 0, format!("the header of segment {id}"), found);
        }
        Ok(readable)
    }

    async fn read_segment(
        &mut self,
        segment: &mut Readable,
        next_first: Option<u64>,
    ) -> Result<()> {
        let mut position = BLOCK_BYTES as u64;
        let mut expected = self.expected.unwrap_or(segment.header.first_sequence);
        let mut inside_run = false;
        loop {
            self.expected = Some(expected);
            let found = segment.frame_at(position).await?;
            if let Found::Intact(frame) = found {
                let sequence = frame.sequence(&segment.header);
                if sequence >= expected {
                    self.report.records_lost += sequence - expected;
                    self.hand_out(segment, position, &frame).await?;
                    expected = sequence + 1;
                }
                inside_run = !frame.is_last();
                position += frame.bytes();
                if frame.is_last() {
                    position = position.next_multiple_of(BLOCK_BYTES as u64);
                }
                continue;
            }
            let acknowledged_behind = match next_first {
                Some(next_first) => next_first > expected,
                None => segment.next_barrier(position, expected).await?,
            };
            if !acknowledged_behind {
                let torn = inside_run || matches!(found, Found::Broken(..));
                if torn && next_first.is_none() {
                    self.report.torn_tail = Some((segment.path.clone(), position));
                }
                break;
            }
            self.report_frame(segment, position, expected, &found);
            match segment.resume_after(position, expected, &found).await? {
                Some(resumed) => position = resumed,
                None => break,
            }
        }
        let (len, segment_bytes) = (segment.window.len(), segment.header.segment_bytes);
        if len < segment_bytes {
            let expected = format!("a file of {segment_bytes} bytes");
            self.damage(&segment.path, len, expected, "its end".to_owned());
        }
        if let Some(next_first) = next_first
            && next_first > expected
        {
            self.report.records_lost += next_first - expected;
            self.expected = Some(next_first);
        }
        Ok(())
    }

    async fn hand_out(
        &mut self,
        segment: &mut Readable,
        position: u64,
        frame: &Frame,
    ) -> Result<()> {
        let bytes = segment.window.get(position, frame.bytes() as usize).await?;
        let payload = &bytes.expect("an intact frame lies inside the file")[FRAME_HEADER_BYTES..];
        (self.on_record)(Position(frame.sequence(&segment.header)), frame.kind, payload)?;
        self.report.records += 1;
        self.report.bytes += payload.len() as u64;
        if self.report.records.is_multiple_of(RECORDS_PER_YIELD) {
            yield_if_needed().await;
        }
        Ok(())
    }

    fn report_frame(&mut self, segment: &Readable, position: u64, expected: u64, found: &Found) {
        let (expected, found) = match found {
            Found::Broken(_, Some((stored, computed))) => (
                format!("record {expected} with CRC {stored:08x}"),
                format!("bytes with CRC {computed:08x}"),
            ),
            Found::Broken(frame, None) => (
                format!("record {expected}"),
                format!("one of {} bytes, which the file does not have", frame.bytes()),
            ),
            Found::Nothing | Found::Intact(_) => {
                (format!("record {expected}"), "no record of this segment".to_owned())
            }
        };
        self.damage(&segment.path, position, expected, found);
    }
}

impl Readable {
    async fn open(disk: &Disk, directory: &Path, header: Header) -> disk::Result<Readable> {
        let path = segment::path(directory, header.id);
        let mut window = Window::open(disk, &path, WINDOW_BYTES).await?;
        window.limit(header.segment_bytes);
        Ok(Readable { path, header, seed: header.seed(), window })
    }

    async fn frame_at(&mut self, position: u64) -> disk::Result<Found> {
        let header = self.window.get(position, FRAME_HEADER_BYTES).await?;
        let Some(frame) = header.and_then(|bytes| Frame::decode(bytes, &self.header)) else {
            return Ok(Found::Nothing);
        };
        Ok(match self.window.get(position, frame.bytes() as usize).await? {
            None => Found::Broken(frame, None),
            Some(bytes) => match frame.check(bytes, self.seed) {
                Ok(()) => Found::Intact(frame),
                Err(crcs) => Found::Broken(frame, Some(crcs)),
            },
        })
    }

    /// Whether an intact barrier with a record not yet seen follows `position`.
    async fn next_barrier(&mut self, position: u64, expected: u64) -> disk::Result<bool> {
        let barrier = |frame: &Frame| frame.is_barrier();
        Ok(self.next_block_with(position, expected, barrier).await?.is_some())
    }

    /// Where reading can go on behind a damaged frame.
    async fn resume_after(
        &mut self,
        position: u64,
        expected: u64,
        found: &Found,
    ) -> disk::Result<Option<u64>> {
        if let Found::Broken(frame, _) = found {
            // If only its payload is damaged, the next record stands where its length says.
            let behind = position + frame.bytes();
            if let Found::Intact(next) = self.frame_at(behind).await?
                && next.sequence(&self.header) == expected + 1
            {
                return Ok(Some(behind));
            }
        }
        self.next_block_with(position, expected, |_| true).await
    }

    /// The next block behind `position` that starts with an intact frame of a record not yet seen, and of the kind asked for.
    async fn next_block_with(
        &mut self,
        position: u64,
        expected: u64,
        asked_for: impl Fn(&Frame) -> bool,
    ) -> disk::Result<Option<u64>> {
        let block_bytes = BLOCK_BYTES as u64;
        let mut block = (position / block_bytes + 1) * block_bytes;
        while block < self.window.len() {
            let header = self.window.get(block, FRAME_HEADER_BYTES).await?;
            let frame = header.and_then(|bytes| Frame::decode(bytes, &self.header));
            if frame.is_some_and(|f| f.sequence(&self.header) > expected && asked_for(&f))
                && matches!(self.frame_at(block).await?, Found::Intact(_))
            {
                return Ok(Some(block));
            }
            block += block_bytes;
        }
        Ok(None)
    }
}
