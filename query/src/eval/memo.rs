//! What was evaluated once and is wanted again: the values of common subexpressions, from the first time to the last.
//!
//! Lowering marks the parts of a query that repeat ([`crate::plan::repeats`]). The same part has the same value only at the same
//! steps, so these are part of the key: inside a subquery it is another value. Who takes a value for the last time takes it away.

use std::cell::RefCell;

use hashbrown::HashMap;

use super::batch::Steps;
use super::calls::Output;
use crate::budget::Weight;
use crate::plan::node::Shared;

/// The values that are kept by one evaluation.
#[derive(Debug, Default)]
pub struct Memo(RefCell<HashMap<Key, Kept>>);

/// Which part, whether only counts and sums of histograms were looked at, and when.
type Key = (u32, bool, Steps);

#[derive(Debug)]
struct Kept {
    output: Output,
    /// Samples that were looked at for it: they count as often as it is used.
    seen: u64,
    uses_left: u32,
}

impl Memo {
    /// The value of a part that was evaluated at these steps before, and how many samples that had looked at.
    pub(super) fn take(&self, part: &Shared, steps: Steps) -> Option<(Output, u64)> {
        let mut kept = self.0.borrow_mut();
        let key = key(part, steps);
        let known = kept.get_mut(&key)?;
        known.uses_left -= 1;
        if known.uses_left > 0 {
            return Some((known.output.clone(), known.seen));
        }
        kept.remove(&key).map(|known| (known.output, known.seen))
    }

    /// Keeps the value of a part for those that read the same.
    pub(super) fn keep(&self, part: &Shared, steps: Steps, output: &Output, seen: u64) {
        let uses_left = part.count - 1;
        let kept = Kept { output: output.clone(), seen, uses_left };
        self.0.borrow_mut().insert(key(part, steps), kept);
    }

    /// What all that is kept weighs in the query's budget.
    pub(super) fn weight(&self) -> Weight {
        self.0
            .borrow()
            .values()
            .map(|kept| kept.output.weight())
            .fold(Weight::default(), Weight::plus)
    }
}

fn key(part: &Shared, steps: Steps) -> Key {
    (part.number, part.stats_only, steps)
}
