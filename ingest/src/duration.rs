//! Durations as Prometheus writes them: `1h30m`, `15s`, `500ms`.

use std::fmt::Write as _;
use std::time::Duration;

/// Units in the only order in which they may stand, with their length in ms and whether a duration is printed in that
/// unit only if nothing is left over (`90d` reads better than `12w6d`).
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 24 * 60 * 60 * 1000, true),
    ("w", 7 * 24 * 60 * 60 * 1000, true),
    ("d", 24 * 60 * 60 * 1000, false),
    ("h", 60 * 60 * 1000, false),
    ("m", 60 * 1000, false),
    ("s", 1000, false),
    ("ms", 1, false),
];

/// What is wrong with a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("empty duration string")]
    Empty,
    /// Not of the form.
    #[error("not a valid duration string: {0:?}")]
    Invalid(String),
    /// More than can be counted.
    #[error("duration out of range")]
    OutOfRange,
}

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at(letters);
        let i = units.iter().position(|(name, ..)| *name == unit).ok_or_else(invalid)?;
        if number.is_empty() {
            return Err(invalid());
        }
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(units[i].1));
        total = part.and_then(|p| total.checked_add(p)).ok_or(DurationError::OutOfRange)?;
        (rest, units) = (tail, &units[i + 1..]);
    }
    let in_nanoseconds = total.checked_mul(1_000_000).and_then(|ns| i64::try_from(ns).ok());
    in_nanoseconds.map(|_| Duration::from_millis(total)).ok_or(DurationError::OutOfRange)
}

/// Writes a duration; parts of a millisecond are left out.
pub fn format(duration: Duration) -> String {
    let mut ms = duration.as_millis() as u64;
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, length, exact) in UNITS {
        if ms >= length && (!exact || ms.is_multiple_of(length)) {
            let _ = write!(out, "{}{unit}", ms / length);
            ms %= length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_round() {
        for (text, ms) in [
            ("0s", 0),
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("1h1m1s1ms", 3_661_001),
            ("90d", 90 * 86_400_000),
            ("2w", 14 * 86_400_000),
            ("1y", 365 * 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)));
            assert_eq!(format(Duration::from_millis(ms)), text);
        }
        assert_eq!(parse("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(parse(""), Err(DurationError::Empty));
        for bad in ["1", "s", "1s1m", "1s1s", "-1s", "1.5s", "1 s", "1S", "1µs"] {
            assert_eq!(parse(bad), Err(DurationError::Invalid(bad.into())), "{bad}");
        }
        assert_eq!(parse("300y"), Err(DurationError::OutOfRange));
        assert_eq!(parse("99999999999999999999s"), Err(DurationError::OutOfRange));
    }
}
