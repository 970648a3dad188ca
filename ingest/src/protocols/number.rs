//! Numbers as text, in the forms that Prometheus takes.
//!
//! Those are Go's: decimal with an optional exponent; `inf`, `infinity` (either sign) and `nan` (no sign) in any case; no
//! hexadecimal, no underscores; a value too large for a float is an error and not infinity.

use tidemark_core::model::sample::NORMAL_NAN_BITS;

/// Powers of ten that a float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits that always fit the 53 bits of a float's mantissa.
const EXACT_DIGITS: usize = 15;

/// The float that `text` spells. Every NaN is the one NaN that Prometheus stores.
#[inline]
pub fn parse_float(text: &[u8]) -> Option<f64> {
    short_decimal(text).or_else(|| any_float(text))
}

/// Digits with at most one dot, few enough to be exact: nearly every sample there is.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > EXACT_DIGITS + 1 {
        return None;
    }
    let (mut mantissa, mut count, mut fraction) = (0_u64, 0, None);
    for (i, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                count += 1;
            }
            b'.' if fraction.is_none() => fraction = Some(digits.len() - 1 - i),
            _ => return None,
        }
    }
    if count == 0 || count > EXACT_DIGITS {
        return None;
    }
    let value = mantissa as f64 / EXACT_POWERS[fraction.unwrap_or(0)];
    Some(if negative { -value } else { value })
}

fn any_float(text: &[u8]) -> Option<f64> {
    let (sign, word) = match text {
        [sign @ (b'+' | b'-'), rest @ ..] => (Some(*sign), rest),
        _ => (None, text),
    };
    if word.eq_ignore_ascii_case(b"nan") {
        return sign.is_none().then_some(f64::from_bits(NORMAL_NAN_BITS));
    }
    if word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity") {
        return Some(if sign == Some(b'-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// The signed integer that `text` spells in decimal.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_go() {
        for (text, expected) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+1.5e3", 1500.0),
            ("1E-3", 0.001),
            ("123456789012345678", 123_456_789_012_345_680.0),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            let parsed = parse_float(text.as_bytes()).unwrap();
            assert_eq!(parsed.to_bits(), expected.to_bits(), "{text}");
        }
        for nan in ["NaN", "nan", "NAN"] {
            assert_eq!(parse_float(nan.as_bytes()).unwrap().to_bits(), NORMAL_NAN_BITS);
        }
        for bad in
            ["", "-", ".", "+NaN", "-nan", "1e999", "0x1p4", "1_000", "1 ", "infinit", "e5", "1e"]
        {
            assert_eq!(parse_float(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn integers() {
        assert_eq!(parse_integer(b"-12"), Some(-12));
        for bad in ["", "-", "+1", "1.0", "9223372036854775808", "1a"] {
            assert_eq!(parse_integer(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_is_exact(text in "-?[0-9]{0,16}(\\.[0-9]{0,16})?") {
            if let Some(value) = short_decimal(text.as_bytes()) {
                prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
        }
    }
}
