//! The catalog of a shard: which blocks it has, and up to where the head was cut into them.
//!
//! ```text
//! | "TIDECTLG" 8 | version u32 | next block u32 | next series u32 | cut ms i64 | blocks u32 | block u32 ... | crc32c of all before u32 |
//! ```
//!
//! The file `<shard>/catalog` is replaced as a whole, and that is the one moment at which a block becomes, or stops being, a part of the
//! shard: a directory of a block that the catalog does not name is the rest of a write or of a removal, and is removed on opening. A block that
//! left the catalog keeps its files until nobody reads it any more. A damaged block is *quarantined*: it leaves the catalog and its directory is
//! renamed to `<name>.damaged`, where nobody looks but people.
//!
//! If the catalog itself is damaged it is made again from the footers of the blocks: those that are whole and were not compacted into another.
//! `docs/formats/catalog.md` is the page. Owned by the core that owns the shard.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tracing::{error, warn};

use crate::block::{self, Block, BlockMeta, Pages, block_dir, block_name};
use crate::error::{Error, Result};
use crate::index::SeriesRef;
use crate::limits::BLOCK_CACHE_BYTES_MAX;
use crate::model::time::{TimeRange, TimestampMs};
use crate::runtime::disk::{Disk, Open};

/// Version of the format that this binary writes, and the newest that it reads.
const VERSION: u32 = 1;
/// What the name of a block that was put aside ends with.
const DAMAGED: &str = "damaged";
const MAGIC: &[u8; 8] = b"TIDECTLG";
/// The name of the catalog in the directory of its shard.
pub(crate) const FILE_NAME: &str = "catalog";
const BLOCKS_DIRECTORY: &str = "blocks";
const HEADER_BYTES: usize = 32;
const CRC_BYTES: usize = 4;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    next_block: u32,
    next_series: SeriesRef,
    cut_ms: TimestampMs,
    blocks: Vec<u32>,
}

impl Contents {
    fn new() -> Self {
        Contents { next_block: 0, next_series: 0, cut_ms: TimestampMs::MIN, blocks: Vec::new() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for word in [VERSION, self.next_block, self.next_series] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.cut_ms.to_le_bytes());
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        self.blocks.iter().for_each(|block| out.extend_from_slice(&block.to_le_bytes()));
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let corrupt = |expected: &str, found: String| {
            let (path, expected) = (path.to_owned(), expected.to_owned());
            Error::Corrupt { path, offset: 0, expected, found }
        };
        let (content, stored) = bytes.split_last_chunk::<CRC_BYTES>().unwrap_or((&[], &[0; 4]));
        let (expected, found) = (u32::from_le_bytes(*stored), crc32c::crc32c(content));
        if content.len() < HEADER_BYTES || content[..8] != *MAGIC || expected != found {
            let expected = format!("a catalog with checksum {expected:08x}");
            return Err(corrupt(&expected, format!("checksum {found:08x}")));
        }
        let word = |at: usize| {
            u32::from_le_bytes(*content[at..].first_chunk().expect("the length was compared"))
        };
        if word(8) > VERSION {
            let path = path.to_owned();
            return Err(Error::NewerFormat { path, found: word(8), known: VERSION });
        }
        let blocks = content[HEADER_BYTES..].chunks_exact(4);
        if blocks.len() != word(28) as usize {
            return Err(corrupt(&format!("{} blocks", word(28)), format!("{}", blocks.len())));
        }
        let blocks =
            blocks.map(|block| u32::from_le_bytes(*block.first_chunk().expect("four bytes")));
        let cut_ms =
            i64::from_le_bytes(*content[20..].first_chunk().expect("the length was compared"));
        Ok(Contents {
            next_block: word(12),
            next_series: word(16),
            cut_ms,
            blocks: blocks.collect(),
        })
    }
}

/// The blocks of one shard.
pub struct Catalog {
    disk: Disk,
    shard: PathBuf,
    blocks_dir: PathBuf,
    pages: Pages,
    contents: RefCell<Contents>,
    /// The blocks that are read, by the time of their first sample. Replaced as a whole, so that who has it keeps it.
    blocks: RefCell<Rc<[Rc<Block>]>>,
    /// Blocks that are not in the catalog any more, until nobody reads them.
    leaving: RefCell<Vec<Rc<Block>>>,
    /// Blocks that were found damaged, until they are put aside.
    damaged: RefCell<BTreeSet<u32>>,
    damaged_count: Cell<u64>,
    /// Blocks that were put aside, now or in an earlier life: what they hold is missing.
    aside: RefCell<Vec<Aside>>,
}

/// A block that was put aside.
#[derive(Debug)]
struct Aside {
    path: PathBuf,
    /// The time of its samples, as far as is known.
    range: TimeRange,
}

/// What a catalog is changed by.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// A block that has been written.
    pub add: Option<u32>,
    /// Blocks that go.
    pub remove: Vec<u32>,
    /// The end of the windows that the head was cut up to, if it was, and the number that the next series gets.
    pub cut: Option<(TimestampMs, SeriesRef)>,
}

impl Catalog {
    /// Opens the catalog of the shard in `directory`, and its blocks. Those that are damaged are put aside; leftovers are removed.
    ///
    /// # Errors
    /// When the catalog or a block was written by a newer version.
    pub async fn open(disk: &Disk, directory: &Path) -> Result<Self> {
        let catalog = Catalog {
            disk: disk.clone(),
            shard: directory.to_owned(),
            blocks_dir: directory.join(BLOCKS_DIRECTORY),
            pages: Pages::new(BLOCK_CACHE_BYTES_MAX),
            contents: RefCell::new(Contents::new()),
            blocks: RefCell::new(Rc::new([])),
            leaving: RefCell::default(),
            damaged: RefCell::default(),
            damaged_count: Cell::new(0),
            aside: RefCell::default(),
        };
        disk.create_dir_all(&catalog.blocks_dir).await?;
        catalog.find_aside().await?;
        let contents = catalog.read().await?;
        catalog.contents.replace(contents);
        catalog.open_blocks().await?;
        catalog.remove_leftovers().await?;
        catalog.settle().await?;
        Ok(catalog)
    }

    async fn read(&self) -> Result<Contents> {
        let path = self.shard.join(FILE_NAME);
        if !self.disk.list(&self.shard).await?.iter().any(|entry| entry.name == FILE_NAME) {
            return self.rebuild(false).await;
        }
        // If only the process died, the file may be there and its name not be durable yet.
        self.disk.sync_dir(&self.shard).await?;
        let bytes = self.disk.read_all(&path).await?;
        match Contents::decode(&path, &bytes) {
            Err(error @ Error::Corrupt { .. }) => {
                warn!(%error, "the catalog is made again from the blocks");
                self.damaged_count.set(self.damaged_count.get() + 1);
                let contents = self.rebuild(true).await?;
                self.disk.write_atomic(&path, &contents.encode()).await?;
                Ok(contents)
            }
            other => other,
        }
    }

    /// The numbers of the directories of blocks.
    async fn found(&self) -> Result<Vec<u32>> {
        let entries = self.disk.list(&self.blocks_dir).await?;
        Ok(entries.iter().filter_map(|entry| block::sequence_of(&entry.name)).collect())
    }

    /// What the blocks themselves say: those that are whole and not part of another. `all` keeps those that are not whole, to be put
    /// aside, unless they can only be the rest of a first write.
    async fn rebuild(&self, all: bool) -> Result<Contents> {
        let (mut contents, mut metas) = (Contents::new(), Vec::new());
        for sequence in self.found().await? {
            contents.next_block = contents.next_block.max(sequence + 1);
            match Block::open(&self.disk, &self.blocks_dir, sequence, self.pages.clone()).await {
                Ok(block) => {
                    // It may not be durable yet if only the process died.
                    for entry in self.disk.list(block.dir()).await? {
                        let path = block.dir().join(&entry.name);
                        self.disk.open(&path, Open::Write).await?.sync_data().await?;
                    }
                    self.disk.sync_dir(block.dir()).await?;
                    metas.push(block.meta().clone());
                }
                Err(error @ Error::NewerFormat { .. }) => return Err(error),
                Err(_) if all => contents.blocks.push(sequence),
                Err(_) => {}
            }
        }
        self.disk.sync_dir(&self.blocks_dir).await?;
        for meta in &metas {
            contents.cut_ms = contents.cut_ms.max(meta.cut_ms);
            contents.next_series = contents.next_series.max(meta.next_series);
        }
        let part =
            |meta: &BlockMeta| metas.iter().any(|other| other.sources.contains(&meta.sequence));
        let whole = metas.iter().filter(|meta| !part(meta)).map(|meta| meta.sequence);
        contents.blocks.extend(whole);
        Ok(contents)
    }

    /// Finds the blocks that were put aside in an earlier life and still lie there.
    async fn find_aside(&self) -> Result<()> {
        for entry in self.disk.list(&self.blocks_dir).await? {
            let path = self.blocks_dir.join(&entry.name);
            if path.extension() == Some(DAMAGED.as_ref()) {
                self.aside.borrow_mut().push(Aside { path, range: TimeRange::ALL });
            }
        }
        Ok(())
    }

    /// The directories of blocks that were put aside and may hold samples in `range`.
    pub fn aside(&self, range: TimeRange) -> Vec<PathBuf> {
        let aside = self.aside.borrow();
        let missing = aside.iter().filter(|block| block.range.overlaps(range));
        missing.map(|block| block.path.clone()).collect()
    }

    async fn open_blocks(&self) -> Result<()> {
        let mut blocks = Vec::new();
        let listed = self.contents.borrow().blocks.clone();
        for sequence in listed {
            match Block::open(&self.disk, &self.blocks_dir, sequence, self.pages.clone()).await {
                Ok(block) => blocks.push(Rc::new(block)),
                Err(error @ Error::NewerFormat { .. }) => return Err(error),
                Err(error) => self.report(sequence, &error),
            }
        }
        self.publish(blocks);
        Ok(())
    }

    async fn remove_leftovers(&self) -> Result<()> {
        let contents = self.contents.borrow().clone();
        for sequence in self.found().await? {
            if !contents.blocks.contains(&sequence) {
                self.disk.remove_dir_all(&block_dir(&self.blocks_dir, sequence)).await?;
            }
        }
        Ok(())
    }

    fn publish(&self, mut blocks: Vec<Rc<Block>>) {
        blocks.sort_by_key(|block| (block.meta().range.start_ms, block.meta().sequence));
        self.blocks.replace(blocks.into());
    }

    /// The directory of the blocks.
    pub fn blocks_dir(&self) -> &Path {
        &self.blocks_dir
    }

    /// The blocks as they are now, the oldest first. Who holds them can read them.
    pub fn blocks(&self) -> Rc<[Rc<Block>]> {
        Rc::clone(&self.blocks.borrow())
    }

    /// What the blocks are.
    pub fn metas(&self) -> Vec<BlockMeta> {
        self.blocks.borrow().iter().map(|block| block.meta().clone()).collect()
    }

    /// Everything before this time is in blocks.
    pub fn cut_ms(&self) -> TimestampMs {
        self.contents.borrow().cut_ms
    }

    /// No series below it may begin.
    pub fn next_series(&self) -> SeriesRef {
        self.contents.borrow().next_series
    }

    /// The number of a block that is to be written.
    pub fn next_block(&self) -> u32 {
        let mut contents = self.contents.borrow_mut();
        contents.next_block += 1;
        contents.next_block - 1
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.blocks.borrow().iter().map(|block| block.bytes()).sum()
    }

    /// Blocks, and catalogs, that were found damaged since the shard was opened.
    pub fn damaged_count(&self) -> u64 {
        self.damaged_count.get()
    }

    /// The pages that are kept in memory.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Makes a change durable, then visible. The files of blocks that go stay until nobody reads them; see [`Catalog::sweep`].
    pub async fn change(&self, change: Change) -> Result<()> {
        let added = match change.add {
            Some(sequence) => {
                Some(Block::open(&self.disk, &self.blocks_dir, sequence, self.pages.clone()).await?)
            }
            None => None,
        };
        let mut contents = self.contents.borrow().clone();
        contents.blocks.retain(|block| !change.remove.contains(block));
        contents.blocks.extend(change.add);
        if let Some((cut_ms, next_series)) = change.cut {
            contents.cut_ms = contents.cut_ms.max(cut_ms);
            contents.next_series = contents.next_series.max(next_series);
        }
        self.disk.write_atomic(&self.shard.join(FILE_NAME), &contents.encode()).await?;
        let next_block = self.contents.borrow().next_block;
        self.contents.replace(Contents { next_block, ..contents });
        let goes = |block: &Rc<Block>| change.remove.contains(&block.meta().sequence);
        let (gone, mut stay): (Vec<_>, Vec<_>) = self.blocks().iter().cloned().partition(goes);
        stay.extend(added.map(Rc::new));
        self.publish(stay);
        self.leaving.borrow_mut().extend(gone);
        Ok(())
    }

    /// A block turned out to be damaged: nobody is given it any more, and [`Catalog::settle`] puts it aside.
    pub fn report(&self, sequence: u32, error: &Error) {
        if self.damaged.borrow_mut().insert(sequence) {
            error!(%error, block = block_name(sequence), shard = %self.shard.display(), "a block is damaged and put aside; queries answer from the others");
            self.damaged_count.set(self.damaged_count.get() + 1);
            let blocks = self.blocks();
            let known = blocks.iter().find(|block| block.meta().sequence == sequence);
            let range = known.map_or(TimeRange::ALL, |block| block.meta().range);
            let path = block_dir(&self.blocks_dir, sequence).with_extension(DAMAGED);
            self.aside.borrow_mut().push(Aside { path, range });
            let others = blocks.iter().filter(|block| block.meta().sequence != sequence);
            self.publish(others.cloned().collect());
        }
    }

    /// Puts aside what was reported damaged.
    pub async fn settle(&self) -> Result<()> {
        let damaged = self.damaged.borrow().clone();
        for sequence in damaged {
            let from = block_dir(&self.blocks_dir, sequence);
            let name = block_name(sequence);
            let exists =
                self.disk.list(&self.blocks_dir).await?.iter().any(|entry| entry.name == name);
            if exists {
                self.disk.rename(&from, &from.with_extension(DAMAGED)).await?;
                self.disk.sync_dir(&from.with_extension(DAMAGED)).await?;
                self.disk.sync_dir(&self.blocks_dir).await?;
            }
            self.change(Change { remove: vec![sequence], ..Change::default() }).await?;
            self.damaged.borrow_mut().remove(&sequence);
        }
        Ok(())
    }

    /// Removes the files of blocks that have left and that nobody reads any more.
    pub async fn sweep(&self) -> Result<()> {
        let free: Vec<Rc<Block>> = {
            let mut leaving = self.leaving.borrow_mut();
            leaving.extract_if(.., |block| Rc::strong_count(block) == 1).collect()
        };
        for block in free {
            let sequence = block.meta().sequence;
            drop(block);
            self.disk.remove_dir_all(&block_dir(&self.blocks_dir, sequence)).await?;
        }
        Ok(())
    }
}

/// The blocks that the catalog of the shard in `directory` names, each opened, or why not. Changes nothing, so it may be asked beside a running
/// server; a block that goes meanwhile is one that cannot be opened.
pub async fn inspect(disk: &Disk, directory: &Path) -> Result<Vec<(u32, Result<Block>)>> {
    let (path, blocks_dir) = (directory.join(FILE_NAME), directory.join(BLOCKS_DIRECTORY));
    if !disk.list(directory).await?.iter().any(|entry| entry.name == FILE_NAME) {
        return Ok(Vec::new());
    }
    let contents = Contents::decode(&path, &disk.read_all(&path).await?)?;
    let (pages, mut blocks) = (Pages::new(BLOCK_CACHE_BYTES_MAX), Vec::new());
    for sequence in contents.blocks {
        blocks.push((sequence, Block::open(disk, &blocks_dir, sequence, pages.clone()).await));
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_fixed_for_ever() {
        let contents = Contents { next_block: 5, next_series: 900, cut_ms: -7, blocks: vec![1, 4] };
        let bytes = contents.encode();
        assert_eq!(&bytes[..16], b"TIDECTLG\x01\0\0\0\x05\0\0\0");
        assert_eq!(bytes.len(), HEADER_BYTES + 8 + CRC_BYTES);
        assert_eq!(Contents::decode(Path::new("c"), &bytes).unwrap(), contents);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Contents::decode(Path::new("c"), &flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Contents::decode(Path::new("c"), &bytes[..len]).is_err(), "length {len}");
        }
        let mut newer = bytes[..bytes.len() - CRC_BYTES].to_vec();
        newer[8] = 9;
        let crc = crc32c::crc32c(&newer);
        newer.extend_from_slice(&crc.to_le_bytes());
        let error = Contents::decode(Path::new("data/catalog"), &newer).unwrap_err();
        assert!(error.to_string().contains("version 9 is newer than 1"), "{error}");
    }
}
