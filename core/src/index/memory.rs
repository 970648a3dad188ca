//! The index of the head: label name -> value -> postings, all in memory.
//!
//! Matchers mean what they mean in Prometheus: a series without a label has the empty value for it. So a matcher that
//! accepts the empty value cannot be answered by listing what it accepts; it *removes* the series whose value it
//! rejects. The others each list what they accept, and the lists are intersected, the shortest first.

use hashbrown::{HashMap, HashSet};

use super::SeriesRef;
use super::postings::{Postings, intersect, subtract, union};
use super::symbols::{Symbol, SymbolList, Symbols};
use crate::model::matcher::{Candidates, Matcher};

/// Label name -> value -> series.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    /// Of each pair, by its symbol.
    postings: Vec<Postings>,
    names: HashMap<Box<str>, LabelIndex>,
    all: Vec<SeriesRef>,
}

/// The values of one label.
#[derive(Debug, Default)]
struct LabelIndex {
    /// The pairs that they make with the name.
    pairs: Vec<Symbol>,
    /// Series that have this label.
    series: usize,
}

/// What one matcher does to a selection.
enum Effect<'a> {
    /// Only these stay.
    Keep(Vec<&'a [SeriesRef]>),
    /// These go.
    Remove(Vec<&'a [SeriesRef]>),
}

impl MemoryIndex {
    /// No series yet.
    pub fn new() -> Self {
        MemoryIndex::default()
    }

    /// Adds a series, whose labels are given as [`Symbols::encode`] has just written them.
    pub fn insert(&mut self, symbols: &Symbols, series: SeriesRef, labels: &[u8]) {
        for symbol in SymbolList::new(labels) {
            let (name, _) = symbols.pair(symbol);
            let label = match self.names.get_mut(name) {
                Some(label) => label,
                None => self.names.entry(name.into()).or_default(),
            };
            label.series += 1;
            let known = self.postings.get_mut(symbol as usize);
            if let Some(postings) = known {
                if postings.as_slice().is_empty() {
                    *postings = Postings::one(series);
                    label.pairs.push(symbol);
                } else {
                    postings.insert(series);
                }
            } else {
                debug_assert_eq!(symbol as usize, self.postings.len());
                self.postings.push(Postings::one(series));
                label.pairs.push(symbol);
            }
        }
        match self.all.last() {
            Some(&last) if last >= series => {
                if let Err(at) = self.all.binary_search(&series) {
                    self.all.insert(at, series);
                }
            }
            _ => self.all.push(series),
        }
    }

    /// Removes the series `dead`, ascending, from the postings of `pairs`, which all have the same name, and forgets those pairs that
    /// no other series has.
    pub fn remove(&mut self, symbols: &mut Symbols, pairs: &[Symbol], dead: &[SeriesRef]) {
        let Some(&first) = pairs.first() else { return };
        let name = symbols.pair(first).0;
        let Some(label) = self.names.get_mut(name) else { return };
        let mut unused = HashSet::new();
        for &pair in pairs {
            let postings = &mut self.postings[pair as usize];
            label.series -= postings.remove(dead);
            if postings.as_slice().is_empty() {
                unused.insert(pair);
            }
        }
        label.pairs.retain(|pair| !unused.contains(pair));
        if label.pairs.is_empty() {
            self.names.remove(name);
        } else if label.pairs.len() * 2 < label.pairs.capacity() {
            label.pairs.shrink_to_fit();
        }
        unused.into_iter().for_each(|pair| symbols.forget(pair));
    }

    /// Removes the series `dead`, ascending, from the list of all; their pairs are removed by [`MemoryIndex::remove`].
    pub fn remove_all(&mut self, dead: &[SeriesRef]) {
        subtract(&mut self.all, dead);
        if self.all.len() * 2 < self.all.capacity() {
            self.all.shrink_to_fit();
        }
    }

    /// The series that pass all of `matchers`, ascending.
    pub fn select(&self, symbols: &Symbols, matchers: &[Matcher]) -> Vec<SeriesRef> {
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        for matcher in matchers {
            match self.effect(symbols, matcher) {
                Effect::Keep(lists) => kept.push(lists),
                Effect::Remove(lists) => removed.push(lists),
            }
        }
        kept.sort_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        let mut kept = kept.into_iter();
        let mut selected = kept.next().map_or_else(|| self.all.clone(), |lists| union(&lists));
        for lists in kept {
            match lists[..] {
                [list] => intersect(&mut selected, list),
                _ => intersect(&mut selected, &union(&lists)),
            }
        }
        for list in removed.iter().flatten() {
            subtract(&mut selected, list);
        }
        selected
    }

    fn effect(&self, symbols: &Symbols, matcher: &Matcher) -> Effect<'_> {
        let removes = matcher.matches_empty();
        let lists = self.lists(symbols, matcher, !removes);
        if removes { Effect::Remove(lists) } else { Effect::Keep(lists) }
    }

    /// The postings of the values for which `matcher` says `accepted`.
    fn lists(&self, symbols: &Symbols, matcher: &Matcher, accepted: bool) -> Vec<&[SeriesRef]> {
        // Only where the wanted values are those that the expression itself matches do its candidates help.
        let candidates =
            if accepted == matcher.is_negated() { Candidates::Any } else { matcher.candidates() };
        let list = |symbol: Symbol| self.postings[symbol as usize].as_slice();
        if let Candidates::Literals(literals) = candidates {
            let found = literals.iter().filter_map(|value| symbols.find(matcher.name(), value));
            return found.map(list).collect();
        }
        let Some(label) = self.names.get(matcher.name()) else { return Vec::new() };
        let wanted = |&&symbol: &&Symbol| matcher.matches(symbols.pair(symbol).1) == accepted;
        label.pairs.iter().filter(wanted).map(|&symbol| list(symbol)).collect()
    }

    /// Every label name, in no order.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// The pairs that the values of the label called `name` make with it, with the number of their series, in no order.
    pub fn label_pairs(&self, name: &str) -> impl Iterator<Item = (Symbol, usize)> {
        let pairs = self.names.get(name).map_or(&[][..], |label| &label.pairs);
        pairs.iter().map(|&symbol| (symbol, self.postings[symbol as usize].as_slice().len()))
    }

    /// How many series have the pair.
    pub fn series_of(&self, symbol: Symbol) -> usize {
        self.postings.get(symbol as usize).map_or(0, |postings| postings.as_slice().len())
    }

    /// How many distinct values the label called `name` has.
    pub fn value_count(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |label| label.pairs.len())
    }

    /// Label names with the number of their values and of the series that have them.
    pub fn label_counts(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.names.iter().map(|(name, label)| (&**name, label.pairs.len(), label.series))
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        self.postings.iter().map(Postings::byte_len).sum::<usize>()
            + self.postings.capacity() * size_of::<Postings>()
            + self.names.values().map(|label| label.pairs.capacity() * 4).sum::<usize>()
            + self.names.allocation_size()
            + self.all.capacity() * size_of::<SeriesRef>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::model::matcher::MatchOp;
    use proptest::prelude::*;

    struct Fixture {
        symbols: Symbols,
        index: MemoryIndex,
        series: Vec<Labels>,
    }

    fn fixture(series: Vec<Labels>) -> Fixture {
        let (mut symbols, mut index) = (Symbols::new(), MemoryIndex::new());
        for (i, labels) in series.iter().enumerate() {
            let mut encoded = Vec::new();
            symbols.encode(labels.encoded(), &mut encoded);
            index.insert(&symbols, i as SeriesRef, &encoded);
        }
        Fixture { symbols, index, series }
    }

    impl Fixture {
        fn naive(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
            let passes = |labels: &Labels| {
                matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or("")))
            };
            (0..).zip(&self.series).filter(|(_, labels)| passes(labels)).map(|(i, _)| i).collect()
        }
    }

    #[test]
    fn a_missing_label_has_the_empty_value() {
        let names = ["a", "b", ""];
        let fixture = fixture(
            names.iter().map(|v| Labels::from_pairs([("__name__", "m"), ("l", *v)])).collect(),
        );
        for (op, value, expected) in [
            (MatchOp::Equal, "", vec![2]),
            (MatchOp::NotEqual, "", vec![0, 1]),
            (MatchOp::NotEqual, "a", vec![1, 2]),
            (MatchOp::Regex, "a|", vec![0, 2]),
            (MatchOp::Regex, ".+", vec![0, 1]),
            (MatchOp::NotRegex, "a|b", vec![2]),
            (MatchOp::NotRegex, ".*", vec![]),
            (MatchOp::Equal, "nowhere", vec![]),
        ] {
            let matcher = Matcher::new(op, "l", value).unwrap();
            assert_eq!(
                fixture.index.select(&fixture.symbols, &[matcher]),
                expected,
                "{op:?} {value}"
            );
        }
    }

    #[test]
    fn what_is_removed_is_not_found_and_its_symbols_are_given_again() {
        let set = |v: &str| Labels::from_pairs([("__name__", "m"), ("l", v)]);
        let Fixture { mut symbols, mut index, .. } = fixture(["a", "b", "c"].map(set).to_vec());
        let pairs = ["a", "c"].map(|v| symbols.find("l", v).unwrap());
        let name = symbols.find("__name__", "m").unwrap();
        index.remove(&mut symbols, &pairs, &[0, 2]);
        index.remove(&mut symbols, &[name], &[0, 2]);
        index.remove_all(&[0, 2]);
        assert_eq!(index.select(&symbols, &[]), [1]);
        assert_eq!(
            index.select(&symbols, &[Matcher::new(MatchOp::Regex, "l", ".+").unwrap()]),
            [1]
        );
        assert_eq!((symbols.len(), symbols.find("l", "a")), (2, None));
        let mut encoded = Vec::new();
        symbols.encode(set("a").encoded(), &mut encoded);
        index.insert(&symbols, 3, &encoded);
        assert_eq!(index.select(&symbols, &[Matcher::equal("l", "a")]), [3]);
        assert_eq!(index.label_pairs("l").count(), 2);
        let left = ["a", "b"].map(|v| symbols.find("l", v).unwrap());
        index.remove(&mut symbols, &left, &[1, 3]);
        assert!(!index.label_names().any(|name| name == "l"));
    }

    fn matcher() -> impl Strategy<Value = Matcher> {
        let op = prop_oneof![
            Just(MatchOp::Equal),
            Just(MatchOp::NotEqual),
            Just(MatchOp::Regex),
            Just(MatchOp::NotRegex),
        ];
        let value = prop_oneof![
            Just(""),
            Just("x"),
            Just("y"),
            Just("x|y"),
            Just("x|"),
            Just(".*"),
            Just(".+"),
            Just("x.*"),
            Just("x.+"),
            Just("[xz]"),
            Just("yy?"),
            Just("none"),
        ];
        (op, prop_oneof![Just("a"), Just("b"), Just("absent")], value)
            .prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
    }

    proptest! {
        #[test]
        fn selects_what_a_scan_selects(
            sets in proptest::collection::btree_set(
                proptest::collection::btree_map("[abc]", "[xyz]{1,2}", 0..4), 1..30),
            matchers in proptest::collection::vec(matcher(), 0..4),
        ) {
            let series = sets.iter().map(|set| set.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect());
            let fixture = fixture(series.collect());
            prop_assert_eq!(fixture.index.select(&fixture.symbols, &matchers), fixture.naive(&matchers));
        }
    }
}
