//! What a query may cost: samples and bytes held at once, time, and whether anyone still waits for the answer.
//!
//! One budget is shared by all parts of a query on all cores; its numbers are atomics that only ever say "stop", so
//! nobody waits for anybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tidemark_core::runtime::clock::Instant;

use crate::value::{ErrorType, QueryError};

/// What a value weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Float samples; a histogram weighs as many as it takes the place of.
    pub samples: usize,
    /// Bytes of its columns and labels.
    pub bytes: usize,
}

impl Weight {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Weight) -> Weight {
        Weight { samples: self.samples + other.samples, bytes: self.bytes + other.bytes }
    }

    /// What is left without the other, nothing if that is more.
    #[must_use]
    pub fn minus(self, other: Weight) -> Weight {
        Weight {
            samples: self.samples.saturating_sub(other.samples),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// The budget of one query. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    samples_max: u64,
    bytes_max: u64,
    bytes: AtomicU64,
    bytes_peak: AtomicU64,
    deadline: Instant,
    samples: AtomicU64,
    samples_peak: AtomicU64,
    samples_read: AtomicU64,
    samples_seen: AtomicU64,
    canceled: AtomicBool,
}

/// The budgets of the queries that one core has begun: what they hold together.
#[derive(Debug, Default)]
pub struct Budgets(Vec<Weak<Inner>>);

impl Budgets {
    /// A query begins.
    pub fn watch(&mut self, budget: &Budget) {
        self.0.retain(|running| running.strong_count() > 0);
        self.0.push(Arc::downgrade(&budget.0));
    }

    /// Bytes that all queries under way hold.
    pub fn bytes(&self) -> u64 {
        let running = self.0.iter().filter_map(Weak::upgrade);
        running.map(|budget| budget.bytes.load(Ordering::Relaxed)).sum()
    }
}

impl Budget {
    /// A fresh budget.
    pub fn new(samples_max: u64, bytes_max: u64, deadline: Instant) -> Self {
        Budget(Arc::new(Inner {
            samples_max,
            bytes_max,
            bytes: AtomicU64::new(0),
            bytes_peak: AtomicU64::new(0),
            deadline,
            samples: AtomicU64::new(0),
            samples_peak: AtomicU64::new(0),
            samples_read: AtomicU64::new(0),
            samples_seen: AtomicU64::new(0),
            canceled: AtomicBool::new(false),
        }))
    }

    /// Says that `samples` more are held.
    pub fn hold(&self, samples: usize) -> Result<(), QueryError> {
        let held = self.0.samples.fetch_add(samples as u64, Ordering::Relaxed) + samples as u64;
        self.0.samples_peak.fetch_max(held, Ordering::Relaxed);
        if held > self.0.samples_max { Err(too_much()) } else { Ok(()) }
    }

    /// Says that `bytes` more are held: columns cost memory where they have no sample, too.
    ///
    /// # Errors
    /// That of too many samples, which is Prometheus' for all of memory.
    pub fn hold_bytes(&self, bytes: usize) -> Result<(), QueryError> {
        let held = self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        self.0.bytes_peak.fetch_max(held, Ordering::Relaxed);
        if held > self.0.bytes_max { Err(too_much()) } else { Ok(()) }
    }

    /// Says that `samples` are held no more.
    pub fn release(&self, samples: usize) {
        self.0.samples.fetch_sub(samples as u64, Ordering::Relaxed);
    }

    /// Says that `bytes` are held no more.
    pub fn release_bytes(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// What is held now.
    pub fn held(&self) -> Weight {
        let read = |held: &AtomicU64| held.load(Ordering::Relaxed) as usize;
        Weight { samples: read(&self.0.samples), bytes: read(&self.0.bytes) }
    }

    /// A part of the query is done: of all that it held beside the `before` of others, `kept` is left.
    pub fn settle(&self, before: Weight, kept: Weight) -> Result<(), QueryError> {
        self.0.samples.store(before.samples as u64, Ordering::Relaxed);
        self.0.bytes.store(before.bytes as u64, Ordering::Relaxed);
        self.hold(kept.samples)?;
        self.hold_bytes(kept.bytes)
    }

    /// Counts samples that were read from storage.
    pub fn count_read(&self, samples: usize) {
        self.0.samples_read.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Counts samples that were looked at; one in the windows of several steps counts at each.
    pub fn count_seen(&self, samples: usize) {
        self.0.samples_seen.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// All samples looked at.
    pub fn samples_seen(&self) -> u64 {
        self.0.samples_seen.load(Ordering::Relaxed)
    }

    /// An error if the time is up or nobody waits any more. Cheap enough for once a series.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.0.canceled.load(Ordering::Relaxed) {
            return Err(QueryError::new(
                ErrorType::Canceled,
                "query was canceled in expression evaluation",
            ));
        }
        if Instant::now() >= self.0.deadline {
            return Err(QueryError::new(
                ErrorType::Timeout,
                "query timed out in expression evaluation",
            ));
        }
        Ok(())
    }

    /// Tells all parts of the query to stop when it is dropped.
    pub fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// Most samples held at once.
    pub fn samples_peak(&self) -> u64 {
        self.0.samples_peak.load(Ordering::Relaxed)
    }

    /// Most bytes held at once.
    pub fn bytes_peak(&self) -> u64 {
        self.0.bytes_peak.load(Ordering::Relaxed)
    }

    /// All samples read from storage.
    pub fn samples_read(&self) -> u64 {
        self.0.samples_read.load(Ordering::Relaxed)
    }
}

fn too_much() -> QueryError {
    QueryError::new(
        ErrorType::Execution,
        "query processing would load too many samples into memory in query execution",
    )
}

/// Cancels a query when dropped: held by the future that a client waits for.
#[derive(Debug)]
pub struct CancelOnDrop(Budget);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.canceled.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_budget_ends() {
        tidemark_core::runtime::sim::run(1, async {
            let budget = Budget::new(10, 100, Instant::now() + Duration::from_secs(1));
            budget.hold(8).unwrap();
            budget.release(3);
            budget.hold(5).unwrap();
            assert_eq!(budget.samples_peak(), 10);
            assert!(budget.hold(1).unwrap_err().message.contains("too many samples"));
            budget.settle(Weight::default(), Weight { samples: 1, bytes: 60 }).unwrap();
            assert_eq!(budget.held(), Weight { samples: 1, bytes: 60 });
            assert!(budget.hold_bytes(50).unwrap_err().message.contains("too many samples"));
            assert!(budget.check().is_ok());
            tidemark_core::runtime::sleep(Duration::from_secs(2)).await;
            assert_eq!(budget.check().unwrap_err().kind, ErrorType::Timeout);
            drop(budget.cancel_on_drop());
            assert_eq!(budget.check().unwrap_err().kind, ErrorType::Canceled);
        });
    }
}
