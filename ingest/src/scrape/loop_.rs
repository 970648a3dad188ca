//! The loop of one target: wait, scrape, store, from its first scrape to its end.
//!
//! ```text
//! offset -> tick -> fetch -> body -> intake -> cache.commit | cache.fail -> report -> split -> append -> wait -> tick ...
//! ```
//!
//! Scrapes come at fixed places of the interval. The timestamp is the planned instant if the tick was on time, so that
//! samples lie exactly one interval apart and compress well. When its target is taken away the loop waits for two more
//! intervals: if the target comes back meanwhile, be it in another job, nothing has happened, else the series end with a
//! staleness marker. When the process stops it just ends: after a restart the series go on.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime;
use tidemark_core::runtime::clock::{self, Instant};

use super::body;
use super::cache::Cache;
use super::error::ScrapeError;
use super::handle::{Context, LastScrape, Order, Settings, Shared};
use super::intake::{Counts, Intake, Scratch, push_stale};
use super::report::{Outcome, Report};
use super::status::Health;
use crate::known::Known;
use crate::route;

/// How late a tick may be and still get the planned timestamp; at most a hundredth of the interval.
const TIMESTAMP_TOLERANCE: Duration = Duration::from_millis(2);

/// The loop itself.
pub(super) struct Runner {
    context: Rc<Context>,
    shared: Rc<Shared>,
    settings: Rc<Settings>,
    cache: Cache,
    report: Report,
    /// When to scrape next.
    next: Instant,
    /// Timestamp of the last scrape on this schedule.
    last_ms: Option<TimestampMs>,
    /// Storage refused samples in the last scrape: that was said already.
    refusing: bool,
}

impl Runner {
    pub(super) fn new(context: Rc<Context>, shared: Rc<Shared>) -> Self {
        let settings = Rc::clone(&shared.settings.borrow());
        let tenant = context.tenant_of(&settings.target);
        let report = Report::new(&settings.target.labels, tenant);
        let next = first_tick(&settings, &context);
        Runner {
            context,
            shared,
            settings,
            cache: Cache::default(),
            report,
            next,
            last_ms: None,
            refusing: false,
        }
    }

    /// Runs to its end.
    pub(super) async fn run(mut self) {
        loop {
            match self.wait_until(self.next).await {
                Order::Stop => break,
                Order::Retire => {
                    if !self.retire().await {
                        break;
                    }
                }
                Order::Run => {
                    let time_ms = self.timestamp();
                    if !self.scrape(time_ms).await {
                        break;
                    }
                    self.schedule_next();
                }
            }
        }
        self.shared.finished.set(true);
    }

    /// Waits for `deadline`, or until the loop is told something but to run. Takes new settings over on the way.
    async fn wait_until(&mut self, mut deadline: Instant) -> Order {
        loop {
            let changed = self.shared.changed.notified();
            if self.take_settings() {
                deadline = self.next;
            }
            let order = self.shared.order.get();
            let left = deadline.duration_since(Instant::now());
            if order != Order::Run || left.is_zero() {
                return order;
            }
            let _ = runtime::timeout(left, changed).await;
        }
    }

    /// Says whether the schedule is another one now.
    fn take_settings(&mut self) -> bool {
        let settings = Rc::clone(&self.shared.settings.borrow());
        if Rc::ptr_eq(&settings, &self.settings) {
            return false;
        }
        let old = std::mem::replace(&mut self.settings, settings);
        if !self.settings.reads_lines_like(&old) {
            self.cache.forget_lines();
        }
        let rescheduled = self.settings.target.interval != old.target.interval;
        if rescheduled {
            self.next = first_tick(&self.settings, &self.context);
            self.last_ms = None;
        }
        rescheduled
    }

    fn interval(&self) -> Duration {
        self.settings.target.interval
    }

    /// The next tick after this scrape; those that passed meanwhile are skipped.
    fn schedule_next(&mut self) {
        let interval = self.interval();
        self.next += interval;
        let late = Instant::now().duration_since(self.next);
        let skipped = late.as_nanos() / interval.as_nanos();
        self.next += interval * skipped as u32;
    }

    /// The timestamp of the scrape that begins now.
    fn timestamp(&mut self) -> TimestampMs {
        let now_ms = clock::now_ms();
        let timestamp_ms =
            self.last_ms.map_or(now_ms, |last_ms| aligned(now_ms, last_ms, self.interval()));
        self.last_ms = Some(timestamp_ms);
        timestamp_ms
    }

    /// One scrape; `false` if the process stops meanwhile.
    async fn scrape(&mut self, time_ms: TimestampMs) -> bool {
        let settings = Rc::clone(&self.settings);
        let start = Instant::now();
        let response = match &settings.forced_error {
            Some(error) => Err(error.clone()),
            None => match self.fetch(&settings).await {
                Some(response) => response,
                None => return false,
            },
        };
        let (outcome, known) = self.attempt(&settings, &response, time_ms, start, None).await;
        if !known {
            // What was stored is a duplicate then.
            self.cache.distrust();
            self.attempt(&settings, &response, time_ms, start, Some(outcome)).await;
        }
        true
    }

    /// Takes in a response, reports and stores; `reported` is what was reported the first time if this is the second. Says what was
    /// reported, and whether storage knew every series that went by its number.
    async fn attempt(
        &mut self,
        settings: &Settings,
        response: &Result<http::Response<bytes::Bytes>, ScrapeError>,
        time_ms: TimestampMs,
        start: Instant,
        reported: Option<Outcome>,
    ) -> (Outcome, bool) {
        let mut scratch = self.context.take_scratch();
        scratch.rows.set_tenant(self.context.tenant_of(&settings.target).cloned());
        self.cache.begin();
        self.shared.families.borrow_mut().begin();
        let mut counts = Counts::default();
        let taken = match response {
            Ok(response) => {
                self.take_response(settings, response, time_ms, &mut scratch, &mut counts).await
            }
            Err(error) => Err(error.clone()),
        };
        self.end_series(&taken, time_ms, &mut scratch);
        let again = reported.is_some();
        let outcome = reported.unwrap_or_else(|| Outcome {
            up: taken.is_ok(),
            duration_seconds: start.elapsed().as_secs_f64(),
            samples_scraped: counts.scraped,
            samples_relabelled: counts.relabelled,
            series_added: counts.series_added,
            body_bytes: match &taken {
                Ok(bytes) => *bytes as i64,
                Err(ScrapeError::BodySize) => -1,
                Err(_) => 0,
            },
        });
        self.report.push(&mut scratch.rows, time_ms, &outcome, &settings.job, &settings.target);
        if !again {
            self.note(&taken, &outcome, counts, time_ms);
        }
        (outcome, self.append(scratch).await)
    }

    /// Fetches; `None` if the process stops meanwhile.
    async fn fetch(
        &self,
        settings: &Settings,
    ) -> Option<Result<http::Response<bytes::Bytes>, ScrapeError>> {
        let request = body::request(&settings.job, &settings.target);
        let limits = body::fetch_limits(&settings.job, &settings.target, &self.context.room);
        let mut fetched = self.context.fetch.fetch(request, limits);
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.order.get() == Order::Stop {
                return None;
            }
            match select(fetched, changed).await {
                Either::Left((response, _)) => return Some(response.map_err(ScrapeError::from)),
                Either::Right(((), unfinished)) => fetched = unfinished,
            }
        }
    }

    /// Decompresses and takes in a body; returns its length.
    async fn take_response(
        &mut self,
        settings: &Settings,
        response: &http::Response<bytes::Bytes>,
        time_ms: TimestampMs,
        scratch: &mut Scratch,
        counts: &mut Counts,
    ) -> Result<usize, ScrapeError> {
        let mut inflated = std::mem::take(&mut scratch.body);
        let mut share = self.context.room.share();
        let read = body::read(&settings.job, response, &mut inflated, &mut share).await;
        let taken = match read {
            Ok((body, format)) => {
                let (rows, labels, encoded) = scratch.split();
                let mut intake = Intake {
                    job: &settings.job,
                    target_labels: &settings.target.labels,
                    tenant: self.context.tenant_of(&settings.target),
                    start_timestamps: self.context.options.start_timestamps,
                    time_ms,
                    cache: &mut self.cache,
                    families: &self.shared.families,
                    rows,
                    labels,
                    encoded,
                    counts: Counts::default(),
                    groups: None,
                    group_start: 0,
                };
                let taken = intake.take(body, format).await;
                *counts = intake.counts;
                taken.map(|()| body.len())
            }
            Err(error) => Err(error),
        };
        scratch.body = inflated;
        taken
    }

    /// Ends the series that are gone: those missing in a good scrape, all after a bad one.
    fn end_series<T>(
        &mut self,
        taken: &Result<T, ScrapeError>,
        time_ms: TimestampMs,
        scratch: &mut Scratch,
    ) {
        let rows = &mut scratch.rows;
        if taken.is_ok() {
            self.cache.commit(|series| push_stale(rows, series, time_ms));
            self.shared.families.borrow_mut().commit(rows);
        } else {
            rows.clear();
            let overflowed = self.cache.fail(|series| push_stale(rows, series, time_ms));
            self.context.stats.borrow_mut().cache_flushes_forced += u64::from(overflowed);
        }
    }

    fn note<T>(
        &self,
        taken: &Result<T, ScrapeError>,
        outcome: &Outcome,
        counts: Counts,
        time_ms: TimestampMs,
    ) {
        let error = taken.as_ref().err();
        *self.shared.last.borrow_mut() = LastScrape {
            health: if error.is_none() { Health::Up } else { Health::Down },
            error: error.map(ToString::to_string).unwrap_or_default(),
            time_ms: Some(time_ms),
            duration_seconds: outcome.duration_seconds,
        };
        let Settings { job, target, .. } = &*self.settings;
        if let Some(error) = error
            && !job.failure_log_file.is_empty()
        {
            self.context.failures.failed(job, &target.scrape_url, &error.to_string());
        }
        self.context.stats.borrow_mut().note(error, counts.scraped, counts.duplicates);
    }

    /// Stores what is in `scratch`, learns the numbers of series, and says so where storage does not take it. `false` says that some
    /// series did not mean anything any more by its number.
    async fn append(&mut self, mut scratch: Scratch) -> bool {
        let mut asking = route::split_asking(&mut scratch.rows, self.context.append.shard_count());
        // Thousands of targets one after the other: many scrapes become durable by one flush.
        asking.batches.iter_mut().for_each(|(_, batch)| batch.set_patient());
        self.context.give_back(scratch);
        let appended = self.context.append.append(asking.batches).await;
        let (job, url) = (&self.settings.job.name, &self.settings.target.scrape_url);
        let mut stats = self.context.stats.borrow_mut();
        match appended {
            Ok(outcome) => {
                let refused = outcome.refused_total();
                stats.samples_refused += refused;
                if refused > 0 && !self.refusing {
                    let example = outcome.first_refusal.map(|r| r.to_string()).unwrap_or_default();
                    tracing::warn!(job, url, refused, example, "storage refused scraped samples");
                }
                self.refusing = refused > 0;
                for (ticket, number) in outcome.numbers {
                    if let Some(&(key, shard)) = asking.keys.get(ticket as usize) {
                        self.cache.learn(key.place(), Known { shard, number });
                    }
                }
                outcome.stale == 0
            }
            Err(error) => {
                stats.appends_failed += 1;
                tracing::error!(job, url, %error, "storing a scrape failed");
                self.shared.last.borrow_mut().error = format!("storing the scrape failed: {error}");
                self.shared.families.borrow_mut().tell_again();
                true
            }
        }
    }

    /// The target is gone. Waits until it would have been scraped twice more, and a tenth of an interval to be safe, then
    /// ends its series as of the first of the two. Returns `true` if the target came back before that.
    async fn retire(&mut self) -> bool {
        if self.shared.last.borrow().time_ms.is_none() {
            return self.shared.order.get() == Order::Run;
        }
        let interval = self.interval();
        let first = self.next;
        let deadline = first + interval + interval / 10;
        let stale_ms = clock::now_ms() + first.duration_since(Instant::now()).as_millis() as i64;
        loop {
            let changed = self.shared.changed.notified();
            match self.shared.order.get() {
                Order::Stop => return false,
                Order::Run => {
                    self.schedule_after_pause();
                    return true;
                }
                Order::Retire => {}
            }
            let left = deadline.duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let _ = runtime::timeout(left, changed).await;
        }
        let mut scratch = self.context.take_scratch();
        let rows = &mut scratch.rows;
        self.cache.begin();
        self.cache.fail(|series| push_stale(rows, series, stale_ms));
        self.report.push_stale(rows, stale_ms, &self.settings.job);
        self.append(scratch).await;
        // It may have come back while that was stored.
        self.schedule_after_pause();
        self.shared.order.get() == Order::Run
    }

    /// After a pause: the next tick of the same schedule that is not past.
    fn schedule_after_pause(&mut self) {
        while self.next.duration_since(Instant::now()).is_zero() {
            self.next += self.interval();
        }
    }
}

/// The instant a whole number of intervals after the last scrape, if that is now but for the tolerance; else now. So a
/// tick that comes late moves one sample and not the schedule, and clocks that drift apart do no harm.
fn aligned(now_ms: TimestampMs, last_ms: TimestampMs, interval: Duration) -> TimestampMs {
    let interval_ms = (interval.as_millis() as i64).max(1);
    let intervals = (now_ms - last_ms + interval_ms / 2).div_euclid(interval_ms);
    let planned_ms = last_ms + intervals * interval_ms;
    let tolerance_ms = TIMESTAMP_TOLERANCE.min(interval / 100).as_millis() as i64;
    if intervals > 0 && (planned_ms - now_ms).abs() <= tolerance_ms { planned_ms } else { now_ms }
}

fn first_tick(settings: &Settings, context: &Context) -> Instant {
    Instant::now() + settings.target.offset(clock::now_ms(), context.options.offset_seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_to_the_interval_within_the_tolerance() {
        let interval = Duration::from_secs(15);
        for (now_ms, expected) in [
            (115_000, 115_000),
            (115_002, 115_000),
            (114_998, 115_000),
            (115_003, 115_003),
            (130_001, 130_000),
            (100_001, 100_001),
            (99_000, 99_000),
        ] {
            assert_eq!(aligned(now_ms, 100_000, interval), expected, "{now_ms}");
        }
        // A hundredth of a short interval is less than that.
        assert_eq!(aligned(100_102, 100_000, Duration::from_millis(100)), 100_102);
        assert_eq!(aligned(100_101, 100_000, Duration::from_millis(100)), 100_100);
    }
}
