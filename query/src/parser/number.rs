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

/// The shortest digits that give a number back, as Go finds them: of two that are equally near it takes the even one,
/// which the standard library does not.
struct Decimal {
    negative: bool,
    /// Without zeros at either end; one zero for zero.
    digits: String,
    /// Where the decimal point stands: the number is 0.digits times ten to this power.
    point: i32,
}

impl Decimal {
    fn of(value: f64) -> Self {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i32 = exponent.parse().expect("an exponent is an integer");
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let point = whole.len() as i32 - (all.len() - digits.len()) as i32 + exponent;
        let digits = digits.trim_end_matches('0');
        let (digits, point) = if digits.is_empty() { ("0", 1) } else { (digits, point) };
        Decimal { negative: value.is_sign_negative(), digits: digits.to_owned(), point }
    }

    fn write_plain(&self, out: &mut impl Write) -> fmt::Result {
        if self.negative {
            out.write_char('-')?;
        }
        let Decimal { digits, point, .. } = self;
        let zeros =
            |out: &mut _, count: i32| (0..count).try_for_each(|_| Write::write_char(out, '0'));
        match usize::try_from(*point) {
            Ok(point) if 0 < point && point < digits.len() => {
                write!(out, "{}.{}", &digits[..point], &digits[point..])
            }
            Ok(whole) if whole > 0 => {
                out.write_str(digits)?;
                zeros(out, point - digits.len() as i32)
            }
            _ => {
                out.write_str("0.")?;
                zeros(out, -point)?;
                out.write_str(digits)
            }
        }
    }

    /// With an exponent of a sign and at least two digits.
    fn write_exponential(&self, out: &mut impl Write) -> fmt::Result {
        if self.negative {
            out.write_char('-')?;
        }
        let (first, rest) = self.digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent = self.point - 1;
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{first}{dot}{rest}e{sign}{:02}", exponent.abs())
    }
}

/// Displays a number as Go's `strconv` does with format `f` and the shortest exact precision: `1e21` in full, `+Inf`.
#[derive(Clone, Copy, Debug)]
pub struct Plain(pub f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match special(self.0) {
            Some(word) => f.write_str(word),
            None => Decimal::of(self.0).write_plain(f),
        }
    }
}

/// Displays a finite number as Go's `strconv` does with format `e` and the shortest exact precision: `1.5e+21`.
#[derive(Clone, Copy, Debug)]
pub struct Exponential(pub f64);

impl fmt::Display for Exponential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::of(self.0).write_exponential(f)
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
        const EXPONENTS: std::ops::Range<i32> = -4..6;
        if let Some(word) = special(self.0) {
            return f.write_str(word);
        }
        let decimal = Decimal::of(self.0);
        let plain = EXPONENTS.contains(&(decimal.point - 1));
        if plain { decimal.write_plain(f) } else { decimal.write_exponential(f) }
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
        let halfway = f64::from_bits(0x431a_2723_1263_7b15);
        assert_eq!(Plain(halfway).to_string(), "1840345245081285.2");
        assert_eq!(Plain(-0.000_012_5).to_string(), "-0.0000125");
        assert_eq!(Plain(12.5).to_string(), "12.5");
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
