//! A label set that is being changed: what text parsers fill, relabelling rewrites and a scrape finishes.
//!
//! All text lies in one buffer and each label is two ranges into it, so that a set is filled, changed and encoded again
//! and again without allocating. Labels that the set *began with* and labels that were *set since* are told apart,
//! because rules see the first in order of their names and then the others in the order in which they were set.

use std::ops::Range;

use tidemark_core::model::labels::{METRIC_NAME, push_pair};

use crate::limits::{LABELS_BYTES_MAX, LABELS_PER_SERIES_MAX, excerpt};
use crate::rows::{LabelError, check_label};

/// Labels in one reusable buffer; see the module's page.
#[derive(Clone, Debug, Default)]
pub struct LabelSet {
    text: String,
    pairs: Vec<Pair>,
}

#[derive(Clone, Debug)]
struct Pair {
    name: Range<u32>,
    value: Range<u32>,
    /// Set after [`LabelSet::rebase`].
    changed: bool,
}

impl LabelSet {
    /// No labels.
    pub fn new() -> Self {
        LabelSet::default()
    }

    /// Forgets all labels and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    /// Adds a label without a look at those that are there: what a parser does. Duplicates show in
    /// [`LabelSet::encode`].
    pub fn push(&mut self, name: &str, value: &str) {
        let pair = Pair { name: self.store(name), value: self.store(value), changed: false };
        self.pairs.push(pair);
    }

    /// Adds a label whose value `write` appends to the buffer.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        let name = self.store(name);
        let start = self.text.len() as u32;
        write(&mut self.text);
        let value = start..self.text.len() as u32;
        self.pairs.push(Pair { name, value, changed: false });
    }

    /// Takes the labels as they are now for the ones the set began with: sorts them and forgets what was changed.
    pub fn rebase(&mut self) {
        let text = &self.text;
        self.pairs.sort_by(|a, b| slice(text, &a.name).cmp(slice(text, &b.name)));
        self.pairs.iter_mut().for_each(|p| p.changed = false);
    }

    /// Sets `name` to `value`; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return self.remove(name);
        }
        let value = self.store(value);
        match self.position(name) {
            Some(i) if self.pairs[i].changed => self.pairs[i].value = value,
            Some(i) => {
                let name = self.pairs.remove(i).name;
                self.pairs.push(Pair { name, value, changed: true });
            }
            None => {
                let name = self.store(name);
                self.pairs.push(Pair { name, value, changed: true });
            }
        }
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) {
        let text = &self.text;
        self.pairs.retain(|p| slice(text, &p.name) != name);
    }

    /// Keeps the labels for whose name `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let text = &self.text;
        self.pairs.retain(|p| keep(slice(text, &p.name)));
    }

    /// Removes the labels without a value.
    pub fn remove_empty(&mut self) {
        self.pairs.retain(|p| !p.value.is_empty());
    }

    /// Refuses a name that occurs twice, be one of its values empty.
    pub fn refuse_duplicates(&mut self) -> Result<(), LabelError> {
        self.rebase();
        let names = || self.iter().map(|(name, _)| name);
        match names().zip(names().skip(1)).find(|(a, b)| a == b) {
            Some((twice, _)) => Err(LabelError::Duplicate(excerpt(twice))),
            None => Ok(()),
        }
    }

    /// The value of `name`; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |i| slice(&self.text, &self.pairs[i].value))
    }

    /// Whether there is a label `name`, be its value empty.
    pub fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Name and value of each label: those the set began with, then those set since.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|p| (slice(&self.text, &p.name), slice(&self.text, &p.value)))
    }

    /// How many labels, those with an empty value included.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Appends the canonical encoding to `out`. Refuses what no series may have; then `out` is as it was.
    pub fn encode(&mut self, out: &mut Vec<u8>) -> Result<(), LabelError> {
        self.refuse_duplicates()?;
        for (name, value) in self.iter() {
            check_label(name, value)?;
        }
        if self.pairs.len() > LABELS_PER_SERIES_MAX {
            return Err(LabelError::TooMany);
        }
        let start = out.len();
        for (name, value) in self.iter().filter(|(_, value)| !value.is_empty()) {
            push_pair(out, name, value);
            if out.len() - start > LABELS_BYTES_MAX {
                out.truncate(start);
                return Err(LabelError::SetTooLong);
            }
        }
        Ok(())
    }

    /// The metric name; empty if there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|p| slice(&self.text, &p.name) == name)
    }

    fn store(&mut self, text: &str) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        start..self.text.len() as u32
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut set = LabelSet::new();
        for (name, value) in pairs {
            set.push(name, value);
        }
        set.rebase();
        set
    }
}

#[inline]
fn slice<'a>(text: &'a str, range: &Range<u32>) -> &'a str {
    &text[range.start as usize..range.end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::model::labels::Labels;

    #[test]
    fn set_remove_and_get() {
        let mut set: LabelSet = [("b", "2"), ("a", "1")].into_iter().collect();
        set.set("c", "3");
        set.set("a", "9");
        set.set("b", "");
        assert_eq!((set.get("a"), set.get("b"), set.get("c")), ("9", "", "3"));
        assert_eq!(set.iter().collect::<Vec<_>>(), [("c", "3"), ("a", "9")]);
    }

    #[test]
    fn encodes_what_labels_encodes() {
        let mut set: LabelSet = [("b", "2"), ("__name__", "up"), ("a", "")].into_iter().collect();
        let mut out = b"before".to_vec();
        set.encode(&mut out).unwrap();
        let expected = Labels::from_pairs([("__name__", "up"), ("b", "2")]);
        assert_eq!(&out[6..], expected.encoded());
    }

    #[test]
    fn refuses_duplicates_and_leaves_the_output_alone() {
        let mut set = LabelSet::new();
        set.push("a", "1");
        set.push("a", "1");
        let mut out = b"before".to_vec();
        assert_eq!(set.encode(&mut out), Err(LabelError::Duplicate("a".into())));
        assert_eq!(out, b"before");
    }
}
