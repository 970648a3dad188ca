//! Label names, label values, series and metadata: what the metadata calls of the API ask for.
//!
//! As in Prometheus, without matchers the names and values of the whole index answer if the shard has any sample in the range; with
//! matchers those of the series that are selected.

use std::collections::BTreeSet;

use hashbrown::HashSet;

use super::Shard;
use crate::error::Result;
use crate::head::Head;
use crate::index::symbols::{Symbol, SymbolPairs};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::time::TimeRange;

impl Shard {
    /// The names of the labels of the series that pass `matchers` and have samples in `range`: sorted, at most `limit`.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.check_open()?;
        let head = self.0.head.borrow();
        let mut found = HashSet::new();
        if !matchers.is_empty() {
            head.for_each_selected(matchers, range, |pairs| found.extend(pairs.map(|(n, _)| n)));
        } else if head.covers(range) {
            found.extend(head.index().label_names());
        }
        Ok(head.sorted_texts(found, limit))
    }

    /// The values of label `name` of the series that pass `matchers` and have samples in `range`: sorted, at most `limit`.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.check_open()?;
        let head = self.0.head.borrow();
        let Some(name) = head.symbols().find(name) else { return Ok(Vec::new()) };
        let mut found = HashSet::new();
        if !matchers.is_empty() {
            head.for_each_selected(matchers, range, |mut pairs| {
                found.extend(pairs.find(|(n, _)| *n == name).map(|(_, value)| value));
            });
        } else if head.covers(range) {
            found.extend(head.index().label_values(name).map(|(value, _)| value));
        }
        Ok(head.sorted_texts(found, limit))
    }

    /// The labels of the series that pass `matchers` and have samples in `range`: sorted, at most `limit`.
    pub fn series(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>> {
        self.0.check_open()?;
        let head = self.0.head.borrow();
        let mut found = BTreeSet::new();
        head.for_each_selected(matchers, range, |pairs| {
            found.insert(
                pairs.map(|(n, v)| (head.symbols().text(n), head.symbols().text(v))).collect(),
            );
            if found.len() > limit {
                found.pop_last();
            }
        });
        Ok(found.into_iter().collect())
    }

    /// What is known about metric families, in no order.
    pub fn metadata(&self) -> Vec<(String, Metadata)> {
        let head = self.0.head.borrow();
        let families = head.metadata().iter();
        families.map(|(family, metadata)| (family.to_owned(), metadata.clone())).collect()
    }
}

impl Head {
    /// Whether any sample may lie in `range`.
    fn covers(&self, range: TimeRange) -> bool {
        let counts = self.counts();
        counts.min_ms <= counts.max_ms
            && range.overlaps(TimeRange::new(counts.min_ms, counts.max_ms))
    }

    fn for_each_selected(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut visit: impl FnMut(SymbolPairs<'_>),
    ) {
        for (number, _) in self.select(matchers, range) {
            if let Some(series) = self.series(number) {
                visit(SymbolPairs::new(self.symbols_of(series)));
            }
        }
    }

    fn sorted_texts(&self, symbols: HashSet<Symbol>, limit: usize) -> Vec<String> {
        let mut texts: Vec<&str> = symbols.into_iter().map(|s| self.symbols().text(s)).collect();
        texts.sort_unstable();
        texts.truncate(limit);
        texts.into_iter().map(str::to_owned).collect()
    }
}
