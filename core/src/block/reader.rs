//! Reading a block: which series, their labels and chunks, the samples of a chunk.
//!
//! Opening reads the last page of each file and the footer; everything else is read page by page when it is wanted, through a cache
//! that all blocks of a shard share. Matchers mean what they mean in the head: see [`crate::index::memory`].

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::dictionary::{NameTable, ValueGroup, ValuePostings, ValuesDecoder};
use super::figures::Figures;
use super::meta::{BlockMeta, Footer, SeriesGroup};
use super::pages::{Kind, PageCache, PageReader};
use super::series::{BlockChunk, GROUP_SERIES, GroupDecoder};
use super::tombstones::Tombstones;
use super::{CHUNKS_FILE, INDEX_FILE, TOMBSTONES_FILE, block_dir};
use crate::chunk;
use crate::error::{Error, Result};
use crate::index::postings::{intersect, subtract};
use crate::model::columns::SampleColumns;
use crate::model::matcher::{Candidates, Matcher};
use crate::model::time::TimeRange;
use crate::runtime::disk::Disk;
use crate::runtime::yield_if_needed;

/// The pages of the blocks of a shard.
#[derive(Clone)]
pub struct Pages(Rc<PageCache>);

impl Pages {
    /// An empty cache of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Pages(Rc::new(PageCache::new(crate::chunks::cache::Cache::new(bytes_max))))
    }

    /// How it stands.
    pub fn stats(&self) -> crate::chunks::CacheStats {
        self.0.borrow().stats()
    }
}

/// An open block.
pub struct Block {
    directory: PathBuf,
    footer: Footer,
    index: PageReader,
    chunks: PageReader,
    pages: Pages,
    tombstones: RefCell<Rc<Tombstones>>,
}

/// Memory that reading chunks uses again.
#[derive(Default)]
pub struct ReadScratch(Vec<u8>);

impl Block {
    /// Opens the block with this number in the directory of blocks `blocks`.
    ///
    /// # Errors
    /// [`Error::NewerFormat`](crate::error::Error), [`Error::Corrupt`](crate::error::Error) with the place of the damage.
    pub async fn open(disk: &Disk, blocks: &Path, sequence: u32, pages: Pages) -> Result<Self> {
        let directory = block_dir(blocks, sequence);
        let path = directory.join(INDEX_FILE);
        let index = PageReader::open(disk, &path, Kind::Index, sequence).await?;
        let path = directory.join(CHUNKS_FILE);
        let chunks = PageReader::open(disk, &path, Kind::Chunks, sequence).await?;
        let no_footer = || index.corrupt(index.bytes(), "the footer of an index", "something else");
        let mut bytes = Vec::new();
        let end = index.len().checked_sub(4).ok_or_else(no_footer)?;
        index.read(&pages.0, end, 4, &mut bytes).await?;
        let len = u32::from_le_bytes(*bytes.first_chunk().ok_or_else(no_footer)?);
        let start = end.checked_sub(u64::from(len)).ok_or_else(no_footer)?;
        bytes.clear();
        index.read(&pages.0, start, len as usize, &mut bytes).await?;
        let footer = Footer::decode(&bytes, index.version(), start)
            .filter(|footer| footer.meta.sequence == sequence)
            .ok_or_else(no_footer)?;
        let tombstones = read_tombstones(disk, &directory).await?;
        let tombstones = RefCell::new(Rc::new(tombstones));
        Ok(Block { directory, footer, index, chunks, pages, tombstones })
    }

    /// What it is.
    pub fn meta(&self) -> &BlockMeta {
        &self.footer.meta
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.directory
    }

    /// What was deleted of it.
    pub fn tombstones(&self) -> Rc<Tombstones> {
        Rc::clone(&self.tombstones.borrow())
    }

    /// Makes deletions durable, in place of those that there were, then visible.
    pub async fn set_tombstones(&self, disk: &Disk, tombstones: Tombstones) -> Result<()> {
        let path = self.directory.join(TOMBSTONES_FILE);
        disk.write_atomic(&path, &tombstones.encode()).await?;
        self.tombstones.replace(Rc::new(tombstones));
        Ok(())
    }

    /// What was deleted of a series: ranges that ascend.
    pub fn deleted(&self, number: u32) -> Vec<TimeRange> {
        self.tombstones.borrow().of(number).to_vec()
    }

    /// Bytes on disk, without tombstones.
    pub fn bytes(&self) -> u64 {
        self.index.bytes() + self.chunks.bytes()
    }

    /// Reads every page of both files and checks it.
    pub async fn verify(&self) -> Result<()> {
        self.index.verify().await?;
        self.chunks.verify().await
    }

    /// The names of its labels, sorted.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.footer.names.iter().map(|table| &*table.name)
    }

    /// Each name with how many values it has.
    pub fn label_counts(&self) -> impl Iterator<Item = (&str, u32)> {
        self.footer.names.iter().map(|table| (&*table.name, table.values))
    }

    fn table(&self, name: &str) -> Option<&NameTable> {
        let found = self.footer.names.binary_search_by(|table| (*table.name).cmp(name));
        found.ok().map(|at| &self.footer.names[at])
    }

    /// The values of a label, in order, each with how many series have it, as long as `visit` says to go on.
    pub async fn label_values(
        &self,
        name: &str,
        mut visit: impl FnMut(&str, u32) -> bool,
    ) -> Result<()> {
        let Some(table) = self.table(name) else { return Ok(()) };
        let mut go_on = true;
        for group in &table.groups {
            self.values(group, |value, postings| {
                go_on = go_on && visit(value, postings.series);
                Some(())
            })
            .await?;
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// Reads a group of values.
    async fn values(
        &self,
        group: &ValueGroup,
        mut visit: impl FnMut(&str, ValuePostings<'_>) -> Option<()>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        self.index.read(&self.pages.0, group.offset, group.len as usize, &mut bytes).await?;
        let mut values = ValuesDecoder::new(&bytes);
        while values.has_next() {
            let read = values.read().and_then(|postings| visit(&values.value, postings));
            read.ok_or_else(|| self.makes_no_sense("values of a label", group.offset))?;
        }
        yield_if_needed().await;
        Ok(())
    }

    fn makes_no_sense(&self, what: &str, offset: u64) -> Error {
        let found = format!("something else at byte {offset} of the stream");
        self.index.corrupt(offset, what, &found)
    }

    /// The series that pass all of `matchers`: their numbers, ascending.
    pub async fn select(&self, matchers: &[Matcher]) -> Result<Vec<u32>> {
        let (mut kept, mut removed): (Option<Vec<u32>>, _) = (None, Vec::new());
        for matcher in matchers {
            let removes = matcher.matches_empty();
            let list = self.postings(matcher, !removes).await?;
            match &mut kept {
                _ if removes => removed.push(list),
                Some(kept) => intersect(kept, &list),
                None => kept = Some(list),
            }
            if kept.as_ref().is_some_and(Vec::is_empty) {
                return Ok(Vec::new());
            }
        }
        let mut selected = kept.unwrap_or_else(|| (0..self.footer.meta.series).collect());
        for list in &removed {
            subtract(&mut selected, list);
        }
        Ok(selected)
    }

    /// The series with a value for which `matcher` says `accepted`.
    async fn postings(&self, matcher: &Matcher, accepted: bool) -> Result<Vec<u32>> {
        let Some(table) = self.table(matcher.name()) else { return Ok(Vec::new()) };
        let (mut found, end) = (Vec::new(), self.footer.meta.series);
        // Only where the wanted values are those that the expression itself matches do its candidates help.
        let candidates =
            if accepted == matcher.is_negated() { Candidates::Any } else { matcher.candidates() };
        match candidates {
            Candidates::Literals(literals) => {
                for literal in literals {
                    let Some(group) = table.group_of(literal) else { continue };
                    self.values(group, |value, postings| {
                        if value == literal { postings.decode(end, &mut found) } else { Some(()) }
                    })
                    .await?;
                }
            }
            Candidates::Any | Candidates::Prefix(_) => {
                let prefix = if let Candidates::Prefix(prefix) = candidates { prefix } else { "" };
                for group in table.groups_of(prefix) {
                    let wanted = |value: &str| matcher.matches(value) == accepted;
                    self.values(group, |value, postings| {
                        if wanted(value) { postings.decode(end, &mut found) } else { Some(()) }
                    })
                    .await?;
                }
            }
        }
        // Stable: it finds the ascending runs and merges them.
        found.sort_by(u32::cmp);
        Ok(found)
    }

    /// Calls `visit` with number, labels and chunks of each of the series `numbers`, which ascend.
    pub async fn series(
        &self,
        numbers: &[u32],
        mut visit: impl FnMut(u32, &[u8], &[BlockChunk]),
    ) -> Result<()> {
        let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
        for wanted in numbers.chunk_by(|a, b| group_of(*a) == group_of(*b)) {
            let (first, group) = (wanted[0], group_of(wanted[0]));
            let place = self.series_group(first)?;
            bytes.clear();
            self.index.read(&self.pages.0, place.offset, place.len as usize, &mut bytes).await?;
            let broken = || self.makes_no_sense("a group of series", place.offset);
            let mut decoder = self.group_decoder(&bytes).ok_or_else(broken)?;
            let (mut number, mut wanted) =
                ((group * GROUP_SERIES) as u32, wanted.iter().peekable());
            while wanted.peek().is_some() {
                chunks.clear();
                decoder.read(|chunk| chunks.push(chunk)).ok_or_else(broken)?;
                if wanted.next_if(|&&wanted| wanted == number).is_some() {
                    visit(number, &decoder.labels, &chunks);
                }
                number += 1;
            }
            yield_if_needed().await;
        }
        Ok(())
    }

    fn series_group(&self, number: u32) -> Result<SeriesGroup> {
        let found = self.footer.series_groups.get(group_of(number));
        found.copied().ok_or_else(|| self.makes_no_sense(&format!("series {number}"), 0))
    }

    fn group_decoder<'a>(&self, bytes: &'a [u8]) -> Option<GroupDecoder<'a>> {
        GroupDecoder::new(bytes, self.index.version(), self.footer.base_ms)
    }

    /// Whether figures of its chunks were written. Version 1 wrote none.
    pub fn has_figures(&self) -> bool {
        self.index.version() > 1
    }

    /// Brings the figures of the chunks of a series, and of its neighbours, to `out`, unless they are there.
    pub async fn read_figures(&self, number: u32, out: &mut Figures) -> Result<()> {
        if out.is_of(self.meta().sequence, group_of(number)) || !self.has_figures() {
            return Ok(());
        }
        let (place, mut bytes) = (self.series_group(number)?, Vec::new());
        let len = place.len as usize;
        self.index
            .read(&self.pages.0, place.offset, len + place.figures_len as usize, &mut bytes)
            .await?;
        let decoder = self.group_decoder(&bytes[..len]);
        let filled = decoder.and_then(|series| out.fill(series, &bytes[len..]));
        filled.ok_or_else(|| self.makes_no_sense("the figures of chunks", place.figures()))?;
        out.set_of(self.meta().sequence, group_of(number));
        yield_if_needed().await;
        Ok(())
    }

    /// Appends the samples of a chunk that lie in `range` to `out`. What is read from the disk for it may reach up to byte `ahead`
    /// of the stream of chunks, where others stand that will be wanted.
    pub async fn read_chunk(
        &self,
        chunk: &BlockChunk,
        range: TimeRange,
        ahead: u64,
        scratch: &mut ReadScratch,
        out: &mut SampleColumns,
    ) -> Result<()> {
        self.with_bytes(chunk, ahead, scratch, |bytes| {
            let (bytes, details) = bytes.split_at(chunk.len as usize);
            decode(chunk, bytes, details, range, out)
        })
        .await
    }

    /// Appends the samples of a chunk whose bytes were read to `out`.
    pub(super) fn decode(
        &self,
        chunk: &BlockChunk,
        bytes: &[u8],
        details: &[u8],
        out: &mut SampleColumns,
    ) -> Result<()> {
        decode(chunk, bytes, details, TimeRange::ALL, out)
            .map_err(|found| self.no_chunk(chunk, &found))
    }

    fn no_chunk(&self, chunk: &BlockChunk, found: &str) -> Error {
        let expected = format!("a chunk of {} bytes", chunk.len);
        self.chunks.corrupt(chunk.offset, &expected, found)
    }

    /// The bytes of a chunk and of its details.
    pub(super) async fn read_bytes(&self, chunk: &BlockChunk) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut scratch = ReadScratch::default();
        let split = |bytes: &[u8]| {
            let (bytes, details) = bytes.split_at(chunk.len as usize);
            Ok((bytes.to_vec(), details.to_vec()))
        };
        self.with_bytes(chunk, chunk.end() + u64::from(chunk.len), &mut scratch, split).await
    }

    async fn with_bytes<T>(
        &self,
        chunk: &BlockChunk,
        ahead: u64,
        ReadScratch(scratch): &mut ReadScratch,
        use_them: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T> {
        let stream = self.chunks.len();
        if chunk.end() > stream {
            return Err(self.no_chunk(chunk, &format!("a stream of {stream} bytes")));
        }
        let (page, at) = PageReader::place(chunk.offset);
        let ahead = ahead.clamp(chunk.end().max(1), stream.max(1));
        let payload = self.chunks.page(&self.pages.0, page, PageReader::place(ahead - 1).0).await?;
        let len = (chunk.end() - chunk.offset) as usize;
        let outcome = if let Some(bytes) = payload.get(at..at + len) {
            use_them(bytes)
        } else {
            scratch.clear();
            self.chunks.read(&self.pages.0, chunk.offset, len, scratch).await?;
            use_them(scratch)
        };
        outcome.map_err(|found| self.no_chunk(chunk, &found))
    }
}

impl NameTable {
    /// The groups that can hold values that begin with `prefix`.
    fn groups_of(&self, prefix: &str) -> impl Iterator<Item = &ValueGroup> {
        let before = self.groups.partition_point(|group| &*group.first <= prefix);
        let from = &self.groups[before.saturating_sub(1)..];
        from.iter()
            .take_while(move |group| &*group.first <= prefix || group.first.starts_with(prefix))
    }
}

fn decode(
    chunk: &BlockChunk,
    bytes: &[u8],
    details: &[u8],
    range: TimeRange,
    out: &mut SampleColumns,
) -> Result<(), String> {
    let from = out.len();
    chunk::decode(chunk.encoding, bytes, range, out).map_err(|error| error.to_string())?;
    let filled = super::details::decode(details, from, out);
    filled.ok_or_else(|| "details that make no sense".to_owned())
}

async fn read_tombstones(disk: &Disk, directory: &Path) -> Result<Tombstones> {
    let entries = disk.list(directory).await?;
    if !entries.iter().any(|entry| entry.name == TOMBSTONES_FILE) {
        return Ok(Tombstones::default());
    }
    let path = directory.join(TOMBSTONES_FILE);
    Tombstones::decode(&path, &disk.read_all(&path).await?)
}

fn group_of(number: u32) -> usize {
    number as usize / GROUP_SERIES
}
