//! One limit, as it is written on the command line.
//!
//! ```text
//! SCOPE[=VALUE]:KIND=NUMBER[,KIND=NUMBER ...][,estimate]
//!
//! process:active=2000000,hour=500000      all series
//! job:active=200000                       of each job
//! job=batch:active=50000,day=100000       of one job
//! metric:active=100000                    of each metric name
//! tenant:active=1000000                   of each tenant; without tenants, of each value of the label `tenant`
//! label=path:active=10000,hour=1000       distinct values of the label `path`
//! ```

use std::fmt;
use std::str::FromStr;

use crate::model::labels::{METRIC_NAME, get_encoded};
use crate::model::tenant::TENANT_LABEL;

/// What a limit is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All series.
    Process,
    /// Series by the value of a label.
    Series(String),
    /// Distinct values of a label.
    Values(String),
}

impl Scope {
    /// Whether values are counted, not series.
    pub(super) fn is_of_values(&self) -> bool {
        matches!(self, Scope::Values(_))
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it is on.
    pub scope: Scope,
    /// Only this value of the scope's label; else each by itself.
    pub only: Option<String>,
    /// Series, or values, at the same time.
    pub active: Option<u64>,
    /// New ones in one hour.
    pub hour: Option<u64>,
    /// New ones in one day (UTC).
    pub day: Option<u64>,
    /// Distinct new series are estimated, so that one that ends and begins again counts once.
    pub estimate: bool,
    text: String,
}

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no cardinality limit: {reason}; write SCOPE[=VALUE]:KIND=NUMBER,... with SCOPE process, job, metric, tenant or label and KIND active, hour or day, such as metric:active=100000,hour=20000"
)]
pub struct LimitError {
    text: String,
    reason: String,
}

impl Limit {
    /// What of a series with these labels the limit is on; `None` if it is not on this series.
    pub(super) fn subject<'a>(&self, labels: &'a [u8]) -> Option<&'a str> {
        match &self.scope {
            Scope::Process => Some(""),
            Scope::Values(name) => get_encoded(labels, name),
            Scope::Series(name) => get_encoded(labels, name)
                .filter(|value| self.only.as_ref().is_none_or(|only| only == value)),
        }
    }

    /// The same limit where tenants are told apart: one on tenants is on the label that says whose a series is, which nobody
    /// can write.
    #[must_use]
    pub fn of_tenants(mut self) -> Self {
        if self.scope == Scope::Series("tenant".to_owned()) {
            self.scope = Scope::Series(TENANT_LABEL.to_owned());
        }
        self
    }

    /// Who is to blame for a series with these labels: the value of the scope's label, or else the metric and its job.
    pub(super) fn offender(&self, labels: &[u8]) -> String {
        let get = |name| get_encoded(labels, name).unwrap_or_default();
        match &self.scope {
            Scope::Series(name) => get(name).to_owned(),
            Scope::Process | Scope::Values(_) => {
                format!("metric {} of job {}", get(METRIC_NAME), get("job"))
            }
        }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let wrong = |reason: String| LimitError { text: text.to_owned(), reason };
        let (scope, kinds) =
            text.rsplit_once(':').ok_or_else(|| wrong("there is no ':'".into()))?;
        let (scope, value) = match scope.split_once('=') {
            Some((scope, value)) => (scope, Some(value.to_owned())),
            None => (scope, None),
        };
        let series = |name: &str| Scope::Series(name.to_owned());
        let (scope, only) = match (scope, value) {
            ("process", None) => (Scope::Process, None),
            ("job" | "tenant", only) => (series(scope), only),
            ("metric", only) => (series(METRIC_NAME), only),
            ("label", Some(name)) if !name.is_empty() => (Scope::Values(name), None),
            ("label", _) => return Err(wrong("label needs a name, as in label=path".into())),
            _ => return Err(wrong(format!("unknown scope {scope:?}"))),
        };
        let text = text.to_owned();
        let mut limit =
            Limit { scope, only, active: None, hour: None, day: None, estimate: false, text };
        for kind in kinds.split(',') {
            if kind == "estimate" {
                limit.estimate = true;
                continue;
            }
            let (kind, number) =
                kind.split_once('=').ok_or_else(|| wrong(format!("{kind:?} is no KIND=NUMBER")))?;
            let number: u64 =
                number.parse().map_err(|_| wrong(format!("{number:?} is no number")))?;
            let place = match kind {
                "active" => &mut limit.active,
                "hour" => &mut limit.hour,
                "day" => &mut limit.day,
                _ => return Err(wrong(format!("unknown kind {kind:?}"))),
            };
            if place.replace(number).is_some() {
                return Err(wrong(format!("{kind} twice")));
            }
        }
        if limit.active.or(limit.hour).or(limit.day).is_none() {
            return Err(wrong("there is no number".into()));
        }
        Ok(limit)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_documented() {
        let limit: Limit = "job=batch:active=5,day=10,estimate".parse().unwrap();
        assert_eq!(limit.scope, Scope::Series("job".into()));
        assert_eq!(
            (limit.only.as_deref(), limit.active, limit.day),
            (Some("batch"), Some(5), Some(10))
        );
        assert!(limit.estimate && limit.hour.is_none());
        assert_eq!(limit.to_string(), "job=batch:active=5,day=10,estimate");
        let metric: Limit = "metric:hour=1".parse().unwrap();
        assert_eq!(metric.scope, Scope::Series(METRIC_NAME.into()));
        let tenant: Limit = "tenant=a:active=1".parse().unwrap();
        assert_eq!(tenant.scope, Scope::Series("tenant".into()));
        assert_eq!(tenant.of_tenants().scope, Scope::Series(TENANT_LABEL.into()));
        assert_eq!("label=a:active=1".parse::<Limit>().unwrap().scope, Scope::Values("a".into()));
        for (text, reason) in [
            ("process", "no ':'"),
            ("process=a:active=1", "unknown scope"),
            ("pod:active=1", "unknown scope"),
            ("label:active=1", "needs a name"),
            ("job:active", "no KIND=NUMBER"),
            ("job:active=many", "no number"),
            ("job:week=1", "unknown kind"),
            ("job:active=1,active=2", "twice"),
            ("job:estimate", "there is no number"),
        ] {
            let error = text.parse::<Limit>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
