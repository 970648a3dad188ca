//! Exemplars of a shard: in with the batches that bring them, out by selectors.

use std::collections::BTreeMap;

use super::{Inner, Shard};
use crate::append::{AppendBatch, SeriesView};
use crate::error::Result;
use crate::exemplars::{self, Verdict};
use crate::head::record::{KIND_EXEMPLARS, Record};
use crate::limits::EXEMPLAR_LABELS_BYTES_MAX;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::time::TimeRange;
use crate::wal::Put;

impl Shard {
    /// The exemplars in `range` of the series that pass any of the selectors, by series, in order of time.
    ///
    /// # Errors
    /// [`Error::Closing`](crate::error::Error::Closing).
    pub fn exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<BTreeMap<Labels, Vec<Exemplar>>> {
        self.0.check_open()?;
        let narrowed = selectors.iter().map(|matchers| self.narrowed(matchers).into_owned());
        let selectors: Vec<_> = narrowed.collect();
        let found = self.0.head.borrow().exemplars().select(&selectors, range);
        Ok(found.into_iter().map(|(labels, all)| (self.shown(labels), all)).collect())
    }
}

impl Inner {
    /// Logs and keeps the exemplars of a batch whose samples are in. Those of series that are not here, those that repeat
    /// themselves and those that come too late are left out: an exemplar is an example.
    pub(super) fn append_exemplars(&self, batch: &AppendBatch) -> Result<()> {
        if self.options.exemplars_max == 0 {
            return Ok(());
        }
        let mut payload = Vec::new();
        for view in batch.series().filter(|view| !view.exemplars.is_empty()) {
            let Some(series) = self.labels_of(&view) else { continue };
            for exemplar in view.exemplars {
                let short = exemplar.labels.encoded().len() <= EXEMPLAR_LABELS_BYTES_MAX;
                let verdict = self.head.borrow().exemplars().judge(&series, exemplar);
                if !short || verdict != Verdict::Keep {
                    continue;
                }
                payload.clear();
                exemplars::encode(&mut payload, series.encoded(), exemplar);
                self.wal.buffer(KIND_EXEMPLARS, |out| out.put(&payload))?;
                let record = Record::Exemplar { series: series.encoded(), exemplar };
                self.head.borrow_mut().apply(&record);
            }
        }
        Ok(())
    }

    /// The labels of a series that the head has.
    fn labels_of(&self, view: &SeriesView<'_>) -> Option<Labels> {
        let head = self.head.borrow();
        match view.known {
            Some(number) => head.labels(number),
            None => head.find(view.fingerprint, view.labels).and_then(|number| head.labels(number)),
        }
    }
}
