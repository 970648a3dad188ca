//! From a discovered label set to a target: URL, interval, and the labels that its series get.
//!
//! Labels that begin with `__` steer the scrape and do not reach the series: `__address__`, `__scheme__`,
//! `__metrics_path__`, `__param_<name>`, `__scrape_interval__`, `__scrape_timeout__`. They are filled from the job where
//! discovery did not set them, relabelling sees and may change them all, and what it leaves decides. `__meta_*` are for
//! relabelling alone. `__tenant_id__` says whose the series are, where tenants are told apart.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidemark_core::model::labels::{Labels, LabelsBuilder};
use tidemark_core::model::tenant::{TENANT_LABEL, Tenant, TenantError};
use tidemark_core::model::time::TimestampMs;
use xxhash_rust::xxh3::Xxh3;

use super::job::{Job, TargetGroup};
use crate::duration;
use crate::label_set::LabelSet;
use crate::relabel;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";
const RESERVED_PREFIX: &str = "__";

/// What is left as it is in a URL's query; everything else is percent-encoded and a blank becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What is left as it is in a URL's path.
const PATH: &AsciiSet = &QUERY
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// Why a label set is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `__address__` is empty after relabelling.
    #[error("no address")]
    NoAddress,
    /// `__address__` holds more than host and port.
    #[error("{0:?} is not a valid hostname")]
    BadAddress(String),
    /// The parts do not make a URL.
    #[error("{url:?} is not a valid URL: {reason}")]
    BadUrl {
        /// What they make.
        url: String,
        /// Why not.
        reason: String,
    },
    /// `__scrape_interval__` or `__scrape_timeout__` is no duration.
    #[error("error parsing scrape {which}: {error}")]
    BadDuration {
        /// `interval` or `timeout`.
        which: &'static str,
        /// What is wrong.
        error: duration::DurationError,
    },
    /// One of them is zero.
    #[error("scrape {0} cannot be 0")]
    ZeroDuration(&'static str),
    /// `__tenant_id__` names no tenant.
    #[error("bad __tenant_id__: {0}")]
    BadTenant(TenantError),
    /// They contradict each other.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutPastInterval {
        /// As written.
        timeout: String,
        /// As written.
        interval: String,
    },
}

/// Something to scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// As it was discovered, before relabelling.
    pub discovered: Labels,
    /// What its series get.
    pub labels: Labels,
    /// Where the metrics are.
    pub url: http::Uri,
    /// The same as the labels make it, for display.
    pub scrape_url: String,
    /// From one scrape to the next.
    pub interval: Duration,
    /// Until a scrape is given up.
    pub timeout: Duration,
    /// Whose its series are, where tenants are told apart.
    pub tenant: Tenant,
    /// Identity within its job: of labels and URL, but not of interval and time-out, which may change on the way.
    pub hash: u64,
}

/// What becomes of a discovered label set.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {
    /// It is scraped.
    Target(Box<Target>),
    /// Relabelling dropped it; the labels are those before.
    Dropped(Labels),
}

/// Makes a target of the labels of `target` in `group`.
pub fn resolve(
    job: &Job,
    group: &TargetGroup,
    target: &BTreeMap<String, String>,
) -> Result<Resolved, TargetError> {
    let discovered = discovered_labels(job, group, target);
    let mut set: LabelSet = discovered.iter().collect();
    if !relabel::apply(&job.relabel_rules, &mut set) || set.is_empty() {
        return Ok(Resolved::Dropped(discovered));
    }
    let address = set.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::BadAddress(address));
    }
    let (interval, timeout) = durations(&set)?;
    let tenant = match set.get(TENANT_LABEL) {
        "" => Tenant::anonymous(),
        name => Tenant::parse(name).map_err(TargetError::BadTenant)?,
    };
    set.retain(|name| !name.starts_with(META_PREFIX));
    if set.get("instance").is_empty() {
        set.set("instance", &address);
    }
    let scrape_url = scrape_url(job, &set);
    let url = scrape_url.parse().map_err(|error: http::uri::InvalidUri| TargetError::BadUrl {
        url: scrape_url.clone(),
        reason: error.to_string(),
    })?;
    let hash = identity(&set, &scrape_url);
    set.retain(|name| !name.starts_with(RESERVED_PREFIX));
    let labels = Labels::from_pairs(set.iter());
    let target = Target { discovered, labels, url, scrape_url, interval, timeout, tenant, hash };
    Ok(Resolved::Target(Box::new(target)))
}

/// Milliseconds from one place in an interval where scrapes begin to the next. Waking a core costs about as much as a scrape: those of a
/// place share one, and the messages and the flush that follow.
const SLOT_MS: u64 = 25;

impl Target {
    /// Until the first scrape: targets are spread evenly over the interval, each always at the same place in it. Places are [`SLOT_MS`] apart,
    /// or a fortieth of the interval if that is less.
    pub fn offset(&self, now_ms: TimestampMs, seed: u64) -> Duration {
        let interval_ms = (self.interval.as_millis() as u64).max(1);
        let slot_ms = SLOT_MS.min((interval_ms / 40).max(1));
        let place = (self.hash ^ seed) % interval_ms / slot_ms * slot_ms;
        let now = now_ms.rem_euclid(interval_ms as i64) as u64;
        Duration::from_millis((place + interval_ms - now) % interval_ms)
    }
}

/// The labels of the target and its group, completed from the job.
fn discovered_labels(job: &Job, group: &TargetGroup, target: &BTreeMap<String, String>) -> Labels {
    let mut labels = LabelsBuilder::new();
    for (name, value) in group.labels.iter().chain(target) {
        labels.set(name, value);
    }
    let mut fill = |name: &str, value: &str| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    fill("job", &job.name);
    fill(SCRAPE_INTERVAL, &duration::format(job.interval));
    fill(SCRAPE_TIMEOUT, &duration::format(job.timeout));
    fill(METRICS_PATH, &job.metrics_path);
    fill(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            fill(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    labels.build()
}

fn durations(set: &LabelSet) -> Result<(Duration, Duration), TargetError> {
    let read = |label: &str, which| {
        let read = duration::parse(set.get(label));
        match read.map_err(|error| TargetError::BadDuration { which, error })? {
            Duration::ZERO => Err(TargetError::ZeroDuration(which)),
            duration => Ok(duration),
        }
    };
    let interval = read(SCRAPE_INTERVAL, "interval")?;
    let timeout = read(SCRAPE_TIMEOUT, "timeout")?;
    if timeout > interval {
        return Err(TargetError::TimeoutPastInterval {
            timeout: set.get(SCRAPE_TIMEOUT).to_owned(),
            interval: set.get(SCRAPE_INTERVAL).to_owned(),
        });
    }
    Ok((interval, timeout))
}

fn scrape_url(job: &Job, set: &LabelSet) -> String {
    let path = set.get(METRICS_PATH);
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    let mut url = format!(
        "{}://{}{slash}{}",
        set.get(SCHEME),
        set.get(ADDRESS),
        utf8_percent_encode(path, PATH)
    );
    let mut separator = '?';
    for (name, values) in params(job, set) {
        for value in values {
            url.push(separator);
            url.push_str(&query_encoded(name));
            url.push('=');
            url.push_str(&query_encoded(value));
            separator = '&';
        }
    }
    url
}

/// The job's parameters; a `__param_` label replaces the first value of its name.
fn params<'a>(job: &'a Job, set: &'a LabelSet) -> BTreeMap<&'a str, Vec<&'a str>> {
    let of_job = |(name, values): (&'a String, &'a Vec<String>)| {
        (name.as_str(), values.iter().map(String::as_str).collect())
    };
    let mut params: BTreeMap<&str, Vec<&str>> = job.params.iter().map(of_job).collect();
    for (name, value) in set.iter() {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    params
}

fn query_encoded(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace("%20", "+")
}

fn identity(set: &LabelSet, scrape_url: &str) -> u64 {
    let lasting = set.iter().filter(|(name, _)| ![SCRAPE_INTERVAL, SCRAPE_TIMEOUT].contains(name));
    let mut hash = Xxh3::new();
    hash.update(Labels::from_pairs(lasting).encoded());
    hash.update(scrape_url.as_bytes());
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::{Action, Rule, RuleOptions};

    fn job() -> Job {
        Job { name: "node".into(), ..Job::default() }
    }

    fn resolve_one(job: &Job, labels: &[(&str, &str)]) -> Result<Resolved, TargetError> {
        let own = |&(n, v): &(&str, &str)| (n.to_owned(), v.to_owned());
        let group = TargetGroup {
            labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
            ..TargetGroup::default()
        };
        resolve(job, &group, &labels.iter().map(own).collect())
    }

    #[track_caller]
    fn target(job: &Job, labels: &[(&str, &str)]) -> Target {
        match resolve_one(job, labels) {
            Ok(Resolved::Target(target)) => *target,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_address() {
        let target = target(&job(), &[("__address__", "host:9100")]);
        assert_eq!(target.scrape_url, "http://host:9100/metrics");
        assert_eq!(target.labels.to_string(), r#"{env="prod", instance="host:9100", job="node"}"#);
        assert_eq!(
            target.discovered.to_string(),
            r#"{__address__="host:9100", __metrics_path__="/metrics", __scheme__="http", __scrape_interval__="1m", __scrape_timeout__="10s", env="prod", job="node"}"#
        );
        assert_eq!(target.interval, Duration::from_mins(1));
    }

    #[test]
    fn labels_steer_the_scrape() {
        let job = Job {
            params: BTreeMap::from([
                ("module".into(), vec!["a b".into(), "c".into()]),
                ("x".into(), vec![]),
            ]),
            ..job()
        };
        let target = target(
            &job,
            &[
                ("__address__", "[::1]:1"),
                ("__scheme__", "https"),
                ("__metrics_path__", "probe/ä?"),
                ("__param_target", "http://x/?a=1&b"),
                ("__scrape_interval__", "5s"),
                ("__scrape_timeout__", "500ms"),
                ("__meta_x", "1"),
                ("__tmp", "1"),
                ("env", "own"),
                ("instance", "i"),
            ],
        );
        assert_eq!(
            target.scrape_url,
            "https://[::1]:1/probe/%C3%A4%3F?module=a+b&module=c&target=http%3A%2F%2Fx%2F%3Fa%3D1%26b"
        );
        assert_eq!(target.labels.to_string(), r#"{env="own", instance="i", job="node"}"#);
        assert_eq!(
            (target.interval, target.timeout),
            (Duration::from_secs(5), Duration::from_millis(500))
        );
    }

    #[test]
    fn relabelling_may_rewrite_or_drop() {
        let probe = RuleOptions {
            source_labels: vec!["__address__".into()],
            target_label: "__param_target".into(),
            ..RuleOptions::default()
        };
        let exporter = RuleOptions {
            target_label: "__address__".into(),
            replacement: "exporter:9115".into(),
            ..RuleOptions::default()
        };
        let drop = RuleOptions {
            source_labels: vec!["env".into()],
            regex: "test".into(),
            action: Action::Drop,
            ..RuleOptions::default()
        };
        let relabel_rules =
            [probe, exporter, drop].into_iter().map(|o| Rule::new(o).unwrap()).collect();
        let job = Job { relabel_rules, ..job() };
        let target = target(&job, &[("__address__", "site")]);
        assert_eq!(target.scrape_url, "http://exporter:9115/metrics?target=site");
        let dropped = resolve_one(&job, &[("__address__", "site"), ("env", "test")]).unwrap();
        assert!(matches!(dropped, Resolved::Dropped(labels) if labels.get("env") == Some("test")));
    }

    #[test]
    fn what_is_no_target_says_why() {
        for (labels, expected) in [
            (&[][..], "no address"),
            (&[("__address__", "http://a")], r#""http://a" is not a valid hostname"#),
            (
                &[("__address__", "a"), ("__scrape_interval__", "x")],
                r#"error parsing scrape interval: not a valid duration string: "x""#,
            ),
            (&[("__address__", "a"), ("__scrape_timeout__", "0s")], "scrape timeout cannot be 0"),
            (
                &[("__address__", "a"), ("__scrape_timeout__", "2m")],
                r#"scrape timeout cannot be greater than scrape interval ("2m" > "1m")"#,
            ),
            (
                &[("__address__", "a"), ("__tenant_id__", "a/b")],
                "bad __tenant_id__: tenant ID 'a/b' contains unsupported character '/'",
            ),
            (
                &[("__address__", "a b")],
                r#""http://a b/metrics" is not a valid URL: invalid uri character"#,
            ),
        ] {
            assert_eq!(resolve_one(&job(), labels).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn identity_follows_labels_and_url_but_not_the_interval() {
        let base = target(&job(), &[("__address__", "a")]);
        let slower = Job { interval: Duration::from_hours(1), ..job() };
        assert_eq!(target(&slower, &[("__address__", "a")]).hash, base.hash);
        assert_ne!(target(&job(), &[("__address__", "b")]).hash, base.hash);
        assert_ne!(target(&job(), &[("__address__", "a"), ("x", "y")]).hash, base.hash);
        let other = Job { params: BTreeMap::from([("a".into(), vec!["b".into()])]), ..job() };
        assert_ne!(target(&other, &[("__address__", "a")]).hash, base.hash);
    }

    #[test]
    fn offsets_are_fixed_in_the_interval() {
        let mut target = target(&job(), &[("__address__", "a")]);
        target.hash = 61_234;
        assert_eq!(target.offset(600_000, 0), Duration::from_millis(1_225));
        assert_eq!(target.offset(600_225, 0), Duration::from_secs(1));
        assert_eq!(target.offset(601_226, 0), Duration::from_millis(59_999));
        assert_ne!(target.offset(600_000, 77), Duration::from_millis(1_225));
        target.interval = Duration::from_millis(80);
        assert_eq!(target.offset(600_000, 0), Duration::from_millis(34));
    }
}
