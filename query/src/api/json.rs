//! JSON written by hand into one `Vec<u8>`, byte for byte as Prometheus writes it.
//!
//! Prometheus has two ways to write strings: text made by the server (errors, names of labels in lists) also escapes
//! `<`, `>` and `&`, as Go's encoder does for the sake of HTML; label sets of results do not.

use std::io::Write as _;

use tidemark_core::model::labels::Labels;
use tidemark_core::model::time::TimestampMs;

use crate::parser::number::{Exponential, Plain};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A string of a label set.
pub fn string(out: &mut Vec<u8>, text: &str) {
    write_string(out, text, false);
}

/// Any other string: what HTML could trip over is escaped too.
pub fn html_safe_string(out: &mut Vec<u8>, text: &str) {
    write_string(out, text, true);
}

fn write_string(out: &mut Vec<u8>, text: &str, html_safe: bool) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        // U+2028 and U+2029 end lines in JavaScript; both are e2 80 and then a8 or a9.
        let line_separator = html_safe
            && byte == 0xe2
            && matches!(bytes.get(i + 1..i + 3), Some([0x80, 0xa8 | 0xa9]));
        let plain = !(byte < 0x20
            || byte == b'"'
            || byte == b'\\'
            || line_separator
            || (html_safe && matches!(byte, b'<' | b'>' | b'&')));
        if plain {
            continue;
        }
        out.extend_from_slice(&bytes[copied..i]);
        copied = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(bytes[i + 2] & 0xf)]);
                copied = i + 3;
            }
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Milliseconds as seconds with three decimals or none.
pub fn timestamp(out: &mut Vec<u8>, t: TimestampMs) {
    let mut text = Short::default();
    text.timestamp(t);
    out.extend_from_slice(text.written());
}

/// An integer.
pub fn integer(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// A sample's value in quotes: shortest exact digits, with an exponent below 1e-6 and from 1e21 on.
pub fn quoted_float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    float(out, value);
    out.push(b'"');
}

fn float(out: &mut Vec<u8>, value: f64) {
    let mut text = Short::default();
    if text.float(value) {
        out.extend_from_slice(text.written());
    } else {
        long_float(out, value);
    }
}

/// What has more digits than the shortest form, or an exponent, or is no number.
fn long_float(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    let written = if size != 0.0 && !(1e-6..1e21).contains(&size) && value.is_finite() {
        write!(out, "{}", Exponential(value))
    } else {
        write!(out, "{}", Plain(value))
    };
    written.expect("a Vec takes everything");
}

/// `[time,"value"]` of a float: most of the bytes of most answers.
pub fn sample(out: &mut Vec<u8>, t: TimestampMs, value: f64) {
    let mut text = Short::default();
    text.push(b"[");
    text.timestamp(t);
    text.push(b",\"");
    if text.float(value) {
        text.push(b"\"]");
        out.extend_from_slice(text.written());
    } else {
        out.extend_from_slice(text.written());
        long_float(out, value);
        out.extend_from_slice(b"\"]");
    }
}

/// A short text that is put together before it is appended as a whole.
struct Short {
    bytes: [u8; Short::BYTES],
    len: usize,
}

impl Default for Short {
    fn default() -> Self {
        Short { bytes: [0; Short::BYTES], len: 0 }
    }
}

impl Short {
    /// Room for a time and a float, 25 bytes each at most, and what stands around them.
    const BYTES: usize = 64;

    #[inline]
    fn push(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        self.bytes[self.len..end].copy_from_slice(text);
        self.len = end;
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[inline]
    fn timestamp(&mut self, t: TimestampMs) {
        if t < 0 {
            self.push(b"-");
        }
        let t = t.unsigned_abs();
        self.push(itoa::Buffer::new().format(t / 1000).as_bytes());
        let fraction = t % 1000;
        if fraction != 0 {
            let digits = [fraction / 100, fraction / 10 % 10, fraction % 10];
            let [a, b, c] = digits.map(|digit| b'0' + digit as u8);
            self.push(&[b'.', a, b, c]);
        }
    }

    /// Writes a float that has a short form; false if it has none.
    #[inline]
    fn float(&mut self, value: f64) -> bool {
        let size = value.abs();
        if size < 1e15 && value as i64 as f64 == value && value.to_bits() != (-0.0_f64).to_bits() {
            self.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else if (1e-5..1e15).contains(&size) {
            // What the fast formatter writes without exponent, and with a fraction.
            self.push(zmij::Buffer::new().format_finite(value).as_bytes());
        } else {
            return false;
        }
        true
    }
}

/// A label set as an object.
pub fn labels(out: &mut Vec<u8>, labels: &Labels) {
    object(out, labels.iter(), |out, (name, value)| {
        string(out, name);
        out.push(b':');
        string(out, value);
    });
}

/// `[...]` of what `write` makes of each item.
pub fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    write: impl FnMut(&mut Vec<u8>, T),
) {
    separated(out, [b'[', b']'], items, write);
}

/// `{...}` of what `write` makes of each member.
pub fn object<T>(
    out: &mut Vec<u8>,
    members: impl IntoIterator<Item = T>,
    write: impl FnMut(&mut Vec<u8>, T),
) {
    separated(out, [b'{', b'}'], members, write);
}

fn separated<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(close);
}

/// Writes an object member by member, for objects whose members differ in kind.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    /// Opens the object.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        Object { out, separator: b'{' }
    }

    /// A member whose value `write` writes.
    pub fn member(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.out.push(self.separator);
        self.separator = b',';
        string(self.out, name);
        self.out.push(b':');
        write(self.out);
        self
    }

    /// A member that is text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.member(name, |out| html_safe_string(out, value))
    }

    /// A member that is a number, a boolean or null, as it displays itself.
    pub fn plain(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.member(name, |out| write!(out, "{value}").expect("a Vec takes everything"))
    }

    /// Closes the object, which must have a member.
    pub fn close(&mut self) {
        debug_assert_eq!(self.separator, b',');
        self.out.push(b'}');
    }
}

/// Text that is JSON already.
pub fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings() {
        let text = "a\"b\\c\n\r\t\u{1}\u{1f}<é>&\u{2028}\u{2029}\u{7f}";
        assert_eq!(
            written(|out| string(out, text)),
            "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f<é>&\u{2028}\u{2029}\u{7f}\""
        );
        assert_eq!(
            written(|out| html_safe_string(out, text)),
            "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\\u003cé\\u003e\\u0026\\u2028\\u2029\u{7f}\""
        );
    }

    #[test]
    fn timestamps() {
        for (t, expected) in [
            (0, "0"),
            (1_435_781_451_781, "1435781451.781"),
            (1_000, "1"),
            (1_500, "1.500"),
            (1_050, "1.050"),
            (7, "0.007"),
            (-1_001, "-1.001"),
        ] {
            assert_eq!(written(|out| timestamp(out, t)), expected);
        }
    }

    #[test]
    fn floats() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (9.99e-7, "9.99e-07"),
            (1.5e-300, "1.5e-300"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (-2.5e100, "-2.5e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(|out| float(out, value)), expected);
        }
    }
}
