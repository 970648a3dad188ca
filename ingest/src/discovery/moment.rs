//! Moments as clouds write them, to the second and in UTC: `2026-11-23T08:24:05Z`.

use crate::scrape::status::timestamp;

/// `2026-11-23T08:24:05Z` of milliseconds since the Unix epoch.
pub(crate) fn utc(ms: i64) -> String {
    timestamp(ms.div_euclid(1000) * 1000)
}

/// `20261123T082405Z`, as AWS signs it.
pub(crate) fn basic_utc(ms: i64) -> String {
    utc(ms).replace(['-', ':'], "")
}

/// `Mon, 23 Nov 2026 08:24:05 GMT`, as in headers of HTTP.
pub(crate) fn http_date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = utc(ms);
    let day = DAYS[usize::try_from(ms.div_euclid(86_400_000).rem_euclid(7)).unwrap_or(0)];
    let month = text[5..7].parse::<usize>().map_or("", |month| MONTHS[(month - 1) % 12]);
    format!("{day}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19])
}

/// Milliseconds since the epoch of `2026-11-23T08:24:05Z`; a fraction of a second is left out. `None` if it is no moment.
pub(crate) fn parse_ms(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (h, m, s) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let from_march = (month + 9) % 12;
    let year = year - i64::from(month <= 2);
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year.rem_euclid(400) * 365 + year.rem_euclid(400) / 4 - year.rem_euclid(400) / 100
        + of_year;
    let days = year.div_euclid(400) * 146_097 + of_era - 719_468;
    Some((days * 86_400 + h * 3600 + m * 60 + s) * 1000)
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
            assert_eq!(parse_ms(text), Some(ms / 1000 * 1000));
        }
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(basic_utc(1_440_938_160_000), "20150830T123600Z");
        assert_eq!(parse_ms("2015-08-30T12:36:00.123456Z"), Some(1_440_938_160_000));
        assert_eq!(parse_ms("soon"), None);
    }
}
