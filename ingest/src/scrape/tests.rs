//! Whole scrapes on virtual time: a script answers, a list stores.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tidemark_core::append::{AppendBatch, AppendOutcome};
use tidemark_core::error::Error as StorageError;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::sample::is_stale;
use tidemark_core::runtime::{self, clock, sim};

use super::*;
use crate::relabel::{Action, Rule, RuleOptions};
use crate::scrape::status::Health;

mod histograms;
mod work;

type Answer = Result<http::Response<Bytes>, FetchError>;

/// Answers what the test put there, and keeps what was asked.
#[derive(Default)]
struct Script {
    answer: RefCell<BTreeMap<String, Answer>>,
    delay: Cell<Duration>,
    /// What would be refused hangs instead.
    hang: Cell<bool>,
    requests: RefCell<Vec<http::Request<Bytes>>>,
}

impl Fetch for Script {
    fn fetch(
        &self,
        request: http::Request<Bytes>,
        limits: FetchLimits,
    ) -> LocalBoxFuture<'_, Answer> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        self.requests.borrow_mut().push(request);
        async move {
            if self.delay.get() > limits.timeout {
                runtime::sleep(limits.timeout).await;
                return Err(FetchError::Timeout(limits.timeout));
            }
            runtime::sleep(self.delay.get()).await;
            let answer = self.answer.borrow().get(&host).cloned();
            let answer = answer.unwrap_or_else(|| Err(FetchError::Connect("refused".into())));
            if self.hang.get() && answer.is_err() {
                runtime::sleep(limits.timeout).await;
            }
            answer
        }
        .boxed_local()
    }
}

/// Keeps every sample as `series value`, with its time.
#[derive(Default)]
struct Store {
    samples: RefCell<Vec<(i64, String)>>,
    metadata: RefCell<Vec<String>>,
    failures: RefCell<Vec<String>>,
    fail: Cell<bool>,
    /// The labels of the series that were given numbers, and whether it has forgotten them.
    numbers: RefCell<Vec<Vec<u8>>>,
    forgetful: Cell<bool>,
    /// How long storing takes, and how often it is under way.
    slow: Cell<Duration>,
    appending: Cell<u32>,
}

impl Append for Store {
    fn shard_count(&self) -> u32 {
        3
    }

    fn append(
        &self,
        batches: Vec<(u32, AppendBatch)>,
    ) -> LocalBoxFuture<'_, Result<AppendOutcome, StorageError>> {
        async move {
            self.appending.set(self.appending.get() + 1);
            runtime::sleep(self.slow.get()).await;
            self.appending.set(self.appending.get() - 1);
            if self.fail.get() {
                return Err(StorageError::Overloaded { what: "test" });
            }
            let mut outcome = AppendOutcome::default();
            for (shard, batch) in &batches {
                for series in batch.series() {
                    let labels = match series.known {
                        Some(_) if self.forgetful.get() => {
                            outcome.stale += 1;
                            continue;
                        }
                        Some(number) => self.numbers.borrow()[number as usize].clone(),
                        None => series.labels.to_vec(),
                    };
                    let labels = Labels::from_encoded(&labels).expect("canonical");
                    assert_eq!(labels.fingerprint().owner(3), *shard);
                    if let Some(ticket) = series.ticket {
                        let mut numbers = self.numbers.borrow_mut();
                        outcome.numbers.push((ticket, numbers.len() as u32));
                        numbers.push(series.labels.to_vec());
                    }
                    for sample in series.samples {
                        let detail = series.details.iter().find(|(t, _)| *t == sample.timestamp_ms);
                        let histogram = detail.and_then(|(_, detail)| detail.histogram.as_ref());
                        let value = match histogram {
                            _ if is_stale(sample.value) => "stale".to_owned(),
                            Some(histogram) => histogram.to_string(),
                            None => sample.value.to_string(),
                        };
                        let start = detail.map_or(0, |(_, detail)| detail.start_ms);
                        let start =
                            if start == 0 { String::new() } else { format!(" since {start}") };
                        let mut line = format!("{labels} {value}{start}");
                        for e in series.exemplars {
                            let _ = write!(line, " # {} {}", e.labels, e.value);
                        }
                        self.samples.borrow_mut().push((sample.timestamp_ms, line));
                    }
                }
                let names = batch.metadata().iter().map(|(name, _)| name.clone());
                self.metadata.borrow_mut().extend(names);
            }
            Ok(outcome)
        }
        .boxed_local()
    }
}

impl FailureLog for Store {
    fn failed(&self, job: &Job, url: &str, error: &str) {
        self.failures.borrow_mut().push(format!("{} {url} {error}", job.failure_log_file));
    }
}

/// A scraper of one core with its script and store.
struct Bench {
    script: Rc<Script>,
    store: Rc<Store>,
    scraper: Scraper,
}

const INTERVAL: Duration = Duration::from_secs(15);

impl Bench {
    fn new() -> Self {
        Bench::on_core(0, 1)
    }

    fn on_core(core: usize, cores: usize) -> Self {
        let (script, store) = (Rc::new(Script::default()), Rc::new(Store::default()));
        let options =
            ScraperOptions { core, cores, offset_seed: 0, start_timestamps: true, tenants: false };
        let scraper = Scraper::new(
            options,
            Rc::clone(&script) as _,
            Rc::clone(&store) as _,
            Rc::clone(&store) as _,
        );
        Bench { script, store, scraper }
    }

    fn answer(&self, host: &str, answer: Answer) {
        self.script.answer.borrow_mut().insert(host.to_owned(), answer);
    }

    fn body(&self, body: &str) {
        self.body_of("text/plain", body);
    }

    fn body_of(&self, kind: &str, body: &str) {
        let response = http::Response::builder().header("content-type", kind);
        self.answer("a", Ok(response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()));
    }

    /// Applies one job and lets one interval pass, so that each target is scraped once.
    async fn apply(&self, job: Job) -> Applied {
        let applied = self.scraper.apply(&[Arc::new(job)]).await;
        self.interval().await;
        applied
    }

    async fn interval(&self) {
        runtime::sleep(INTERVAL).await;
    }

    /// What was stored since the last call, sorted, without the duration.
    fn stored(&self) -> Vec<String> {
        let samples = std::mem::take(&mut *self.store.samples.borrow_mut());
        let duration = |line: &String| line.starts_with("scrape_duration_seconds");
        let mut lines: Vec<_> =
            samples.into_iter().map(|(_, line)| line).filter(|line| !duration(line)).collect();
        lines.sort();
        lines
    }

    /// The same without the report series.
    fn scraped(&self) -> Vec<String> {
        let report = |line: &String| line.starts_with("scrape_") || line.starts_with("up{");
        let mut lines = self.stored();
        lines.retain(|line| !report(line));
        lines
    }

    fn status(&self) -> status::TargetStatus {
        self.scraper.targets().remove(0)
    }
}

fn job() -> Job {
    Job {
        name: "j".into(),
        interval: INTERVAL,
        groups: vec![TargetGroup::of_addresses("0", ["a"], BTreeMap::new())],
        ..Job::default()
    }
}

/// The report series as they are stored, without the duration.
fn report(up: u8, scraped: u64, relabelled: u64, added: u64) -> Vec<String> {
    vec![
        format!(r#"scrape_samples_post_metric_relabeling{{instance="a", job="j"}} {relabelled}"#),
        format!(r#"scrape_samples_scraped{{instance="a", job="j"}} {scraped}"#),
        format!(r#"scrape_series_added{{instance="a", job="j"}} {added}"#),
        format!(r#"up{{instance="a", job="j"}} {up}"#),
    ]
}

fn run(test: impl AsyncFnOnce(&Bench)) {
    sim::run(7, async {
        let bench = Bench::new();
        test(&bench).await;
        bench.scraper.stop().await;
    });
}

#[test]
fn a_scrape_stores_samples_and_report() {
    run(async |bench| {
        bench.body("# TYPE m counter\nm{l=\"1\"} 1\nm{l=\"2\"} 2\n");
        bench.script.delay.set(Duration::from_millis(250));
        bench.apply(job()).await;
        let mut expected = vec![
            r#"m{instance="a", job="j", l="1"} 1"#.to_owned(),
            r#"m{instance="a", job="j", l="2"} 2"#.to_owned(),
        ];
        expected.extend(report(1, 2, 2, 2));
        assert_eq!(bench.stored(), expected);
        assert_eq!(*bench.store.metadata.borrow(), ["m"]);
        let status = bench.status();
        assert_eq!((status.health, status.last_error.as_str()), (Health::Up, ""));
        assert!((status.last_scrape_duration - 0.25).abs() < 0.01, "{status:?}");
        bench.interval().await;
        assert!(bench.stored().contains(&report(1, 2, 2, 0)[2]), "nothing new the second time");
        assert_eq!(bench.store.metadata.borrow().len(), 1);
        let families = bench.scraper.metadata(|_| true);
        assert_eq!((families.len(), families[0].metric.as_str()), (1, "m"));
        assert_eq!(bench.scraper.stats().samples_scraped, 4);
    });
}

#[test]
fn the_request_says_what_is_wanted() {
    run(async |bench| {
        bench.body("");
        bench.apply(job()).await;
        let requests = bench.script.requests.borrow();
        let header = |name: &str| requests[0].headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(requests[0].uri(), "http://a/metrics");
        assert_eq!(header("x-prometheus-scrape-timeout-seconds"), "10");
        assert_eq!(header("accept-encoding"), "gzip");
        assert!(header("user-agent").starts_with("Tidemark/"));
        assert!(header("accept").starts_with("application/openmetrics-text;version=1.0.0"));
        assert_eq!(requests[0].extensions().get::<JobName>(), Some(&JobName("j".into())));
    });
}

#[test]
fn samples_lie_one_interval_apart() {
    run(async |bench| {
        bench.body("m 1\n");
        bench.script.delay.set(Duration::from_millis(777));
        bench.apply(job()).await;
        for _ in 0..9 {
            bench.interval().await;
        }
        let samples = bench.store.samples.borrow();
        let times: Vec<_> =
            samples.iter().filter(|(_, line)| line.starts_with("m{")).map(|(t, _)| *t).collect();
        assert_eq!(times.len(), 10);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 15_000), "{times:?}");
    });
}

#[test]
fn a_series_that_vanishes_ends() {
    run(async |bench| {
        bench.body("m 1\ngone 1\nown_time 1 1\n");
        bench.apply(job()).await;
        bench.stored();
        bench.body("m 1\n");
        bench.interval().await;
        let line = |text: &str| text.to_owned();
        assert_eq!(
            bench.scraped(),
            [line(r#"gone{instance="a", job="j"} stale"#), line(r#"m{instance="a", job="j"} 1"#)]
        );
        bench.interval().await;
        assert_eq!(bench.scraped(), [line(r#"m{instance="a", job="j"} 1"#)]);
    });
}

#[test]
fn a_failed_scrape_ends_all_series_and_says_why() {
    let response = |status: u16, kind: &str, body: &'static [u8]| {
        let builder = http::Response::builder().status(status).header("content-type", kind);
        Ok(builder.body(Bytes::from_static(body)).unwrap())
    };
    let cases: [(Answer, [u64; 3], &str); 6] = [
        (Err(FetchError::Connect("refused".into())), [0, 0, 0], "refused"),
        (
            response(503, "text/plain", b""),
            [0, 0, 0],
            "server returned HTTP status 503 Service Unavailable",
        ),
        (
            response(200, "text/html", b"<html>"),
            [0, 0, 0],
            "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target",
        ),
        (
            response(200, "text/plain", b"m 1\nm{x=\"1\"} 1\nbroken"),
            [2, 2, 1],
            "line 3, column 7: expected value after metric, got end of line",
        ),
        (
            response(200, "text/plain", b"m{a=\"1\",a=\"2\"} 1"),
            [1, 0, 0],
            "line 1, column 1: label name \"a\" is not unique",
        ),
        (
            response(200, "text/plain", b"m 1\n\xff 1"),
            [1, 1, 0],
            "line 2, column 1: expected metric name, got \"\u{fffd}\"",
        ),
    ];
    for (answer, [scraped, relabelled, added], expected) in cases {
        run(async |bench| {
            bench.body("m 1\n");
            bench.apply(job()).await;
            bench.stored();
            bench.answer("a", answer.clone());
            bench.interval().await;
            let mut all = vec![r#"m{instance="a", job="j"} stale"#.to_owned()];
            all.extend(report(0, scraped, relabelled, added));
            assert_eq!(bench.stored(), all);
            let status = bench.status();
            assert_eq!((status.health, status.last_error.as_str()), (Health::Down, expected));
            bench.body("m 1\n");
            bench.interval().await;
            assert_eq!(bench.scraped(), [r#"m{instance="a", job="j"} 1"#]);
            assert_eq!(bench.status().health, Health::Up);
        });
    }
}

#[test]
fn a_slow_target_times_out_on_its_own() {
    run(async |bench| {
        bench.body("m 1\n");
        bench.script.delay.set(Duration::from_mins(1));
        bench.apply(job()).await;
        runtime::sleep(Duration::from_secs(10)).await;
        assert_eq!(bench.stored(), report(0, 0, 0, 0));
        assert!(bench.status().last_error.starts_with("context deadline exceeded"));
    });
}

#[test]
fn limits_fail_the_scrape() {
    let limits = JobLimits::default();
    for (limits, expected) in [
        (JobLimits { samples: 2, ..limits }, "sample limit exceeded"),
        (JobLimits { body_bytes: 10, ..limits }, "body size limit exceeded"),
        (
            JobLimits { labels: 3, ..limits },
            "label_limit exceeded (metric: m, number of labels: 4, limit: 3)",
        ),
        (JobLimits { targets: 0, ..limits }, ""),
    ] {
        run(async |bench| {
            bench.body("m{l=\"1\"} 1\nm{l=\"2\"} 1\nm{l=\"3\"} 1\n");
            bench.apply(Job { limits, ..job() }).await;
            assert_eq!(bench.status().last_error, expected);
            assert_eq!(bench.scraped().is_empty(), !expected.is_empty());
        });
    }
}

#[test]
fn a_sample_limit_still_counts_what_there_is() {
    run(async |bench| {
        bench.body("a 1\nb 1\nc 1\nd 1\n");
        let limits = JobLimits { samples: 3, ..JobLimits::default() };
        bench.apply(Job { limits, ..job() }).await;
        assert_eq!(bench.stored(), report(0, 4, 4, 3));
    });
}

#[test]
fn too_many_targets_fail_all_of_them() {
    run(async |bench| {
        bench.body("m 1\n");
        let groups = vec![TargetGroup::of_addresses("0", ["a", "b", "a"], BTreeMap::new())];
        let limits = JobLimits { targets: 1, ..JobLimits::default() };
        bench.apply(Job { limits, groups, ..job() }).await;
        let targets = bench.scraper.targets();
        assert_eq!(targets.len(), 2, "the same target twice is one");
        for target in targets {
            assert_eq!(target.last_error, "target_limit exceeded (number of targets: 2, limit: 1)");
        }
        assert!(bench.script.requests.borrow().is_empty());
    });
}

#[test]
fn metric_relabelling_drops_and_renames() {
    run(async |bench| {
        bench.body("keep 1\ndrop 1\n");
        let drop = RuleOptions {
            source_labels: vec!["__name__".into()],
            regex: "drop".into(),
            action: Action::Drop,
            ..RuleOptions::default()
        };
        let mark = RuleOptions {
            target_label: "marked".into(),
            replacement: "yes".into(),
            ..RuleOptions::default()
        };
        let metric_relabel_rules =
            [drop, mark].into_iter().map(|options| Rule::new(options).unwrap()).collect();
        let job = Job { metric_relabel_rules, ..job() };
        bench.apply(job.clone()).await;
        let kept = r#"keep{instance="a", job="j", marked="yes"} 1"#.to_owned();
        assert_eq!(bench.stored(), [vec![kept.clone()], report(1, 2, 1, 1)].concat());
        bench.interval().await;
        assert_eq!(bench.stored(), [vec![kept], report(1, 2, 1, 0)].concat());
        // Without the rules the old series ends and the new ones begin.
        bench.apply(Job { metric_relabel_rules: vec![], ..job }).await;
        assert_eq!(
            bench.scraped(),
            [
                r#"drop{instance="a", job="j"} 1"#,
                r#"keep{instance="a", job="j", marked="yes"} stale"#,
                r#"keep{instance="a", job="j"} 1"#,
            ]
        );
    });
}

#[test]
fn timestamps_are_honoured_or_not() {
    let body = "m 1 1000\nm 2 2000\n";
    run(async |bench| {
        bench.body(body);
        bench.apply(job()).await;
        assert_eq!(bench.store.samples.borrow()[..].iter().filter(|(t, _)| *t < 9999).count(), 2);
        bench.stored();
        bench.body("");
        bench.interval().await;
        assert_eq!(bench.scraped(), [""; 0], "no staleness marker");
    });
    run(async |bench| {
        bench.body(body);
        bench.apply(Job { honor_timestamps: false, ..job() }).await;
        assert_eq!(bench.scraped(), [r#"m{instance="a", job="j"} 1"#]);
        assert_eq!(bench.scraper.stats().samples_duplicate, 1);
    });
    run(async |bench| {
        bench.body(body);
        bench.apply(Job { track_timestamps_staleness: true, ..job() }).await;
        bench.stored();
        bench.body("");
        bench.interval().await;
        assert_eq!(bench.scraped(), [r#"m{instance="a", job="j"} stale"#]);
    });
}

#[test]
fn a_target_that_goes_ends_after_two_intervals() {
    run(async |bench| {
        bench.body("m 1\n");
        bench.apply(job()).await;
        bench.stored();
        let gone = clock::now_ms();
        let applied = bench.apply(Job { groups: vec![], ..job() }).await;
        assert_eq!((applied.started, applied.retired), (0, 1));
        assert!(bench.scraper.targets().is_empty());
        assert!(bench.stored().is_empty(), "it may come back");
        bench.interval().await;
        bench.interval().await;
        let samples = bench.store.samples.borrow().clone();
        assert!(samples.iter().all(|(t, line)| line.ends_with(" stale") && *t <= gone + 15_000));
        assert_eq!(samples.len(), 6, "{samples:?}");
    });
}

#[test]
fn a_target_that_comes_back_goes_on() {
    run(async |bench| {
        bench.body("m 1\n");
        bench.apply(job()).await;
        bench.apply(Job { groups: vec![], ..job() }).await;
        bench.stored();
        let applied = bench.apply(job()).await;
        assert_eq!((applied.started, applied.retired), (0, 0));
        bench.interval().await;
        bench.interval().await;
        let stored = bench.stored();
        assert!(stored.iter().all(|line| !line.ends_with("stale")), "{stored:?}");
        assert_eq!(stored.iter().filter(|line| line.starts_with("m{")).count(), 3);
    });
}

#[test]
fn a_reload_changes_only_what_changed() {
    run(async |bench| {
        bench.body("m 1\n");
        bench.apply(job()).await;
        bench.stored();
        let same = bench.scraper.apply(&[Arc::new(job())]).await;
        assert_eq!(same, Applied::default());
        let faster =
            Job { interval: Duration::from_secs(5), timeout: Duration::from_secs(5), ..job() };
        let applied = bench.apply(faster).await;
        assert_eq!((applied.started, applied.retired), (0, 0));
        let stored = bench.stored();
        assert_eq!(stored.iter().filter(|line| line.starts_with("m{")).count(), 3);
        assert!(stored.contains(&report(1, 1, 1, 0)[2]), "the cache was kept");
        assert_eq!(bench.status().scrape_interval, "5s");
    });
}

#[test]
fn a_clean_stop_ends_no_series() {
    sim::run(3, async {
        let bench = Bench::new();
        bench.body("m 1\n");
        bench.apply(job()).await;
        bench.stored();
        bench.script.delay.set(Duration::from_secs(9));
        bench.interval().await;
        bench.scraper.stop().await;
        bench.interval().await;
        bench.interval().await;
        bench.interval().await;
        let stored = bench.stored();
        assert!(stored.iter().all(|line| !line.ends_with("stale")), "{stored:?}");
        assert!(bench.scraper.targets().is_empty());
    });
}

#[test]
fn storage_that_fails_shows_in_the_status_and_is_told_again() {
    run(async |bench| {
        bench.body("# TYPE m gauge\nm 1\n");
        bench.store.fail.set(true);
        bench.apply(job()).await;
        assert_eq!(
            bench.status().last_error,
            "storing the scrape failed: overloaded: test; send again later"
        );
        assert_eq!(bench.scraper.stats().appends_failed, 1);
        bench.store.fail.set(false);
        bench.interval().await;
        assert_eq!(bench.status().last_error, "");
        assert_eq!(*bench.store.metadata.borrow(), ["m"]);
    });
}

#[test]
fn every_target_has_one_core_and_its_own_place_in_the_interval() {
    sim::run(5, async {
        let addresses: Vec<String> = (0..100).map(|i| format!("host{i}")).collect();
        let groups = vec![TargetGroup::of_addresses(
            "0",
            addresses.iter().map(String::as_str),
            BTreeMap::new(),
        )];
        let job = Job { groups, ..job() };
        let benches = [Bench::on_core(0, 2), Bench::on_core(1, 2)];
        let mut targets = Vec::new();
        for bench in &benches {
            bench.scraper.apply(&[Arc::new(job.clone())]).await;
            targets.extend(bench.scraper.targets().into_iter().map(|t| t.scrape_url));
        }
        assert!(benches.iter().all(|bench| bench.scraper.targets().len() > 30));
        targets.sort();
        targets.dedup();
        assert_eq!(targets.len(), 100);
        runtime::sleep(INTERVAL).await;
        for bench in &benches {
            let samples = std::mem::take(&mut *bench.store.samples.borrow_mut());
            let mut times: Vec<_> = samples.iter().map(|(t, _)| t % 15_000 / 1500).collect();
            times.sort_unstable();
            times.dedup();
            assert!(times.len() >= 8, "spread over the interval: {times:?}");
            bench.scraper.stop().await;
        }
    });
}

#[test]
fn dropped_and_impossible_targets_are_told() {
    run(async |bench| {
        let drop = RuleOptions {
            source_labels: vec!["__address__".into()],
            regex: "x.*".into(),
            action: Action::Drop,
            ..RuleOptions::default()
        };
        let relabel_rules = vec![Rule::new(drop).unwrap()];
        let groups =
            vec![TargetGroup::of_addresses("0", ["x1", "x2", "http://y"], BTreeMap::new())];
        let limits = JobLimits { kept_dropped_targets: 1, ..JobLimits::default() };
        let applied = bench.apply(Job { limits, relabel_rules, groups, ..job() }).await;
        assert_eq!(
            applied.failures,
            [r#"job "j": instance 2 in group 0: "http://y" is not a valid hostname"#]
        );
        assert_eq!(bench.scraper.dropped_targets().len(), 1);
        assert_eq!(bench.scraper.dropped_target_counts()["j"], 2);
        assert_eq!(bench.scraper.job_names(), ["j"]);
    });
}

#[test]
fn failures_are_written_down_where_that_is_asked() {
    run(async |bench| {
        bench.apply(job()).await;
        bench.apply(Job { failure_log_file: "f".into(), ..job() }).await;
        assert_eq!(*bench.store.failures.borrow(), ["f http://a/metrics refused"]);
    });
}

#[test]
fn openmetrics_and_text_make_the_same_series() {
    let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\n";
    let openmetrics = "# TYPE h histogram\n# UNIT h \nh_bucket{le=\"1.0\"} 1\n\
                       h_bucket{le=\"+Inf\"} 2\nh_count 2\n# EOF\n";
    run(async |bench| {
        bench.body(text);
        bench.apply(job()).await;
        let expected = [
            r#"h_bucket{instance="a", job="j", le="+Inf"} 2"#,
            r#"h_bucket{instance="a", job="j", le="1.0"} 1"#,
            r#"h_count{instance="a", job="j"} 2"#,
        ];
        assert_eq!(bench.scraped(), expected);
        let response = http::Response::builder()
            .header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(Bytes::copy_from_slice(openmetrics.as_bytes()));
        bench.answer("a", Ok(response.unwrap()));
        bench.interval().await;
        assert_eq!(bench.scraped(), expected);
        let cut_off = http::Response::builder()
            .header("content-type", "application/openmetrics-text")
            .body(Bytes::from_static(b"h_count 2\n"));
        bench.answer("a", Ok(cut_off.unwrap()));
        bench.interval().await;
        assert_eq!(bench.status().last_error, "line 2, column 1: data does not end with # EOF");
    });
}

#[test]
fn created_lines_are_starts_of_the_samples_before_them() {
    run(async |bench| {
        let body = "# TYPE c counter\nc_total{a=\"1\"} 5\nc_created{a=\"1\"} 12.5\nc_total{a=\"2\"} 6\n\
                    # TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3.0\nh_created 20\n\
                    # TYPE g gauge\ng_created 1\n# EOF\n";
        bench.body_of("application/openmetrics-text; version=1.0.0", body);
        bench.apply(job()).await;
        assert_eq!(
            bench.scraped(),
            [
                r#"c_total{a="1", instance="a", job="j"} 5 since 12500"#,
                r#"c_total{a="2", instance="a", job="j"} 6"#,
                r#"g_created{instance="a", job="j"} 1"#,
                r#"h_bucket{instance="a", job="j", le="+Inf"} 2 since 20000"#,
                r#"h_bucket{instance="a", job="j", le="1.0"} 1 since 20000"#,
                r#"h_count{instance="a", job="j"} 2 since 20000"#,
                r#"h_sum{instance="a", job="j"} 3 since 20000"#,
            ]
        );
    });
}

#[test]
fn numbers_that_storage_forgets_are_learned_anew() {
    run(async |bench| {
        bench.body("m 1\nn 2\n");
        bench.apply(job()).await;
        let all = [
            r#"m{instance="a", job="j"} 1"#.to_owned(),
            r#"n{instance="a", job="j"} 2"#.to_owned(),
        ];
        assert_eq!(bench.scraped(), all);
        assert_eq!(bench.store.numbers.borrow().len(), 2);
        bench.interval().await;
        assert_eq!(bench.scraped(), all, "by number");
        assert_eq!(bench.store.numbers.borrow().len(), 2);
        bench.store.forgetful.set(true);
        bench.interval().await;
        assert_eq!(bench.scraped(), all, "by labels, the second time");
        bench.store.forgetful.set(false);
        assert_eq!(bench.store.numbers.borrow().len(), 4);
        bench.body("m 1\n");
        bench.interval().await;
        assert_eq!(
            bench.scraped(),
            [all[0].clone(), r#"n{instance="a", job="j"} stale"#.to_owned()]
        );
    });
}

#[test]
fn targets_that_hang_do_not_delay_the_others() {
    sim::run(11, async {
        let bench = Bench::new();
        bench.body("m 1\n");
        let hanging: Vec<String> = (0..1000).map(|i| format!("10.0.0.{i}")).collect();
        let addresses = hanging.iter().map(String::as_str).chain(["a"]);
        let groups = vec![TargetGroup::of_addresses("0", addresses, BTreeMap::new())];
        for host in &hanging {
            bench.answer(host, Err(FetchError::Connect("i/o timeout".into())));
        }
        bench.script.hang.set(true);
        bench.apply(Job { groups, ..job() }).await;
        for _ in 0..3 {
            bench.interval().await;
        }
        let samples = std::mem::take(&mut *bench.store.samples.borrow_mut());
        let times: Vec<_> =
            samples.iter().filter(|(_, line)| line.starts_with("m{")).map(|(t, _)| *t).collect();
        assert_eq!(times.len(), 4);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 15_000), "{times:?}");
        let down =
            samples.iter().filter(|(_, line)| line.starts_with("up{") && line.ends_with(" 0"));
        assert!(down.count() >= 3000, "each of them is reported");
        bench.scraper.stop().await;
    });
}

#[test]
fn a_target_that_comes_back_while_its_end_is_stored_is_scraped_again() {
    run(async |bench| {
        bench.body("m 1\n");
        bench.apply(job()).await;
        bench.scraper.apply(&[Arc::new(Job { groups: vec![], ..job() })]).await;
        bench.stored();
        bench.store.slow.set(Duration::from_secs(5));
        while bench.store.appending.get() == 0 {
            runtime::sleep(Duration::from_secs(1)).await;
        }
        bench.scraper.apply(&[Arc::new(job())]).await;
        bench.store.slow.set(Duration::ZERO);
        bench.interval().await;
        bench.interval().await;
        let scraped = bench.scraped();
        assert!(scraped.contains(&r#"m{instance="a", job="j"} stale"#.to_owned()), "{scraped:?}");
        assert!(scraped.contains(&r#"m{instance="a", job="j"} 1"#.to_owned()), "{scraped:?}");
    });
}
