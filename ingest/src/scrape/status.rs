//! What is known of a target, for display: `/api/v1/targets` and its like.

use serde::{Serialize, Serializer};
use tidemark_core::model::labels::Labels;
use tidemark_core::model::metadata::Metadata;
use tidemark_core::model::time::TimestampMs;

/// How the last scrape went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There was none yet.
    #[default]
    Unknown,
    /// Well.
    Up,
    /// Not well.
    Down,
}

/// One active target; serialized as an element of `activeTargets`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Before relabelling.
    #[serde(serialize_with = "label_map")]
    pub discovered_labels: Labels,
    /// What its series get.
    #[serde(serialize_with = "label_map")]
    pub labels: Labels,
    /// Name of its job.
    pub scrape_pool: String,
    /// Where the metrics are.
    pub scrape_url: String,
    /// The same as seen from other hosts.
    pub global_url: String,
    /// Why the last scrape failed; empty if it did not.
    pub last_error: String,
    /// When the last scrape began.
    #[serde(serialize_with = "rfc3339")]
    pub last_scrape: Option<TimestampMs>,
    /// How long it took, in seconds.
    pub last_scrape_duration: f64,
    /// How it went.
    pub health: Health,
    /// From one scrape to the next, as Prometheus writes durations.
    pub scrape_interval: String,
    /// Until a scrape is given up.
    pub scrape_timeout: String,
}

/// One target that relabelling dropped; serialized as an element of `droppedTargets`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Before relabelling.
    #[serde(serialize_with = "label_map")]
    pub discovered_labels: Labels,
    /// Name of its job.
    pub scrape_pool: String,
}

/// What one target says of one metric family.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMetadata {
    /// Labels of the target.
    pub target: Labels,
    /// The metric family.
    pub metric: String,
    /// What is said of it.
    pub metadata: Metadata,
}

fn label_map<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter())
}

#[allow(clippy::ref_option, reason = "the signature that serde calls")]
fn rfc3339<S: Serializer>(time: &Option<TimestampMs>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), timestamp))
}

/// `timestamp_ms` as RFC 3339 in UTC, without trailing zeros of the second's fraction.
pub(crate) fn timestamp(timestamp_ms: TimestampMs) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (year, month, day) = civil(timestamp_ms.div_euclid(DAY_MS));
    let in_day = timestamp_ms.rem_euclid(DAY_MS);
    let (seconds, ms) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    let fraction = fraction.trim_end_matches('0');
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, in cycles of 400 years (146,097 days).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // from 0000-03-01
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year + 400 * cycle + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_rfc_3339() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_120, "2000-02-29T00:00:00.12Z"),
            (1_795_400_651_007, "2026-11-23T02:24:11.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(ms), expected);
        }
    }
}
