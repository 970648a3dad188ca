//! What can be told of the samples of a series without decoding them: for windows that are longer than chunks.
//!
//! An [`outline`](Selection::outline) cuts the time of a series into stretches. Most are one chunk of a block each, with its
//! [`ChunkStatistics`]; where chunks overlap, where something was deleted, at the ends of the wanted range, and of what memory still has,
//! nothing is told, and the samples have to be read. So who wants the maximum of a month reads two chunks and compares the rest:
//!
//! ```text
//! range             |-----------------------------------------------|
//! chunks       [---------][---------][---------][---------]   [ head ...
//! outline           |----| told       told       told         |-----|
//! ```

use super::Selection;
use crate::block::Figures;
use crate::chunk::ChunkStatistics;
use crate::error::Result;
use crate::model::time::TimeRange;

/// A stretch of the time of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// From when to when. If something is told, the first and the last sample are at its ends.
    pub range: TimeRange,
    /// What is told of its samples. If nothing is, [`Selection::read`] gives them.
    pub statistics: Option<ChunkStatistics>,
}

impl Selection {
    /// Appends to `out` stretches of series `i`, in the order of time, none of which overlaps another. All samples of the series that
    /// lie in `range`, and that were selected, lie in one of them.
    ///
    /// What is told of a stretch are the figures of exactly the samples that [`Selection::read`] gives of its range.
    ///
    /// # Errors
    /// When the disk cannot be read. Of what is damaged nothing is told, and reading it gives the warning.
    pub async fn outline(&self, i: usize, range: TimeRange, out: &mut Vec<Stretch>) -> Result<()> {
        let from = out.len();
        let selected = &self.series[i];
        for part in &self.parts[selected.parts.start as usize..selected.parts.end as usize] {
            let found = &self.found[part.found as usize];
            // Taken and given back, so that no borrow crosses an await.
            let mut figures = found.figures.take();
            let number = found.numbers[part.at as usize];
            if let Err(error) = found.block.read_figures(number, &mut figures).await {
                self.leave_out(&found.block, error)?;
                figures = Figures::default();
            }
            let deleted = found.deleted(part.at);
            let chunks = &found.chunks[part.chunks.start as usize..part.chunks.end as usize];
            out.extend(chunks.iter().map(|chunk| {
                let whole = !deleted.iter().any(|deleted| deleted.overlaps(chunk.range));
                let statistics = figures.of(chunk).filter(|_| whole);
                Stretch { range: chunk.range, statistics }
            }));
            found.figures.replace(figures);
        }
        if let Some((_, last_ms)) = selected.head {
            let range = TimeRange::new(self.cut_ms, last_ms);
            out.push(Stretch { range, statistics: None });
        }
        straighten(out, from, range);
        Ok(())
    }
}

/// Sorts the stretches from number `from` on, makes one of those that overlap, and cuts off what is not in `range`.
fn straighten(stretches: &mut Vec<Stretch>, from: usize, range: TimeRange) {
    stretches[from..].sort_by_key(|stretch| stretch.range.start_ms);
    let mut end = from;
    for at in from..stretches.len() {
        let mut next = stretches[at];
        let whole = next.range;
        next.range =
            TimeRange::new(whole.start_ms.max(range.start_ms), whole.end_ms.min(range.end_ms));
        if next.range.start_ms > next.range.end_ms {
            continue;
        }
        next.statistics = next.statistics.filter(|_| next.range == whole);
        match stretches[from..end].last_mut() {
            Some(before) if before.range.end_ms >= next.range.start_ms => {
                before.range.end_ms = before.range.end_ms.max(next.range.end_ms);
                before.statistics = None;
            }
            _ => {
                stretches[end] = next;
                end += 1;
            }
        }
    }
    stretches.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_overlap_are_one_of_which_nothing_is_told() {
        let of = ChunkStatistics::of(&[1.0]);
        let stretch = |start, end| Stretch { range: TimeRange::new(start, end), statistics: of };
        let mut out = vec![stretch(0, 1), stretch(60, 70), stretch(10, 20), stretch(15, 17)];
        out.extend([stretch(30, 40), stretch(80, 90), stretch(5, 8), stretch(20, 21)]);
        straighten(&mut out, 1, TimeRange::new(6, 85));
        let found: Vec<_> = out
            .iter()
            .map(|s| (s.range.start_ms, s.range.end_ms, s.statistics.is_some()))
            .collect();
        let expected = [
            (0, 1, true),
            (6, 8, false),
            (10, 21, false),
            (30, 40, true),
            (60, 70, true),
            (80, 85, false),
        ];
        assert_eq!(found, expected);
    }
}
