//! The blocks of a Prometheus, read where they lie: the index from front to back, each chunk where the index says.
//!
//! What is only in its write-ahead log is not in a block.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::time::{TimeRange, TimestampMs};
use tidemark_ingest::backfill::prometheus::{
    self as format, CONTENTS_BYTES, CRC_BYTES, Contents, INDEX_HEADER_BYTES, LENGTH_BYTES_MAX,
    SERIES_ALIGNMENT, SeriesEntry,
};

use super::blocks::Target;
use super::progress::Progress;

/// Bytes that are read of a chunk before its length is known: most are shorter.
const CHUNK_READ_BYTES: usize = 1 << 10;

/// Largest chunk that is read.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// What is read of `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    ulid: String,
    min_time: TimestampMs,
    stats: Stats,
    #[serde(default)]
    compaction: Compaction,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(default)]
    num_series: u64,
}

#[derive(Default, Deserialize)]
struct Compaction {
    #[serde(default)]
    parents: Vec<Parent>,
}

#[derive(Deserialize)]
struct Parent {
    ulid: String,
}

/// Imports all blocks in `directory`; what was done.
pub(super) async fn import(directory: &Path, target: &mut Target) -> Result<String, String> {
    let found = find(directory)?;
    let (mut progress, count) = (Progress::new(), found.len());
    for (i, (path, meta)) in found.into_iter().enumerate() {
        let head = format!("block {} of {count}, {}", i + 1, meta.ulid);
        let Some(mut blocks) = target.begin(&meta.ulid, meta.min_time).await? else {
            progress.done(&format!("{head}: imported before"));
            continue;
        };
        let mut block = Block::open(&path)?;
        let mut series = 0;
        while let Some((labels, samples)) = block.next()? {
            blocks.push(labels.encoded(), &samples).await?;
            series += 1;
            progress.say(|| {
                let (all, samples) = (meta.stats.num_series, blocks.samples());
                format!("{head}: {series} of {all} series; {samples} samples in all")
            });
        }
        blocks.finish().await?;
        progress.done(&format!("{head}: {series} series"));
    }
    Ok(format!("{count} blocks, {} samples imported", target.samples))
}

/// The blocks in `directory` that were not compacted into another, the oldest first.
fn find(directory: &Path) -> Result<Vec<(PathBuf, Meta)>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let file = path.join("meta.json");
        if !file.is_file() {
            continue;
        }
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let text = std::fs::read(&file).map_err(|e| wrong(&e))?;
        let meta: Meta = serde_json::from_slice(&text).map_err(|e| wrong(&e))?;
        found.push((path, meta));
    }
    if found.is_empty() {
        return Err(format!(
            "{}: no blocks; a Prometheus keeps the newest samples in its log for two hours or more, and its API call \
             /api/v1/admin/tsdb/snapshot makes blocks of them too",
            directory.display()
        ));
    }
    let parents: HashSet<String> = found
        .iter()
        .flat_map(|(_, meta)| meta.compaction.parents.iter().map(|parent| parent.ulid.clone()))
        .collect();
    found.retain(|(_, meta)| !parents.contains(&meta.ulid));
    found.sort_by(|(_, a), (_, b)| (a.min_time, &a.ulid).cmp(&(b.min_time, &b.ulid)));
    Ok(found)
}

/// A block that is being read.
struct Block {
    path: PathBuf,
    index: BufReader<File>,
    /// Where the index is read.
    position: u64,
    contents: Contents,
    symbols: Vec<String>,
    chunks: HashMap<u32, File>,
    deleted: HashMap<u64, Vec<TimeRange>>,
}

impl Block {
    fn open(path: &Path) -> Result<Self, String> {
        let index = path.join("index");
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", index.display());
        let file = File::open(&index).map_err(|e| wrong(&e))?;
        let mut header = [0; INDEX_HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(|e| wrong(&e))?;
        format::check_index(header).map_err(|e| wrong(&e))?;
        let len = file.metadata().map_err(|e| wrong(&e))?.len();
        let mut end = [0; CONTENTS_BYTES];
        let at = len.saturating_sub(CONTENTS_BYTES as u64);
        file.read_exact_at(&mut end, at).map_err(|e| wrong(&e))?;
        let contents = format::contents(&end).map_err(|e| wrong(&e))?;
        if contents.series_end > len {
            return Err(wrong(&"the table of contents points behind the end"));
        }
        let mut section = vec![0; (contents.series - contents.symbols) as usize];
        file.read_exact_at(&mut section, contents.symbols).map_err(|e| wrong(&e))?;
        let symbols = format::symbols(&section).map_err(|e| wrong(&e))?;
        let mut index = BufReader::new(file);
        index.seek(SeekFrom::Start(contents.series)).map_err(|e| e.to_string())?;
        Ok(Block {
            path: path.to_owned(),
            index,
            position: contents.series,
            contents,
            symbols,
            chunks: HashMap::new(),
            deleted: tombstones(&path.join("tombstones"))?,
        })
    }

    fn wrong(&self, e: &dyn std::fmt::Display) -> String {
        let index = self.path.join("index");
        format!("{}: series at {}: {e}", index.display(), self.position)
    }

    /// The next series with its samples; `None` at the end.
    fn next(&mut self) -> Result<Option<(Labels, SampleColumns)>, String> {
        let padding = self.position.next_multiple_of(SERIES_ALIGNMENT) - self.position;
        if self.position + padding >= self.contents.series_end {
            return Ok(None);
        }
        self.take(padding as usize)?;
        let reference = self.position / SERIES_ALIGNMENT;
        let entry = self.take_series()?;
        let symbol = |number: u32| self.symbols.get(number as usize).map(String::as_str);
        let pairs: Option<Vec<(&str, &str)>> = entry
            .labels
            .iter()
            .map(|(name, value)| Some((symbol(*name)?, symbol(*value)?)))
            .collect();
        let pairs = pairs.ok_or_else(|| self.wrong(&"it has a symbol that is not there"))?;
        let labels = Labels::from_pairs(pairs);
        let mut samples = SampleColumns::new();
        for chunk in &entry.chunks {
            let middle = samples.len();
            self.read_chunk(chunk.file, chunk.offset, &mut samples)?;
            samples.merge_tail(0, middle);
        }
        if let Some(deleted) = self.deleted.get(&reference) {
            samples.retain_from(0, |t| !deleted.iter().any(|range| range.contains(t)));
        }
        Ok(Some((labels, samples)))
    }

    /// Takes so many bytes of the index.
    fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        if count as u64 > self.contents.series_end - self.position {
            return Err(self.wrong(&"it ends behind the others"));
        }
        let mut bytes = vec![0; count];
        self.index.read_exact(&mut bytes).map_err(|e| self.wrong(&e))?;
        self.position += count as u64;
        Ok(bytes)
    }

    fn take_series(&mut self) -> Result<SeriesEntry, String> {
        let mut length = Vec::new();
        while length.last().is_none_or(|byte| byte & 0x80 != 0) {
            length.extend(self.take(1)?);
        }
        let len = format::length(&length).map(|(len, _)| len);
        let len = len.ok_or_else(|| self.wrong(&"its length is malformed"))?;
        let content = self.take(len.saturating_add(CRC_BYTES))?;
        format::series(&content).map_err(|e| self.wrong(&e))
    }

    fn read_chunk(
        &mut self,
        file: u32,
        offset: u32,
        out: &mut SampleColumns,
    ) -> Result<(), String> {
        let path = self.path.join("chunks").join(format!("{:06}", file + 1));
        let wrong = |e: &dyn std::fmt::Display| format!("{}: at {offset}: {e}", path.display());
        let file = match self.chunks.entry(file) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(File::open(&path).map_err(|e| wrong(&e))?)
            }
        };
        let mut bytes = vec![0; CHUNK_READ_BYTES];
        let read = read_up_to(file, &mut bytes, u64::from(offset)).map_err(|e| wrong(&e))?;
        bytes.truncate(read);
        let head = &bytes[..read.min(LENGTH_BYTES_MAX)];
        let (len, rest) = format::length(head).ok_or_else(|| wrong(&"no chunk"))?;
        let (start, len) = (head.len() - rest.len(), len.saturating_add(1 + CRC_BYTES));
        if len > CHUNK_BYTES_MAX {
            return Err(wrong(&format!("a chunk of {len} bytes")));
        }
        if read < start + len {
            bytes.resize(start + len, 0);
            file.read_exact_at(&mut bytes, u64::from(offset)).map_err(|e| wrong(&e))?;
        }
        format::chunk(&bytes[start..start + len], out).map_err(|e| wrong(&e))
    }
}

/// Reads until the end of the buffer or of the file.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

fn tombstones(path: &Path) -> Result<HashMap<u64, Vec<TimeRange>>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut deleted: HashMap<u64, Vec<TimeRange>> = HashMap::new();
    match std::fs::read(path) {
        Ok(file) => {
            for (series, range) in format::tombstones(&file).map_err(|e| wrong(&e))? {
                deleted.entry(series).or_default().push(range);
            }
            Ok(deleted)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(deleted),
        Err(e) => Err(wrong(&e)),
    }
}
