//! `quantile_over_time`: a window that is kept sorted while it slides.
//!
//! What enters is put in its place, what leaves is found by binary search: two moves of memory within a few cache lines. Where a
//! step replaces so much of the window that selecting from it is cheaper, it is selected from.

use tidemark_core::model::histogram::GoFloat;

use super::super::quantile::{nan_first, quantile, quantile_of_sorted};
use super::windows::Windows;
use crate::eval::notes::NoteKind;
use crate::eval::window::{KernelContext, Seen};

/// Keeping a window sorted pays as long as a step replaces less than one of so many of its samples.
const REPLACED_MIN: usize = 8;

/// `quantile_over_time`; the quantile is the first scalar argument.
pub(super) fn quantile_over_time(
    values: &[f64],
    windows: &Windows,
    cx: &mut KernelContext<'_>,
    out: &mut [f64],
) -> Seen {
    let mut window = SortedWindow::default();
    windows.each(|w| {
        let q = cx.args[0][w.step];
        if !(0.0..=1.0).contains(&q) {
            cx.notes.add(NoteKind::InvalidQuantile, &GoFloat(q).to_string(), cx.pos);
        }
        out[w.step] = if window.follows(w.from, w.to) {
            window.slide(values, w.from, w.to);
            quantile_of_sorted(q, &window.sorted)
        } else {
            cx.scratch.values.clear();
            cx.scratch.values.extend_from_slice(&values[w.from..w.to]);
            quantile(q, &mut cx.scratch.values)
        };
    })
}

/// The samples `from..to`, sorted, NaNs first.
#[derive(Default)]
struct SortedWindow {
    from: usize,
    to: usize,
    sorted: Vec<f64>,
}

impl SortedWindow {
    /// Whether getting to another window by sliding is cheap; a window that was never filled is, once the next ones will be.
    fn follows(&mut self, from: usize, to: usize) -> bool {
        let replaced = from.saturating_sub(self.from) + to.saturating_sub(self.to);
        let cheap = replaced * REPLACED_MIN <= 2 * (to - from);
        if !cheap {
            // The next window may follow this one.
            (self.from, self.to) = (from, to);
            self.sorted.clear();
        }
        cheap
    }

    fn slide(&mut self, values: &[f64], from: usize, to: usize) {
        if self.sorted.is_empty() {
            self.sorted.extend_from_slice(&values[self.from..self.to]);
            self.sorted.sort_unstable_by(|a, b| nan_first(*a, *b));
        }
        for &v in &values[self.from..from] {
            let at = self.sorted.partition_point(|x| nan_first(*x, v).is_lt());
            self.sorted.remove(at);
        }
        for &v in &values[self.to..to] {
            let at = self.sorted.partition_point(|x| nan_first(*x, v).is_lt());
            self.sorted.insert(at, v);
        }
        (self.from, self.to) = (from, to);
    }
}
