//! Label names, label values, series and metadata: what the metadata calls of the API ask for.
//!
//! As in Prometheus, without matchers the names and values of the whole index answer if the shard has any sample in the range; with
//! matchers those of the series that are selected.

use std::collections::BTreeSet;

use hashbrown::HashSet;

use super::Shard;
use crate::error::Result;
use crate::head::Head;
use crate::index::symbols::SymbolList;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::time::TimeRange;
use crate::runtime::yield_if_needed;

impl Shard {
    /// The names of the labels of the series that pass `matchers` and have samples in `range`: sorted, at most `limit`.
    pub async fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.check_open()?;
        yield_if_needed().await;
        let head = self.0.head.borrow();
        let mut found = HashSet::new();
        if !matchers.is_empty() {
            head.for_each_selected(matchers, range, |labels| {
                found.extend(labels.map(|symbol| head.symbols().pair(symbol).0));
            });
        } else if head.covers(range) {
            found.extend(head.index().label_names());
        }
        Ok(sorted(found, limit))
    }

    /// The values of label `name` of the series that pass `matchers` and have samples in `range`: sorted, at most `limit`.
    pub async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.check_open()?;
        yield_if_needed().await;
        let head = self.0.head.borrow();
        let pair = |symbol| head.symbols().pair(symbol);
        let mut found = HashSet::new();
        if !matchers.is_empty() {
            head.for_each_selected(matchers, range, |labels| {
                found.extend(labels.map(pair).find(|(n, _)| *n == name).map(|(_, value)| value));
            });
        } else if head.covers(range) {
            found.extend(head.index().label_pairs(name).map(|(symbol, _)| pair(symbol).1));
        }
        Ok(sorted(found, limit))
    }

    /// The labels of the series that pass `matchers` and have samples in `range`: sorted, at most `limit`.
    pub async fn series(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>> {
        self.0.check_open()?;
        yield_if_needed().await;
        let head = self.0.head.borrow();
        let mut found = BTreeSet::new();
        head.for_each_selected(matchers, range, |labels| {
            found.insert(labels.map(|symbol| head.symbols().pair(symbol)).collect());
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
        mut visit: impl FnMut(SymbolList<'_>),
    ) {
        for (number, _) in self.select(matchers, range) {
            if let Some(series) = self.series(number) {
                visit(SymbolList::new(self.symbols_of(series)));
            }
        }
    }
}

fn sorted(found: HashSet<&str>, limit: usize) -> Vec<String> {
    let mut texts: Vec<&str> = found.into_iter().collect();
    texts.sort_unstable();
    texts.truncate(limit);
    texts.into_iter().map(str::to_owned).collect()
}
