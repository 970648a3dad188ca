//! Interned strings: each distinct label name and value of a shard is stored once and named by a [`Symbol`].
//!
//! ```text
//! pages   64 KiB of text each; a string never spans two
//! starts  symbol -> page (16 bits), offset in it (16 bits); a string ends where the next one of its page begins
//! table   hash of the string -> symbol
//! ```
//!
//! That is the text plus some 12 B a string: no allocation, no length and no pointer of its own. Symbols are never
//! forgotten while the table lives.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::bits::push_uvarint;
use crate::limits::SERIES_LABELS_BYTES_MAX;
use crate::model::labels::{Labels, Pairs, push_pair};

/// The number of an interned string.
pub type Symbol = u32;

const PAGE_BYTES: usize = 1 << 16;

const _: () = assert!(SERIES_LABELS_BYTES_MAX <= PAGE_BYTES);

/// The strings of one shard.
#[derive(Debug, Default)]
pub struct Symbols {
    pages: Vec<String>,
    starts: Vec<u32>,
    table: HashTable<Symbol>,
}

impl Symbols {
    /// No strings yet.
    pub fn new() -> Self {
        Symbols::default()
    }

    /// The symbol of `text`, made if it has none. `text` is part of a label set, hence shorter than a page.
    pub fn intern(&mut self, text: &str) -> Symbol {
        let Symbols { pages, starts, table } = self;
        let entry = table.entry(
            hash(text),
            |&symbol| text_of(pages, starts, symbol) == text,
            |&symbol| hash(text_of(pages, starts, symbol)),
        );
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let symbol = starts.len() as Symbol;
                vacant.insert(symbol);
                if pages.last().is_none_or(|page| page.len() + text.len() >= PAGE_BYTES) {
                    pages.push(String::with_capacity(PAGE_BYTES));
                }
                let number = pages.len() - 1;
                starts.push((number << 16 | pages[number].len()) as u32);
                pages[number].push_str(text);
                symbol
            }
        }
    }

    /// The symbol of `text`, if it has one.
    pub fn find(&self, text: &str) -> Option<Symbol> {
        let same = |&symbol: &Symbol| self.text(symbol) == text;
        self.table.find(hash(text), same).copied()
    }

    /// The string called `symbol`.
    #[inline]
    pub fn text(&self, symbol: Symbol) -> &str {
        text_of(&self.pages, &self.starts, symbol)
    }

    /// How many strings.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        self.pages.len() * PAGE_BYTES
            + self.starts.capacity() * size_of::<u32>()
            + self.table.allocation_size()
    }

    /// Interns the pairs of a canonical encoding and appends their symbols, LEB128 each, to `out`.
    pub fn encode(&mut self, encoded: &[u8], out: &mut Vec<u8>) {
        for (name, value) in Pairs::new(encoded) {
            for text in [name, value] {
                push_uvarint(out, u64::from(self.intern(text)));
            }
        }
    }

    /// The labels that [`Symbols::encode`] wrote.
    pub fn decode(&self, symbols: &[u8]) -> Labels {
        let mut encoded = Vec::with_capacity(symbols.len() * 4);
        for (name, value) in SymbolPairs::new(symbols) {
            push_pair(&mut encoded, self.text(name), self.text(value));
        }
        Labels::from_encoded(&encoded).expect("symbols were made of a canonical encoding")
    }

    /// Whether `symbols` are the labels of the canonical encoding `encoded`.
    #[inline]
    pub fn are(&self, symbols: &[u8], encoded: &[u8]) -> bool {
        let mut mine = SymbolPairs::new(symbols);
        for (name, value) in Pairs::new(encoded) {
            match mine.next() {
                Some((n, v)) if self.text(v) == value && self.text(n) == name => {}
                _ => return false,
            }
        }
        mine.next().is_none()
    }
}

#[inline]
fn text_of<'a>(pages: &'a [String], starts: &[u32], symbol: Symbol) -> &'a str {
    let start = starts[symbol as usize];
    let page = &pages[(start >> 16) as usize];
    let end = match starts.get(symbol as usize + 1) {
        Some(next) if next >> 16 == start >> 16 => (next & 0xffff) as usize,
        _ => page.len(),
    };
    &page[(start & 0xffff) as usize..end]
}

#[inline]
fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// Symbols of names and values, as [`Symbols::encode`] wrote them.
#[derive(Clone, Debug)]
pub struct SymbolPairs<'a> {
    rest: &'a [u8],
}

impl<'a> SymbolPairs<'a> {
    /// Reads what [`Symbols::encode`] wrote.
    #[inline]
    pub fn new(symbols: &'a [u8]) -> Self {
        SymbolPairs { rest: symbols }
    }

    #[inline]
    fn read(&mut self) -> Symbol {
        let (mut symbol, mut shift) = (0, 0);
        while let [byte, rest @ ..] = self.rest {
            self.rest = rest;
            symbol |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        symbol
    }
}

impl Iterator for SymbolPairs<'_> {
    type Item = (Symbol, Symbol);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some((self.read(), self.read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_string_has_one_symbol() {
        let mut symbols = Symbols::new();
        let (a, b) = (symbols.intern("a"), symbols.intern("b"));
        assert_ne!(a, b);
        assert_eq!(symbols.intern("a"), a);
        assert_eq!(symbols.find("b"), Some(b));
        assert_eq!(symbols.find("c"), None);
        assert_eq!(symbols.text(b), "b");
        assert_eq!(symbols.len(), 2);
    }

    #[test]
    fn long_strings_take_pages_of_their_own() {
        let mut symbols = Symbols::new();
        let texts: Vec<String> = (1..40).map(|i| "x".repeat(i * 1600)).collect();
        let made: Vec<_> = texts.iter().map(|text| symbols.intern(text)).collect();
        for (text, symbol) in texts.iter().zip(made) {
            assert_eq!(symbols.text(symbol), text);
        }
    }

    proptest! {
        #[test]
        fn labels_go_round(sets in proptest::collection::vec(
            proptest::collection::btree_map("[a-c]{1,2}", "[x-zé]{1,3}", 0..6), 1..40)) {
            let mut symbols = Symbols::new();
            let sets: Vec<Labels> = sets
                .iter()
                .map(|set| set.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect())
                .collect();
            let mut encoded = Vec::new();
            for set in &sets {
                let mut out = Vec::new();
                symbols.encode(set.encoded(), &mut out);
                encoded.push(out);
            }
            for (i, set) in sets.iter().enumerate() {
                prop_assert_eq!(&symbols.decode(&encoded[i]), set);
                for (j, other) in sets.iter().enumerate() {
                    prop_assert_eq!(symbols.are(&encoded[i], other.encoded()), sets[i] == sets[j]);
                }
            }
        }
    }
}
