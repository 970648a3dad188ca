//! What is refused, whom it names, and that what exists is never asked.

use super::*;
use crate::head::record::Record;
use crate::model::labels::Labels;
use crate::model::matcher::MatchOp;
use crate::model::sample::Sample;

const NOW_MS: i64 = 20_000 * 86_400_000;

/// A head and its guard; series go in as a shard puts them in, a record each.
struct Bench {
    head: Head,
    guard: Guard,
    now_ms: i64,
}

impl Bench {
    fn new(limits: &[&str], shards: u32) -> Self {
        let limits: Arc<[Limit]> = limits.iter().map(|l| l.parse().unwrap()).collect();
        Bench { head: Head::new(), guard: Guard::new(&limits, shards), now_ms: NOW_MS }
    }

    /// Whether a new series may begin; if so it does.
    fn begin(&mut self, pairs: &[(&str, &str)]) -> bool {
        let labels = Labels::from_pairs(pairs.iter().copied());
        self.guard.begin_record();
        let fingerprint = labels.fingerprint();
        let refused = self.guard.refuses(&self.head, fingerprint, labels.encoded(), self.now_ms);
        if refused.is_none() {
            let series = self.head.next_series();
            self.head.apply(&Record::Series { series, labels: labels.encoded() });
            let samples = [Sample { timestamp_ms: self.now_ms, value: 1.0 }];
            self.head.apply(&Record::Samples { series, samples: &samples });
        }
        refused.is_none()
    }
}

#[test]
fn each_job_and_metric_has_its_own_limit() {
    let mut bench = Bench::new(&["job:active=2", "job=small:active=1", "metric:active=3"], 1);
    let mut begin = |metric, job, x| bench.begin(&[("__name__", metric), ("job", job), ("x", x)]);
    assert!(begin("m", "a", "1") && begin("m", "a", "2"));
    assert!(!begin("n", "a", "3"), "a third of job a");
    assert!(begin("m", "small", "1"));
    assert!(!begin("n", "small", "2"), "a second of job small");
    assert!(!begin("m", "b", "1"), "a fourth of metric m");
    assert!(begin("n", "b", "1"));
    let status = bench.guard.status(10);
    assert_eq!(status[0].offenders, [("a".to_owned(), 1)]);
    assert_eq!(status[1].offenders, [("small".to_owned(), 1)]);
    assert_eq!(
        status[2],
        LimitStatus {
            limit: "metric:active=3".to_owned(),
            refused: 1,
            offenders: vec![("m".to_owned(), 1)],
        }
    );
}

#[test]
fn what_begins_and_what_is_asked_for_is_known_by_metric() {
    let mut bench = Bench::new(&["metric=full:active=1"], 1);
    for x in ["1", "2", "3"] {
        bench.begin(&[("__name__", "full"), ("x", x)]);
        bench.begin(&[("__name__", "free"), ("x", x)]);
    }
    let regex = |text| Matcher::new(MatchOp::Regex, "__name__", text).unwrap();
    let not = Matcher::new(MatchOp::NotEqual, "__name__", "full").unwrap();
    bench.now_ms += 3_600_000;
    for matchers in [&[regex("free|missing")][..], &[not], &[regex(".*")]] {
        bench.guard.note_query(&bench.head, matchers, bench.now_ms);
    }
    let mut all = bench.guard.activity(bench.now_ms);
    all.sort_by(|a, b| a.metric.cmp(&b.metric));
    let rows = all.iter().map(|m| (&*m.metric, m.begun_this_hour, m.begun_today, m.queried_ms));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [("free", 0, 3, Some(bench.now_ms)), ("full", 0, 1, None)]
    );
}

#[test]
fn values_of_a_label_are_counted_once() {
    let mut bench = Bench::new(&["label=path:active=2"], 4);
    let mut begin = |path, x| bench.begin(&[("__name__", "m"), ("path", path), ("x", x)]);
    assert!(begin("/a", "1") && begin("/b", "1"));
    assert!(!begin("/c", "1"));
    assert!(begin("/a", "2"), "a value that is known is no new one");
    assert!(bench.begin(&[("__name__", "other")]), "without the label it is not concerned");
}

#[test]
fn a_shard_has_its_share() {
    let mut bench = Bench::new(&["process:active=8"], 4);
    let begun = (0..5).filter(|i| bench.begin(&[("__name__", "m"), ("i", &i.to_string())]));
    assert_eq!(begun.count(), 2);
}

#[test]
fn new_series_in_an_hour() {
    for limit in ["metric:hour=2", "metric:hour=2,estimate"] {
        let mut bench = Bench::new(&[limit], 1);
        let mut i = 0;
        let mut begin = |bench: &mut Bench| {
            i += 1;
            bench.begin(&[("__name__", "m"), ("i", &format!("{i}"))])
        };
        assert!(begin(&mut bench) && begin(&mut bench) && !begin(&mut bench));
        bench.now_ms += 3_600_000;
        assert!(begin(&mut bench), "the next hour");
    }
}

#[test]
fn series_of_one_record_count_before_they_are_stored() {
    let limits: Arc<[Limit]> =
        ["metric:active=2", "label=i:active=9"].map(|l| l.parse().unwrap()).into();
    let (head, mut guard) = (Head::new(), Guard::new(&limits, 1));
    let mut admitted = 0;
    for i in 0..5 {
        let i = i.to_string();
        let labels = Labels::from_pairs([("__name__", "m"), ("i", &i)]);
        let refused = guard.refuses(&head, labels.fingerprint(), labels.encoded(), NOW_MS);
        admitted += u32::from(refused.is_none());
    }
    assert_eq!(admitted, 2);
}

#[test]
fn nothing_new_while_memory_is_short() {
    let mut bench = Bench::new(&[], 1);
    assert!(bench.begin(&[("__name__", "a")]));
    bench.guard.shed(true);
    assert!(!bench.begin(&[("__name__", "b")]));
    bench.guard.shed(false);
    assert!(bench.begin(&[("__name__", "b")]));
}

#[test]
fn offenders_are_bounded_and_the_worst_stay() {
    let mut bench = Bench::new(&["metric:active=0"], 1);
    for i in 0..CARDINALITY_OFFENDERS_MAX + 10 {
        bench.begin(&[("__name__", "worst")]);
        bench.begin(&[("__name__", &format!("m{i}"))]);
    }
    let status = bench.guard.status(1);
    assert_eq!(status[0].offenders[0].0, "worst");
    assert_eq!(bench.guard.limits[0].offenders.len(), CARDINALITY_OFFENDERS_MAX);
}
