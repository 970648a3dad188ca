//! Handing over what the head of a shard holds to the shards that own its series from now on: for a data directory that is made anew.

use std::rc::Rc;

use super::Shard;
use crate::append::{AppendBatch, AppendOutcome};
use crate::error::{Error, Result};
use crate::head::details::SampleDetail;
use crate::head::record::Record;
use crate::index::SeriesRef;
use crate::limits::HAND_OVER_SAMPLES;
use crate::model::columns::SampleColumns;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::time::{TimeRange, TimestampMs};

impl Shard {
    /// Appends every sample that is not in a block of this shard to those of `owners` that own them, with metadata and exemplars; how many
    /// samples there were. It is durable when `owners` have been closed.
    ///
    /// # Errors
    /// When a chunk cannot be read, or an owner refuses a sample: then nothing may rely on `owners`.
    pub async fn hand_over(&self, owners: &[Rc<Shard>]) -> Result<u64> {
        let (mut handed, mut samples) = (0, SampleColumns::new());
        let mut batches: Vec<AppendBatch> = owners.iter().map(|_| AppendBatch::new()).collect();
        let end = self.0.head.borrow().next_series();
        for number in 0..end {
            samples.clear();
            let Some(labels) = self.read_series(number, &mut samples).await? else { continue };
            let owner = labels.fingerprint().owner(owners.len() as u32) as usize;
            push(&mut batches[owner], &labels, &samples);
            handed += samples.len() as u64;
            if batches[owner].sample_count() >= HAND_OVER_SAMPLES {
                give(&owners[owner], std::mem::take(&mut batches[owner])).await?;
            }
        }
        for (owner, batch) in owners.iter().zip(batches) {
            give(owner, batch).await?;
        }
        self.hand_over_rest(owners);
        Ok(handed)
    }

    /// The labels of a series of the head and what it holds of it; none if it is no series.
    async fn read_series(
        &self,
        number: SeriesRef,
        out: &mut SampleColumns,
    ) -> Result<Option<Labels>> {
        let Some(labels) = self.0.head.borrow().labels(number) else { return Ok(None) };
        let not_in_blocks = TimeRange::new(self.0.catalog.cut_ms(), TimestampMs::MAX);
        self.0.read_head(number, not_in_blocks, out, Err).await?;
        Ok(Some(labels))
    }

    /// Metadata and exemplars, which go with the checkpoint that closing writes.
    fn hand_over_rest(&self, owners: &[Rc<Shard>]) {
        let head = self.0.head.borrow();
        for owner in owners {
            let mut of_owner = owner.0.head.borrow_mut();
            for (family, metadata) in head.metadata().iter() {
                of_owner.apply(&Record::Metadata { family, metadata });
            }
        }
        let everything: [Vec<Matcher>; 1] = [Vec::new()];
        for (labels, exemplars) in head.exemplars().select(&everything, TimeRange::ALL) {
            let owner = labels.fingerprint().owner(owners.len() as u32) as usize;
            let mut of_owner = owners[owner].0.head.borrow_mut();
            for exemplar in &exemplars {
                of_owner.apply(&Record::Exemplar { series: labels.encoded(), exemplar });
            }
        }
    }
}

fn push(batch: &mut AppendBatch, labels: &Labels, samples: &SampleColumns) {
    if samples.is_empty() {
        return;
    }
    batch.push_series(labels.fingerprint(), labels.encoded());
    for (i, (&t, &value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
        batch.push_sample(t, value);
        let histogram = samples.histograms.get(i).cloned().flatten();
        let start_ms = samples.start_timestamps.get(i).copied().unwrap_or(0);
        if histogram.is_some() || start_ms != 0 {
            batch.push_detail(t, SampleDetail { histogram, start_ms });
        }
    }
}

async fn give(owner: &Shard, batch: AppendBatch) -> Result<()> {
    let outcome: AppendOutcome = owner.append(batch).await?;
    if outcome.refused_total() > 0 {
        return Err(Error::Overloaded { what: "the new shards have no room for the old ones" });
    }
    owner.tick().await
}
