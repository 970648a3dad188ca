//! Limits on how many series there may be: of the process, of a job, of a metric, of whatever a label says.
//!
//! Only *new* series are ever refused; those that exist keep flowing. A shard decides alone, by what its own index counts:
//!
//! | limit | counted | where it holds |
//! |---|---|---|
//! | series of the process, of each value of a label (`job`, `__name__`, ...) | postings in the head | each shard has its equal share, as fingerprints spread series evenly |
//! | distinct values of a label | values in the head's index | in each shard whole, as a value may occur in all |
//! | new series in an hour, in a day | begun since the hour or day of the wall clock began; with `estimate`, distinct ones by a sketch | as above; forgotten by a restart |
//!
//! What goes beyond is counted by limit and by offender, which the log names at most once a minute. [`Guard::shed`] refuses
//! every new series: what the process does when its memory runs out.

mod activity;
mod limit;
mod sketch;
mod window;

use std::sync::Arc;

use hashbrown::HashMap;

use activity::Activity;
pub use activity::MetricActivity;
pub use limit::{Limit, LimitError, Scope};
use window::Windows;

use crate::append::RefusalKind;
use crate::head::Head;
use crate::limits::{CARDINALITY_OFFENDERS_MAX, CARDINALITY_WINDOWS_MAX};
use crate::model::labels::Fingerprint;
use crate::model::matcher::Matcher;
use crate::model::time::TimestampMs;

/// How often the log names the same offender.
const TELL_EVERY_MS: i64 = 60_000;

/// What a limit has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitStatus {
    /// The limit as it was written.
    pub limit: String,
    /// Series refused; one that comes again counts again.
    pub refused: u64,
    /// Whose, the worst first: a job, a metric, or the metric and job that bring the values of a label.
    pub offenders: Vec<(String, u64)>,
}

/// Guards one shard.
#[derive(Debug, Default)]
pub struct Guard {
    limits: Vec<Tally>,
    shards: u64,
    shedding: bool,
    activity: Activity,
}

/// One limit and what was counted for it.
#[derive(Debug)]
struct Tally {
    limit: Limit,
    /// New series by what the limit is on.
    windows: HashMap<Box<str>, Windows>,
    /// Series admitted to the record that is being made; the index does not know them yet.
    pending: HashMap<Box<str>, u64>,
    refused: u64,
    offenders: HashMap<Box<str>, Offender>,
}

#[derive(Debug, Default)]
struct Offender {
    refused: u64,
    told_ms: Option<TimestampMs>,
}

impl Guard {
    /// Guards one of `shards` shards.
    pub fn new(limits: &Arc<[Limit]>, shards: u32) -> Self {
        let limits = limits.iter().cloned().map(Tally::new).collect();
        Guard { limits, shards: u64::from(shards.max(1)), ..Guard::default() }
    }

    /// Refuses every new series from now on, or no more.
    pub fn shed(&mut self, shedding: bool) {
        self.shedding = shedding;
    }

    /// A record begins: what was admitted to the one before is in the index now.
    pub(crate) fn begin_record(&mut self) {
        for tally in &mut self.limits {
            tally.pending.clear();
        }
    }

    /// Why a new series may not begin, if it may not; one that may is counted.
    pub(crate) fn refuses(
        &mut self,
        head: &Head,
        fingerprint: Fingerprint,
        labels: &[u8],
        now_ms: TimestampMs,
    ) -> Option<RefusalKind> {
        if self.shedding {
            return Some(RefusalKind::MemoryLimit);
        }
        let shards = self.shards;
        let passed = self.limits.iter().position(|tally| {
            let subject = tally.limit.subject(labels);
            subject.is_some_and(|subject| tally.is_passed(head, subject, shards, now_ms))
        });
        if let Some(passed) = passed {
            let tally = &mut self.limits[passed];
            tally.refuse(&tally.limit.offender(labels), now_ms);
            return Some(RefusalKind::CardinalityLimit);
        }
        for tally in &mut self.limits {
            if let Some(subject) = tally.limit.subject(labels) {
                tally.admit(head, subject, fingerprint, now_ms);
            }
        }
        self.activity.begin(labels, fingerprint, now_ms);
        None
    }

    /// Notes which metrics are asked for.
    pub(crate) fn note_query(&mut self, head: &Head, matchers: &[Matcher], now_ms: TimestampMs) {
        self.activity.query(head, matchers, now_ms);
    }

    /// What happened to each metric.
    pub fn activity(&self, now_ms: TimestampMs) -> Vec<MetricActivity> {
        self.activity.iter(now_ms).collect()
    }

    /// What each limit has refused, with at most `offenders` offenders.
    pub fn status(&self, offenders: usize) -> Vec<LimitStatus> {
        self.limits.iter().map(|tally| tally.status(offenders)).collect()
    }
}

impl Tally {
    fn new(limit: Limit) -> Self {
        let (windows, pending, offenders) = Default::default();
        Tally { limit, windows, pending, refused: 0, offenders }
    }

    /// Whether one more series of `subject` is too many.
    fn is_passed(&self, head: &Head, subject: &str, shards: u64, now_ms: TimestampMs) -> bool {
        let limit = &self.limit;
        if limit.scope.is_of_values() && self.knows(head, subject) {
            return false;
        }
        let share =
            |most: u64| if limit.scope.is_of_values() { most } else { most.div_ceil(shards) };
        let active = || match &limit.scope {
            Scope::Process => head.series_count() as u64 + self.pending.values().sum::<u64>(),
            Scope::Series(name) => {
                let pending = self.pending.get(subject).copied().unwrap_or(0);
                head.series_with(name, subject) as u64 + pending
            }
            Scope::Values(name) => head.values_of(name) as u64 + self.pending.len() as u64,
        };
        if limit.active.is_some_and(|most| active() >= share(most)) {
            return true;
        }
        let window = self.windows.get(self.window_key(subject));
        window.is_some_and(|window| {
            let (hour, day) = window.counts(now_ms);
            limit.hour.is_some_and(|most| hour >= share(most))
                || limit.day.is_some_and(|most| day >= share(most))
        })
    }

    /// Whether the label has this value already.
    fn knows(&self, head: &Head, value: &str) -> bool {
        let Scope::Values(name) = &self.limit.scope else { return false };
        self.pending.contains_key(value) || head.series_with(name, value) > 0
    }

    /// New values of a label are counted together.
    fn window_key<'a>(&self, subject: &'a str) -> &'a str {
        if self.limit.scope.is_of_values() { "" } else { subject }
    }

    fn admit(&mut self, head: &Head, subject: &str, fingerprint: Fingerprint, now_ms: TimestampMs) {
        if self.knows(head, subject) {
            return;
        }
        match self.pending.get_mut(subject) {
            Some(count) => *count += 1,
            None => drop(self.pending.insert(subject.into(), 1)),
        }
        if self.limit.hour.is_none() && self.limit.day.is_none() {
            return;
        }
        let key = self.window_key(subject);
        if !self.windows.contains_key(key) {
            if self.windows.len() >= CARDINALITY_WINDOWS_MAX {
                self.windows.retain(|_, window| window.is_of_today(now_ms));
            }
            if self.windows.len() >= CARDINALITY_WINDOWS_MAX {
                return;
            }
            self.windows.insert(key.into(), Windows::new(self.limit.estimate));
        }
        if let Some(window) = self.windows.get_mut(key) {
            window.count(fingerprint, now_ms);
        }
    }

    #[cold]
    fn refuse(&mut self, offender: &str, now_ms: TimestampMs) {
        self.refused += 1;
        if !self.offenders.contains_key(offender)
            && self.offenders.len() >= CARDINALITY_OFFENDERS_MAX
        {
            // Room for whoever offends now: the mildest goes.
            let mildest = self.offenders.iter().min_by_key(|(_, o)| o.refused);
            let mildest = mildest.map(|(name, _)| name.clone());
            mildest.and_then(|name| self.offenders.remove(&name));
        }
        let known = self.offenders.entry(offender.into()).or_default();
        known.refused += 1;
        if known.told_ms.is_none_or(|told| now_ms - told >= TELL_EVERY_MS) {
            known.told_ms = Some(now_ms);
            tracing::warn!(
                limit = %self.limit, offender, refused = known.refused,
                "new series refused past a cardinality limit; existing ones keep flowing"
            );
        }
    }

    fn status(&self, offenders: usize) -> LimitStatus {
        let mut all: Vec<_> =
            self.offenders.iter().map(|(name, o)| (name.to_string(), o.refused)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(offenders);
        LimitStatus { limit: self.limit.to_string(), refused: self.refused, offenders: all }
    }
}

#[cfg(test)]
mod tests;
