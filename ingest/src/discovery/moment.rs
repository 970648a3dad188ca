//! Moments as clouds write them, to the second and in UTC: `2026-11-23T08:24:05Z`.

use crate::scrape::status::timestamp;

/// `2026-11-23T08:24:05Z` of milliseconds since the Unix epoch.
pub(crate) fn utc(ms: i64) -> String {
    timestamp(ms.div_euclid(1000) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_second() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_440_938_160_000, "2015-08-30T12:36:00Z"),
            (1_709_210_096_123, "2024-02-29T12:34:56Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
    }
}
