//! `global` and `runtime`: the defaults of every job.

use std::collections::BTreeMap;

use tidemark_core::model::labels::is_legacy_label_name;

use super::paths::Directory;
use super::scalars::{ByteSize, Duration};
use super::section::{Checked, ensure, fault, one_of, section};

section! {
    /// Values that jobs take unless they say otherwise, and the labels that name this server to others.
    GlobalConfig {
        scrape_interval: Duration = Duration::from_secs(60),
        scrape_timeout: Duration,
        scrape_protocols: Vec<String>,
        evaluation_interval: Duration = Duration::from_secs(60),
        rule_query_offset: Duration,
        query_log_file: String,
        scrape_failure_log_file: String,
        external_labels: BTreeMap<String, String>,
        body_size_limit: ByteSize,
        sample_limit: u64,
        target_limit: u64,
        label_limit: u64,
        label_name_length_limit: u64,
        label_value_length_limit: u64,
        keep_dropped_targets: u64,
        metric_name_validation_scheme: String,
        metric_name_escaping_scheme: String,
        scrape_native_histograms: Option<bool>,
        convert_classic_histograms_to_nhcb: bool,
        always_scrape_classic_histograms: bool,
        extra_scrape_metrics: Option<bool>,
    }
    check = Self::complete
}

section! {
    /// Settings of the Go runtime; there is none here, so it is only read and shown.
    RuntimeConfig { gogc: i64 = 75 }
}

/// The protocols that a scrape may ask for, by Prometheus' names.
const SCRAPE_PROTOCOLS: [&str; 5] = [
    "OpenMetricsText0.0.1",
    "OpenMetricsText1.0.0",
    "PrometheusProto",
    "PrometheusText0.0.4",
    "PrometheusText1.0.0",
];

/// What a name of metrics and labels may be made of.
pub(crate) const VALIDATION_SCHEMES: [&str; 3] = ["", "utf8", "legacy"];

/// How a target is asked to write names that are not plain.
pub(crate) const ESCAPING_SCHEMES: [&str; 5] = ["", "allow-utf-8", "underscores", "dots", "values"];

/// Each protocol known, none twice.
pub(crate) fn check_protocols(field: &'static str, protocols: &[String]) -> Checked {
    for (i, protocol) in protocols.iter().enumerate() {
        ensure(SCRAPE_PROTOCOLS.contains(&protocol.as_str()), field, || {
            format!(
                "unknown scrape protocol {protocol}, supported: {}",
                SCRAPE_PROTOCOLS.join(", ")
            )
        })?;
        ensure(!protocols[..i].contains(protocol), field, || {
            format!("duplicated protocol in {field}: {protocol}")
        })?;
    }
    Ok(())
}

impl GlobalConfig {
    fn complete(&mut self) -> Checked {
        let default = Duration::from_secs(60);
        if self.scrape_interval.is_zero() {
            self.scrape_interval = default;
        }
        if self.evaluation_interval.is_zero() {
            self.evaluation_interval = default;
        }
        ensure(self.scrape_timeout <= self.scrape_interval, "scrape_timeout", || {
            "global scrape timeout greater than scrape interval".to_owned()
        })?;
        self.fill_timeout();
        check_protocols("scrape_protocols", &self.scrape_protocols)?;
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
        let legacy = self.legacy_names();
        let valid = |name: &str| if legacy { is_legacy_label_name(name) } else { !name.is_empty() };
        match self.external_labels.keys().find(|name| !valid(name)) {
            Some(bad) => {
                Err(fault("external_labels", format!("{bad:?} is not a valid label name")))
            }
            None => Ok(()),
        }
    }

    /// Ten seconds, or the interval where that is shorter.
    pub(crate) fn fill_timeout(&mut self) {
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = Duration::from_secs(10).min(self.scrape_interval);
        }
    }

    /// Whether names must be plain.
    pub(crate) fn legacy_names(&self) -> bool {
        self.metric_name_validation_scheme == "legacy"
    }

    /// Replaces `$name` and `${name}` in the external labels by `lookup`, and `$$` by `$`.
    pub(crate) fn expand_external_labels(&mut self, lookup: impl Fn(&str) -> String) {
        for value in self.external_labels.values_mut().filter(|value| value.contains('$')) {
            *value = expand(value, &lookup);
        }
    }
}

fn expand(text: &str, lookup: &impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('{').and_then(|t| t.split_once('}')) {
            out.push_str(&lookup(name));
            rest = tail;
        } else {
            let end =
                after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            out.push_str(&if name.is_empty() { "$".to_owned() } else { lookup(name) });
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

impl Directory for GlobalConfig {
    fn file_names(&mut self) -> Vec<&mut String> {
        vec![&mut self.query_log_file, &mut self.scrape_failure_log_file]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_in_external_labels() {
        let lookup = |name: &str| match name {
            "A" => "1".to_owned(),
            "B_2" => "two".to_owned(),
            _ => String::new(),
        };
        for (text, expected) in [
            ("$A", "1"),
            ("x${A}y", "x1y"),
            ("$B_2-z", "two-z"),
            ("$$A", "$A"),
            ("$NONE.", "."),
            ("plain", "plain"),
            ("end$", "end$"),
        ] {
            assert_eq!(expand(text, &lookup), expected, "{text}");
        }
    }
}
