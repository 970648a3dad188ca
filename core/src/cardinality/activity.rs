//! What happens to each metric: how many series of it begin, and when it was last asked for.
//!
//! A restart forgets it. Bounded in metrics: at the bound those go of which nothing began today, and then new ones are not followed.

use hashbrown::HashMap;

use super::window::Windows;
use crate::head::Head;
use crate::limits::CARDINALITY_WINDOWS_MAX;
use crate::model::labels::{Fingerprint, METRIC_NAME, get_encoded};
use crate::model::matcher::Matcher;
use crate::model::time::TimestampMs;

/// What happened to one metric in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricActivity {
    /// Its name.
    pub metric: String,
    /// Series that began since the hour of the clock began.
    pub begun_this_hour: u64,
    /// Series that began since the day of the clock (UTC) began.
    pub begun_today: u64,
    /// When somebody selected it by its name.
    pub queried_ms: Option<TimestampMs>,
}

/// All metrics of one shard.
#[derive(Debug, Default)]
pub(super) struct Activity {
    metrics: HashMap<Box<str>, Metric>,
}

#[derive(Debug)]
struct Metric {
    begun: Windows,
    queried_ms: Option<TimestampMs>,
}

impl Activity {
    /// A series begins.
    pub(super) fn begin(&mut self, labels: &[u8], fingerprint: Fingerprint, now_ms: TimestampMs) {
        let metric = get_encoded(labels, METRIC_NAME).unwrap_or_default();
        if let Some(metric) = self.follow(metric, now_ms) {
            metric.begun.count(fingerprint, now_ms);
        }
    }

    /// Somebody selects series: whatever is named, and there.
    pub(super) fn query(&mut self, head: &Head, matchers: &[Matcher], now_ms: TimestampMs) {
        let named = matchers.iter().filter(|m| m.name() == METRIC_NAME && !m.is_negated());
        for name in named.flat_map(Matcher::literals) {
            if (self.metrics.contains_key(name.as_str()) || head.series_with(METRIC_NAME, name) > 0)
                && let Some(metric) = self.follow(name, now_ms)
            {
                metric.queried_ms = Some(now_ms);
            }
        }
    }

    /// Every metric that is followed.
    pub(super) fn iter(&self, now_ms: TimestampMs) -> impl Iterator<Item = MetricActivity> {
        self.metrics.iter().map(move |(name, metric)| {
            let (begun_this_hour, begun_today) = metric.begun.counts(now_ms);
            let (metric, queried_ms) = (name.to_string(), metric.queried_ms);
            MetricActivity { metric, begun_this_hour, begun_today, queried_ms }
        })
    }

    fn follow(&mut self, metric: &str, now_ms: TimestampMs) -> Option<&mut Metric> {
        if !self.metrics.contains_key(metric) {
            if self.metrics.len() >= CARDINALITY_WINDOWS_MAX {
                self.metrics.retain(|_, metric| metric.begun.is_of_today(now_ms));
            }
            if self.metrics.len() >= CARDINALITY_WINDOWS_MAX {
                return None;
            }
            let new = Metric { begun: Windows::new(false), queried_ms: None };
            self.metrics.insert(metric.into(), new);
        }
        self.metrics.get_mut(metric)
    }
}
