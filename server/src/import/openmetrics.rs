//! A file in the OpenMetrics text format: read in pieces, gathered by series, written as blocks of fixed windows of time.
//!
//! Lines may come in any order of time and series. When as many samples as fit are gathered they become a *run* of blocks, one
//! for each window, and reading goes on; blocks of different runs may overlap. The same file gives the same runs, so that a
//! second attempt goes on behind those that the journal names.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Pairs;
use tidemark_core::model::sample::Sample;
use tidemark_core::model::time::TimestampMs;
use tidemark_ingest::label_set::LabelSet;
use tidemark_ingest::protocols::lines::{Entry, SyntaxError};
use tidemark_ingest::protocols::openmetrics::Parser;
use tidemark_ingest::rows::LabelError;

use super::blocks::Target;
use super::progress::Progress;

/// Bytes that are parsed at once.
const PIECE_BYTES: usize = 1 << 20;

/// Samples of one run: half a gigabyte with what is around them.
const RUN_SAMPLES: usize = 16 << 20;

/// Width of a block: a window of compaction, large enough that years do not make thousands of blocks.
const WINDOW_MS: i64 = 32 * 60 * 60 * 1000;

const END: &str = "# EOF";

/// Series by their encoded labels.
type Gathered = HashMap<Vec<u8>, Vec<Sample>>;

/// Imports a file; what was done.
pub(super) async fn import(path: &Path, target: &mut Target) -> Result<String, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(|e| wrong(&e))?;
    let len = file.metadata().map_err(|e| wrong(&e))?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut lines = Lines { file: BufReader::new(file), read: 0, count: 0, ended: false };
    let (mut gathered, mut samples, mut run) = (Gathered::new(), 0, 0);
    let mut progress = Progress::new();
    while let Some((piece, first_line)) = lines.next_piece().map_err(|e| wrong(&e))? {
        samples += gather(&piece, &mut gathered)
            .map_err(|(line, e)| wrong(&format!("line {}: {e}", first_line + line)))?;
        progress.say(|| format!("{} % of {name} read", lines.read * 100 / len.max(1)));
        if samples >= RUN_SAMPLES {
            write(&format!("{name} {len} run {run}"), &mut gathered, target).await?;
            (samples, run) = (0, run + 1);
        }
    }
    if !lines.ended {
        return Err(wrong(&format!("it does not end with {END}: it was cut off")));
    }
    write(&format!("{name} {len} run {run}"), &mut gathered, target).await?;
    progress.done(&format!("100 % of {name} read"));
    Ok(format!("{} lines, {} samples imported", lines.count, target.samples))
}

/// Whole lines of a file, a piece at a time.
struct Lines {
    file: BufReader<File>,
    read: u64,
    count: usize,
    /// Whether the last line was met.
    ended: bool,
}

impl Lines {
    /// The next lines as a body of their own, and how many lines stand before them.
    fn next_piece(&mut self) -> std::io::Result<Option<(Vec<u8>, usize)>> {
        let (mut piece, before) = (Vec::with_capacity(PIECE_BYTES), self.count);
        while piece.len() < PIECE_BYTES && !self.ended {
            let start = piece.len();
            let read = self.file.read_until(b'\n', &mut piece)?;
            if read == 0 {
                break;
            }
            self.read += read as u64;
            self.count += 1;
            if piece[start..].trim_ascii_end() == END.as_bytes() {
                piece.truncate(start);
                self.ended = true;
            }
        }
        if piece.is_empty() {
            return Ok(None);
        }
        piece.extend_from_slice(END.as_bytes());
        Ok(Some((piece, before)))
    }
}

/// Adds the samples of a body to what was gathered; how many, or what is wrong in which line.
fn gather(body: &[u8], gathered: &mut Gathered) -> Result<usize, (usize, String)> {
    let (mut parser, mut labels, mut encoded) = (Parser::new(body), LabelSet::new(), Vec::new());
    let mut samples = 0;
    let wrong = |e: SyntaxError| (e.line, e.message);
    while let Some(entry) = parser.next_entry().map_err(wrong)? {
        let Entry::Sample(sample) = entry else { continue };
        let timestamp_ms = sample.timestamp_ms.ok_or_else(|| {
            let message = "a sample without a timestamp; an import needs the time of each";
            wrong(sample.error(body, message))
        })?;
        labels.clear();
        encoded.clear();
        sample.labels(body, &mut labels).map_err(wrong)?;
        let invalid = |e: LabelError| wrong(sample.error(body, e.to_string()));
        labels.encode(&mut encoded).map_err(invalid)?;
        let sample = Sample { timestamp_ms, value: sample.value };
        match gathered.get_mut(&encoded) {
            Some(series) => series.push(sample),
            None => drop(gathered.insert(encoded.clone(), vec![sample])),
        }
        samples += 1;
    }
    Ok(samples)
}

/// Writes what was gathered as blocks, one for each window of time, and forgets it.
async fn write(source: &str, gathered: &mut Gathered, target: &mut Target) -> Result<(), String> {
    let mut series: Vec<(Vec<u8>, Vec<Sample>)> = std::mem::take(gathered).into_iter().collect();
    series.sort_unstable_by(|(a, _), (b, _)| Pairs::new(a).cmp(Pairs::new(b)));
    let mut windows: BTreeMap<i64, Vec<(usize, SampleColumns)>> = BTreeMap::new();
    for (i, (_, samples)) in series.iter_mut().enumerate() {
        // Stable: of samples at one time the first counts.
        samples.sort_by_key(|sample| sample.timestamp_ms);
        samples.dedup_by_key(|sample| sample.timestamp_ms);
        for part in samples.chunk_by(|a, b| window(a.timestamp_ms) == window(b.timestamp_ms)) {
            let mut columns = SampleColumns::new();
            for sample in part {
                columns.push(sample.timestamp_ms, sample.value);
            }
            windows.entry(window(part[0].timestamp_ms)).or_default().push((i, columns));
        }
        samples.clear();
        samples.shrink_to_fit();
    }
    for (window, of_window) in windows {
        let base_ms = window * WINDOW_MS;
        let source = format!("{source} from {base_ms}");
        let Some(mut blocks) = target.begin(&source, base_ms).await? else { continue };
        for (i, samples) in &of_window {
            blocks.push(&series[*i].0, samples).await?;
        }
        blocks.finish().await?;
    }
    Ok(())
}

fn window(t: TimestampMs) -> i64 {
    t.div_euclid(WINDOW_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_gathered_by_series() {
        let mut gathered = Gathered::new();
        let body = b"# TYPE a gauge\na{b=\"1\"} 1 10\na{b=\"2\"} 2 10\na{b=\"1\"} 3 20.5\n# EOF";
        assert_eq!(gather(body, &mut gathered), Ok(3));
        let mut counts: Vec<_> = gathered.values().map(Vec::len).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 2]);
        let (line, message) = gather(b"a 1 10\na 2\n# EOF", &mut gathered).unwrap_err();
        assert_eq!(line, 2);
        assert!(message.contains("timestamp"), "{message}");
    }
}
