//! Label sets: the identity of a series.
//!
//! A [`Labels`] is one allocation that holds the *canonical encoding* of the set: the pairs in ascending byte order of
//! their names, each name once, no empty value (an empty value means "no such label"), as
//!
//! ```text
//! +------------------+------------+-------------------+-------------+---- next pair
//! | name length: LEB | name bytes | value length: LEB | value bytes | ...
//! +------------------+------------+-------------------+-------------+----
//! ```
//!
//! where LEB is an unsigned LEB128 of a u32. The same bytes travel in messages, in the WAL and on disk, and the
//! fingerprint of a series is xxh3-128 of them. **Both are fixed for ever**: the owner of a series follows from them.

use std::cmp::Ordering;
use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// xxh3-128 of the canonical encoding of a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of a set in canonical encoding.
    #[inline]
    pub fn of(encoded: &[u8]) -> Self {
        Fingerprint(xxh3_128(encoded))
    }

    /// The shard, of `shards` in all, that owns this series.
    #[inline]
    pub fn owner(self, shards: u32) -> u32 {
        (self.0 % u128::from(shards)) as u32
    }
}

/// A set of label names and values in canonical encoding.
///
/// Ordered as Prometheus orders label sets: pairwise by name, then value, a prefix first.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Box<[u8]>);

impl Labels {
    /// The set without labels.
    pub fn empty() -> Self {
        Labels::default()
    }

    /// Builds from pairs in any order. Of a name that occurs twice the last value counts; empty values are left out.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// Takes bytes that claim to be a canonical encoding; `None` unless they are.
    pub fn from_encoded(encoded: &[u8]) -> Option<Self> {
        is_canonical(encoded).then(|| Labels(encoded.into()))
    }

    /// The canonical encoding.
    #[inline]
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// The fingerprint that names the owner and finds the series.
    #[inline]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// Name and value of each label, in order of names.
    #[inline]
    pub fn iter(&self) -> Pairs<'_> {
        Pairs { rest: &self.0 }
    }

    /// The value of `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        get_encoded(&self.0, name)
    }

    /// The metric name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// How many labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels for whose name `keep` says yes.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        let mut out = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            push_pair(&mut out, name, value);
        }
        Labels(out.into())
    }

    /// The set without its metric name.
    pub fn without_name(&self) -> Labels {
        self.filtered(|name| name != METRIC_NAME)
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// A set is a row of texts, name, value, name and so on: the first that differs decides. Those before it lie in what both encodings
    /// begin with, and of these only the lengths are looked at.
    fn cmp(&self, other: &Self) -> Ordering {
        let same = common_prefix(&self.0, &other.0);
        let mut texts = Pairs { rest: &self.0 };
        let mut at = 0;
        loop {
            let (a, b) = (&self.0[at..], &other.0[at..]);
            if a.is_empty() || b.is_empty() {
                return a.len().cmp(&b.len());
            }
            let text = texts.text();
            let end = self.0.len() - texts.rest.len();
            if end > same {
                return text.cmp(Pairs { rest: b }.text());
            }
            at = end;
        }
    }
}

/// How many bytes two texts begin with in common.
#[inline]
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const STRIDE: usize = 16;
    let strides = a.chunks_exact(STRIDE).zip(b.chunks_exact(STRIDE));
    let whole = strides.take_while(|(a, b)| a == b).count() * STRIDE;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Labels::from_pairs(pairs)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Pairs<'a>;
    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes a series: `name{a="b"}`, names that need it quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let bare = is_legacy_metric_name(name);
        if bare {
            f.write_str(name)?;
        }
        let mut open = false;
        if !bare && !name.is_empty() {
            write!(f, "{{{name:?}")?;
            open = true;
        }
        for (label, value) in self.iter().filter(|(label, _)| *label != METRIC_NAME) {
            f.write_str(if open { ", " } else { "{" })?;
            open = true;
            if is_legacy_label_name(label) {
                write!(f, "{label}={value:?}")?;
            } else {
                write!(f, "{label:?}={value:?}")?;
            }
        }
        match (open, name.is_empty()) {
            (true, _) => f.write_str("}"),
            (false, true) => f.write_str("{}"),
            (false, false) => Ok(()),
        }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Iterator over the pairs of a canonical encoding.
#[derive(Clone)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Reads `encoded`, which must be canonical (see [`is_canonical`]).
    pub fn new(encoded: &'a [u8]) -> Self {
        Pairs { rest: encoded }
    }

    /// What has not been read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn text(&mut self) -> &'a str {
        let (text, rest) = read_text(self.rest).expect("a canonical encoding is well-formed");
        self.rest = rest;
        text
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some((self.text(), self.text()))
    }
}

/// The value of `name` in a canonical encoding.
pub fn get_encoded<'a>(encoded: &'a [u8], name: &str) -> Option<&'a str> {
    Pairs::new(encoded).find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// Collects labels in any order, then sorts them once.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// No labels yet.
    pub fn new() -> Self {
        LabelsBuilder::default()
    }

    /// Sets `name` to `value`, in place of an earlier value; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// The present value of `name`; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// The pairs in the order they were first set, empty values included.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Sorts and encodes.
    pub fn build(mut self) -> Labels {
        self.pairs.sort_unstable();
        let mut out =
            Vec::with_capacity(self.pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum());
        for (name, value) in self.pairs.iter().filter(|(_, value)| !value.is_empty()) {
            push_pair(&mut out, name, value);
        }
        Labels(out.into())
    }
}

/// Appends one pair to an encoding; the caller keeps the order of names.
#[inline]
pub fn push_pair(out: &mut Vec<u8>, name: &str, value: &str) {
    for text in [name, value] {
        push_length(out, text.len() as u32);
        out.extend_from_slice(text.as_bytes());
    }
}

#[inline]
fn push_length(out: &mut Vec<u8>, mut n: u32) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Whether `encoded` is a canonical encoding: well-formed shortest lengths, UTF-8, names strictly ascending and not
/// empty, values not empty. Whatever comes from outside or from disk passes through here.
pub fn is_canonical(mut encoded: &[u8]) -> bool {
    let mut previous = "";
    while !encoded.is_empty() {
        let Some((name, rest)) = read_checked_text(encoded) else { return false };
        let Some((value, rest)) = read_checked_text(rest) else { return false };
        if name <= previous || value.is_empty() {
            return false;
        }
        previous = name;
        encoded = rest;
    }
    true
}

#[inline]
fn read_length(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut n = 0_u32;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        let part = u32::from(byte & 0x7f);
        if i == 4 && part > 0xf {
            return None;
        }
        n |= part << (7 * i);
        if byte < 0x80 {
            let shortest = i == 0 || byte != 0;
            return shortest.then_some((n, &bytes[i + 1..]));
        }
    }
    None
}

#[inline]
fn read_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = read_length(bytes)?;
    rest.split_at_checked(length as usize)
}

fn read_checked_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = read_bytes(bytes)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[inline]
fn read_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = read_bytes(bytes)?;
    debug_assert!(std::str::from_utf8(text).is_ok());
    // SAFETY: every constructor of `Labels` takes `str`s or checks with `is_canonical`, and `Pairs::new` demands it.
    Some((unsafe { std::str::from_utf8_unchecked(text) }, rest))
}

/// Whether `name` is a metric name that needs no quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    legacy(name, b":")
}

/// Whether `name` is a label name that needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    legacy(name, b"")
}

fn legacy(name: &str, more: &[u8]) -> bool {
    let start = |b: u8| b.is_ascii_alphabetic() || b == b'_' || more.contains(&b);
    let mut bytes = name.bytes();
    bytes.next().is_some_and(start) && bytes.all(|b| start(b) || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_of_pairs_does_not_matter() {
        let a = Labels::from_pairs([("b", "2"), ("__name__", "up"), ("a", "1"), ("gone", "")]);
        let b = Labels::from_pairs([("a", "1"), ("b", "2"), ("__name__", "up")]);
        assert_eq!(a, b);
        assert_eq!(a.to_string(), r#"up{a="1", b="2"}"#);
        assert_eq!(a.get("b"), Some("2"));
        assert_eq!(a.get("gone"), None);
        assert_eq!(a.without_name().to_string(), r#"{a="1", b="2"}"#);
    }

    proptest! {
        #[test]
        fn are_ordered_pair_by_pair(
            (a, b) in ("[a-c]{1,3}", "[a-c]{1,3}"),
            common in proptest::collection::vec(("[a-e]{1,3}", "[xy]{1,20}"), 0..4),
            (long, longer) in ("[p-r]{0,140}", "[p-r]{0,140}"),
        ) {
            let with = |own: &str, value: &str| {
                let pairs = common.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                Labels::from_pairs(pairs.chain([(own, value)]))
            };
            let (a, b) = (with(&a, &long), with(&b, &longer));
            prop_assert_eq!(a.cmp(&b), a.iter().cmp(b.iter()));
            prop_assert_eq!(b.cmp(&a), b.iter().cmp(a.iter()));
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        }
    }

    #[test]
    fn display_quotes_what_needs_it() {
        let odd = Labels::from_pairs([("__name__", "a.b"), ("c d", "x\"y")]);
        assert_eq!(odd.to_string(), r#"{"a.b", "c d"="x\"y"}"#);
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn the_fingerprint_is_fixed_for_ever() {
        let up = Labels::from_pairs([("__name__", "up"), ("job", "node")]);
        assert_eq!(up.encoded(), b"\x08__name__\x02up\x03job\x04node");
        assert_eq!(up.fingerprint().0, 0x251e_c1f6_2723_b566_421d_a5ce_ae6c_b8cc);
    }

    #[test]
    fn hostile_encodings_are_refused() {
        for bad in [
            &b"\x01"[..],
            b"\x01a",
            b"\x01a\x00",
            b"\x00\x01a",
            b"\x01b\x011\x01a\x012",
            b"\x01a\x011\x01a\x012",
            b"\x81\x00a\x011",
            b"\xff\xff\xff\xff\x7f",
            b"\x01\xff\x011",
        ] {
            assert!(Labels::from_encoded(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn encoding_goes_round(pairs in proptest::collection::btree_map("[a-zé]{1,9}", ".{1,200}", 0..12)) {
            let labels: Labels = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let back: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(back, pairs.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(Labels::from_encoded(labels.encoded()), Some(labels));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(labels) = Labels::from_encoded(&bytes) {
                prop_assert_eq!(labels.iter().count(), labels.len());
            }
        }
    }
}
