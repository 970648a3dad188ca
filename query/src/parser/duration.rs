//! Durations: reading and writing `1h30m`, and resolving duration expressions to milliseconds.

use std::fmt::Write;

use super::ast::{BinaryOp, DurationExpr, PosRange, UnaryOp};
use super::quote::quoted;

/// Name and milliseconds of each unit, the longest first: the order in which they must be written.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Nanoseconds beyond which Prometheus refuses a duration, in milliseconds rounded down.
const DURATION_MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Seconds beyond which a duration literal is refused: what 63 bits of nanoseconds hold.
pub(super) const DURATION_SECONDS_MAX: f64 = 9_223_372_036.854_776;

/// Reads a duration such as `1h30m` into milliseconds: integers with units, each unit once, longest first; or `0`.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", quoted(text));
    let mut rest = text;
    let mut units = &UNITS[..];
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(letters);
        rest = after;
        if unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("unknown unit {} in duration {}", quoted(unit), quoted(text)));
        }
        let i = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let ms = number.checked_mul(units[i].1).and_then(|ms| total.checked_add(ms));
        units = &units[i + 1..];
        total = ms
            .filter(|ms| *ms <= DURATION_MS_MAX)
            .ok_or_else(|| "duration out of range".to_owned())?;
    }
    Ok(total as i64)
}

/// Writes milliseconds as a duration; years and weeks only where nothing remains, since `90d` reads better than `12w6d`.
pub fn format_duration_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (unit, size) in UNITS {
        let only_whole = matches!(unit, "y" | "w");
        if only_whole && !rest.is_multiple_of(size) {
            continue;
        }
        if rest >= size {
            write!(out, "{}{unit}", rest / size).expect("a String takes everything");
            rest %= size;
        }
    }
    out
}

/// Milliseconds of a literal in seconds: to the nearest nanosecond, then cut, as Prometheus converts.
pub(super) fn literal_ms(seconds: f64) -> i64 {
    ((seconds * 1e9).round() as i64) / 1_000_000
}

/// Why a duration expression has no value for this query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {problem}", pos.start, pos.end)]
pub struct DurationError {
    /// The expression.
    pub pos: PosRange,
    /// What is wrong with its value.
    pub problem: &'static str,
}

/// What the length of a duration may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationSign {
    /// Ranges and steps: more than nothing.
    Positive,
    /// Offsets: anything.
    Any,
}

/// What duration expressions depend on.
#[derive(Clone, Copy, Debug)]
pub struct QueryWindow {
    /// `range()`: end minus start of the query, in milliseconds.
    pub range_ms: i64,
    /// `step()`: distance of its steps in milliseconds.
    pub step_ms: i64,
}

impl DurationExpr {
    /// The value, if it is a plain literal: then it does not depend on the query.
    pub fn literal_ms(&self) -> Option<i64> {
        match self {
            DurationExpr::Literal(n) => Some(literal_ms(n.value)),
            _ => None,
        }
    }

    /// The value in milliseconds, for this query.
    pub fn resolve_ms(
        &self,
        window: QueryWindow,
        sign: DurationSign,
    ) -> Result<i64, DurationError> {
        if let Some(ms) = self.literal_ms() {
            return Ok(ms);
        }
        let fail = |problem| Err(DurationError { pos: self.pos(), problem });
        let seconds = self.seconds(window)?;
        if !seconds.is_finite() {
            return fail("duration is NaN or infinite");
        }
        if seconds <= 0.0 && sign == DurationSign::Positive {
            return fail("duration must be greater than 0");
        }
        if seconds.abs() > DURATION_SECONDS_MAX {
            return fail("duration is out of range");
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, window: QueryWindow) -> Result<f64, DurationError> {
        Ok(match self {
            DurationExpr::Literal(n) => n.value,
            DurationExpr::Step(_) => window.step_ms as f64 / 1000.0,
            DurationExpr::Range(_) => window.range_ms as f64 / 1000.0,
            DurationExpr::Paren(p) => p.expr.seconds(window)?,
            DurationExpr::Unary(u) => match u.op {
                UnaryOp::Plus => u.expr.seconds(window)?,
                UnaryOp::Minus => -u.expr.seconds(window)?,
            },
            DurationExpr::Extreme(e) => {
                let (a, b) = (e.lhs.seconds(window)?, e.rhs.seconds(window)?);
                match (a.is_nan() || b.is_nan(), e.max) {
                    (true, _) => f64::NAN,
                    (false, true) => a.max(b),
                    (false, false) => a.min(b),
                }
            }
            DurationExpr::Binary(b) => {
                let (lhs, rhs) = (b.lhs.seconds(window)?, b.rhs.seconds(window)?);
                let zero = |problem| Err(DurationError { pos: b.pos, problem });
                match b.op {
                    BinaryOp::Add => lhs + rhs,
                    BinaryOp::Sub => lhs - rhs,
                    BinaryOp::Mul => lhs * rhs,
                    BinaryOp::Div if rhs == 0.0 => return zero("division by zero"),
                    BinaryOp::Div => lhs / rhs,
                    BinaryOp::Mod if rhs == 0.0 => return zero("modulo by zero"),
                    BinaryOp::Mod => lhs % rhs,
                    _ => lhs.powf(rhs),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("5m", Ok(300_000)),
            ("1h30m", Ok(5_400_000)),
            ("10s53ms", Ok(10_053)),
            ("1y2w3d4h5m6s7ms", Ok(33_019_506_007)),
            ("0s", Ok(0)),
            ("", Err("empty duration string")),
            ("1", Err(r#"not a valid duration string: "1""#)),
            ("m", Err(r#"not a valid duration string: "m""#)),
            ("1m1m", Err(r#"not a valid duration string: "1m1m""#)),
            ("1s1m", Err(r#"not a valid duration string: "1s1m""#)),
            ("1hs", Err(r#"unknown unit "hs" in duration "1hs""#)),
            ("1.5h", Err(r#"unknown unit "." in duration "1.5h""#)),
            ("293y", Err("duration out of range")),
            (
                "99999999999999999999s",
                Err(r#"not a valid duration string: "99999999999999999999s""#),
            ),
        ] {
            assert_eq!(parse_duration_ms(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn durations_are_written() {
        for (ms, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (-90_000, "-1m30s"),
            (90 * 86_400_000, "90d"),
            (14 * 86_400_000, "2w"),
            (365 * 86_400_000, "1y"),
            (10_053, "10s53ms"),
        ] {
            assert_eq!(format_duration_ms(ms), expected);
        }
    }
}
