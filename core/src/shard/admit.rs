//! What of a batch is appended and what is refused: decided before anything is logged or changed.
//!
//! The series of a batch are gone through once. Each is looked up, its samples are compared with the newest one it has, and what is
//! admitted is encoded. Nothing changes meanwhile, so where a series occurs a second time the admission ends: what was admitted
//! is logged and applied, and another admission goes on from there.

use std::sync::atomic::Ordering;

use hashbrown::HashSet;

use super::ShardOptions;
use super::late::{Deferred, Judgement, Known, Late, Stored};
use crate::append::{AppendOutcome, Refusal, RefusalKind, SeriesView};
use crate::cardinality::Guard;
use crate::head::Head;
use crate::head::details::{SampleDetail, encode_detail};
use crate::head::record::{AppendEncoder, KIND_APPEND, KIND_DETAIL, KIND_OUT_OF_ORDER, Record};
use crate::head::series::{Series, Verdict, judge};
use crate::index::SeriesRef;
use crate::limits::{
    APPEND_RECORD_BYTES, ENTRY_SAMPLES_MAX, SERIES_LABELS_BYTES_MAX, SERIES_NUMBER_END,
};
use crate::model::labels::{Fingerprint, Labels, is_canonical};
use crate::model::sample::Sample;
use crate::model::time::TimestampMs;

/// The part of a batch that one WAL record carries.
#[derive(Default)]
pub(super) struct Admission<'a> {
    entries: Vec<Entry<'a>>,
    /// Admitted samples of series that had others refused.
    kept: Vec<Sample>,
    encoder: AppendEncoder,
    /// The record.
    pub(super) payload: Vec<u8>,
    /// The details of the admitted samples, and the record of them.
    details: Vec<(SeriesRef, TimestampMs, &'a SampleDetail)>,
    details_payload: Vec<u8>,
    late: Late<'a>,
    /// Late samples that have to wait for a file.
    pub(super) deferred: Vec<Deferred>,
    /// Series that begin here.
    begun: HashSet<Fingerprint>,
    next_series: SeriesRef,
    series_count: usize,
    /// Time of the oldest admitted sample.
    oldest_ms: TimestampMs,
}

struct Entry<'a> {
    series: SeriesRef,
    new_labels: Option<&'a [u8]>,
    samples: Samples<'a>,
}

enum Samples<'a> {
    All(&'a [Sample]),
    /// Start and end in [`Admission::kept`].
    Kept(usize, usize),
}

/// Memory for an admission: a buffer to use again, and how many series there may be.
pub(super) struct Room {
    pub(super) payload: Vec<u8>,
    pub(super) series: usize,
}

/// Entries for which room is made beforehand; a record seldom holds more.
const ENTRIES_RESERVED_MAX: usize = 16 << 10;

/// How many series before its turn the open chunk of a series is fetched: about the time of one cache miss.
const PREFETCH_AHEAD: usize = 6;

/// The bounds of one append.
pub(super) struct Bounds {
    /// Time of the newest sample that is taken.
    newest_ms: TimestampMs,
    /// How much older than the newest sample of the shard a late one may be, in ms; 0 admits none.
    pub(super) late_ms_max: i64,
    now_ms: TimestampMs,
    series_max: usize,
    /// What was read of chunk files for samples that had been deferred; none before that.
    pub(super) stored: Option<Stored>,
}

impl Bounds {
    /// The bounds at the wall clock's time `now_ms`.
    pub(super) fn new(options: &ShardOptions, now_ms: TimestampMs) -> Self {
        Bounds {
            newest_ms: now_ms.saturating_add(options.future_ms_max),
            late_ms_max: options.out_of_order_window_ms.load(Ordering::Relaxed),
            now_ms,
            series_max: options.series_max as usize,
            stored: None,
        }
    }
}

impl<'a> Admission<'a> {
    /// Admits series from the front of `batch` until it is empty, a series occurs again, or the record is large enough.
    pub(super) fn take(
        batch: &mut impl Iterator<Item = SeriesView<'a>>,
        pending: &mut Option<SeriesView<'a>>,
        head: &Head,
        bounds: &Bounds,
        guard: &mut Guard,
        outcome: &mut AppendOutcome,
        room: Room,
    ) -> Self {
        guard.begin_record();
        let Room { mut payload, series } = room;
        payload.clear();
        let mut admission = Admission {
            payload,
            entries: Vec::with_capacity(series.min(ENTRIES_RESERVED_MAX)),
            oldest_ms: TimestampMs::MAX,
            next_series: head.next_series(),
            series_count: head.series_count(),
            ..Admission::default()
        };
        let stamp = head.begin_visit();
        while !admission.is_full()
            && let Some(view) = pending.take().or_else(|| batch.next())
        {
            let (now, later) = split(view);
            if admission.admit(now, head, stamp, bounds, guard, outcome).is_err() {
                *pending = Some(view);
                break;
            }
            *pending = later;
        }
        admission
    }

    /// Whether its records are large enough.
    pub(super) fn is_full(&self) -> bool {
        let longest = self.payload.len().max(self.details_payload.len());
        longest.max(self.late.payload.len()) >= APPEND_RECORD_BYTES
    }

    /// Kind and payload of each record, in the order in which they are logged and applied: details before their samples, and
    /// the definition of a series before its late samples.
    pub(super) fn records(&self) -> impl Iterator<Item = (u8, &Vec<u8>)> {
        let records = [
            (KIND_DETAIL, &self.details_payload),
            (KIND_APPEND, &self.payload),
            (KIND_DETAIL, &self.late.details_payload),
            (KIND_OUT_OF_ORDER, &self.late.payload),
        ];
        records.into_iter()
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Time of the oldest sample that was admitted.
    pub(super) fn oldest_ms(&self) -> TimestampMs {
        self.oldest_ms.min(self.late.oldest_ms())
    }

    /// Whether nothing was admitted.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.late.is_empty()
    }

    fn admit(
        &mut self,
        view: SeriesView<'a>,
        head: &Head,
        stamp: u32,
        bounds: &Bounds,
        guard: &mut Guard,
        outcome: &mut AppendOutcome,
    ) -> Result<(), SeenBefore> {
        if view.samples.is_empty() {
            return Ok(());
        }
        let number = view.known.or_else(|| head.find(view.fingerprint, view.labels));
        let series = number.and_then(|number| head.series(number));
        match series {
            Some(series) if !series.visit(stamp) => return Err(SeenBefore),
            None if view.known.is_some() => {
                outcome.stale += view.samples.len() as u64;
                return Ok(());
            }
            None if self.begun.contains(&view.fingerprint) => return Err(SeenBefore),
            None => {
                if let Some(kind) = self.refuses_series(&view, head, bounds, guard) {
                    let first_ms = view.samples.first().map_or(0, |sample| sample.timestamp_ms);
                    refuse(outcome, view.samples.len() as u64, kind, &view, head, first_ms);
                    return Ok(());
                }
            }
            Some(_) => {}
        }
        let late_from = self.late.len();
        let samples = self.admit_samples(&view, head, number, bounds, outcome);
        outcome.appended +=
            self.late.admit(number.unwrap_or(self.next_series), late_from, view.details);
        let admitted = samples.of(&self.kept);
        if let (Some(ticket), Some(number)) = (view.ticket, number) {
            outcome.numbers.push((ticket, number));
        }
        if admitted.is_empty() {
            return Ok(());
        }
        // Each is newer than the one before it.
        self.oldest_ms = self.oldest_ms.min(admitted[0].timestamp_ms);
        outcome.appended += admitted.len() as u64;
        let (series, new_labels) = match number {
            Some(number) => (number, None),
            None => (self.next_series, Some(view.labels)),
        };
        for (t, detail) in view.details {
            if admitted.iter().any(|sample| sample.timestamp_ms == *t) {
                encode_detail(&mut self.details_payload, series, *t, detail, false);
                self.details.push((series, *t, detail));
            }
        }
        self.encoder.push(&mut self.payload, series, new_labels, admitted);
        self.entries.push(Entry { series, new_labels, samples });
        if new_labels.is_some() {
            self.next_series += 1;
            self.series_count += 1;
            self.begun.insert(view.fingerprint);
            outcome.new_series += 1;
            outcome.numbers.extend(view.ticket.map(|ticket| (ticket, series)));
        }
        Ok(())
    }

    /// Why a new series may not begin.
    fn refuses_series(
        &self,
        view: &SeriesView<'_>,
        head: &Head,
        bounds: &Bounds,
        guard: &mut Guard,
    ) -> Option<RefusalKind> {
        let valid = !view.labels.is_empty()
            && view.labels.len() <= SERIES_LABELS_BYTES_MAX
            && is_canonical(view.labels)
            && Fingerprint::of(view.labels) == view.fingerprint;
        if !valid {
            return Some(RefusalKind::InvalidLabels);
        }
        let full = self.series_count >= bounds.series_max || self.next_series >= SERIES_NUMBER_END;
        if full {
            return Some(RefusalKind::SeriesLimit);
        }
        guard.refuses(head, view.fingerprint, view.labels, bounds.now_ms)
    }

    fn admit_samples(
        &mut self,
        view: &SeriesView<'a>,
        head: &Head,
        number: Option<SeriesRef>,
        bounds: &Bounds,
        outcome: &mut AppendOutcome,
    ) -> Samples<'a> {
        let series = number.and_then(|number| head.series(number));
        let mut last_ms = series.and_then(Series::last_ms).unwrap_or(TimestampMs::MIN);
        let ascending = view.samples.iter().all(|sample| {
            sample.timestamp_ms > std::mem::replace(&mut last_ms, sample.timestamp_ms)
        });
        let recent =
            view.samples.first().is_some_and(|first| first.timestamp_ms >= head.floor_ms());
        if ascending && recent && last_ms <= bounds.newest_ms {
            return Samples::All(view.samples);
        }
        self.sift(view, head, number, bounds, outcome)
    }

    /// The slow way: sample by sample.
    #[cold]
    fn sift(
        &mut self,
        view: &SeriesView<'a>,
        head: &Head,
        number: Option<SeriesRef>,
        bounds: &Bounds,
        outcome: &mut AppendOutcome,
    ) -> Samples<'a> {
        let (start, late_from) = (self.kept.len(), self.late.len());
        let series = number.and_then(|number| head.series(number));
        let mut known = Known::of(head, number);
        for &sample in view.samples {
            let t = sample.timestamp_ms;
            let verdict = match (self.kept[start..].last(), series) {
                (Some(&last), _) => judge(last, sample),
                (None, Some(series)) => series.judge(sample),
                (None, None) => Verdict::Append,
            };
            let refused = match verdict {
                Verdict::Append if t < head.floor_ms() || t == TimestampMs::MIN => {
                    Some(RefusalKind::TooOld)
                }
                _ if t > bounds.newest_ms => Some(RefusalKind::TooFarInFuture),
                Verdict::Append => {
                    self.kept.push(sample);
                    continue;
                }
                Verdict::Duplicate => None,
                Verdict::Conflict => Some(RefusalKind::DuplicateTimestamp),
                Verdict::Unclear => {
                    let number = number.expect("a series with samples has a number");
                    let Some(stored) = &bounds.stored else {
                        self.deferred.push(Deferred::new(number, sample, view.details));
                        continue;
                    };
                    // What is damaged, or in a block by now, is held to be repeated.
                    let there = stored.get(&(number, t)).map_or(sample.value, |value| *value);
                    let conflict = there.to_bits() != sample.value.to_bits();
                    conflict.then_some(RefusalKind::DuplicateTimestamp)
                }
                Verdict::OutOfOrder => {
                    let in_order = &self.kept[start..];
                    match self.late.judge(sample, in_order, late_from, &mut known, bounds) {
                        Judgement::Admitted => continue,
                        // A sender that repeats a request after an error sends what is there already.
                        Judgement::Repeated => None,
                        Judgement::Refused(kind) => Some(kind),
                        Judgement::Deferred => {
                            let number = number.expect("a series with chunks has a number");
                            self.deferred.push(Deferred::new(number, sample, view.details));
                            continue;
                        }
                    }
                }
            };
            match refused {
                None => outcome.duplicates += 1,
                Some(kind) => refuse(outcome, 1, kind, view, head, t),
            }
        }
        Samples::Kept(start, self.kept.len())
    }

    /// Changes the head as the record says.
    pub(super) fn apply(&self, head: &mut Head) {
        for &(series, timestamp_ms, detail) in &self.details {
            head.apply(&Record::Detail { series, timestamp_ms, detail, attached: false });
        }
        for (i, entry) in self.entries.iter().enumerate() {
            if let Some(soon) = self.entries.get(i + PREFETCH_AHEAD) {
                head.prefetch(soon.series);
            }
            if let Some(labels) = entry.new_labels {
                head.apply(&Record::Series { series: entry.series, labels });
            }
            let samples = entry.samples.of(&self.kept);
            head.apply(&Record::Samples { series: entry.series, samples });
        }
        self.late.apply(head);
    }
}

/// What one record takes of a series, and the rest.
fn split(view: SeriesView<'_>) -> (SeriesView<'_>, Option<SeriesView<'_>>) {
    match view.samples.split_at_checked(ENTRY_SAMPLES_MAX) {
        Some((now, later)) if !later.is_empty() => {
            let later = SeriesView { samples: later, exemplars: &[], ..view };
            (SeriesView { samples: now, ..view }, Some(later))
        }
        _ => (view, None),
    }
}

/// A series occurs a second time in one admission.
struct SeenBefore;

impl<'a> Samples<'a> {
    fn of<'b>(&self, kept: &'b [Sample]) -> &'b [Sample]
    where
        'a: 'b,
    {
        match *self {
            Samples::All(samples) => samples,
            Samples::Kept(start, end) => &kept[start..end],
        }
    }
}

fn refuse(
    outcome: &mut AppendOutcome,
    samples: u64,
    kind: RefusalKind,
    view: &SeriesView<'_>,
    head: &Head,
    timestamp_ms: TimestampMs,
) {
    let labels = || match view.known {
        Some(number) => head.labels(number).unwrap_or_default(),
        None => Labels::from_encoded(view.labels).unwrap_or_default(),
    };
    outcome.refuse(samples, || Refusal { kind, labels: labels(), timestamp_ms }, kind);
}
