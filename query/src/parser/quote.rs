//! Strings as Go writes and reads them: Prometheus quotes names and values with `%q` everywhere.

use std::fmt::{self, Write};

/// `text` in double quotes, escaped as Go's `strconv.Quote` does.
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// Displays a string in Go's quotes; see [`quoted`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            // The lexer refuses U+FFFD itself, as Prometheus' does, so it must be escaped to be read again.
            match c {
                char::REPLACEMENT_CHARACTER => f.write_str("\\ufffd")?,
                c => write_escaped(f, c, '"')?,
            }
        }
        f.write_char('"')
    }
}

/// `c` in single quotes, as Go's `%q` writes a rune.
pub(super) fn quoted_char(c: char) -> String {
    let mut out = String::from("'");
    write_escaped(&mut out, c, '\'').expect("a String takes everything");
    out.push('\'');
    out
}

/// `c` as Go's `%#U` writes it: `U+0041 'A'`, without the character when it is not printable.
pub(super) fn code_point(c: char) -> String {
    let number = format!("U+{:04X}", u32::from(c));
    if is_printable(c) { format!("{number} '{c}'") } else { number }
}

fn write_escaped(out: &mut impl Write, c: char, quote: char) -> fmt::Result {
    let short = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        '\\' => '\\',
        c if c == quote => c,
        c if is_printable(c) => return out.write_char(c),
        c if u32::from(c) < 0x80 => return write!(out, "\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x10000 => return write!(out, "\\u{:04x}", u32::from(c)),
        c => return write!(out, "\\U{:08x}", u32::from(c)),
    };
    out.write_char('\\')?;
    out.write_char(short)
}

/// Whether Go's `strconv.IsPrint` would say yes: letters, marks, numbers, punctuation, symbols and the plain space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    // The standard library escapes exactly what is not printable, but a mark at the very start too: hence the `a`.
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().count() == 2
}

/// What a string token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unquoted {
    /// The text; escaped bytes that are not UTF-8 are U+FFFD.
    pub value: String,
    /// The token as Go would quote it, if there are such bytes.
    pub invalid_utf8: Option<Box<str>>,
}

/// Takes off the quotes of a string token, which the lexer has checked, and resolves its escapes.
pub(super) fn unquote(token: &str) -> Unquoted {
    let body = &token[1..token.len() - 1];
    if token.starts_with('`') || !body.contains('\\') {
        return Unquoted { value: body.to_owned(), invalid_utf8: None };
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        rest = unescape(after, &mut out);
    }
    out.extend_from_slice(rest.as_bytes());
    match String::from_utf8(out) {
        Ok(value) => Unquoted { value, invalid_utf8: None },
        Err(bad) => Unquoted {
            value: String::from_utf8_lossy(bad.as_bytes()).into_owned(),
            invalid_utf8: Some(quoted_bytes(bad.as_bytes()).into()),
        },
    }
}

/// Bytes that need not be UTF-8, as Go's `strconv.Quote` writes them.
fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            write_escaped(&mut out, c, '"').expect("a String takes everything");
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    out.push('"');
    out
}

/// Resolves the escape whose backslash stood before `rest`; gives what follows it.
fn unescape<'a>(rest: &'a str, out: &mut Vec<u8>) -> &'a str {
    let kind = rest.as_bytes()[0];
    let simple = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'x' | b'u' | b'U' | b'0'..=b'7' => return unescape_number(rest, out),
        other => other,
    };
    out.push(simple);
    &rest[1..]
}

fn unescape_number<'a>(rest: &'a str, out: &mut Vec<u8>) -> &'a str {
    let (skip, digits, radix) = match rest.as_bytes()[0] {
        b'x' => (1, 2, 16),
        b'u' => (1, 4, 16),
        b'U' => (1, 8, 16),
        _ => (0, 3, 8),
    };
    let (number, after) = rest[skip..].split_at(digits);
    let number = u32::from_str_radix(number, radix).expect("the lexer checked the digits");
    if digits <= 3 {
        out.push(number as u8);
    } else {
        let c = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_like_go() {
        for (text, expected) in [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\n\t\u{7}\u{1}\u{7f}", r#""\n\t\a\x01\x7f""#),
            ("é☺\u{301}", "\"é☺\u{301}\""),
            ("\u{fffd}", r#""\ufffd""#),
            ("\u{a0}\u{200b}\u{e000}\u{10ffff}", r#""\u00a0\u200b\ue000\U0010ffff""#),
        ] {
            assert_eq!(quoted(text).to_string(), expected);
        }
        assert_eq!(quoted_char('\''), r"'\''");
        assert_eq!(quoted_char('"'), "'\"'");
        assert_eq!(code_point('q'), "U+0071 'q'");
        assert_eq!(code_point('\n'), "U+000A");
    }

    #[test]
    fn unquotes_what_the_lexer_lets_through() {
        for (token, expected) in [
            (r#""a\tb\"c\\""#, "a\tb\"c\\"),
            (r"'\'\x41\101é\u00e9\U0001F600'", "'AAéé😀"),
            (r"`raw \n`", r"raw \n"),
        ] {
            let expected = Unquoted { value: expected.to_owned(), invalid_utf8: None };
            assert_eq!(unquote(token), expected);
        }
        assert_eq!(
            unquote(r#""\xc3\xa9\xff""#),
            Unquoted { value: "é\u{fffd}".to_owned(), invalid_utf8: Some(r#""é\xff""#.into()) }
        );
    }
}
