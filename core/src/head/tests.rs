//! The head by itself: what records do to it, and that they do it once.

use super::series::Verdict;
use super::*;
use crate::model::columns::SampleColumns;

fn labels(value: &str) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("l", value)])
}

fn head_with(numbers: &[SeriesRef]) -> Head {
    let mut head = Head::new();
    for &number in numbers {
        let labels = labels(&number.to_string());
        head.apply(&Record::Series { series: number, labels: labels.encoded() });
    }
    head
}

fn samples(times: impl IntoIterator<Item = i64>) -> Vec<Sample> {
    times.into_iter().map(|t| Sample { timestamp_ms: t, value: t as f64 }).collect()
}

/// Times of all samples that are in memory.
fn times(head: &Head, number: SeriesRef) -> Vec<i64> {
    let (mut out, series) = (SampleColumns::new(), head.series(number).unwrap());
    for chunk in series.chunks().as_slice() {
        if let Place::Memory { key } = chunk.place() {
            let bytes = &head.backlog().get(key).unwrap().bytes;
            crate::chunk::decode(chunk.encoding(), bytes, TimeRange::ALL, &mut out).unwrap();
        }
    }
    crate::chunk::decode(Encoding::Xor, series.open_bytes(), TimeRange::ALL, &mut out).unwrap();
    out.timestamps
}

#[test]
fn applying_twice_changes_nothing() {
    let mut head = head_with(&[0]);
    let all = samples((0..300).map(|i| i * 15_000));
    for _ in 0..2 {
        head.apply(&Record::Samples { series: 0, samples: &all });
        head.apply(&Record::Series { series: 0, labels: labels("other").encoded() });
        head.apply(&Record::Series { series: 1, labels: labels("0").encoded() });
    }
    assert_eq!(times(&head, 0).len(), 300);
    assert_eq!(head.series_count(), 1);
    assert_eq!(head.counts().samples, 300);
}

#[test]
fn a_checkpoint_is_read_without_chunks_that_cannot_be() {
    let full = i64::from(CHUNK_SAMPLES_MAX);
    for (count, step_ms, is_kept) in [
        (full, 1_000, true),
        (full + 1, 1_000, false),
        (2, CHUNK_RANGE_MS_MAX - 1, true),
        (2, CHUNK_RANGE_MS_MAX, false),
        (2, -1, false),
    ] {
        let mut chunk = XorEncoder::new();
        for i in 0..count {
            chunk.push(i * step_ms, 1.0);
        }
        for sealed in [false, true] {
            let mut head = head_with(&[0]);
            let (series, bytes, resume) = (0, chunk.bytes(), None);
            head.apply(&Record::Restored { series, bytes, sealed, resume });
            assert_eq!(head.counts().samples > 0, is_kept, "{count} samples, {step_ms} ms apart");
        }
    }
}

#[test]
fn chunks_end_when_full_and_at_the_border_of_a_window() {
    let mut head = head_with(&[0]);
    let border = CHUNK_RANGE_MS_MAX;
    head.apply(&Record::Samples { series: 0, samples: &samples((border - 100)..(border + 121)) });
    let counts: Vec<_> =
        head.series(0).unwrap().chunks().as_slice().iter().map(|c| c.count()).collect();
    assert_eq!(counts, [100, 120]);
    assert_eq!(
        head.series(0).unwrap().open_range(),
        Some(TimeRange::new(border + 120, border + 120))
    );
}

#[test]
fn idle_series_are_sealed_and_spilled() {
    let mut head = head_with(&[0, 1]);
    head.apply(&Record::Samples { series: 0, samples: &samples([1, 2]) });
    head.apply(&Record::Samples { series: 1, samples: &samples([1, 9]) });
    assert!(head.has_idle(0, 2, 5) && !head.has_idle(1, 2, 5));
    head.apply(&Record::Seal { first: 0, end: 100, idle_before_ms: 5 });
    let (key, sealed) = head.backlog().iter().next().map(|(k, s)| (k, s.clone())).unwrap();
    assert_eq!((head.backlog().len(), sealed.series), (1, 0));
    let chunk = sealed.chunk.moved(Place::File { file: 0, offset: 64 });
    head.apply(&Record::Moved { series: 0, from: Place::Memory { key }, chunk });
    assert!(head.backlog().is_empty());
    assert_eq!(head.backlog().byte_len(), 0);
    assert_eq!(head.series(0).unwrap().range(), Some(TimeRange::new(1, 2)));
    head.apply(&Record::Samples { series: 0, samples: &samples([2, 3]) });
    assert_eq!(times(&head, 0), [3]);
}

#[test]
fn stored_chunks_wait_for_their_series_and_replace_copies() {
    let range = TimeRange::new(10, 20);
    let chunk = ChunkRef::new(range, 11, Encoding::Xor, 50, Place::File { file: 0, offset: 64 });
    let stored = Record::Stored { series: 0, chunk };

    let mut early = Head::new();
    early.apply(&stored);
    assert_eq!(early.next_series(), 1);
    early.apply(&Record::Series { series: 0, labels: labels("0").encoded() });
    early.apply(&Record::Samples { series: 0, samples: &samples(10..25) });
    assert_eq!(times(&early, 0), [21, 22, 23, 24]);

    let mut unknown = head_with(&[0]);
    unknown.apply(&stored);
    let judge = |t| unknown.series(0).unwrap().judge(samples([t])[0]);
    assert_eq!(
        (judge(20), judge(19), judge(21)),
        (Verdict::Unclear, Verdict::OutOfOrder, Verdict::Append)
    );

    let mut copies = head_with(&[0]);
    copies.apply(&Record::Samples { series: 0, samples: &samples(10..18) });
    copies.apply(&stored);
    assert_eq!(times(&copies, 0), []);
    assert_eq!(copies.series(0).unwrap().last_ms(), Some(20));
    assert_eq!(copies.counts().chunks_open, 0);

    let mut nobody = Head::new();
    nobody.apply(&stored);
    nobody.apply(&Record::Samples { series: 4, samples: &samples([1]) });
    assert_eq!(nobody.forget_unclaimed(), 1);
    assert_eq!(nobody.next_series(), 5);
}

#[test]
fn a_checkpoint_restores_sealed_and_open_chunks() {
    let mut live = head_with(&[0]);
    live.apply(&Record::Samples { series: 0, samples: &samples(0..200) });
    let mut restored = head_with(&[0]);
    let sealed = live.backlog().iter().next().unwrap().1.bytes.clone();
    let restore = |bytes, sealed, resume| Record::Restored { series: 0, bytes, sealed, resume };
    restored.apply(&restore(&sealed, true, None));
    let open = live.series(0).unwrap().open();
    restored.apply(&restore(open.bytes(), false, Some(open.state())));
    for head in [&mut live, &mut restored] {
        head.apply(&Record::Samples { series: 0, samples: &samples(150..260) });
        assert_eq!(times(head, 0), (0..260).collect::<Vec<_>>());
    }
    assert_eq!(live.series(0).unwrap().open_bytes(), restored.series(0).unwrap().open_bytes());
}
