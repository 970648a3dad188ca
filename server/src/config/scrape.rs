//! `scrape_configs`: what to scrape, how often, how, and what to do with what comes back.

use std::collections::BTreeMap;

use super::discovery::Discovery;
use super::global::{ESCAPING_SCHEMES, GlobalConfig, VALIDATION_SCHEMES, check_protocols};
use super::http_client::HttpClientConfig;
use super::relabel::RelabelConfig;
use super::scalars::{ByteSize, Duration};
use super::section::{Checked, ensure, one_of, section};

section! {
    /// One job.
    ScrapeConfig {
        job_name: String,
        honor_labels: bool,
        honor_timestamps: bool = true,
        track_timestamps_staleness: bool,
        params: BTreeMap<String, Vec<String>>,
        scrape_interval: Duration,
        scrape_timeout: Duration,
        scrape_protocols: Vec<String>,
        fallback_scrape_protocol: String,
        scrape_native_histograms: Option<bool>,
        always_scrape_classic_histograms: Option<bool>,
        convert_classic_histograms_to_nhcb: Option<bool>,
        scrape_failure_log_file: String,
        metrics_path: String = "/metrics".to_owned(),
        scheme: String = "http".to_owned(),
        enable_compression: bool = true,
        body_size_limit: ByteSize,
        sample_limit: u64,
        target_limit: u64,
        label_limit: u64,
        label_name_length_limit: u64,
        label_value_length_limit: u64,
        native_histogram_bucket_limit: u64,
        native_histogram_min_bucket_factor: f64,
        keep_dropped_targets: u64,
        metric_name_validation_scheme: String,
        metric_name_escaping_scheme: String,
        extra_scrape_metrics: Option<bool>,
        relabel_configs: Vec<RelabelConfig>,
        metric_relabel_configs: Vec<RelabelConfig>,
    }
    inline { http: HttpClientConfig, discovery: Discovery }
    check = Self::complete
}

impl ScrapeConfig {
    /// What can be said of a job without the global section.
    fn complete(&mut self) -> Checked {
        ensure(!self.job_name.is_empty(), "job_name", || "job_name is empty".to_owned())?;
        if self.relabel_configs.is_empty() {
            self.discovery.check_static_targets()?;
        }
        one_of(
            "metric_name_validation_scheme",
            &self.metric_name_validation_scheme,
            &VALIDATION_SCHEMES,
        )?;
        one_of(
            "metric_name_escaping_scheme",
            &self.metric_name_escaping_scheme,
            &ESCAPING_SCHEMES,
        )?;
        check_protocols("scrape_protocols", &self.scrape_protocols)?;
        let fallback = std::slice::from_ref(&self.fallback_scrape_protocol);
        check_protocols(
            "fallback_scrape_protocol",
            if fallback[0].is_empty() { &[] } else { fallback },
        )
    }

    /// Takes from `global` what the job does not say, then checks what depends on it.
    pub(crate) fn inherit(&mut self, global: &GlobalConfig) -> Checked {
        fn take<T: Default + PartialEq + Clone>(own: &mut T, global: &T) {
            if *own == T::default() {
                own.clone_from(global);
            }
        }
        take(&mut self.scrape_interval, &global.scrape_interval);
        ensure(self.scrape_timeout <= self.scrape_interval, "scrape_timeout", || {
            format!(
                "scrape timeout greater than scrape interval for scrape config with job name {:?}",
                self.job_name
            )
        })?;
        take(&mut self.scrape_timeout, &global.scrape_timeout.min(self.scrape_interval));
        take(&mut self.scrape_protocols, &global.scrape_protocols);
        take(&mut self.body_size_limit, &global.body_size_limit);
        take(&mut self.sample_limit, &global.sample_limit);
        take(&mut self.target_limit, &global.target_limit);
        take(&mut self.label_limit, &global.label_limit);
        take(&mut self.label_name_length_limit, &global.label_name_length_limit);
        take(&mut self.label_value_length_limit, &global.label_value_length_limit);
        take(&mut self.keep_dropped_targets, &global.keep_dropped_targets);
        take(&mut self.scrape_failure_log_file, &global.scrape_failure_log_file);
        take(&mut self.scrape_native_histograms, &global.scrape_native_histograms);
        take(&mut self.extra_scrape_metrics, &global.extra_scrape_metrics);
        take(
            &mut self.convert_classic_histograms_to_nhcb,
            &Some(global.convert_classic_histograms_to_nhcb),
        );
        take(
            &mut self.always_scrape_classic_histograms,
            &Some(global.always_scrape_classic_histograms),
        );
        let own_scheme = !self.metric_name_validation_scheme.is_empty();
        if !own_scheme {
            let legacy = global.legacy_names();
            let scheme = if legacy { "legacy" } else { "utf8" };
            scheme.clone_into(&mut self.metric_name_validation_scheme);
            take(&mut self.metric_name_escaping_scheme, &global.metric_name_escaping_scheme);
        }
        let escaping = if self.legacy_names() { "underscores" } else { "allow-utf-8" };
        take(&mut self.metric_name_escaping_scheme, &escaping.to_owned());
        let contradiction =
            self.legacy_names() && self.metric_name_escaping_scheme == "allow-utf-8";
        ensure(!contradiction, "metric_name_escaping_scheme", || {
            "utf8 metric names requested but validation scheme is not set to UTF8".to_owned()
        })?;
        self.fill_protocols();
        self.check_relabelling()
    }

    /// Whether names must be plain.
    fn legacy_names(&self) -> bool {
        self.metric_name_validation_scheme == "legacy"
    }

    fn fill_protocols(&mut self) {
        if !self.scrape_protocols.is_empty() {
            return;
        }
        let native = self.scrape_native_histograms == Some(true);
        self.scrape_protocols = ["PrometheusProto"]
            .into_iter()
            .filter(|_| native)
            .chain([
                "OpenMetricsText1.0.0",
                "OpenMetricsText0.0.1",
                "PrometheusText1.0.0",
                "PrometheusText0.0.4",
            ])
            .map(str::to_owned)
            .collect();
    }

    fn check_relabelling(&self) -> Checked {
        for (field, rules) in [
            ("relabel_configs", &self.relabel_configs),
            ("metric_relabel_configs", &self.metric_relabel_configs),
        ] {
            for rule in rules {
                rule.check_names(self.legacy_names())
                    .map_err(|f| super::section::Fault { field, ..f })?;
            }
        }
        Ok(())
    }
}
