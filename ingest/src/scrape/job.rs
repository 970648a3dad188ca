//! A scrape job: what to scrape, how often, how, and what to do with what comes back.
//!
//! Plain values. Reading them from a configuration file, with its defaults and checks, is the server's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_core::model::histogram::{EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN};

use super::negotiate::{Escaping, Protocol};
use super::work::Work;
pub use crate::protocols::exposition_proto::Options as HistogramOptions;
use crate::relabel::Rule;

/// How buckets grow at the finest schema; smaller factors mean the same.
const FACTOR_OF_FINEST: f64 = 1.002_711;

/// One `scrape_config`.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "they are the switches of a configuration file")]
pub struct Job {
    /// `job_name`, the default of the `job` label; one of its kind.
    pub name: String,
    /// From one scrape to the next, unless a target's labels say otherwise.
    pub interval: Duration,
    /// Until a scrape is given up; not longer than `interval`.
    pub timeout: Duration,
    /// `http` or `https`.
    pub scheme: String,
    /// Path of the metrics.
    pub metrics_path: String,
    /// Query parameters, each with its values.
    pub params: BTreeMap<String, Vec<String>>,
    /// Scraped labels win over those of the target, instead of being renamed `exported_`.
    pub honor_labels: bool,
    /// Timestamps in the body are taken.
    pub honor_timestamps: bool,
    /// Series whose samples carry timestamps get staleness markers as well.
    pub track_timestamps_staleness: bool,
    /// Whether gzip is asked for.
    pub enable_compression: bool,
    /// Formats to ask for, the best first.
    pub protocols: Vec<Protocol>,
    /// How targets are asked to write names that need quotes.
    pub escaping: Escaping,
    /// How a body is read whose content type says nothing useful; without one it is an error.
    pub fallback_protocol: Option<Protocol>,
    /// Which buckets of histograms are read.
    pub histograms: HistogramOptions,
    /// Bounds on what a scrape may bring.
    pub limits: JobLimits,
    /// Applied to targets.
    pub relabel_rules: Vec<Rule>,
    /// Applied to scraped series.
    pub metric_relabel_rules: Vec<Rule>,
    /// Names of series and labels must be ones that need no quotes.
    pub legacy_names: bool,
    /// Whether time-out, sample limit and body size are reported as series too.
    pub extra_metrics: bool,
    /// Where failed scrapes are written down; empty is nowhere.
    pub failure_log_file: String,
    /// The targets that are written out.
    pub groups: Vec<TargetGroup>,
    /// What the cores have made of them.
    pub work: Work,
}

impl Default for Job {
    fn default() -> Self {
        Job {
            name: String::new(),
            interval: Duration::from_mins(1),
            timeout: Duration::from_secs(10),
            scheme: "http".to_owned(),
            metrics_path: "/metrics".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            enable_compression: true,
            protocols: Protocol::DEFAULT.to_vec(),
            escaping: Escaping::AllowUtf8,
            fallback_protocol: None,
            histograms: HistogramOptions::default(),
            limits: JobLimits::default(),
            relabel_rules: Vec::new(),
            metric_relabel_rules: Vec::new(),
            legacy_names: false,
            extra_metrics: false,
            failure_log_file: String::new(),
            groups: Vec::new(),
            work: Work::default(),
        }
    }
}

/// Bounds that a user sets on a job; zero is none, as in configuration files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobLimits {
    /// Decompressed bytes of a body; as many or more fail the scrape.
    pub body_bytes: u64,
    /// Samples of a scrape after relabelling; more fail it.
    pub samples: u64,
    /// Targets of the job after relabelling; more fail every scrape of it.
    pub targets: u64,
    /// Labels of a series after relabelling.
    pub labels: u64,
    /// Bytes of a label name.
    pub label_name_bytes: u64,
    /// Bytes of a label value.
    pub label_value_bytes: u64,
    /// Buckets of a native histogram; one with more is made coarser, and if that does not help fails the scrape.
    pub histogram_buckets: u64,
    /// The finest schema that native histograms are stored with.
    pub histogram_schema_max: Option<i32>,
    /// Dropped targets that are remembered for display.
    pub kept_dropped_targets: u64,
}

impl JobLimits {
    /// The finest schema whose buckets grow by at least `factor` from one to the next, if a factor is asked for.
    pub fn schema_of_factor(factor: f64) -> Option<i32> {
        (factor > 0.0).then(|| {
            let finest = -factor.max(FACTOR_OF_FINEST).log2().log2();
            (finest.floor() as i32).clamp(EXPONENTIAL_SCHEMA_MIN, EXPONENTIAL_SCHEMA_MAX)
        })
    }
}

/// What discovery found for a job: an input beside it, which changes by itself.
pub type Discovered = Arc<[Arc<TargetGroup>]>;

/// Targets that were found together and share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// Where they come from, for messages: `0` is the first static group.
    pub source: String,
    /// The labels of each target, `__address__` among them.
    pub targets: Vec<BTreeMap<String, String>>,
    /// Labels of all of them; a target's own win.
    pub labels: BTreeMap<String, String>,
}

impl TargetGroup {
    /// A group of addresses with common labels: one entry of `static_configs`.
    pub fn of_addresses<'a>(
        source: &str,
        addresses: impl IntoIterator<Item = &'a str>,
        labels: BTreeMap<String, String>,
    ) -> Self {
        let target = |a: &str| BTreeMap::from([("__address__".to_owned(), a.to_owned())]);
        let targets = addresses.into_iter().map(target).collect();
        TargetGroup { source: source.to_owned(), targets, labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_of_growth_factors() {
        for (factor, schema) in [
            (0.0, None),
            (1.0, Some(8)),
            (1.002, Some(8)),
            (1.0905, Some(3)),
            (1.1, Some(2)),
            (2.0, Some(0)),
            (4.0, Some(-1)),
            (1e30, Some(-4)),
        ] {
            assert_eq!(JobLimits::schema_of_factor(factor), schema, "{factor}");
        }
    }
}
