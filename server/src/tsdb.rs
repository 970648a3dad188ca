//! `tidemark tsdb`: what a data directory holds, looked at from outside.
//!
//! Resharding and restoring write a data directory; see [`tidemark_core::shards`]. The others look at one:
//! listing, analyzing and verifying read blocks only and change nothing, so a server may run meanwhile. Dumping reads everything, the log included, and
//! takes the lock of the directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use tidemark_core::block::{Block, block_name};
use tidemark_core::catalog;
use tidemark_core::error::Error;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::histogram::GoFloat;
use tidemark_core::model::labels::METRIC_NAME;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::disk::Disk;
use tidemark_core::runtime::executors::{self, Options};
use tidemark_core::runtime::yield_if_needed;
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::{lock, reshard, restore, shard_dirs};
use tidemark_query::api::Params;

use crate::cli::Tsdb;
use crate::config::scalars::{ByteSize, Duration};
use crate::time::Rfc3339;

type Outcome = Result<(), String>;

/// Does what was asked for on one core, and fails if anything is wrong.
pub(crate) fn run(command: Tsdb) -> ExitCode {
    let (Tsdb::List { directory }
    | Tsdb::Analyze { directory, .. }
    | Tsdb::Verify { directory }
    | Tsdb::Reshard { directory, .. }
    | Tsdb::Restore { directory, .. }
    | Tsdb::Dump { directory, .. }) = &command;
    let made = match command {
        Tsdb::Restore { .. } => std::fs::create_dir_all(directory),
        _ => Ok(()),
    };
    let outcome = match made.and_then(|()| directory.canonicalize()) {
        Ok(directory) => on_a_core(command, directory),
        Err(error) => Err(format!("{}: {error}", directory.display())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn on_a_core(command: Tsdb, directory: PathBuf) -> Outcome {
    let (told, outcome) = mpsc::channel();
    let options = Options { cores: 1, pin: false, ..Options::default() };
    let probe_dir = directory.clone();
    let body = move |_| {
        let (command, directory, told) = (command.clone(), directory.clone(), told.clone());
        async move {
            let done = act(command, &directory).await;
            // The other side waits for the core to end.
            let _ = told.send(done);
        }
    };
    executors::run(&options, &probe_dir, body).map_err(|error| error.to_string())?;
    outcome.recv().unwrap_or_else(|_| Err("stopped".to_owned()))
}

async fn act(command: Tsdb, directory: &Path) -> Outcome {
    let disk = Disk::real();
    match &command {
        Tsdb::Reshard { shards, .. } => return make_shards(&disk, directory, *shards).await,
        Tsdb::Restore { snapshot, .. } => return put_back(&disk, snapshot, directory).await,
        _ => {}
    }
    let shards = shard_dirs(&disk, directory).await.map_err(|error| told(&error))?;
    match command {
        Tsdb::Reshard { .. } | Tsdb::Restore { .. } => Ok(()),
        Tsdb::List { .. } => list(&disk, &shards).await,
        Tsdb::Analyze { limit, .. } => analyze(&disk, &shards, limit).await,
        Tsdb::Verify { .. } => verify(&disk, &shards).await,
        Tsdb::Dump { min_time, max_time, selector, .. } => {
            let matchers = matchers(&selector)?;
            let _lock = lock(&disk, directory).await.map_err(|error| told(&error))?;
            for shard in &shards {
                dump(&disk, shard, &matchers, TimeRange::new(min_time, max_time)).await?;
            }
            Ok(())
        }
    }
}

async fn make_shards(disk: &Disk, directory: &Path, shards: u32) -> Outcome {
    let done = reshard(disk, directory, shards).await.map_err(|error| told(&error))?;
    if done.from == done.to {
        println!("{} has {shards} shards already", directory.display());
    } else {
        println!(
            "{} had {} shards and has {} now: {} blocks with {} samples, {} samples that are not in blocks",
            directory.display(),
            done.from,
            done.to,
            done.blocks,
            done.samples,
            done.head_samples
        );
    }
    Ok(())
}

async fn put_back(disk: &Disk, snapshot: &Path, directory: &Path) -> Outcome {
    let snapshot = std::path::absolute(snapshot).map_err(|error| error.to_string())?;
    let done = restore(disk, &snapshot, directory).await.map_err(|error| told(&error))?;
    println!(
        "{}: {} shards, {} sound blocks with {} samples, {} series with samples that are not in blocks",
        directory.display(),
        done.shards,
        done.blocks,
        done.samples,
        done.head_series
    );
    Ok(())
}

fn told(error: &Error) -> String {
    error.to_string()
}

/// A directory's name, for tables.
fn name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

async fn list(disk: &Disk, shards: &[PathBuf]) -> Outcome {
    println!(
        "{:<11}{:<10}{:>6}  {:<26}{:<26}{:>10}{:>14}{:>10}{:>10}",
        "SHARD", "BLOCK", "LEVEL", "FROM", "TO", "DURATION", "SAMPLES", "SERIES", "SIZE"
    );
    for shard in shards {
        for (sequence, block) in catalog::inspect(disk, shard).await.map_err(|e| told(&e))? {
            match block {
                Ok(block) => println!("{}", line(shard, &block)),
                Err(error) => println!("{:<11}{:<10} {error}", name(shard), block_name(sequence)),
            }
        }
    }
    Ok(())
}

fn line(shard: &Path, block: &Block) -> String {
    let meta = block.meta();
    let span_ms = meta.range.end_ms.saturating_sub(meta.range.start_ms).max(0).cast_unsigned();
    format!(
        "{:<11}{:<10}{:>6}  {:<26}{:<26}{:>10}{:>14}{:>10}{:>10}",
        name(shard),
        block_name(meta.sequence),
        meta.level,
        Rfc3339(meta.range.start_ms).to_string(),
        Rfc3339(meta.range.end_ms).to_string(),
        Duration::from_secs(span_ms / 1000).to_string(),
        meta.samples,
        meta.series,
        ByteSize(block.bytes() >> 10 << 10).to_string(),
    )
}

async fn verify(disk: &Disk, shards: &[PathBuf]) -> Outcome {
    let (mut sound, mut damaged) = (0, 0);
    for shard in shards {
        for (sequence, block) in catalog::inspect(disk, shard).await.map_err(|e| told(&e))? {
            let checked = match block {
                Ok(block) => block.verify().await,
                Err(error) => Err(error),
            };
            match checked {
                Ok(()) => sound += 1,
                Err(error) => {
                    damaged += 1;
                    println!("{} {}: {error}", name(shard), block_name(sequence));
                }
            }
        }
    }
    println!("{sound} blocks are sound, {damaged} are damaged");
    if damaged == 0 { Ok(()) } else { Err("some blocks are damaged".to_owned()) }
}

/// Numbers by name.
type Counts = BTreeMap<String, u64>;

async fn analyze(disk: &Disk, shards: &[PathBuf], limit: usize) -> Outcome {
    let (mut values, mut metrics) = (Counts::new(), Counts::new());
    let (mut series, mut samples, mut bytes) = (0, 0, 0);
    for shard in shards {
        let blocks = catalog::inspect(disk, shard).await.map_err(|error| told(&error))?;
        let whole = blocks.into_iter().filter_map(|(_, block)| block.ok());
        let Some(newest) = whole.max_by_key(|block| block.meta().range.end_ms) else { continue };
        series += u64::from(newest.meta().series);
        samples += newest.meta().samples;
        bytes += newest.bytes();
        for (label, count) in newest.label_counts() {
            *values.entry(label.to_owned()).or_default() += u64::from(count);
        }
        let count = |metric: &str, count: u32| {
            *metrics.entry(metric.to_owned()).or_default() += u64::from(count);
            true
        };
        newest.label_values(METRIC_NAME, count).await.map_err(|error| told(&error))?;
    }
    println!("The newest block of each shard: {series} series, {samples} samples, {bytes} bytes");
    print!("{}", table("Values by label, added up over shards", values, limit));
    print!("{}", table("Series by metric", metrics, limit));
    Ok(())
}

/// The largest, the largest first.
fn table(title: &str, counts: Counts, limit: usize) -> String {
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut text = format!("\n{title}:\n");
    for (name, count) in rows.into_iter().take(limit) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{count:>12}  {name}");
    }
    text
}

fn matchers(selector: &str) -> Result<Vec<Matcher>, String> {
    let query = [("match[]", selector)];
    let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let selectors = Params::parse(&encoded, b"").selectors().map_err(|error| error.to_string())?;
    Ok(selectors.into_iter().next().unwrap_or_default())
}

async fn dump(disk: &Disk, shard: &Path, matchers: &[Matcher], range: TimeRange) -> Outcome {
    let opened = Shard::open(disk.clone(), shard, ShardOptions::default()).await;
    let shard = opened.map_err(|error| told(&error))?;
    let selection = shard.select(matchers, range).await.map_err(|error| told(&error))?;
    let (mut samples, mut text) = (SampleColumns::new(), String::new());
    for i in 0..selection.len() {
        samples.clear();
        selection.read(i, range, &mut samples).await.map_err(|error| told(&error))?;
        text.clear();
        write_samples(&mut text, &selection.labels(i).to_string(), &samples);
        if std::io::stdout().write_all(text.as_bytes()).is_err() {
            // Whoever read it has seen enough.
            break;
        }
        yield_if_needed().await;
    }
    for warning in selection.warnings() {
        eprintln!("{warning}");
    }
    drop(selection);
    shard.close().await.map_err(|error| told(&error))
}

fn write_samples(text: &mut String, labels: &str, samples: &SampleColumns) {
    for (i, (t, value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
        // Writing to a string cannot fail.
        let _ = match samples.histograms.get(i).and_then(Option::as_ref) {
            Some(histogram) => writeln!(text, "{labels} {histogram} {t}"),
            None => writeln!(text, "{labels} {} {t}", GoFloat(*value)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_show_the_largest_first() {
        let counts = [("a", 1), ("b", 7), ("c", 7)].map(|(name, n)| (name.to_owned(), n));
        let text = table("Some", Counts::from(counts), 2);
        assert_eq!(text, "\nSome:\n           7  b\n           7  c\n");
    }

    #[test]
    fn selectors_are_read_as_the_api_reads_them() {
        let found = matchers("up{job=~'a|b'}").unwrap();
        assert_eq!(found.len(), 2);
        assert!(matchers("up{").is_err());
    }
}
