//! Where imported series go: one block in each shard at a time, and the journal of those that are finished.
//!
//! The journal is the file `imported` in the data directory, one line for each block: what it was made of, and the number of the shard.
//! A line is synced after its block is part of the shard. A crash between the two makes that block twice, which costs room
//! until the two are compacted, and changes no answer.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Fingerprint;
use tidemark_core::model::time::TimestampMs;
use tidemark_core::shard::{BlockImport, Shard};
use tidemark_core::shards::Shards;

const JOURNAL: &str = "imported";

/// The shards, and what was imported into them.
pub(super) struct Target {
    shards: Vec<Rc<Shard>>,
    path: PathBuf,
    journal: File,
    done: HashSet<String>,
    /// Samples that were written.
    pub(super) samples: u64,
}

impl Target {
    /// The open shards of a data directory.
    pub(super) fn open(all: &Shards, data_dir: &Path) -> Result<Self, String> {
        let path = data_dir.join(JOURNAL);
        let failed = |e| format!("{}: {e}", path.display());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(failed(e)),
        };
        // A line that was cut off is not done; a new one must not continue it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let journal = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        journal.set_len(whole as u64).map_err(failed)?;
        let done = text[..whole].lines().map(str::to_owned).collect();
        Ok(Target { shards: all.mine(), journal, done, samples: 0, path: path.clone() })
    }

    /// Begins a block in every shard that has none of `source` yet; `None` if all have.
    pub(super) async fn begin(
        &mut self,
        source: &str,
        base_ms: TimestampMs,
    ) -> Result<Option<Blocks<'_>>, String> {
        let mut blocks = Vec::with_capacity(self.shards.len());
        for (i, shard) in self.shards.iter().enumerate() {
            blocks.push(if self.done.contains(&line(source, i)) {
                None
            } else {
                Some(shard.import(base_ms).await.map_err(|e| e.to_string())?)
            });
        }
        let any = blocks.iter().any(Option::is_some);
        Ok(any.then(|| Blocks { target: self, source: source.to_owned(), of_shards: blocks }))
    }

    fn note(&mut self, line: String) -> Result<(), String> {
        let written = self.journal.write_all(format!("{line}\n").as_bytes());
        written
            .and_then(|()| self.journal.sync_data())
            .map_err(|e| format!("{}: {e}", self.path.display()))?;
        self.done.insert(line);
        Ok(())
    }
}

/// What the journal says of a finished block.
fn line(source: &str, shard: usize) -> String {
    format!("{source} shard {shard}")
}

/// A block in each shard, begun together.
pub(super) struct Blocks<'a> {
    target: &'a mut Target,
    source: String,
    of_shards: Vec<Option<BlockImport>>,
}

impl Blocks<'_> {
    /// Adds a series to the block of its shard. Series come in the order of their labels.
    pub(super) async fn push(
        &mut self,
        labels: &[u8],
        samples: &SampleColumns,
    ) -> Result<(), String> {
        let owner = Fingerprint::of(labels).owner(self.of_shards.len() as u32);
        if let Some(block) = &mut self.of_shards[owner as usize]
            && !samples.is_empty()
        {
            block.push(labels, samples).await.map_err(|e| e.to_string())?;
            self.target.samples += samples.len() as u64;
        }
        Ok(())
    }

    /// How many samples the import has written.
    pub(super) fn samples(&self) -> u64 {
        self.target.samples
    }

    /// Makes the blocks parts of their shards.
    pub(super) async fn finish(self) -> Result<(), String> {
        for (i, block) in self.of_shards.into_iter().enumerate() {
            if let Some(block) = block {
                block.finish().await.map_err(|e| e.to_string())?;
                self.target.note(line(&self.source, i))?;
            }
        }
        Ok(())
    }
}
