//! Times and durations in parameters: seconds as a number, RFC 3339, or `5m`.

use std::borrow::Cow;

use tidemark_core::model::time::TimestampMs;

use crate::parser::duration::parse_duration_ms;
use crate::parser::quote::quoted;

/// Prometheus' earliest time, and how it is written.
pub const TIME_MIN: TimestampMs = (i64::MIN / 1000 + 62_135_596_801) * 1000;
const TIME_MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";

/// Prometheus' latest time, and how it is written.
pub const TIME_MAX: TimestampMs = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;
const TIME_MAX_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// Seconds since the epoch as a number, or a date as RFC 3339 writes it.
pub fn parse_time_ms(text: &str) -> Result<TimestampMs, String> {
    let time = match parse_float(text) {
        Some(seconds) => seconds_to_ms(seconds),
        None => match text {
            TIME_MIN_TEXT => Some(TIME_MIN),
            TIME_MAX_TEXT => Some(TIME_MAX),
            _ => parse_rfc3339_ms(text),
        },
    };
    time.ok_or_else(|| format!("cannot parse {} to a valid timestamp", quoted(text)))
}

/// Whole seconds, and the rest rounded to milliseconds; `None` for what no clock shows.
fn seconds_to_ms(seconds: f64) -> Option<TimestampMs> {
    /// Above it no number of seconds has as many milliseconds as 64 bits hold.
    const SECONDS_MAX: f64 = 1e16;
    let whole = seconds.trunc();
    // NaN is not smaller either.
    let some_time = whole.abs() < SECONDS_MAX;
    if !some_time {
        return None;
    }
    (whole as i64).checked_mul(1000)?.checked_add(((seconds - whole) * 1000.0).round() as i64)
}

/// Seconds as a number, or a duration such as `5m`; in nanoseconds.
pub fn parse_duration_ns(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let ns = seconds * 1e9;
        if ns.is_nan() || ns.abs() > i64::MAX as f64 {
            let text = quoted(text);
            return Err(format!("cannot parse {text} to a valid duration. It overflows int64"));
        }
        return Ok(ns as i64);
    }
    parse_duration_ms(text)
        .map(|ms| ms.saturating_mul(1_000_000))
        .map_err(|_| format!("cannot parse {} to a valid duration", quoted(text)))
}

/// A number as Go's `strconv.ParseFloat` takes it, but for hexadecimal ones, which no client sends.
fn parse_float(text: &str) -> Option<f64> {
    let digits = without_underscores(text)?;
    digits
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() || !text.contains(|c: char| c.is_ascii_digit()))
}

/// The text without the underscores between its digits; `None` if one stands elsewhere.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let parts = text.split('_').collect::<Vec<_>>();
    let between_digits = parts.windows(2).all(|pair| {
        pair[0].ends_with(|c: char| c.is_ascii_digit())
            && pair[1].starts_with(|c: char| c.is_ascii_digit())
    });
    between_digits.then(|| Cow::Owned(parts.concat()))
}

/// `2006-01-02T15:04:05.999Z` or with an offset `+07:00`; finer than milliseconds is cut.
fn parse_rfc3339_ms(text: &str) -> Option<TimestampMs> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, ['-', '-'], [4, 2, 2])?;
    let (clock, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, [':', ':'], [2, 2, 2])?;
    let (fraction_ms, zone) = fraction_ms(rest)?;
    let offset_s = zone_offset_s(zone)?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let days = days_from_epoch(year, month, day);
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    Some(seconds * 1_000 + fraction_ms)
}

/// Three numbers of fixed widths with fixed signs between them.
fn numbers(text: &str, signs: [char; 2], widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.splitn(2, signs[0]);
    let first = parts.next()?;
    let (second, third) = parts.next()?.split_once(signs[1])?;
    let mut out = [0; 3];
    for ((part, width), number) in [first, second, third].into_iter().zip(widths).zip(&mut out) {
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    Some(out)
}

/// Milliseconds of an optional `.123456789`, and what follows it.
fn fraction_ms(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else {
        return Some((0, text));
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, zone) = rest.split_at(digits);
    if fraction.is_empty() {
        return None;
    }
    let ms =
        fraction.bytes().chain([b'0'; 3]).take(3).fold(0, |ms, b| ms * 10 + i64::from(b - b'0'));
    Some((ms, zone))
}

/// Seconds east of Greenwich.
fn zone_offset_s(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{}:00", &zone[1..]), [':', ':'], [2, 2, 2])?;
    (hours <= 24 && minutes <= 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1435781451.781", Some(1_435_781_451_781)),
            ("1e3", Some(1_000_000)),
            ("1_000", Some(1_000_000)),
            ("1__0", None),
            ("_1", None),
            ("9223372036854775.807", None),
            ("-1.5", Some(-1_500)),
            ("1.0006", Some(1_001)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781)),
            ("2015-07-01T22:10:51.781999+02:00", Some(1_435_781_451_781)),
            ("1969-12-31T23:59:59.5Z", Some(-500)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            (TIME_MIN_TEXT, Some(TIME_MIN)),
            (TIME_MAX_TEXT, Some(TIME_MAX)),
            ("2023-02-29T00:00:00Z", None),
            ("2015-07-01T24:00:00Z", None),
            ("2015-07-01T20:10:51", None),
            ("2015-7-01T20:10:51Z", None),
            ("2015-07-01 20:10:51Z", None),
            ("2015-07-01T20:10:51.Z", None),
            ("é015-07-01T20:10:51Z", None),
            ("", None),
            ("NaN", None),
            ("Inf", None),
            ("1e300", None),
        ] {
            let expected = expected.ok_or(format!("cannot parse {text:?} to a valid timestamp"));
            assert_eq!(parse_time_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("15", Ok(15_000_000_000)),
            ("0.5", Ok(500_000_000)),
            ("-1", Ok(-1_000_000_000)),
            ("5m", Ok(300_000_000_000)),
            ("x", Err(r#"cannot parse "x" to a valid duration"#)),
            ("-5m", Err(r#"cannot parse "-5m" to a valid duration"#)),
            ("1e10", Err(r#"cannot parse "1e10" to a valid duration. It overflows int64"#)),
            ("Inf", Err(r#"cannot parse "Inf" to a valid duration. It overflows int64"#)),
        ] {
            assert_eq!(parse_duration_ns(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
