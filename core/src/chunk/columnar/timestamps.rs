//! The times of a chunk: a line through them, and how far each lies from it.
//!
//! ```text
//! +----------------+-----------------+
//! | first: varint  | step: varint    |                 mode 0: sample i is at first + i * step
//! +----------------+-----------------+----------------+
//! | first: varint  | step: varint    | deviations     |   mode 1: that plus deviation i, packed as `integer` draws it
//! +----------------+-----------------+----------------+
//! ```
//!
//! The step is the median one, or the whole seconds that it is close to. A scraper that keeps its grid deviates by a few milliseconds and not more with time, one that
//! drifts has deviations that are packed as deltas, and a missing scrape is one larger step.

use super::integer::{self, Reader};
use super::pack::BLOCK;
use super::{Effort, malformed};
use crate::chunk::ChunkError;
use crate::chunk::bits::push_varint;
use crate::head::record::Input;
use crate::model::time::TimestampMs;

const REGULAR: u8 = 0;
const DEVIATING: u8 = 1;

/// Appends the times, of which there is one at least, and returns their mode.
pub(super) fn encode(times: &[TimestampMs], out: &mut Vec<u8>) -> u8 {
    let (first, step) = (times[0], usual_step(times));
    push_varint(out, first);
    push_varint(out, step);
    let on_line = |i: usize| first.wrapping_add(step.wrapping_mul(i as i64));
    let deviations: Vec<i64> =
        times.iter().enumerate().map(|(i, t)| t.wrapping_sub(on_line(i))).collect();
    if deviations.iter().all(|deviation| *deviation == 0) {
        return REGULAR;
    }
    integer::encode(&deviations, Effort::Fast, out);
    DEVIATING
}

/// The median step, rounded to seconds if it is almost that; 0 when there is none.
fn usual_step(times: &[TimestampMs]) -> i64 {
    let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let middle = steps.len() / 2;
    match steps.first() {
        Some(first) if steps.iter().all(|step| step == first) => *first,
        Some(_) => round_to_seconds(*steps.select_nth_unstable(middle).1),
        None => 0,
    }
}

/// Whole seconds if they differ by a percent at most.
fn round_to_seconds(step: i64) -> i64 {
    let seconds = step.saturating_add(500) / 1000 * 1000;
    if step.abs_diff(seconds) <= step.unsigned_abs() / 100 { seconds } else { step }
}

/// Fills `times`, which is as long as the chunk has samples.
pub(super) fn decode(
    mode: u8,
    input: &mut Input<'_>,
    times: &mut [TimestampMs],
) -> Result<(), ChunkError> {
    let ends = malformed("its times end early");
    let (first, step) = (input.varint().ok_or(ends)?, input.varint().ok_or(ends)?);
    match mode {
        REGULAR => {
            fill_line(times, first, step);
            if is_rising(first, step, times.len()) {
                return Ok(());
            }
        }
        DEVIATING => {
            let mut reader = Reader::new(input, times.len())?;
            for block in times.chunks_mut(BLOCK) {
                reader.next(input, block)?;
            }
            for (i, t) in times.iter_mut().enumerate() {
                *t = t.wrapping_add(first.wrapping_add(step.wrapping_mul(i as i64)));
            }
        }
        _ => return Err(malformed("its times are kept in an unknown way")),
    }
    // A range is found by bisection, and whoever merges chunks relies on the order.
    if times.is_sorted() { Ok(()) } else { Err(malformed("its times do not ascend")) }
}

/// `first + i * step`, four at a time, since each of them needs only its neighbour four places before.
fn fill_line(times: &mut [TimestampMs], first: i64, step: i64) {
    let mut lanes = [0, 1, 2, 3].map(|i| first.wrapping_add(step.wrapping_mul(i)));
    let (fours, rest) = times.as_chunks_mut::<4>();
    for four in fours {
        *four = lanes;
        lanes = lanes.map(|t| t.wrapping_add(step.wrapping_mul(4)));
    }
    for (t, lane) in rest.iter_mut().zip(lanes) {
        *t = lane;
    }
}

/// Whether a line of so many times ascends without leaving the range of times.
fn is_rising(first: i64, step: i64, count: usize) -> bool {
    let last = step.checked_mul(count as i64).and_then(|length| first.checked_add(length));
    step >= 0 && last.is_some()
}
