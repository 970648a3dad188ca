//! How far opening has come: counted for `/api/v1/status/walreplay` over all cores, and told in the log once a second.
//!
//! The segments of a log all have the length they were made with, whatever they hold, so how many are behind is estimated from the bytes
//! of the records until the end is reached.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::info;

use crate::runtime::clock::Instant;
use crate::runtime::disk::Entry;

/// Between two lines of the log.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How far the shards of a process are with replaying their logs. Counts up from all cores, read from any.
#[derive(Debug, Default)]
pub struct ReplayProgress {
    segments: AtomicU64,
    replayed: AtomicU64,
    records: AtomicU64,
}

impl ReplayProgress {
    /// WAL segments that were found.
    pub fn segments(&self) -> u64 {
        self.segments.load(Ordering::Relaxed)
    }

    /// WAL segments that have been replayed.
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Records that have been replayed.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// Tells how far the log of one shard is.
pub(super) struct Teller<'a> {
    progress: &'a ReplayProgress,
    directory: &'a Path,
    segments: u64,
    /// Of all segments.
    bytes: u64,
    replayed_bytes: u64,
    replayed_records: u64,
    /// Segments that were said to be behind.
    told: u64,
    last_line: Instant,
}

impl<'a> Teller<'a> {
    /// Of the log in `directory`, in which these entries are.
    pub(super) fn new(progress: &'a ReplayProgress, directory: &'a Path, listed: &[Entry]) -> Self {
        let is_segment =
            |entry: &&Entry| Path::new(&entry.name).extension() == Some("wal".as_ref());
        let segments = listed.iter().filter(is_segment);
        let (segments, bytes) = segments.fold((0, 0), |(n, bytes), e| (n + 1, bytes + e.len));
        progress.segments.fetch_add(segments, Ordering::Relaxed);
        Teller {
            progress,
            directory,
            segments,
            bytes,
            replayed_bytes: 0,
            replayed_records: 0,
            told: 0,
            last_line: Instant::now(),
        }
    }

    /// A record of so many bytes is behind.
    pub(super) fn replayed(&mut self, bytes: u64) {
        self.replayed_bytes += bytes;
        self.replayed_records += 1;
        self.progress.records.fetch_add(1, Ordering::Relaxed);
        let behind = self.replayed_bytes * self.segments;
        self.tell(behind.checked_div(self.bytes).unwrap_or(0).min(self.segments));
        if self.last_line.elapsed() >= TELL_EVERY {
            self.last_line = Instant::now();
            info!(
                wal = %self.directory.display(),
                segment = (self.told + 1).min(self.segments),
                of = self.segments,
                records = self.replayed_records,
                "replaying"
            );
        }
    }

    /// All segments are behind.
    pub(super) fn finish(mut self) {
        self.tell(self.segments);
    }

    fn tell(&mut self, replayed: u64) {
        self.progress.replayed.fetch_add(replayed - self.told, Ordering::Relaxed);
        self.told = replayed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_goes_up_to_the_number_of_segments() {
        let progress = ReplayProgress::default();
        let entry = |name: &str| Entry { name: name.to_owned(), is_dir: false, len: 1000 };
        let listed = [entry("00000001.wal"), entry("00000002.wal"), entry("00000003.spare")];
        let mut teller = Teller::new(&progress, Path::new("wal"), &listed);
        let mut seen = Vec::new();
        for _ in 0..5 {
            teller.replayed(300);
            seen.push(progress.replayed());
        }
        assert_eq!((progress.segments(), progress.records()), (2, 5));
        assert_eq!(seen, [0, 0, 0, 1, 1]);
        teller.finish();
        assert_eq!(progress.replayed(), 2);
    }
}
