//! What the samples of a chunk have besides times and floats: native histograms and the starts of counters.
//!
//! ```text
//! details   detail | detail | ...
//! detail    time, minus the time of the detail before: uvarint | start, minus time: varint, 0 if unknown | histogram: u8 | histogram
//!           0: none    1: as `chunk::histogram` draws it
//! ```
//!
//! Times and not places in the chunk, so that a chunk may be read in part. Pure functions.

use std::ops::Range;
use std::sync::Arc;

use crate::chunk::bits::{push_uvarint, push_varint};
use crate::chunk::histogram;
use crate::head::record::Input;
use crate::model::columns::SampleColumns;

/// Encodes the details of some samples, if they have any.
pub(super) fn encode(samples: &SampleColumns, range: Range<usize>, out: &mut Vec<u8>) {
    let mut before = 0;
    for i in range {
        let t = samples.timestamps[i];
        let histogram = samples.histograms.get(i).and_then(Option::as_ref);
        let start_ms = samples.start_timestamps.get(i).copied().unwrap_or(0);
        if histogram.is_none() && start_ms == 0 {
            continue;
        }
        push_uvarint(out, t.wrapping_sub(before) as u64);
        push_varint(out, if start_ms == 0 { 0 } else { start_ms.wrapping_sub(t) });
        out.push(u8::from(histogram.is_some()));
        if let Some(histogram) = histogram {
            histogram::encode(histogram, out);
        }
        before = t;
    }
}

/// Fills details into the samples from number `from` on that have their times. `None` if the bytes make no sense.
pub(super) fn decode(bytes: &[u8], from: usize, out: &mut SampleColumns) -> Option<()> {
    let (mut input, mut t, mut i) = (Input { bytes }, 0_i64, from);
    while !input.bytes.is_empty() {
        t = t.wrapping_add(input.uvarint()? as i64);
        let start = input.varint()?;
        let histogram = match input.byte()? {
            0 => None,
            1 => Some(Arc::new(histogram::decode(&mut input)?)),
            _ => return None,
        };
        while out.timestamps.get(i).is_some_and(|at| *at < t) {
            i += 1;
        }
        if out.timestamps.get(i) != Some(&t) {
            continue;
        }
        if histogram.is_some() {
            out.histograms.resize(out.timestamps.len(), None);
            out.histograms[i] = histogram;
        }
        if start != 0 {
            out.start_timestamps.resize(out.timestamps.len(), 0);
            out.start_timestamps[i] = t.wrapping_add(start);
        }
    }
    Some(())
}
