//! Postings of a block on their way: series come in the order of their labels, pairs leave in the order of name and value.
//!
//! The pairs met so far are kept in memory with their postings. When they take too much of it they go, sorted, to a *run*: a file
//! that lives as long as the writer. In the end the runs are merged; since series numbers ascend, the postings of a pair in a later run
//! continue those in an earlier one. So memory is bounded whatever the number of series and values is.
//!
//! ```text
//! run       entry | entry | ...          a file of pages, sorted by name and value
//! entry     bytes of the rest: u32 | name: text | value: text | postings: the rest
//! ```

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::gaps::{self, Gaps};
use super::pages::{Kind, PageCache, PageReader, PageWriter};
use super::series::push_text;
use crate::chunks::cache::Cache;
use crate::error::Result;
use crate::head::record::Input;
use crate::model::labels::Pairs;
use crate::runtime::disk::Disk;
use crate::runtime::yield_if_needed;

/// Bytes of the pages of one run that are kept while runs are merged.
const RUN_CACHE_BYTES: u64 = 128 << 10;
/// Bytes that a pair takes in memory besides its text and its postings, about.
const PAIR_BYTES: usize = 96;

/// The pairs of a block that is being written.
pub(super) struct PostingsBuilder {
    disk: Disk,
    directory: PathBuf,
    bytes_max: usize,
    pairs: BTreeMap<Box<str>, HashMap<String, Gaps>>,
    bytes: usize,
    runs: Vec<PathBuf>,
}

/// A pair with its postings.
pub(super) struct PairPostings<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) series: u32,
    pub(super) postings: &'a [u8],
}

impl PostingsBuilder {
    /// No pairs yet; runs go to `directory`.
    pub(super) fn new(disk: &Disk, directory: &Path, bytes_max: usize) -> Self {
        PostingsBuilder {
            disk: disk.clone(),
            directory: directory.to_owned(),
            bytes_max,
            pairs: BTreeMap::new(),
            bytes: 0,
            runs: Vec::new(),
        }
    }

    /// Adds the pairs of the series with this number, which is above those before.
    pub(super) async fn push(&mut self, number: u32, labels: &[u8]) -> Result<()> {
        for (name, value) in Pairs::new(labels) {
            if !self.pairs.contains_key(name) {
                self.pairs.insert(name.into(), HashMap::new());
            }
            let values = self.pairs.get_mut(name).expect("it was inserted above");
            let gaps = values.entry_ref(value).or_insert_with(|| {
                self.bytes += PAIR_BYTES + value.len();
                Gaps::default()
            });
            let before = gaps.byte_len();
            gaps.push(number);
            self.bytes += gaps.byte_len() - before;
        }
        if self.bytes > self.bytes_max {
            self.spill().await?;
        }
        Ok(())
    }

    async fn spill(&mut self) -> Result<()> {
        let number = self.runs.len() as u32;
        let path = self.directory.join(format!("run-{number:06}"));
        self.runs.push(path.clone());
        let mut writer = PageWriter::create(&self.disk, &path, Kind::Run, number).await?;
        self.bytes = 0;
        let mut entry = Vec::new();
        for (name, values) in std::mem::take(&mut self.pairs) {
            for (value, gaps) in sorted(values) {
                entry.clear();
                push_text(&mut entry, &name);
                push_text(&mut entry, &value);
                entry.extend_from_slice(&gaps.finish());
                writer.write(&(entry.len() as u32).to_le_bytes()).await?;
                writer.write(&entry).await?;
            }
            yield_if_needed().await;
        }
        writer.finish().await?;
        Ok(())
    }

    /// Hands every pair to `visit`, in the order of names and values.
    pub(super) async fn finish(
        mut self,
        mut visit: impl AsyncFnMut(PairPostings<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.runs.is_empty() {
            for (name, values) in self.pairs {
                for (value, gaps) in sorted(values) {
                    let series = gaps.count();
                    let postings = &gaps.finish();
                    visit(PairPostings { name: &name, value: &value, series, postings }).await?;
                }
                yield_if_needed().await;
            }
            return Ok(());
        }
        self.spill().await?;
        let mut runs = Vec::new();
        for (number, path) in (0..).zip(&self.runs) {
            runs.push(RunReader::open(&self.disk, path, number).await?);
        }
        merge(runs, visit).await?;
        for path in &self.runs {
            self.disk.remove(path).await?;
        }
        Ok(())
    }
}

fn sorted(values: HashMap<String, Gaps>) -> Vec<(String, Gaps)> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    values
}

async fn merge(
    mut runs: Vec<RunReader>,
    mut visit: impl AsyncFnMut(PairPostings<'_>) -> Result<()>,
) -> Result<()> {
    for run in &mut runs {
        run.advance().await?;
    }
    runs.retain(|run| !run.ended);
    while !runs.is_empty() {
        let least = runs.iter().min_by(|a, b| a.order(b)).expect("some run has not ended");
        let (name, value) = (least.name.clone(), least.value.clone());
        let mut gaps = Gaps::default();
        for run in &mut runs {
            if run.name == name && run.value == value {
                gaps::decode(&run.postings, u32::MAX, |number| gaps.push(number))
                    .ok_or_else(|| run.reader.corrupt(0, "postings", "something else"))?;
                run.advance().await?;
            }
        }
        runs.retain(|run| !run.ended);
        let series = gaps.count();
        let postings = &gaps.finish();
        visit(PairPostings { name: &name, value: &value, series, postings }).await?;
        yield_if_needed().await;
    }
    Ok(())
}

/// Reads a run, pair by pair.
struct RunReader {
    reader: PageReader,
    cache: PageCache,
    position: u64,
    name: String,
    value: String,
    postings: Vec<u8>,
    ended: bool,
}

impl RunReader {
    async fn open(disk: &Disk, path: &Path, number: u32) -> Result<Self> {
        Ok(RunReader {
            reader: PageReader::open(disk, path, Kind::Run, number).await?,
            cache: PageCache::new(Cache::new(RUN_CACHE_BYTES)),
            position: 0,
            name: String::new(),
            value: String::new(),
            postings: Vec::new(),
            ended: false,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        (&self.name, &self.value).cmp(&(&other.name, &other.value))
    }

    async fn advance(&mut self) -> Result<()> {
        if self.position == self.reader.len() {
            self.ended = true;
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.reader.read(&self.cache, self.position, 4, &mut bytes).await?;
        let len = u32::from_le_bytes(*bytes.first_chunk().expect("four bytes were read"));
        bytes.clear();
        self.reader.read(&self.cache, self.position + 4, len as usize, &mut bytes).await?;
        self.position += 4 + u64::from(len);
        let mut input = Input { bytes: &bytes };
        let texts = input.text().zip(input.text());
        let (name, value) =
            texts.ok_or_else(|| self.reader.corrupt(0, "a pair", "something else"))?;
        name.clone_into(&mut self.name);
        value.clone_into(&mut self.value);
        self.postings.clear();
        self.postings.extend_from_slice(input.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::runtime::sim::{self, SimDisk};

    async fn pairs(bytes_max: usize) -> (Vec<(String, String, u32, Vec<u32>)>, usize) {
        let disk = SimDisk::new(1);
        let directory = Path::new("/block");
        disk.disk().create_dir_all(directory).await.unwrap();
        let mut builder = PostingsBuilder::new(&disk.disk(), directory, bytes_max);
        for number in 0..500_u32 {
            let (own, shared) = (number.to_string(), (number % 7).to_string());
            let labels =
                Labels::from_pairs([("__name__", "m"), ("own", &own), ("shared", &shared)]);
            builder.push(number, labels.encoded()).await.unwrap();
        }
        let (runs, mut found) = (builder.runs.len(), Vec::new());
        builder
            .finish(async |pair| {
                let mut numbers = Vec::new();
                gaps::decode(pair.postings, 500, |number| numbers.push(number)).unwrap();
                found.push((pair.name.to_owned(), pair.value.to_owned(), pair.series, numbers));
                Ok(())
            })
            .await
            .unwrap();
        assert!(disk.files().is_empty(), "runs are removed");
        (found, runs)
    }

    #[test]
    fn runs_merge_to_what_memory_holds() {
        sim::run(1, async {
            let (whole, none) = pairs(usize::MAX).await;
            let (merged, some) = pairs(3_000).await;
            assert!(none == 0 && some > 10, "{some} runs");
            assert_eq!(whole.len(), 1 + 500 + 7);
            assert!(whole.is_sorted());
            assert_eq!(whole, merged);
        });
    }
}
