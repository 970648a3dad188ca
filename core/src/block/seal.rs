//! Samples of one series into the chunks of a block.

use super::details;
use super::writer::NewChunk;
use crate::chunk::{self, ChunkStatistics, Effort};
use crate::limits::CHUNK_SAMPLES_MAX;
use crate::model::columns::SampleColumns;
use crate::model::time::TimeRange;

/// Encodes samples into chunks of at most `samples_max`, or of fewer where they are histograms, which take more room.
pub fn seal_all(samples: &SampleColumns, samples_max: usize, effort: Effort) -> Vec<NewChunk> {
    let plain = samples.histograms.is_empty();
    let samples_max = if plain { samples_max } else { usize::from(CHUNK_SAMPLES_MAX) };
    let mut chunks = Vec::with_capacity(samples.len().div_ceil(samples_max));
    // Equal shares: a full chunk and a rest of a few samples would take more.
    let count = samples.len().div_ceil(samples_max).max(1);
    let mut start = 0;
    for i in 0..count {
        let end = samples.len() * (i + 1) / count;
        if start < end {
            chunks.push(seal(samples, start, end, effort));
        }
        start = end;
    }
    chunks
}

fn seal(samples: &SampleColumns, start: usize, end: usize, effort: Effort) -> NewChunk {
    let timestamps = &samples.timestamps[start..end];
    let (encoding, bytes) = chunk::seal(timestamps, &samples.values[start..end], effort);
    let mut details = Vec::new();
    details::encode(samples, start..end, &mut details);
    // Who reads a histogram, or the start of a counter, has to see it.
    let plain = if details.is_empty() { &samples.values[start..end] } else { &[] };
    NewChunk {
        statistics: ChunkStatistics::of(plain),
        range: TimeRange::new(timestamps[0], timestamps[timestamps.len() - 1]),
        samples: timestamps.len() as u16,
        encoding,
        bytes,
        details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::FloatHistogram;
    use std::sync::Arc;

    #[test]
    fn chunks_and_details_hold_what_was_sealed() {
        let mut samples = SampleColumns::new();
        for i in 0..1000_i64 {
            if i % 3 == 0 {
                let sum = i as f64;
                let histogram = FloatHistogram { sum, count: 7.0, ..FloatHistogram::default() };
                samples.push_histogram(i * 15, Arc::new(histogram));
                samples.set_start_timestamp(i - 9);
            } else {
                samples.push(i * 15, 0.5);
            }
        }
        let chunks = seal_all(&samples, 480, Effort::Fast);
        assert_eq!(chunks.len(), 9);
        let mut again = SampleColumns::new();
        for new in &chunks {
            let from = again.len();
            chunk::decode(new.encoding, &new.bytes, TimeRange::ALL, &mut again).unwrap();
            details::decode(&new.details, from, &mut again).unwrap();
        }
        assert_eq!((&again.timestamps, &again.values), (&samples.timestamps, &samples.values));
        assert_eq!(again.start_timestamps, samples.start_timestamps);
        let same =
            |(a, b): (&Option<Arc<FloatHistogram>>, &Option<Arc<FloatHistogram>>)| match (a, b) {
                (Some(a), Some(b)) => a.same(b) && a.hint == b.hint,
                (a, b) => a.is_none() && b.is_none(),
            };
        assert!(again.histograms.iter().zip(&samples.histograms).all(same));
        let floats = SampleColumns { histograms: vec![], start_timestamps: vec![], ..samples };
        let chunks = seal_all(&floats, 480, Effort::Fast);
        assert!(chunks.iter().map(|c| c.samples).eq([333, 333, 334]));
        assert!(seal_all(&SampleColumns::new(), 480, Effort::Fast).is_empty());
    }
}
