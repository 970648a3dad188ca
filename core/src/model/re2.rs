//! Regular expressions in the syntax of RE2, as Go reads it, for the crate `regex`, which reads another dialect.
//!
//! An expression is read once from left to right and written again so that the crate understands the same by it:
//!
//! * `\d`, `\w`, `\s` and `\b` are ASCII in RE2, Unicode in the crate;
//! * `{` is itself where no repetition follows; `[`, `&&`, `--` and `~~` inside a class are themselves;
//! * `\Q...\E` and octal escapes do not exist in the crate, and escaped signs such as `\<` mean something else there;
//! * flags that only the crate has (`x`, `u`, `R`) and stacked repetitions are errors.
//!
//! What is wrong is said in the words of Go's `regexp/syntax`, since they end up in Prometheus' messages.

use super::matcher::BadRegex;

/// The most repetitions that `{n,m}` may ask for.
const REPEAT_MAX: u32 = 1000;

/// ASCII classes that a letter stands for; the capital letter is everything else.
const PERL_CLASSES: [(char, &str); 3] = [('d', "0-9"), ('s', r"\t\n\f\r "), ('w', "0-9A-Za-z_")];

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Flags of a group.
const FLAGS: &str = "imsU";

type Translated<T> = Result<T, BadRegex>;

/// Rewrites an expression for the crate `regex`.
pub(super) fn translate(source: &str) -> Translated<String> {
    let out = String::with_capacity(source.len() + 8);
    let mut translator =
        Translator { source, at: 0, out, depth: 0, operand: false, repeated: None };
    while !translator.rest().is_empty() {
        translator.item()?;
    }
    match translator.depth {
        0 => Ok(translator.out),
        _ => Err(fail("missing closing )", source)),
    }
}

/// An error in Go's form.
pub(super) fn fail(problem: &str, text: &str) -> BadRegex {
    BadRegex(format!("{problem}: `{text}`"))
}

struct Translator<'a> {
    source: &'a str,
    /// Next byte to read.
    at: usize,
    out: String,
    /// Groups that are open.
    depth: usize,
    /// Whether there is something that a repetition could repeat.
    operand: bool,
    /// Where the repetition begins that was just read.
    repeated: Option<usize>,
}

impl<'a> Translator<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take_if(&mut self, text: &str) -> bool {
        let follows = self.rest().starts_with(text);
        self.at += if follows { text.len() } else { 0 };
        follows
    }

    /// One character, group sign, class or repetition.
    fn item(&mut self) -> Translated<()> {
        let start = self.at;
        let repeated = self.repeated.take();
        if let Some(counts) = self.counts() {
            return self.repetition(start, repeated, counts);
        }
        let Some(c) = self.take() else { return Ok(()) };
        self.operand = !matches!(c, '(' | '|');
        match c {
            '(' if self.rest().starts_with('?') => return self.special_group(start),
            '(' => {
                self.depth += 1;
                self.out.push('(');
            }
            ')' => {
                let depth = self.depth.checked_sub(1);
                self.depth = depth.ok_or_else(|| fail("unexpected )", self.source))?;
                self.out.push(')');
            }
            '|' | '^' | '$' | '.' => self.out.push(c),
            '[' => return self.class(start),
            '\\' => return self.escape(start),
            c => self.literal(c),
        }
        Ok(())
    }

    /// A character that stands for itself.
    fn literal(&mut self, c: char) {
        let mut buffer = [0; 4];
        regex_syntax::escape_into(c.encode_utf8(&mut buffer), &mut self.out);
    }

    /// Takes the sign of a repetition, if one is next: `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let simple = match self.rest().chars().next()? {
            '*' | '+' => Some((0, None)),
            '?' => Some((0, Some(1))),
            '{' => None,
            _ => return None,
        };
        if simple.is_some() {
            self.at += 1;
            return simple;
        }
        let inside = self.rest()[1..].split_once('}')?.0;
        let (min, max) = match inside.split_once(',') {
            None => (inside, Some(inside)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let plain = digits && (text.len() == 1 || !text.starts_with('0'));
            plain.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let min = number(min)?;
        let max = match max {
            Some(max) => Some(number(max)?),
            None => None,
        };
        self.at += inside.len() + 2;
        Some((min, max))
    }

    fn repetition(
        &mut self,
        start: usize,
        repeated: Option<usize>,
        (min, max): (u32, Option<u32>),
    ) -> Translated<()> {
        let counts_end = self.at;
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || max < min) {
            return Err(fail("invalid repeat count", &self.source[start..counts_end]));
        }
        self.take_if("?");
        if let Some(first) = repeated {
            let text = &self.source[first..self.at];
            return Err(fail("invalid nested repetition operator", text));
        }
        let text = &self.source[start..self.at];
        if !self.operand {
            return Err(fail("missing argument to repetition operator", text));
        }
        self.repeated = Some(start);
        self.out.push_str(text);
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`, behind the parenthesis.
    fn special_group(&mut self, start: usize) -> Translated<()> {
        self.at += 1;
        let name = self.rest().strip_prefix('P').unwrap_or(self.rest()).strip_prefix('<');
        if name.is_some_and(|name| !name.is_empty()) {
            return self.named_group(start);
        }
        let (mut on, mut off) = (String::new(), String::new());
        let (mut negative, mut complete) = (false, true);
        loop {
            // What is no character is no flag either.
            match self.take().unwrap_or('\0') {
                c if FLAGS.contains(c) => {
                    complete = true;
                    let (set, unset) =
                        if negative { (&mut off, &mut on) } else { (&mut on, &mut off) };
                    unset.retain(|flag| flag != c);
                    if !set.contains(c) {
                        set.push(c);
                    }
                }
                '-' if !negative => (negative, complete) = (true, false),
                c @ (':' | ')') if complete => {
                    let minus = if off.is_empty() { "" } else { "-" };
                    let group = c == ':';
                    self.operand = !group && self.operand;
                    self.depth += usize::from(group);
                    if group || !on.is_empty() || !off.is_empty() {
                        for part in ["(?", &on, minus, &off, if group { ":" } else { ")" }] {
                            self.out.push_str(part);
                        }
                    }
                    return Ok(());
                }
                _ => {
                    let text = &self.source[start..self.at];
                    return Err(fail("invalid or unsupported Perl syntax", text));
                }
            }
        }
    }

    fn named_group(&mut self, start: usize) -> Translated<()> {
        let bad = |text| Err(fail("invalid named capture", text));
        let Some(end) = self.rest().find('>') else {
            return bad(&self.source[start..]);
        };
        let open = self.rest().find('<').unwrap_or(0);
        let name = &self.rest()[open + 1..end];
        self.at += end + 1;
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            return bad(&self.source[start..self.at]);
        }
        // The crate wants no digit in front.
        let prefix = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
        for part in ["(?P<", prefix, name, ">"] {
            self.out.push_str(part);
        }
        self.depth += 1;
        self.operand = false;
        Ok(())
    }

    /// What a backslash outside of a class means.
    fn escape(&mut self, start: usize) -> Translated<()> {
        if let Some(class) = self.perl_class() {
            self.out.push_str(&class);
            return Ok(());
        }
        if self.unicode_class(start)? {
            return Ok(());
        }
        match self.rest().chars().next() {
            Some(c @ ('A' | 'z')) => {
                self.at += 1;
                self.out.push('\\');
                self.out.push(c);
            }
            Some(c @ ('b' | 'B')) => {
                self.at += 1;
                self.out.push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            }
            Some('Q') => {
                self.at += 1;
                let text = self.rest();
                // Without an end it would quote the parenthesis that Prometheus puts around the whole.
                let whole = || match self.depth {
                    0 => fail("missing closing )", &format!("^(?s:{})$", self.source)),
                    _ => fail("missing closing )", self.source),
                };
                let (text, _) = text.split_once(r"\E").ok_or_else(whole)?;
                self.at += text.len() + 2;
                regex_syntax::escape_into(text, &mut self.out);
            }
            _ => {
                let c = self.escaped_char(start)?;
                self.literal(c);
            }
        }
        Ok(())
    }

    /// Takes the letter behind a backslash if it stands for an ASCII class.
    fn perl_class(&mut self) -> Option<String> {
        let letter = self.rest().chars().next()?;
        let (_, class) = PERL_CLASSES.iter().find(|(l, _)| l.eq_ignore_ascii_case(&letter))?;
        self.at += 1;
        let not = if letter.is_ascii_uppercase() { "^" } else { "" };
        Some(format!("[{not}{class}]"))
    }

    /// Takes `pN`, `p{Name}`, `p{^Name}` and the same with `P` behind a backslash.
    fn unicode_class(&mut self, start: usize) -> Translated<bool> {
        let negative = match self.rest().chars().next() {
            Some('p') => false,
            Some('P') => true,
            _ => return Ok(false),
        };
        let rest = &self.rest()[1..];
        let invalid = |end| fail("invalid character class range", &self.source[start..end]);
        let bytes = match rest.chars().next() {
            None => return Err(invalid(self.source.len())),
            Some('{') => rest.find('}').ok_or_else(|| invalid(self.source.len()))? + 1,
            Some(c) => c.len_utf8(),
        };
        let name = rest[..bytes].trim_matches(['{', '}']);
        let (name, negative) = match name.strip_prefix('^') {
            Some(name) => (name, !negative),
            None => (name, negative),
        };
        let class = format!("\\{}{{{name}}}", if negative { 'P' } else { 'p' });
        let end = self.at + 1 + bytes;
        if name.contains(['=', ':', '!']) || regex_syntax::parse(&class).is_err() {
            return Err(invalid(end));
        }
        self.at = end;
        self.out.push_str(&class);
        Ok(true)
    }

    /// The one character that an escape stands for, from behind its backslash.
    fn escaped_char(&mut self, start: usize) -> Translated<char> {
        let Some(c) = self.take() else {
            return Err(fail("trailing backslash at end of expression", ""));
        };
        let code = match c {
            '0'..='7' => self.octal(c),
            'x' => self.hexadecimal(),
            'a' => Some(7),
            'f' => Some(12),
            'n' => Some(10),
            'r' => Some(13),
            't' => Some(9),
            'v' => Some(11),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        let text = &self.source[start..self.at];
        code.and_then(char::from_u32).ok_or_else(|| fail("invalid escape sequence", text))
    }

    /// Up to three octal digits. A single one that is not zero would refer back, which RE2 does not know.
    fn octal(&mut self, first: char) -> Option<u32> {
        let more =
            |rest: &str| rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let digits = more(self.rest());
        if first != '0' && digits == 0 {
            return None;
        }
        let text = &self.source[self.at - 1..self.at + digits];
        self.at += digits;
        u32::from_str_radix(text, 8).ok()
    }

    /// `41` or `{41}`, behind the `x`.
    fn hexadecimal(&mut self) -> Option<u32> {
        if !self.take_if("{") {
            let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16));
            let high = self.take();
            let high = digit(high)?;
            let low = self.take();
            return Some(high * 16 + digit(low)?);
        }
        let mut value = 0_u32;
        let mut digits = 0;
        loop {
            match self.take()? {
                '}' => return (digits > 0).then_some(value),
                c => value = value.checked_mul(16)?.checked_add(c.to_digit(16)?)?,
            }
            digits += 1;
            char::from_u32(value).or_else(|| (value <= 0x0010_ffff).then_some(' '))?;
        }
    }

    /// `[...]`, behind its bracket.
    fn class(&mut self, start: usize) -> Translated<()> {
        self.out.push('[');
        if self.take_if("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            if !self.posix_class()? {
                self.class_range(start)?;
            }
        }
        self.at += 1;
        self.out.push(']');
        Ok(())
    }

    /// Takes `[:name:]` or `[:^name:]` inside a class.
    fn posix_class(&mut self) -> Translated<bool> {
        let Some((name, _)) = self.rest().strip_prefix("[:").and_then(|r| r.split_once(":]"))
        else {
            return Ok(false);
        };
        let text = &self.rest()[..name.len() + 4];
        if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(fail("invalid character class range", text));
        }
        self.at += text.len();
        self.out.push_str(text);
        Ok(true)
    }

    /// A character, a range of them, or a class by escape.
    fn class_range(&mut self, class_start: usize) -> Translated<()> {
        let start = self.at;
        if self.take_if(r"\") {
            if let Some(class) = self.perl_class() {
                self.out.push_str(&class);
                return Ok(());
            }
            if self.unicode_class(start)? {
                return Ok(());
            }
            self.at = start;
        }
        let low = self.class_char(class_start)?;
        self.class_literal(low);
        // A `-` before the closing bracket is itself.
        let range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
        if range && self.rest().len() > 1 {
            self.at += 1;
            let high = self.class_char(class_start)?;
            if high < low {
                let text = &self.source[start..self.at];
                return Err(fail("invalid character class range", text));
            }
            self.out.push('-');
            self.class_literal(high);
        }
        Ok(())
    }

    fn class_char(&mut self, class_start: usize) -> Translated<char> {
        let start = self.at;
        match self.take() {
            None => Err(fail("missing closing ]", &self.source[class_start..])),
            Some('\\') => self.escaped_char(start),
            Some(c) => Ok(c),
        }
    }

    fn class_literal(&mut self, c: char) {
        if matches!(c, '[' | ']' | '^' | '-' | '&' | '~' | '\\') {
            self.out.push('\\');
        }
        self.out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::anchored;
    use super::*;

    #[test]
    fn what_differs_is_rewritten() {
        for (source, expected) in [
            ("a|b.*[c-e]+?", "a|b.*[c-e]+?"),
            (r"\d\W", "[0-9][^0-9A-Za-z_]"),
            ("a{,2}b{2}{", r"a\{,2\}b{2}\{"),
            ("[[a&&c~~]", r"[\[a\&\&c\~\~]"),
            ("[--a]", r"[\--a]"),
            (r"\Qa.b\E+", r"a\.b+"),
            (r"\<\012\x41\x{e9}", "<\nAé"),
            (r"[\d\-\]x-]", r"[[0-9]\-\]x\-]"),
            ("(?ii-s:a)(?)(?P<1>b)", "(?i-s:a)(?P<_1>b)"),
            (r"\pL\P{Greek}\p{^Greek}", r"\p{L}\P{Greek}\P{Greek}"),
        ] {
            assert_eq!(translate(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn it_means_what_re2_means() {
        for (source, value, expected) in [
            (r"\d", "٣", false),
            (r"\w+", "é", false),
            (r"é\b.*", "é x", false),
            (r"a\bé", "aé", true),
            ("[[:alpha:]]+", "ab", true),
            ("a{", "a{", true),
            ("(?i)straße", "STRASSE", false),
            ("(?i)k", "\u{212a}", true),
        ] {
            assert_eq!(anchored(source).unwrap().is_match(value), expected, "{source} {value}");
        }
    }

    #[test]
    fn errors_are_those_of_go() {
        for (source, expected) in [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            (r"\q", r"invalid escape sequence: `\q`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?P<a", "invalid named capture: `(?P<a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        ] {
            let error = translate(source).unwrap_err();
            assert_eq!(error.to_string(), format!("error parsing regexp: {expected}"), "{source}");
        }
    }
}
