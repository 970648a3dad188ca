//! `scrape_failure_log_file`: one JSON line for each scrape that failed, in the shape that Prometheus writes.
//!
//! Lines gather in memory while a thread apart writes those before them, so that a slow disk holds no scrape up. What does
//! not fit is dropped and counted in the next line that is written. Every core appends for itself, whole lines at a time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;

use serde_json::json;
use tidemark_core::runtime::{Queue, clock, spawn_into, unblock};
use tidemark_ingest::scrape::{FailureLog, Job};

use crate::limits::FAILURE_LINES_BYTES_MAX;
use crate::time::Rfc3339;

/// The logs of one core.
#[derive(Clone, Default)]
pub(crate) struct FailureLogs(Rc<Waiting>);

#[derive(Default)]
struct Waiting {
    lines: RefCell<BTreeMap<String, String>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
    writing: Cell<bool>,
}

impl FailureLog for FailureLogs {
    fn failed(&self, job: &Job, url: &str, error: &str) {
        let waiting = &self.0;
        let mut entry = json!({
            "time": Rfc3339(clock::now_ms()).to_string(),
            "level": "ERROR",
            "msg": error,
            "job_name": job.name,
            "target": url,
        });
        if waiting.dropped.get() > 0 {
            entry["lines_dropped_before"] = json!(waiting.dropped.get());
        }
        let line = format!("{entry}\n");
        if waiting.bytes.get() + line.len() > FAILURE_LINES_BYTES_MAX {
            waiting.dropped.set(waiting.dropped.get() + 1);
            return;
        }
        waiting.dropped.set(0);
        waiting.bytes.set(waiting.bytes.get() + line.len());
        waiting.lines.borrow_mut().entry(job.failure_log_file.clone()).or_default().push_str(&line);
        if !waiting.writing.replace(true) {
            spawn_into(Queue::Background, write_all(Rc::clone(waiting))).detach();
        }
    }
}

/// Writes until nothing waits.
async fn write_all(waiting: Rc<Waiting>) {
    loop {
        let lines = std::mem::take(&mut *waiting.lines.borrow_mut());
        waiting.bytes.set(0);
        if lines.is_empty() {
            break;
        }
        for (file, lines) in lines {
            let name = file.clone();
            let written = unblock(move || {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(name)?;
                file.write_all(lines.as_bytes())
            });
            if let Err(error) = written.await {
                tracing::warn!(file, %error, "scrape_failure_log_file cannot be written");
            }
        }
    }
    waiting.writing.set(false);
}
