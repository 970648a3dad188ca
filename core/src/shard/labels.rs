//! Label names, label values, series and metadata: what the metadata calls of the API ask for, of the head and of the blocks.
//!
//! As in Prometheus, without matchers the names and values of a whole index answer if the head, or a block, has any sample in the range; with
//! matchers those of the series that are selected. A damaged block is left out.

use std::collections::BTreeSet;

use hashbrown::HashSet;

use super::{Inner, Shard};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::index::SeriesRef;
use crate::index::symbols::SymbolList;
use crate::limits::SELECT_SLICE_SERIES;
use crate::model::labels::{Labels, Pairs, get_encoded};
use crate::model::matcher::Matcher;
use crate::model::metadata::Metadata;
use crate::model::tenant::TENANT_LABEL;
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
        let matchers = &*self.narrowed(matchers);
        let mut found = HashSet::new();
        self.0.names_in_head(matchers, range, &mut found).await;
        self.0
            .for_each_block(
                range,
                async |block, found: &mut HashSet<String>| {
                    if matchers.is_empty() {
                        block.label_names().for_each(|name| add(found, name));
                        return Ok(());
                    }
                    let names =
                        |labels: &[u8]| Pairs::new(labels).for_each(|(name, _)| add(found, name));
                    for_each_selected(block, matchers, range, names).await
                },
                &mut found,
            )
            .await?;
        if self.1.is_some() {
            found.remove(TENANT_LABEL);
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
        if self.1.is_some() && name == TENANT_LABEL {
            return Ok(Vec::new());
        }
        let matchers = &*self.narrowed(matchers);
        let mut found = HashSet::new();
        self.0.values_in_head(name, matchers, range, &mut found).await;
        self.0
            .for_each_block(
                range,
                async |block, found: &mut HashSet<String>| {
                    if matchers.is_empty() {
                        let every = |value: &str, _| {
                            add(found, value);
                            true
                        };
                        return block.label_values(name, every).await;
                    }
                    let value = |labels: &[u8]| {
                        if let Some(value) = get_encoded(labels, name) {
                            add(found, value);
                        }
                    };
                    for_each_selected(block, matchers, range, value).await
                },
                &mut found,
            )
            .await?;
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
        let matchers = &*self.narrowed(matchers);
        let mut found = BTreeSet::new();
        self.0.series_in_head(matchers, range, limit, &mut found).await;
        self.0
            .for_each_block(
                range,
                async |block, found: &mut BTreeSet<Labels>| {
                    let keep = |labels: &[u8]| keep(found, Labels::from_encoded(labels), limit);
                    for_each_selected(block, matchers, range, keep).await
                },
                &mut found,
            )
            .await?;
        Ok(found.into_iter().map(|labels| self.shown(labels)).collect())
    }

    /// What is known about metric families, in no order.
    pub fn metadata(&self) -> Vec<(String, Metadata)> {
        let head = self.0.head.borrow();
        let families = head.metadata().iter().filter_map(|(kept, metadata)| {
            let family = self.1.as_ref().map_or(Some(kept), |tenant| tenant.own_family(kept))?;
            Some((family.to_owned(), metadata.clone()))
        });
        families.collect()
    }
}

impl Inner {
    /// Asks every block that may have samples in `range`; one that turns out to be damaged is put aside.
    async fn for_each_block<T>(
        &self,
        range: TimeRange,
        mut ask: impl AsyncFnMut(&Block, &mut T) -> Result<()>,
        found: &mut T,
    ) -> Result<()> {
        for block in self.catalog.blocks().iter().filter(|b| b.meta().range.overlaps(range)) {
            match ask(block, found).await {
                Err(error @ Error::Corrupt { .. }) => {
                    self.catalog.report(block.meta().sequence, &error);
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn names_in_head(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        found: &mut HashSet<String>,
    ) {
        if !matchers.is_empty() {
            let visit = |head: &Head, labels: SymbolList<'_>| {
                labels.for_each(|symbol| add(found, head.symbols().pair(symbol).0));
            };
            return self.for_each_in_head(matchers, range, visit).await;
        }
        let head = self.head.borrow();
        if head.covers(range) {
            head.index().label_names().for_each(|name| add(found, name));
        }
    }

    async fn values_in_head(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        found: &mut HashSet<String>,
    ) {
        if !matchers.is_empty() {
            let visit = |head: &Head, mut labels: SymbolList<'_>| {
                let value = labels.find_map(|symbol| {
                    let (found, value) = head.symbols().pair(symbol);
                    (found == name).then_some(value)
                });
                if let Some(value) = value {
                    add(found, value);
                }
            };
            return self.for_each_in_head(matchers, range, visit).await;
        }
        let head = self.head.borrow();
        if head.covers(range) {
            let pairs = head.index().label_pairs(name);
            pairs.for_each(|(symbol, _)| add(found, head.symbols().pair(symbol).1));
        }
    }

    async fn series_in_head(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
        found: &mut BTreeSet<Labels>,
    ) {
        let visit = |head: &Head, labels: SymbolList<'_>| {
            let labels = labels.map(|symbol| head.symbols().pair(symbol)).collect();
            keep(found, Some(labels), limit);
        };
        self.for_each_in_head(matchers, range, visit).await;
    }

    /// Calls `visit` with the labels of the series of the head that pass `matchers` and may have samples in `range`. A series that the head
    /// forgets meanwhile is in a block: ask these afterwards.
    async fn for_each_in_head(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut visit: impl FnMut(&Head, SymbolList<'_>),
    ) {
        let select = |head: &Head| head.index().select(head.symbols(), matchers);
        let numbers = select(&self.head.borrow());
        for numbers in numbers.chunks(SELECT_SLICE_SERIES) {
            self.head.borrow().visit(numbers, range, &mut visit);
            yield_if_needed().await;
        }
    }
}

impl Head {
    /// Calls `visit` with the labels of those series that may have samples in `range`.
    fn visit(
        &self,
        numbers: &[SeriesRef],
        range: TimeRange,
        visit: &mut impl FnMut(&Head, SymbolList<'_>),
    ) {
        let present = numbers.iter().filter(|&&number| self.newest_of(number, range).is_some());
        for series in present.filter_map(|&number| self.series(number)) {
            visit(self, SymbolList::new(self.symbols_of(series)));
        }
    }

    /// Whether any sample may lie in `range`.
    fn covers(&self, range: TimeRange) -> bool {
        let counts = self.counts();
        counts.min_ms <= counts.max_ms
            && range.overlaps(TimeRange::new(counts.min_ms, counts.max_ms))
    }
}

/// Calls `visit` with the labels of the series of a block that pass `matchers` and have a chunk in `range`.
async fn for_each_selected(
    block: &Block,
    matchers: &[Matcher],
    range: TimeRange,
    mut visit: impl FnMut(&[u8]),
) -> Result<()> {
    let numbers = block.select(matchers).await?;
    block
        .series(&numbers, |_, labels, chunks| {
            if chunks.iter().any(|chunk| chunk.range.overlaps(range)) {
                visit(labels);
            }
        })
        .await
}

fn add(found: &mut HashSet<String>, text: &str) {
    if !found.contains(text) {
        found.insert(text.to_owned());
    }
}

fn keep(found: &mut BTreeSet<Labels>, labels: Option<Labels>, limit: usize) {
    found.extend(labels);
    if found.len() > limit {
        found.pop_last();
    }
}

fn sorted(found: HashSet<String>, limit: usize) -> Vec<String> {
    let mut texts: Vec<String> = found.into_iter().collect();
    texts.sort_unstable();
    texts.truncate(limit);
    texts
}
