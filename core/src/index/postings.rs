//! Postings: ascending, distinct series references, and the set operations that selectors are made of.
//!
//! The lists of the values of one label are disjoint (a series has one value per label), so a union is a merge without
//! duplicates. Intersections and differences gallop through the longer side: a short list against a long one costs
//! `short * log(long)`.

use super::SeriesRef;

/// The series that have one certain label: one inline, more on the heap.
#[derive(Clone, Debug)]
pub struct Postings(Kind);

#[derive(Clone, Debug)]
enum Kind {
    One(SeriesRef),
    Many(Vec<SeriesRef>),
}

impl Postings {
    /// Just one series.
    pub fn one(series: SeriesRef) -> Self {
        Postings(Kind::One(series))
    }

    /// Ascending references.
    #[inline]
    pub fn as_slice(&self) -> &[SeriesRef] {
        match &self.0 {
            Kind::One(series) => std::slice::from_ref(series),
            Kind::Many(list) => list,
        }
    }

    /// Adds a series; cheap if its number is the highest.
    pub fn insert(&mut self, series: SeriesRef) {
        match &mut self.0 {
            Kind::One(one) if *one == series => {}
            Kind::One(one) => {
                let list = vec![(*one).min(series), (*one).max(series)];
                self.0 = Kind::Many(list);
            }
            Kind::Many(list) if list.last() < Some(&series) => push(list, series),
            Kind::Many(list) => {
                if let Err(at) = list.binary_search(&series) {
                    list.insert(at, series);
                }
            }
        }
    }

    /// Removes the series of `list`; how many there were.
    pub fn remove(&mut self, list: &[SeriesRef]) -> usize {
        let before = self.as_slice().len();
        match &mut self.0 {
            Kind::One(one) if list.binary_search(one).is_ok() => self.0 = Kind::Many(Vec::new()),
            Kind::One(_) => {}
            Kind::Many(many) => {
                subtract(many, list);
                if many.len() * 2 < many.capacity() {
                    many.shrink_to_fit();
                }
            }
        }
        before - self.as_slice().len()
    }

    /// Heap bytes held.
    pub fn byte_len(&self) -> usize {
        match &self.0 {
            Kind::One(_) => 0,
            Kind::Many(list) => list.capacity() * size_of::<SeriesRef>(),
        }
    }
}

/// Grows by an eighth rather than by doubling: long lists are many, and most of a doubling would stay empty.
fn push(list: &mut Vec<SeriesRef>, series: SeriesRef) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(4));
    }
    list.push(series);
}

/// All that is in any of `lists`, which must be disjoint.
pub fn union(lists: &[&[SeriesRef]]) -> Vec<SeriesRef> {
    let mut all = Vec::with_capacity(lists.iter().map(|list| list.len()).sum());
    for list in lists {
        all.extend_from_slice(list);
    }
    // Stable: it finds the ascending runs and merges them.
    all.sort_by(SeriesRef::cmp);
    all
}

/// Keeps of `list` what is in `other`.
pub fn intersect(list: &mut Vec<SeriesRef>, other: &[SeriesRef]) {
    retain(list, other, true);
}

/// Removes from `list` what is in `other`.
pub fn subtract(list: &mut Vec<SeriesRef>, other: &[SeriesRef]) {
    retain(list, other, false);
}

fn retain(list: &mut Vec<SeriesRef>, mut other: &[SeriesRef], keep_found: bool) {
    list.retain(|&series| {
        other = &other[gallop(other, series)..];
        (other.first() == Some(&series)) == keep_found
    });
}

/// How many of `list` are less than `bound`: doubling steps, then a binary search within the last.
#[inline]
fn gallop(list: &[SeriesRef], bound: SeriesRef) -> usize {
    let mut step = 1;
    while step <= list.len() && list[step - 1] < bound {
        step *= 2;
    }
    let low = step / 2;
    low + list[low..list.len().min(step)].partition_point(|&series| series < bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn sets_behave_as_sets(a: BTreeSet<u16>, b: BTreeSet<u16>) {
            let list = |set: &BTreeSet<u16>| set.iter().map(|&s| u32::from(s)).collect::<Vec<_>>();
            let mut common = list(&a);
            intersect(&mut common, &list(&b));
            prop_assert_eq!(common, list(&(&a & &b)));
            let mut rest = list(&a);
            subtract(&mut rest, &list(&b));
            prop_assert_eq!(&rest, &list(&(&a - &b)));
            prop_assert_eq!(union(&[&rest, &list(&b)]), list(&(&a | &b)));
        }

        #[test]
        fn insertion_keeps_order(numbers in proptest::collection::vec(0_u32..50, 1..60)) {
            let mut postings = Postings::one(numbers[0]);
            for &number in &numbers {
                postings.insert(number);
            }
            let set: BTreeSet<u32> = numbers.into_iter().collect();
            prop_assert_eq!(postings.as_slice(), set.into_iter().collect::<Vec<_>>());
        }
    }
}
