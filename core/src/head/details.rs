//! What a sample has besides a time and a float: the native histogram it is, the start of its counter.
//!
//! The float of a histogram sample is its sum; it goes the way of all floats, through the log, chunks and chunk files. The rest,
//! the *detail*, stays beside the chunks in memory, by series and time, logged before the samples it belongs to and
//! written whole into every checkpoint. Few series have details, so the others pay one look at an empty map.
//!
//! A detail is *staged* when its record is applied and *attached* when its sample is; only then is it known which sample came
//! before, and with that whether the counter was reset between the two.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::chunk::bits::{push_uvarint, push_varint};
use crate::chunk::histogram;
use crate::head::record::Input;
use crate::index::SeriesRef;
use crate::model::columns::SampleColumns;
use crate::model::histogram::{FloatHistogram, ResetHint};
use crate::model::time::TimestampMs;

/// What a sample has besides a time and a float.
#[derive(Clone, Debug, Default)]
pub struct SampleDetail {
    /// The histogram, if the sample is one.
    pub histogram: Option<Arc<FloatHistogram>>,
    /// When the counter began to count, in ms; 0 where unknown.
    pub start_ms: TimestampMs,
}

/// The details of a shard.
#[derive(Debug, Default)]
pub struct Details {
    attached: HashMap<SeriesRef, Vec<(TimestampMs, SampleDetail)>>,
    staged: HashMap<SeriesRef, Vec<(TimestampMs, SampleDetail)>>,
    bytes: usize,
}

impl Details {
    /// Puts a detail aside for the sample that is to come.
    pub(super) fn stage(&mut self, series: SeriesRef, t: TimestampMs, detail: &SampleDetail) {
        self.staged.entry(series).or_default().push((t, detail.clone()));
    }

    /// Whether anything is staged.
    #[inline]
    pub(super) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Takes what was staged for the samples of a series.
    #[inline]
    pub(super) fn take_staged(&mut self, series: SeriesRef) -> Vec<(TimestampMs, SampleDetail)> {
        if self.staged.is_empty() {
            Vec::new()
        } else {
            self.staged.remove(&series).unwrap_or_default()
        }
    }

    /// Attaches a detail to the sample at `t`, before which the series had its newest sample at `previous`.
    pub(super) fn attach(
        &mut self,
        series: SeriesRef,
        previous: Option<TimestampMs>,
        t: TimestampMs,
        mut detail: SampleDetail,
    ) {
        let of_series = self.attached.entry(series).or_default();
        let before = of_series.last().filter(|(at, _)| Some(*at) == previous);
        let before = before.and_then(|(_, detail)| detail.histogram.as_ref());
        if let Some(histogram) = &mut detail.histogram {
            let hint = known_hint(before.map(|h| &**h), histogram);
            if histogram.hint != hint {
                Arc::make_mut(histogram).hint = hint;
            }
        }
        self.restore(series, t, detail);
    }

    /// Attaches a detail to a sample that came after newer ones: nothing is known of resets on either side of it.
    pub(super) fn attach_late(&mut self, series: SeriesRef, t: TimestampMs, detail: SampleDetail) {
        let of_series = self.attached.entry(series).or_default();
        let Err(place) = of_series.binary_search_by_key(&t, |(at, _)| *at) else { return };
        self.bytes += weight(&detail);
        of_series.insert(place, (t, detail));
        for (_, detail) in of_series.iter_mut().skip(place).take(2) {
            if let Some(histogram) = &mut detail.histogram
                && histogram.hint != ResetHint::Gauge
            {
                Arc::make_mut(histogram).hint = ResetHint::Unknown;
            }
        }
    }

    /// Attaches a detail as it is: what a checkpoint holds.
    pub(super) fn restore(&mut self, series: SeriesRef, t: TimestampMs, detail: SampleDetail) {
        let of_series = self.attached.entry(series).or_default();
        if of_series.last().is_none_or(|(last, _)| *last < t) {
            self.bytes += weight(&detail);
            of_series.push((t, detail));
        }
    }

    /// Forgets the details of a series before a time.
    pub(super) fn forget_before(&mut self, series: SeriesRef, floor_ms: TimestampMs) {
        let Some(of_series) = self.attached.get_mut(&series) else { return };
        let gone = of_series.partition_point(|(t, _)| *t < floor_ms);
        for (_, detail) in of_series.drain(..gone) {
            self.bytes -= weight(&detail);
        }
        of_series.shrink_to_fit();
        if of_series.is_empty() {
            self.attached.remove(&series);
        }
    }

    /// Bytes in memory, about.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// Fills the details of a series into samples from number `from` on.
    pub fn fill(&self, series: SeriesRef, from: usize, out: &mut SampleColumns) {
        let Some(details) = self.attached.get(&series) else { return };
        let Some(&first) = out.timestamps.get(from) else { return };
        let mut details = details[details.partition_point(|(t, _)| *t < first)..].iter().peekable();
        for i in from..out.timestamps.len() {
            let t = out.timestamps[i];
            while details.next_if(|(at, _)| *at < t).is_some() {}
            let Some((_, detail)) = details.next_if(|(at, _)| *at == t) else { continue };
            if let Some(histogram) = &detail.histogram {
                out.histograms.resize(out.timestamps.len(), None);
                out.histograms[i] = Some(Arc::clone(histogram));
            }
            if detail.start_ms != 0 {
                out.start_timestamps.resize(out.timestamps.len(), 0);
                out.start_timestamps[i] = detail.start_ms;
            }
        }
    }

    /// All details of the series from number `first` to before `end`, in payloads of about `bytes` bytes.
    pub fn encode(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut payloads = vec![Vec::new()];
        for (&series, details) in &self.attached {
            for (t, detail) in details {
                if payloads.last().is_some_and(|last| last.len() >= bytes) {
                    payloads.push(Vec::new());
                }
                if let Some(payload) = payloads.last_mut() {
                    encode_detail(payload, series, *t, detail, true);
                }
            }
        }
        payloads.retain(|payload| !payload.is_empty());
        payloads
    }
}

fn weight(detail: &SampleDetail) -> usize {
    size_of::<(TimestampMs, SampleDetail)>()
        + detail.histogram.as_ref().map_or(0, |h| 16 * h.sample_weight())
}

/// What is known of a reset between two neighbours, as Prometheus' storage knows it: a gauge is a gauge, an unbroken row of
/// the same layout is "no reset", and whatever begins anew is "unknown", since one may not trust what came before.
fn known_hint(before: Option<&FloatHistogram>, now: &FloatHistogram) -> ResetHint {
    if now.hint == ResetHint::Gauge {
        return ResetHint::Gauge;
    }
    let continues = before.is_some_and(|before| {
        let mut plain = now.clone();
        plain.hint = ResetHint::Unknown;
        now.hint != ResetHint::Reset
            && before.hint != ResetHint::Gauge
            && !before.is_stale()
            && before.schema == now.schema
            && before.zero_threshold == now.zero_threshold
            && before.bounds() == now.bounds()
            && !plain.is_reset_after(before)
    });
    if continues { ResetHint::NotReset } else { ResetHint::Unknown }
}

/// Adds a detail to a record: series, time, start: varints; 1 if attached, 2 if a histogram follows: u8; the histogram.
pub fn encode_detail(
    out: &mut Vec<u8>,
    series: SeriesRef,
    t: TimestampMs,
    detail: &SampleDetail,
    attached: bool,
) {
    push_uvarint(out, u64::from(series));
    push_varint(out, t);
    push_varint(out, detail.start_ms);
    out.push(u8::from(attached) | u8::from(detail.histogram.is_some()) << 1);
    if let Some(h) = &detail.histogram {
        histogram::encode(h, out);
    }
}

/// Takes a detail off the front: series, time, detail, whether attached.
pub(super) fn decode_detail(
    input: &mut Input<'_>,
) -> Option<(SeriesRef, TimestampMs, SampleDetail, bool)> {
    let series = SeriesRef::try_from(input.uvarint()?).ok()?;
    let (t, start_ms) = (input.varint()?, input.varint()?);
    let flags = input.byte()?;
    let histogram = match flags & 2 {
        0 => None,
        _ => Some(Arc::new(histogram::decode(input)?)),
    };
    Some((series, t, SampleDetail { histogram, start_ms }, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64, hint: ResetHint) -> SampleDetail {
        let positive = [(1, count)].into_iter().collect();
        let h = FloatHistogram { hint, count, sum: count, positive, ..FloatHistogram::default() };
        SampleDetail { histogram: Some(Arc::new(h)), start_ms: 0 }
    }

    #[test]
    fn resets_are_known_between_neighbours() {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        let mut details = Details::default();
        let steps = [
            (1.0, Unknown, None, Unknown),
            (2.0, Unknown, Some(1), NotReset),
            (1.0, Unknown, Some(2), Unknown),
            (2.0, NotReset, Some(3), NotReset),
            (3.0, Reset, Some(4), Unknown),
            (4.0, Unknown, Some(99), Unknown),
            (5.0, Gauge, Some(6), Gauge),
            (6.0, Unknown, Some(7), Unknown),
        ];
        let mut columns = SampleColumns::new();
        for (i, (count, hint, previous, _)) in steps.into_iter().enumerate() {
            let t = i as i64 + 1;
            details.attach(7, previous, t, histogram(count, hint));
            columns.push(t, count);
        }
        details.fill(7, 0, &mut columns);
        let hints: Vec<_> = columns.histograms.iter().flatten().map(|h| h.hint).collect();
        assert_eq!(hints, steps.map(|(.., expected)| expected));
    }

    #[test]
    fn details_go_round() {
        let mut details = Details::default();
        details.attach(3, None, 10, histogram(1.0, ResetHint::Gauge));
        details.attach(9, None, -5, SampleDetail { histogram: None, start_ms: -77 });
        let mut again = Details::default();
        for payload in details.encode(1) {
            let mut input = Input { bytes: &payload };
            let (series, t, detail, attached) = decode_detail(&mut input).unwrap();
            assert!(attached && input.bytes.is_empty());
            again.restore(series, t, detail);
        }
        assert_eq!(again.byte_len(), details.byte_len());
        let mut columns = SampleColumns::new();
        columns.push(-5, 0.0);
        again.fill(9, 0, &mut columns);
        assert_eq!(columns.start_timestamps, [-77]);
    }
}
