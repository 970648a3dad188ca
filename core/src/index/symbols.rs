//! Interned label pairs: each distinct pair of a label name and a value of a shard is stored once and named by a [`Symbol`].
//!
//! ```text
//! pages   64 KiB of pairs each, in canonical encoding; a pair never spans two
//! starts  symbol -> page (16 bits), offset in it (16 bits); a pair ends where the next one of its page begins
//! table   hash of the pair -> symbol
//! ```
//!
//! That is the text plus some 12 B a pair: no allocation and no pointer of its own. Pairs and not single strings, because a series
//! then takes one number for each label, and because its labels are compared with a canonical encoding by comparing bytes, pair by
//! pair, without decoding either. Symbols are never forgotten while the table lives.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::bits::push_uvarint;
use crate::limits::SERIES_LABELS_BYTES_MAX;
use crate::model::labels::{Labels, Pairs, push_pair};

/// The number of an interned pair. Numbers are given in ascending order from 0.
pub type Symbol = u32;

const PAGE_BYTES: usize = 1 << 16;

const _: () = assert!(SERIES_LABELS_BYTES_MAX <= PAGE_BYTES);

/// The label pairs of one shard.
#[derive(Debug, Default)]
pub struct Symbols {
    pages: Vec<Vec<u8>>,
    starts: Vec<u32>,
    table: HashTable<Symbol>,
}

impl Symbols {
    /// No pairs yet.
    pub fn new() -> Self {
        Symbols::default()
    }

    /// The symbol of a pair in canonical encoding, made if it has none. It is part of a label set, hence fits in a page.
    fn intern(&mut self, pair: &[u8]) -> Symbol {
        let Symbols { pages, starts, table } = self;
        let entry = table.entry(
            xxh3_64(pair),
            |&symbol| pair_of(pages, starts, symbol) == pair,
            |&symbol| xxh3_64(pair_of(pages, starts, symbol)),
        );
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let symbol = starts.len() as Symbol;
                vacant.insert(symbol);
                if pages.last().is_none_or(|page| page.len() + pair.len() >= PAGE_BYTES) {
                    pages.push(Vec::with_capacity(PAGE_BYTES));
                }
                let number = pages.len() - 1;
                starts.push((number << 16 | pages[number].len()) as u32);
                pages[number].extend_from_slice(pair);
                symbol
            }
        }
    }

    /// The symbol of a pair, if it has one.
    pub fn find(&self, name: &str, value: &str) -> Option<Symbol> {
        let mut pair = Vec::with_capacity(name.len() + value.len() + 10);
        push_pair(&mut pair, name, value);
        let same = |&symbol: &Symbol| self.encoded(symbol) == pair;
        self.table.find(xxh3_64(&pair), same).copied()
    }

    /// Name and value of the pair called `symbol`.
    #[inline]
    pub fn pair(&self, symbol: Symbol) -> (&str, &str) {
        Pairs::new(self.encoded(symbol)).next().expect("a symbol stands for a pair")
    }

    /// The pair called `symbol` in canonical encoding.
    #[inline]
    fn encoded(&self, symbol: Symbol) -> &[u8] {
        pair_of(&self.pages, &self.starts, symbol)
    }

    /// How many pairs.
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
        let (mut pairs, mut rest) = (Pairs::new(encoded), encoded);
        while pairs.next().is_some() {
            let (pair, behind) = rest.split_at(rest.len() - pairs.rest().len());
            push_uvarint(out, u64::from(self.intern(pair)));
            rest = behind;
        }
    }

    /// The labels that [`Symbols::encode`] wrote.
    pub fn decode(&self, symbols: &[u8]) -> Labels {
        let mut encoded = Vec::with_capacity(symbols.len() * 16);
        for symbol in SymbolList::new(symbols) {
            encoded.extend_from_slice(self.encoded(symbol));
        }
        Labels::from_encoded(&encoded).expect("symbols were made of a canonical encoding")
    }

    /// Whether `symbols` are the labels of the canonical encoding `encoded`.
    #[inline]
    pub fn are(&self, symbols: &[u8], mut encoded: &[u8]) -> bool {
        for symbol in SymbolList::new(symbols) {
            match encoded.strip_prefix(self.encoded(symbol)) {
                Some(rest) => encoded = rest,
                None => return false,
            }
        }
        encoded.is_empty()
    }
}

#[inline]
fn pair_of<'a>(pages: &'a [Vec<u8>], starts: &[u32], symbol: Symbol) -> &'a [u8] {
    let start = starts[symbol as usize];
    let page = &pages[(start >> 16) as usize];
    let end = match starts.get(symbol as usize + 1) {
        Some(next) if next >> 16 == start >> 16 => (next & 0xffff) as usize,
        _ => page.len(),
    };
    &page[(start & 0xffff) as usize..end]
}

/// The symbols of a label set, as [`Symbols::encode`] wrote them.
#[derive(Clone, Debug)]
pub struct SymbolList<'a> {
    rest: &'a [u8],
}

impl<'a> SymbolList<'a> {
    /// Reads what [`Symbols::encode`] wrote.
    #[inline]
    pub fn new(symbols: &'a [u8]) -> Self {
        SymbolList { rest: symbols }
    }
}

impl Iterator for SymbolList<'_> {
    type Item = Symbol;

    #[inline]
    fn next(&mut self) -> Option<Symbol> {
        let (mut symbol, mut shift) = (0, 0);
        while let [byte, rest @ ..] = self.rest {
            self.rest = rest;
            symbol |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                return Some(symbol);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn symbols_of(symbols: &mut Symbols, labels: &Labels) -> Vec<u8> {
        let mut out = Vec::new();
        symbols.encode(labels.encoded(), &mut out);
        out
    }

    #[test]
    fn a_pair_has_one_symbol() {
        let mut symbols = Symbols::new();
        let one = symbols_of(&mut symbols, &Labels::from_pairs([("a", "1"), ("b", "1")]));
        let two = symbols_of(&mut symbols, &Labels::from_pairs([("a", "1"), ("b", "2")]));
        assert_eq!(SymbolList::new(&one).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(SymbolList::new(&two).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(symbols.find("b", "2"), Some(2));
        assert_eq!((symbols.find("b", "3"), symbols.find("a", "2")), (None, None));
        assert_eq!(symbols.pair(2), ("b", "2"));
        assert_eq!(symbols.len(), 3);
    }

    #[test]
    fn long_pairs_take_pages_of_their_own() {
        let mut symbols = Symbols::new();
        let texts: Vec<String> = (1..40).map(|i| "x".repeat(i * 1600)).collect();
        let sets: Vec<_> =
            texts.iter().map(|text| Labels::from_pairs([("a", text.as_str())])).collect();
        let made: Vec<_> = sets.iter().map(|set| symbols_of(&mut symbols, set)).collect();
        for (set, symbol) in sets.iter().zip(made) {
            assert_eq!(&symbols.decode(&symbol), set);
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
            let encoded: Vec<_> = sets.iter().map(|set| symbols_of(&mut symbols, set)).collect();
            for (i, set) in sets.iter().enumerate() {
                prop_assert_eq!(&symbols.decode(&encoded[i]), set);
                for (j, other) in sets.iter().enumerate() {
                    prop_assert_eq!(symbols.are(&encoded[i], other.encoded()), sets[i] == sets[j]);
                }
            }
        }
    }
}
