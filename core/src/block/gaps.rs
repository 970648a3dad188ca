//! Postings in the index of a block: the series that have one label pair, as gaps and runs.
//!
//! ```text
//! postings  run | run | ...
//! run       gap since the run before << 1 | longer than one: uvarint | length - 2: uvarint, if it is
//! ```
//!
//! Series are numbered in the order of their labels, so a metric name is one run, and most other pairs are a few gaps of a byte. Pure functions.

use crate::chunk::bits::push_uvarint;
use crate::head::record::Input;

/// Collects ascending series numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    count: u32,
    /// The number after the last one.
    next: u32,
    gap: u32,
    /// Length of the run that is not encoded yet.
    run: u32,
    bytes: Vec<u8>,
}

impl Gaps {
    /// Adds a number, which must be above all before it.
    pub(super) fn push(&mut self, number: u32) {
        debug_assert!(number >= self.next);
        if self.run > 0 && number == self.next {
            self.run += 1;
        } else {
            self.end_run();
            self.gap = number - self.next;
            self.run = 1;
        }
        self.count += 1;
        self.next = number + 1;
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            push_uvarint(&mut self.bytes, u64::from(self.gap) << 1 | u64::from(self.run > 1));
        }
        if self.run > 1 {
            push_uvarint(&mut self.bytes, u64::from(self.run) - 2);
        }
        self.run = 0;
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Heap bytes, about.
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// The encoding.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_run();
        self.bytes
    }
}

/// Calls `visit` with each number below `end` of an encoding. `None` if the bytes make no sense.
pub(super) fn decode(bytes: &[u8], end: u32, mut visit: impl FnMut(u32)) -> Option<()> {
    let (mut input, mut next) = (Input { bytes }, 0_u32);
    while !input.bytes.is_empty() {
        let head = input.uvarint()?;
        let first = next.checked_add(u32::try_from(head >> 1).ok()?)?;
        let len = match head & 1 {
            0 => 1,
            _ => u32::try_from(input.uvarint()?).ok()?.checked_add(2)?,
        };
        next = first.checked_add(len).filter(|next| *next <= end)?;
        (first..next).for_each(&mut visit);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
           #[test]
           fn numbers_go_round(numbers: BTreeSet<u16>, low in proptest::collection::btree_set(0_u32..40, 0..40)) {
               for set in [numbers.into_iter().map(u32::from).collect(), low] {
                   let mut gaps = Gaps::default();
                   for &number in &set {
    gaps.push(number);
    }
                   prop_assert_eq!(gaps.count() as usize, set.len());
                   let (bytes, mut found) = (gaps.finish(), Vec::new());
                   decode(&bytes, 1 << 16, |number| found.push(number)).unwrap();
                   prop_assert!(found.iter().eq(set.iter()));
                   if let Some(&last) = set.last() {
                       prop_assert!(decode(&bytes, last, |_| ()).is_none());
                   }
               }
           }

           #[test]
           fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
               decode(&bytes, 1000, |_| ());
           }
       }

    #[test]
    fn a_run_takes_two_numbers() {
        let mut gaps = Gaps::default();
        (1000..100_000).for_each(|number| gaps.push(number));
        assert_eq!(gaps.finish().len(), 2 + 3);
    }
}
