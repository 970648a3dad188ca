//! Sorting in turns: a merge sort that offers the core to other tasks between any two short steps.

use std::cmp::Ordering;

use super::task::yield_if_needed;

/// How many are sorted or merged at a stretch: some 100 us of comparing label sets.
const RUN: usize = 512;

/// Sorts `items` by `compare`; equals stay in their order. Short runs are sorted, then merged (bottom-up merge sort), with the core offered
/// to others in between.
pub async fn sort_in_turns<T: Copy>(
    mut items: Vec<T>,
    compare: impl Fn(T, T) -> Ordering,
) -> Vec<T> {
    for run in items.chunks_mut(RUN) {
        run.sort_by(|a, b| compare(*a, *b));
        yield_if_needed().await;
    }
    let (mut width, mut merged) = (RUN, Vec::with_capacity(items.len()));
    while width < items.len() {
        merged.clear();
        for pair in items.chunks(2 * width) {
            let (a, b) = pair.split_at(width.min(pair.len()));
            merge(a, b, &compare, &mut merged).await;
        }
        std::mem::swap(&mut items, &mut merged);
        width *= 2;
    }
    items
}

/// Appends two sorted runs to `out` in order, of equals those of `a` first.
async fn merge<T: Copy>(
    mut a: &[T],
    mut b: &[T],
    compare: &impl Fn(T, T) -> Ordering,
    out: &mut Vec<T>,
) {
    // Runs that follow each other, as those of one block do, need no merging.
    let in_order = matches!((a, b), ([.., last], [first, ..]) if compare(*last, *first).is_le());
    while !in_order && let ([first, rest_a @ ..], [second, rest_b @ ..]) = (a, b) {
        if compare(*first, *second).is_le() {
            out.push(*first);
            a = rest_a;
        } else {
            out.push(*second);
            b = rest_b;
        }
        if out.len().is_multiple_of(RUN) {
            yield_if_needed().await;
        }
    }
    out.extend_from_slice(a);
    out.extend_from_slice(b);
}

#[cfg(test)]
mod tests {
    use super::super::sim;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_a_stable_sort_does(
            items in proptest::collection::vec((0..40_u8, any::<u16>()), 0..4_000),
            sorted_up_to in 0..4_000_usize,
        ) {
            let mut items = items;
            let part = sorted_up_to.min(items.len());
            items[..part].sort_unstable();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            let sorted = sim::run(1, sort_in_turns(items, |a, b| a.0.cmp(&b.0)));
            prop_assert_eq!(sorted, expected);
        }
    }
}
