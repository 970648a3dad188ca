//! Runs `file_sd`: looks at the files when something in their directories changes, and now and then without a reason.
//!
//! Watched are directories, not files, so that a file that is replaced by a rename, or comes to be later, is noticed. What
//! the files mean is decided by [`Files`].

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use tidemark_ingest::discovery::file::Files;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::mechanisms::{Context, Start};
use super::provider::{Running, Update};
use super::refresh::Complaints;
use super::stats::Stats;
use crate::config::discovery::FileSdConfig;
use crate::limits::{CONTROL_ANSWER_BYTES_MAX, CONTROL_FILES_MAX};

/// Changes come in bursts: one look serves all that come within this time.
const SETTLE: Duration = Duration::from_millis(50);

/// Room for the events of one read.
const EVENT_BYTES: usize = 4096;

impl Start for FileSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        Ok(Running::start(run(self.clone(), context)))
    }
}

/// Runs until it is dropped.
async fn run(config: FileSdConfig, context: Context) {
    let mut files = Files::default();
    let mut complaints = Complaints::new(&context);
    let mut watch = Watch::new(&context);
    let every = config.refresh_interval.as_std().max(SETTLE);
    loop {
        watch.add(&config.files);
        let began = Instant::now();
        let patterns = config.files.clone();
        let Ok(found) = spawn_blocking(move || look(&patterns)).await else { return };
        note_times(&config, &context, &found);
        let read = found.into_iter().map(|file| (file.path, file.content)).collect();
        let look = files.take(read);
        context.stats.file_read_errors.add(look.failures.len() as u64);
        context.stats.file_scans.set(context.stats.file_scans.get().and(began.elapsed()));
        match look.failures.first() {
            Some(_) => complaints.bad(&look.failures.join("; ")),
            None => complaints.good(),
        }
        context.feed.send(Update::All(look.groups)).await;
        // Either way it is time to look again.
        drop(timeout(every, watch.changed()).await);
        sleep(SETTLE).await;
    }
}

/// A file that is there.
struct Found {
    path: String,
    content: Result<Vec<u8>, String>,
    changed_seconds: Option<f64>,
}

fn look(patterns: &[String]) -> Vec<Found> {
    let paths: BTreeSet<String> = patterns.iter().flat_map(|pattern| expand(pattern)).collect();
    paths.into_iter().take(CONTROL_FILES_MAX).map(open).collect()
}

fn open(path: String) -> Found {
    let metadata = std::fs::metadata(&path);
    let changed = metadata.as_ref().ok().and_then(|m| m.modified().ok());
    let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let content = match metadata {
        Ok(metadata) if metadata.len() > CONTROL_ANSWER_BYTES_MAX as u64 => {
            Err(format!("longer than {CONTROL_ANSWER_BYTES_MAX} bytes"))
        }
        Ok(_) => std::fs::read(&path).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Found { path, content, changed_seconds: changed.map(|since| since.as_secs_f64()) }
}

/// The files that a pattern names. Wildcards stand in the last element only.
fn expand(pattern: &str) -> Vec<String> {
    let (directory, name) = split(pattern);
    if !name.contains(['*', '?']) {
        let there = std::fs::symlink_metadata(pattern).is_ok();
        return if there { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let shown = if pattern.contains('/') {
        format!("{}/", directory.trim_end_matches('/'))
    } else {
        String::new()
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|entry| fits(name.as_bytes(), entry.as_bytes()))
        .map(|entry| format!("{shown}{entry}"))
        .collect()
}

/// Directory and name.
fn split(pattern: &str) -> (&str, &str) {
    match pattern.rfind('/') {
        Some(0) => ("/", &pattern[1..]),
        Some(at) => (&pattern[..at], &pattern[at + 1..]),
        None => (".", pattern),
    }
}

/// Whether `name` is as `pattern` says: `*` is any text, `?` one byte.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| fits(rest, &name[at..])),
        Some((b'?', rest)) => !name.is_empty() && fits(rest, &name[1..]),
        Some((byte, rest)) => name.first() == Some(byte) && fits(rest, &name[1..]),
    }
}

/// Keeps the times of the files of this discoverer.
fn note_times(config: &FileSdConfig, context: &Context, found: &[Found]) {
    let mine = |path: &str| {
        config.files.iter().any(|pattern| {
            split(pattern).0 == split(path).0
                && fits(split(pattern).1.as_bytes(), split(path).1.as_bytes())
        })
    };
    let mut times = context.stats.file_times.borrow_mut();
    times.retain(|path, _| !mine(path));
    for file in found {
        if let (Ok(_), Some(seconds)) = (&file.content, file.changed_seconds) {
            times.insert(file.path.clone(), seconds);
        }
    }
}

/// The directories that are watched; without inotify there is only the interval.
struct Watch {
    events: Option<EventStream<[u8; EVENT_BYTES]>>,
    stats: Rc<Stats>,
}

impl Watch {
    fn new(context: &Context) -> Self {
        let events = Inotify::init().and_then(|it| it.into_event_stream([0; EVENT_BYTES]));
        let stats = Rc::clone(&context.stats);
        match events {
            Ok(events) => Watch { events: Some(events), stats },
            Err(error) => {
                tracing::warn!(%error, "files of targets are not watched, only read now and then");
                stats.file_watcher_errors.add(1);
                Watch { events: None, stats }
            }
        }
    }

    /// Watches the directories of `patterns` as far as they are there. Doing so again changes nothing.
    fn add(&mut self, patterns: &[String]) {
        let Some(events) = &self.events else { return };
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MODIFY
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF;
        let directories: BTreeSet<&str> = patterns.iter().map(|pattern| split(pattern).0).collect();
        for directory in directories {
            if events.watches().add(Path::new(directory), mask).is_err() {
                self.stats.file_watcher_errors.add(1);
            }
        }
    }

    /// Ready when something happened.
    async fn changed(&mut self) {
        if let Some(events) = &mut self.events {
            if let Some(Ok(_)) = events.next().await {
                return;
            }
            // It will not get better: the interval remains.
            self.stats.file_watcher_errors.add(1);
            self.events = None;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files() {
        for (pattern, name, expected) in [
            ("*.json", "a.json", true),
            ("*.json", "a.yml", false),
            ("a*b*.yml", "a-b-c.yml", true),
            ("a?.yml", "ab.yml", true),
            ("a?.yml", "a.yml", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        for name in ["b.json", "a.json", "c.yml"] {
            std::fs::write(at(name), name).unwrap();
        }
        let found = look(&[at("*.json"), at("a.json"), at("gone.yml")]);
        let paths: Vec<_> = found.iter().map(|file| file.path.clone()).collect();
        assert_eq!(paths, [at("a.json"), at("b.json")]);
        assert_eq!(found[0].content, Ok(b"a.json".to_vec()));
        assert!(found[0].changed_seconds.is_some());
    }
}
