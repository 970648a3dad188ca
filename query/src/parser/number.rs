//! Numbers as Go reads and writes them.

use std::fmt::{self, Write};

use tidemark_core::model::sample::NORMAL_NAN_BITS;

use super::quote::quoted;

/// Reads a number token: decimal, hexadecimal (`0x1F`), octal (`017`, where it is one), `_` between digits, `Inf`, `NaN`.
pub fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(integer) = parse_integer(text) {
        return Ok(integer as f64);
    }
    let fail = |problem| {
        Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {}: {problem}",
            quoted(text)
        ))
    };
    match text.to_ascii_lowercase().as_str() {
        "nan" => return Ok(f64::from_bits(NORMAL_NAN_BITS)),
        "inf" => return Ok(f64::INFINITY),
        _ => {}
    }
    if text.starts_with("0x") || text.starts_with("0X") || !underscores_separate(text) {
        return fail("invalid syntax");
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_infinite() => fail("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => fail("invalid syntax"),
    }
}

/// An integer whose base follows from its prefix.
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate(text) {
        return None;
    }
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    i64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// Whether each `_` stands between two digits, or between the prefix and a digit.
fn underscores_separate(text: &str) -> bool {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let is_digit = |b: u8| if hexadecimal { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let body = if hexadecimal { &text.as_bytes()[2..] } else { text.as_bytes() };
    let mut digit_before = hexadecimal;
    let mut open = false;
    for &byte in body {
        let underscore = byte == b'_';
        if underscore && !digit_before || open && !is_digit(byte) {
            return false;
        }
        open = underscore;
        digit_before = is_digit(byte);
    }
    !open
}

/// Displays a number as Go's `strconv` does with format `f` and the shortest exact precision: `1e21` in full, `+Inf`.
#[derive(Clone, Copy, Debug)]
pub struct Plain(pub f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match special(self.0) {
            Some(word) => f.write_str(word),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Displays a number as Go's `%.3f` and the like do: a fixed number of decimals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub value: f64,
    pub decimals: usize,
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match special(self.value) {
            Some(word) => f.write_str(word),
            None => write!(f, "{:.*}", self.decimals, self.value),
        }
    }
}

/// Displays a number as Go's `%v` does: shortest, with an exponent below 1e-4 and from 1e6 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct General(pub f64);

impl fmt::Display for General {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(word) = special(self.0) {
            return f.write_str(word);
        }
        let scientific = format!("{:e}", self.0);
        let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
        let exponent: i32 = exponent.parse().expect("an exponent is an integer");
        if (-4..6).contains(&exponent) {
            return write!(f, "{}", self.0);
        }
        f.write_str(mantissa)?;
        f.write_str(if exponent < 0 { "e-" } else { "e+" })?;
        if exponent.abs() < 10 {
            f.write_char('0')?;
        }
        write!(f, "{}", exponent.abs())
    }
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for (text, expected) in [
            ("1", 1.0),
            ("017", 15.0),
            ("08", 8.0),
            ("01.5", 1.5),
            ("0x1F", 31.0),
            ("0X_1f", 31.0),
            ("1_000", 1000.0),
            ("1_000.5_0", 1000.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("iNf", f64::INFINITY),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ] {
            assert_eq!(parse_number(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_number("NaN").map(f64::to_bits), Ok(NORMAL_NAN_BITS));
        assert_eq!(
            parse_number("1e999").unwrap_err(),
            r#"error parsing number: strconv.ParseFloat: parsing "1e999": value out of range"#
        );
        assert_eq!(
            parse_number("0x").unwrap_err(),
            r#"error parsing number: strconv.ParseFloat: parsing "0x": invalid syntax"#
        );
    }

    #[test]
    fn numbers_are_written() {
        assert_eq!(Plain(1e21).to_string(), "1000000000000000000000");
        assert_eq!(Plain(-0.0).to_string(), "-0");
        assert_eq!(Plain(f64::INFINITY).to_string(), "+Inf");
        for (value, expected) in [
            (0.0, "0"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-2.5e300, "-2.5e+300"),
        ] {
            assert_eq!(General(value).to_string(), expected);
        }
    }
}
