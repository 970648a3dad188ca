//! The dictionary of a block: every pair of a label name and a value with its postings, sorted, and what is kept in memory of it.
//!
//! ```text
//! group     value | value | ...                 of one name, about GROUP_BYTES of them
//! value     bytes shared with the value before: uvarint | the rest: uvarint length and text | series: uvarint
//!             postings: uvarint length and bytes
//! ```
//!
//! In memory stays a line a group: its first value and where it stands. So a literal is found by one binary search and one read, and the
//! values of a name are one stretch of the file. Pure functions.

use super::gaps;
use super::series::{push_text, shared_bytes};
use crate::chunk::bits::push_uvarint;
use crate::head::record::Input;

/// Bytes at which a group is full.
pub(super) const GROUP_BYTES: usize = 4 << 10;

/// The values of one label name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameTable {
    pub(super) name: Box<str>,
    /// Distinct values.
    pub(super) values: u32,
    /// In the order of their values.
    pub(super) groups: Vec<ValueGroup>,
}

/// Where some values stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValueGroup {
    pub(super) first: Box<str>,
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl NameTable {
    /// The group that holds a value, if any does.
    pub(super) fn group_of(&self, value: &str) -> Option<&ValueGroup> {
        let after = self.groups.partition_point(|group| &*group.first <= value);
        self.groups.get(after.checked_sub(1)?)
    }
}

/// Encodes one group.
#[derive(Debug, Default)]
pub(super) struct ValuesEncoder {
    before: String,
    pub(super) bytes: Vec<u8>,
}

impl ValuesEncoder {
    /// Adds a value, which follows the one before.
    pub(super) fn push(&mut self, value: &str, series: u32, postings: &[u8]) {
        let shared = shared_bytes(&self.before, value);
        push_uvarint(&mut self.bytes, shared as u64);
        push_text(&mut self.bytes, &value[shared..]);
        push_uvarint(&mut self.bytes, u64::from(series));
        push_uvarint(&mut self.bytes, postings.len() as u64);
        self.bytes.extend_from_slice(postings);
        value.clone_into(&mut self.before);
    }

    /// Empties it for the next group.
    pub(super) fn clear(&mut self) {
        self.before.clear();
        self.bytes.clear();
    }
}

/// Reads one group, value by value.
pub(super) struct ValuesDecoder<'a> {
    input: Input<'a>,
    /// The value read last.
    pub(super) value: String,
}

/// The postings of a value that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValuePostings<'a> {
    /// How many series have it.
    pub(super) series: u32,
    bytes: &'a [u8],
}

impl<'a> ValuesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        ValuesDecoder { input: Input { bytes }, value: String::new() }
    }

    /// Whether another value follows.
    pub(super) fn has_next(&self) -> bool {
        !self.input.bytes.is_empty()
    }

    /// Reads a value into [`ValuesDecoder::value`]; `None` if the bytes make no sense.
    pub(super) fn read(&mut self) -> Option<ValuePostings<'a>> {
        let shared = usize::try_from(self.input.uvarint()?).ok()?;
        if !self.value.is_char_boundary(shared) {
            return None;
        }
        self.value.truncate(shared);
        self.value.push_str(self.input.text()?);
        let series = u32::try_from(self.input.uvarint()?).ok()?;
        Some(ValuePostings { series, bytes: self.input.bytes()? })
    }
}

impl ValuePostings<'_> {
    /// Appends the numbers of the series, which are below `end`; `None` if the bytes make no sense.
    pub(super) fn decode(self, end: u32, out: &mut Vec<u32>) -> Option<()> {
        gaps::decode(self.bytes, end, |number| out.push(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_go_round(values in proptest::collection::btree_map("[aé]{1,6}", 0_u32..9, 1..30)) {
            let mut encoder = ValuesEncoder::default();
            for (value, &number) in &values {
                let mut gaps = gaps::Gaps::default();
                gaps.push(number);
                encoder.push(value, 1, &gaps.finish());
            }
            let mut decoder = ValuesDecoder::new(&encoder.bytes);
            for (value, number) in &values {
                let (postings, mut out) = (decoder.read().unwrap(), Vec::new());
                postings.decode(9, &mut out).unwrap();
                prop_assert_eq!((&decoder.value, &out), (value, &vec![*number]));
            }
            prop_assert!(!decoder.has_next());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = ValuesDecoder::new(&bytes);
            while decoder.has_next() && decoder.read().is_some() {}
        }
    }

    #[test]
    fn a_value_is_looked_for_in_the_group_before_it() {
        let group = |first: &str, offset| ValueGroup { first: first.into(), offset, len: 1 };
        let table =
            NameTable { name: "a".into(), values: 9, groups: vec![group("b", 0), group("d", 7)] };
        let found = |value| table.group_of(value).map(|group| group.offset);
        assert_eq!(
            ["a", "b", "c", "d", "z"].map(found),
            [None, Some(0), Some(0), Some(7), Some(7)]
        );
    }
}
