//! Interned label pairs: each distinct pair of a label name and a value of a shard is stored once and named by a [`Symbol`].
//!
//! ```text
//! pages   64 KiB of pairs each, in canonical encoding; a pair never spans two
//! starts  symbol -> page (16 bits), offset in it (16 bits); a pair tells its own length
//! table   hash of the pair -> symbol
//! ```
//!
//! That is the text plus some 12 B a pair: no allocation and no pointer of its own. Pairs and not single strings, because a series
//! then takes one number for each label, and because its labels are compared with a canonical encoding by comparing bytes, pair by
//! pair, without decoding either.
//!
//! A pair that no series has any more is *forgotten*: its symbol is given to another pair later, and the pairs that are left of a page
//! of which most is forgotten move to another, so that a table through which pairs pass does not grow.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::bits::push_uvarint;
use crate::limits::SERIES_LABELS_BYTES_MAX;
use crate::model::labels::{Labels, Pairs, push_pair};

/// The number of an interned pair. Small, as the numbers of forgotten pairs are given again.
pub type Symbol = u32;

const PAGE_BYTES: usize = 1 << 16;

const _: () = assert!(SERIES_LABELS_BYTES_MAX <= PAGE_BYTES);

/// The label pairs of one shard.
#[derive(Debug, Default)]
pub struct Symbols {
    pages: Vec<Vec<u8>>,
    starts: Vec<u32>,
    table: HashTable<Symbol>,
    /// Bytes of each page that belong to pairs.
    live: Vec<u32>,
    /// The page that takes new pairs.
    current: usize,
    free_pages: Vec<usize>,
    forgotten: Vec<Symbol>,
}

impl Symbols {
    /// No pairs yet.
    pub fn new() -> Self {
        Symbols::default()
    }

    /// The symbol of a pair in canonical encoding, made if it has none. It is part of a label set, hence fits in a page.
    pub fn intern(&mut self, pair: &[u8]) -> Symbol {
        let Symbols { pages, starts, table, .. } = self;
        let entry = table.entry(
            xxh3_64(pair),
            |&symbol| pair_of(pages, starts, symbol) == pair,
            |&symbol| xxh3_64(pair_of(pages, starts, symbol)),
        );
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let free = self.forgotten.pop();
                let symbol = free.unwrap_or(self.starts.len() as Symbol);
                vacant.insert(symbol);
                let start = self.push(pair);
                match self.starts.get_mut(symbol as usize) {
                    Some(place) => *place = start,
                    None => self.starts.push(start),
                }
                symbol
            }
        }
    }

    /// Writes a pair to the page that takes new ones; where it stands.
    fn push(&mut self, pair: &[u8]) -> u32 {
        let fits = |page: &Vec<u8>| page.len() + pair.len() < PAGE_BYTES;
        if !self.pages.get(self.current).is_some_and(fits) {
            self.current = self.free_pages.pop().unwrap_or(self.pages.len());
            if self.current == self.pages.len() {
                self.pages.push(Vec::new());
                self.live.push(0);
            }
            self.pages[self.current].reserve_exact(PAGE_BYTES);
        }
        let page = &mut self.pages[self.current];
        let start = (self.current << 16 | page.len()) as u32;
        page.extend_from_slice(pair);
        self.live[self.current] += pair.len() as u32;
        start
    }

    /// Forgets a pair that no series has any more.
    pub(super) fn forget(&mut self, symbol: Symbol) {
        let hash = xxh3_64(self.encoded(symbol));
        let Ok(entry) = self.table.find_entry(hash, |&other| other == symbol) else { return };
        entry.remove();
        self.forgotten.push(symbol);
        self.release(symbol);
    }

    /// The bytes that a symbol stood for are not needed any more.
    fn release(&mut self, symbol: Symbol) {
        let page = (self.starts[symbol as usize] >> 16) as usize;
        self.live[page] -= self.encoded(symbol).len() as u32;
        if page != self.current && self.live[page] as usize * 2 < self.pages[page].len() {
            self.empty(page);
        }
    }

    /// Moves what is left of a page to the one that takes new pairs, and gives its memory back.
    fn empty(&mut self, page: usize) {
        let bytes = std::mem::take(&mut self.pages[page]);
        self.live[page] = 0;
        let mut at = 0;
        while at < bytes.len() {
            let pair = &bytes[at..at + pair_len(&bytes[at..])];
            let (pages, starts) = (&self.pages, &self.starts);
            // A pair that was forgotten may have come again since; then it stands elsewhere.
            let here = (page << 16 | at) as u32;
            let same = |&symbol: &Symbol| {
                let start = starts[symbol as usize];
                start == here
                    || (start >> 16 != page as u32 && pair_of(pages, starts, symbol) == pair)
            };
            let found = self.table.find(xxh3_64(pair), same).copied();
            if let Some(symbol) = found.filter(|&symbol| self.starts[symbol as usize] == here) {
                self.starts[symbol as usize] = self.push(pair);
            }
            at += pair.len();
        }
        self.free_pages.push(page);
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
    pub fn encoded(&self, symbol: Symbol) -> &[u8] {
        pair_of(&self.pages, &self.starts, symbol)
    }

    /// How many pairs.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        self.pages.iter().map(Vec::capacity).sum::<usize>()
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
    let bytes = &pages[(start >> 16) as usize][(start & 0xffff) as usize..];
    &bytes[..pair_len(bytes)]
}

/// Length of the pair that `bytes` begin with.
#[inline]
fn pair_len(bytes: &[u8]) -> usize {
    let name = text_len(bytes);
    name + text_len(&bytes[name..])
}

/// Length of the text that `bytes` begin with, its own length before it included.
#[inline]
fn text_len(bytes: &[u8]) -> usize {
    match bytes {
        [len @ ..0x80, ..] => 1 + *len as usize,
        [low, high @ ..0x80, ..] => 2 + ((*low & 0x7f) as usize | (*high as usize) << 7),
        [low, middle, high, ..] => {
            3 + ((*low & 0x7f) as usize | ((*middle & 0x7f) as usize) << 7 | (*high as usize) << 14)
        }
        _ => unreachable!("a text begins with its length"),
    }
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

    #[test]
    fn pairs_that_come_and_go_leave_no_trace() {
        let mut symbols = Symbols::new();
        let stays = symbols_of(&mut symbols, &Labels::from_pairs([("stays", &*"x".repeat(300))]));
        let mut bytes = 0;
        for round in 0..60 {
            let sets: Vec<Labels> = (0..2000)
                .map(|i| Labels::from_pairs([("pod", &*format!("name-of-a-pod-{round}-{i}"))]))
                .collect();
            let made: Vec<_> = sets.iter().map(|set| symbols_of(&mut symbols, set)).collect();
            for (set, made) in sets.iter().zip(&made) {
                assert_eq!(&symbols.decode(made), set);
            }
            for made in made.iter().flat_map(|made| SymbolList::new(made)) {
                symbols.forget(made);
            }
            if round == 9 {
                bytes = symbols.byte_len();
            }
        }
        assert!(symbols.byte_len() <= bytes * 3 / 2, "{} after {bytes}", symbols.byte_len());
        assert_eq!(symbols.len(), 1);
        assert_eq!(symbols.decode(&stays).get("stays"), Some(&*"x".repeat(300)));
        assert_eq!(symbols.find("pod", "name-of-a-pod-3-7"), None);
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
