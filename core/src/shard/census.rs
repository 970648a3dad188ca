//! Which label pairs make up the head: counts that several shards can add up, and the texts of those that turn out to matter.
//!
//! A pair may occur in several shards, so neither the largest pairs nor the number of distinct values can be told from lists of the
//! largest of each shard. Every pair is therefore told as a hash of its value with its counts, 16 bytes instead of a text; the
//! texts of the few that are shown are asked for afterwards.

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

use super::Shard;

/// The pairs of one shard.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Label names.
    pub names: Vec<String>,
    /// Every pair, in no order.
    pub pairs: Vec<PairCount>,
}

/// One pair of a label name and a value.
#[derive(Clone, Copy, Debug)]
pub struct PairCount {
    /// Which of [`Census::names`].
    pub name: u32,
    /// Length of the value, in bytes.
    pub value_bytes: u32,
    /// xxh3 of the value.
    pub value_hash: u64,
    /// How many series have it.
    pub series: u64,
}

impl Shard {
    /// Counts the pairs in the head. Walks through the index.
    pub fn census(&self) -> Census {
        let head = self.0.head.borrow();
        let mut census = Census::default();
        for (name, values, _) in head.index().label_counts() {
            let number = census.names.len() as u32;
            census.names.push(name.to_owned());
            census.pairs.reserve(values);
            for (symbol, series) in head.index().label_pairs(name) {
                let value = head.symbols().pair(symbol).1;
                census.pairs.push(PairCount {
                    name: number,
                    value_bytes: value.len() as u32,
                    value_hash: xxh3_64(value.as_bytes()),
                    series: series as u64,
                });
            }
        }
        census
    }

    /// The values behind some pairs of label name and hash, as far as they are in the head. Walks through the index.
    pub fn values_of(&self, pairs: &HashSet<(String, u64)>) -> HashMap<(String, u64), String> {
        let head = self.0.head.borrow();
        let names: HashSet<&String> = pairs.iter().map(|(name, _)| name).collect();
        let mut found = HashMap::new();
        for name in names {
            for (symbol, _) in head.index().label_pairs(name) {
                let value = head.symbols().pair(symbol).1;
                let key = (name.clone(), xxh3_64(value.as_bytes()));
                if pairs.contains(&key) {
                    found.insert(key, value.to_owned());
                }
            }
        }
        found
    }
}
