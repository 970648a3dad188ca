//! The scalar types of the configuration file: durations, sizes, secrets, regular expressions, URLs.
//!
//! Each reads Prometheus' notation and prints it again; a secret prints as `<secret>` everywhere, logs included.

use std::fmt;
use std::time;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidemark_core::model::matcher::anchored;
use tidemark_ingest::discovery::without_password;

use super::section::Blank;

/// A duration as Prometheus writes it: `1h30m`, `15s`, `0`; units y w d h m s ms, each once, in that order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Duration {
    milliseconds: u64,
}

/// Units and their length in milliseconds, longest first; with those that are printed only if nothing remains.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 24 * 3_600_000, true),
    ("w", 7 * 24 * 3_600_000, true),
    ("d", 24 * 3_600_000, true),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// The longest duration: what Prometheus can hold in nanoseconds (292 years).
const DURATION_MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

impl Duration {
    /// So many seconds.
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Duration { milliseconds: seconds * 1_000 }
    }

    /// So many milliseconds.
    pub(crate) const fn from_millis(milliseconds: u64) -> Self {
        Duration { milliseconds }
    }

    /// As the standard library has it.
    pub(crate) fn as_std(self) -> time::Duration {
        time::Duration::from_millis(self.milliseconds)
    }

    /// As storage and queries have it.
    pub(crate) fn as_millis(self) -> i64 {
        self.milliseconds.cast_signed()
    }

    /// Whether it is nothing.
    pub(crate) fn is_zero(self) -> bool {
        self.milliseconds == 0
    }

    /// Parses Prometheus' notation.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("not a valid duration string: {text:?}");
        if text == "0" {
            return Ok(Duration::default());
        }
        if text.is_empty() {
            return Err("empty duration string".to_owned());
        }
        let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let at = units.iter().position(|(name, ..)| *name == unit).ok_or_else(bad)?;
            let number: u64 = number.parse().map_err(|_| bad())?;
            total = number
                .checked_mul(units[at].1)
                .and_then(|part| total.checked_add(part))
                .filter(|&ms| ms <= DURATION_MS_MAX)
                .ok_or("duration out of range")?;
            units = &units[at + 1..];
            rest = tail;
        }
        Ok(Duration { milliseconds: total })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.milliseconds;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, length, only_exact) in UNITS {
            if rest / length > 0 && (!only_exact || rest.is_multiple_of(length)) {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

/// A number of bytes as Prometheus writes it: `100MB`, `1GiB`; every unit is a power of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

const SIZE_UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

impl ByteSize {
    /// Parses Prometheus' notation; a unit is required but for `0`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad =
            || format!("not a valid size: {text:?}; write a number and a unit, such as 512MB");
        if text == "0" {
            return Ok(ByteSize(0));
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let prefix = unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B')).ok_or_else(bad)?;
        let power = SIZE_UNITS.iter().position(|u| *u == prefix).ok_or_else(bad)?;
        let size = number.checked_mul(1 << (10 * power)).filter(|&n| i64::try_from(n).is_ok());
        size.map(ByteSize).ok_or_else(|| format!("size out of range: {text:?}"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0B");
        }
        for (power, prefix) in SIZE_UNITS.iter().enumerate().rev() {
            let unit = 1_u64 << (10 * power);
            if rest >= unit {
                let middle = if power == 0 { "" } else { "i" };
                write!(f, "{}{prefix}{middle}B", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

/// A password, token or key: read as text, printed as `<secret>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// A secret that was found elsewhere than in the configuration.
    pub(crate) fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text itself, for the one place that sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { "<secret>" })
    }
}

/// The source of a regular expression that compiles, anchored at both ends, as relabelling uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Checks that `source` compiles.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        anchored(source).map_err(|e| e.to_string())?;
        Ok(Pattern(source.to_owned()))
    }

    /// As it was written, without anchors.
    pub(crate) fn source(&self) -> &str {
        &self.0
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Pattern("(.*)".to_owned())
    }
}

/// An absolute URL; a password in it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url(url::Url);

impl Url {
    /// Parses an absolute URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        url::Url::parse(text)
            .map(Url)
            .map_err(|e| format!("not a valid URL {:?}: {e}", without_password(text)))
    }
}

impl Url {
    /// The whole text, a password included, for the one place that asks there.
    pub(crate) fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.password().is_some() && shown.set_password(Some("xxxxx")).is_err() {
            return f.write_str("<secret>");
        }
        // The parser adds the root path that the file may not have written.
        let text = shown.as_str();
        f.write_str(if shown.path() == "/" { text.trim_end_matches('/') } else { text })
    }
}

/// The address of a server as the file has it, a URL or part of one; a password in it is not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Address(String);

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Address(text.to_owned())
    }
}

impl std::ops::Deref for Address {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", without_password(&self.0))
    }
}

macro_rules! read_as_text {
    ($($name:ident),*) => { $(impl<'de> Deserialize<'de> for $name {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            $name::parse(&text).map_err(D::Error::custom)
        }
    })* };
}
read_as_text!(Duration, ByteSize, Pattern, Url);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Address)
    }
}

macro_rules! print_as_text {
    ($($name:ident: $value:ident => $blank:expr, $text:expr;)*) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.collect_str(&$text)
            }
        }

        impl Blank for $name {
            fn is_blank(&self) -> bool {
                let $value = self;
                $blank
            }
        }
    )* };
}
print_as_text! {
    Duration: it => it.is_zero(), it;
    ByteSize: it => it.0 == 0, it;
    Secret: it => it.is_empty(), format_args!("{it:?}");
    Pattern: it => it.0 == "(.*)", it.0;
    Url: _it => false, _it;
    Address: it => it.is_empty(), without_password(&it.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_go_round() {
        for (text, ms, printed) in [
            ("0", 0, "0s"),
            ("15s", 15_000, "15s"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1d", 86_400_000, "1d"),
            ("25h", 90_000_000, "25h"),
            ("2w", 1_209_600_000, "2w"),
            ("1y", 31_536_000_000, "1y"),
            ("1500ms", 1_500, "1s500ms"),
        ] {
            let duration = Duration::parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(ms), "{text}");
            assert_eq!(duration.to_string(), printed);
        }
        for bad in [
            "",
            "1",
            "s",
            "1x",
            "1s1m",
            "1s1s",
            "-1s",
            "1.5s",
            "300y",
            "1s ",
            "99999999999999999999s",
        ] {
            assert!(Duration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_go_round() {
        for (text, bytes, printed) in [
            ("0", 0, "0B"),
            ("1B", 1, "1B"),
            ("512MB", 512 << 20, "512MiB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1025KB", 1025 << 10, "1MiB1KiB"),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), printed);
        }
        for bad in ["", "5", "MB", "1XB", "1kb", "-1B", "9EB", "99999999999999999999B"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_leak() {
        let secret: Secret = serde_saphyr::from_str("hunter2").unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert_eq!(serde_saphyr::to_string(&secret).unwrap().trim(), "<secret>");
        for (address, shown) in [
            ("http://me:hunter2@host:1/a?b=@", "http://me:xxxxx@host:1/a?b=@"),
            ("me:hunter2@host:1", "me:xxxxx@host:1"),
            ("me:hun@ter2@host", "me:xxxxx@host"),
            ("http://me@host/a:b@c", "http://me@host/a:b@c"),
            ("localhost:8500", "localhost:8500"),
        ] {
            assert_eq!(format!("{:?}", Address::from(address)), format!("{shown:?}"));
        }
        let url = Url::parse("http://me:hunter2@host:1/a?b=c").unwrap();
        assert_eq!(url.to_string(), "http://me:xxxxx@host:1/a?b=c");
        assert_eq!(Url::parse("http://host").unwrap().to_string(), "http://host");
        assert!(Url::parse("no url").is_err());
    }
}
