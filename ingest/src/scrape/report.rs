//! The series that a scrape says of itself: `up` and its like.

use tidemark_core::model::labels::{Fingerprint, Labels, METRIC_NAME};
use tidemark_core::model::sample::{STALE_NAN, Sample};
use tidemark_core::model::tenant::{TENANT_LABEL, Tenant};
use tidemark_core::model::time::TimestampMs;

use super::job::Job;
use super::target::Target;
use crate::rows::Rows;

/// What a scrape was like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) up: bool,
    pub(super) duration_seconds: f64,
    pub(super) samples_scraped: u64,
    pub(super) samples_relabelled: u64,
    pub(super) series_added: u64,
    /// Decompressed; -1 if it was past the limit.
    pub(super) body_bytes: i64,
}

/// How one of the series is called and what its value is.
type Column = (&'static str, fn(&Outcome, &Job, &Target) -> f64);

const COLUMNS: [Column; 5] = [
    ("up", |outcome, _, _| f64::from(u8::from(outcome.up))),
    ("scrape_duration_seconds", |outcome, _, _| outcome.duration_seconds),
    ("scrape_samples_scraped", |outcome, _, _| outcome.samples_scraped as f64),
    ("scrape_samples_post_metric_relabeling", |outcome, _, _| outcome.samples_relabelled as f64),
    ("scrape_series_added", |outcome, _, _| outcome.series_added as f64),
];

/// With `extra_scrape_metrics`.
const EXTRA_COLUMNS: [Column; 3] = [
    ("scrape_timeout_seconds", |_, _, target| target.timeout.as_secs_f64()),
    ("scrape_sample_limit", |_, job, _| job.limits.samples as f64),
    ("scrape_body_size_bytes", |outcome, _, _| outcome.body_bytes as f64),
];

/// The report series of one target, encoded once.
pub(super) struct Report {
    series: Vec<(Fingerprint, Labels)>,
}

impl Report {
    /// Encodes the series of a target with these labels.
    pub(super) fn new(target: &Labels, tenant: Option<&Tenant>) -> Self {
        let encode = |(name, _): &Column| {
            let mut labels = target.to_builder();
            labels.set(METRIC_NAME, name);
            if let Some(tenant) = tenant {
                labels.set(TENANT_LABEL, tenant.label_value());
            }
            let labels = labels.build();
            (labels.fingerprint(), labels)
        };
        Report { series: COLUMNS.iter().chain(&EXTRA_COLUMNS).map(encode).collect() }
    }

    /// Reports a scrape.
    pub(super) fn push(
        &self,
        rows: &mut Rows,
        timestamp_ms: TimestampMs,
        outcome: &Outcome,
        job: &Job,
        target: &Target,
    ) {
        let columns = COLUMNS.iter().chain(EXTRA_COLUMNS.iter().filter(|_| job.extra_metrics));
        for ((fingerprint, labels), (_, value)) in self.series.iter().zip(columns) {
            let sample = Sample { timestamp_ms, value: value(outcome, job, target) };
            rows.push_encoded(*fingerprint, labels.encoded(), sample);
        }
    }

    /// Marks the end of the series.
    pub(super) fn push_stale(&self, rows: &mut Rows, timestamp_ms: TimestampMs, job: &Job) {
        let count = COLUMNS.len() + if job.extra_metrics { EXTRA_COLUMNS.len() } else { 0 };
        for (fingerprint, labels) in &self.series[..count] {
            let sample = Sample { timestamp_ms, value: STALE_NAN };
            rows.push_encoded(*fingerprint, labels.encoded(), sample);
        }
    }
}
