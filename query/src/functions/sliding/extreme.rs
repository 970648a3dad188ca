//! `min_over_time`, `max_over_time` and the times of what they find: a monotone queue.
//!
//! The queue holds the samples of the window that may still become its extreme: each is beaten by none after it. What enters
//! throws out from the back what it beats; what has left the window falls off the front; the front is the answer. NaN is beaten
//! by everything, by another NaN too.

use std::collections::VecDeque;

use super::windows::Windows;
use crate::eval::window::Seen;

/// Calls `found` with the step and the index of the extreme of each window, where `wins(value, best)` says that a later value
/// takes the place of the best one so far.
#[inline]
pub(super) fn extreme(
    values: &[f64],
    windows: &Windows,
    wins: impl Fn(f64, f64) -> bool,
    mut found: impl FnMut((usize, usize)),
) -> Seen {
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut entered = 0;
    windows.each(|w| {
        entered = entered.max(w.from);
        while entered < w.to {
            let v = values[entered];
            while let Some(&back) = queue.back()
                && (wins(v, values[back]) || values[back].is_nan())
            {
                queue.pop_back();
            }
            queue.push_back(entered);
            entered += 1;
        }
        while let Some(&front) = queue.front()
            && front < w.from
        {
            queue.pop_front();
        }
        let best = queue.front().expect("the newest sample of a window is in the queue");
        found((w.step, *best));
    })
}
