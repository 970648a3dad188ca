//! The populated buckets of one side of a histogram, as two parallel columns in ascending order of bucket index.
//!
//! ```text
//! indexes:  -3   0   1   5      gaps are empty buckets; an explicit bucket may be empty too
//! counts:  2.0 1.0 0.0 7.0
//! ```
//!
//! On the wire and on disk the same is written as *spans* of consecutive buckets; [`Buckets::from_spans`] and
//! [`Buckets::spans`] convert.

/// Sparse bucket counts.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    indexes: Vec<i32>,
    counts: Vec<f64>,
}

impl FromIterator<(i32, f64)> for Buckets {
    /// From pairs in ascending order of index.
    fn from_iter<I: IntoIterator<Item = (i32, f64)>>(pairs: I) -> Self {
        let (indexes, counts): (Vec<i32>, Vec<f64>) = pairs.into_iter().unzip();
        debug_assert!(indexes.is_sorted_by(|a, b| a < b));
        Buckets { indexes, counts }
    }
}

impl Buckets {
    /// From spans of (gap to the previous span, length) and the counts of all their buckets; `None` if they disagree in
    /// number, if indexes overflow or if a later span steps back.
    pub fn from_spans(spans: &[(i32, u32)], counts: &[f64]) -> Option<Self> {
        let mut indexes = Vec::with_capacity(counts.len());
        let mut next = 0_i32;
        for (i, &(gap, length)) in spans.iter().enumerate() {
            if i > 0 && gap < 0 || indexes.len() + length as usize > counts.len() {
                return None;
            }
            next = next.checked_add(gap)?;
            for _ in 0..length {
                indexes.push(next);
                next = next.checked_add(1)?;
            }
        }
        (indexes.len() == counts.len()).then(|| Buckets { indexes, counts: counts.to_vec() })
    }

    /// The same layout as spans of (gap to the previous span, length).
    pub fn spans(&self) -> Vec<(i32, u32)> {
        let mut spans: Vec<(i32, u32)> = Vec::new();
        let mut next = 0;
        for &index in &self.indexes {
            match spans.last_mut() {
                Some(span) if index == next => span.1 += 1,
                _ => spans.push((index - next, 1)),
            }
            next = index + 1;
        }
        spans
    }

    /// Number of explicit buckets.
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether there is no explicit bucket.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// The bucket indexes, ascending.
    pub fn indexes(&self) -> &[i32] {
        &self.indexes
    }

    /// The count of each.
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// The counts, to change them.
    pub fn counts_mut(&mut self) -> &mut [f64] {
        &mut self.counts
    }

    /// Index and count of each bucket, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + ExactSizeIterator + '_ {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    /// The count of bucket `index`; `None` if it is not explicit.
    pub fn get(&self, index: i32) -> Option<f64> {
        self.indexes.binary_search(&index).ok().map(|i| self.counts[i])
    }

    /// Forgets empty buckets.
    pub fn compact(&mut self) {
        if self.counts.contains(&0.0) {
            *self = self.iter().filter(|&(_, count)| count != 0.0).collect();
        }
    }

    /// Forgets all buckets.
    pub fn clear(&mut self) {
        self.indexes.clear();
        self.counts.clear();
    }

    /// Whether both have the same bits in the same buckets.
    pub fn same(&self, other: &Buckets) -> bool {
        self.indexes == other.indexes
            && self.counts.iter().zip(&other.counts).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    /// The buckets of a layout that is `shift` schemas coarser: 2^shift neighbours become one.
    pub fn reduced(&self, shift: u32) -> Buckets {
        let mut out = Buckets::default();
        for (index, count) in self.iter() {
            out.accumulate(reduced_index(index, shift), count);
        }
        out
    }

    /// Adds to the last bucket if that is `index`, else begins it.
    fn accumulate(&mut self, index: i32, count: f64) {
        if self.indexes.last() == Some(&index) {
            if let Some(last) = self.counts.last_mut() {
                *last += count;
            }
        } else {
            self.indexes.push(index);
            self.counts.push(count);
        }
    }

    /// Every bucket of either side, combined by `combine(self's count, other's count)`, absent ones being 0.
    pub fn merged(&self, other: &Buckets, combine: impl Fn(f64, f64) -> f64) -> Buckets {
        if self.indexes == other.indexes {
            let counts =
                self.counts.iter().zip(&other.counts).map(|(&a, &b)| combine(a, b)).collect();
            return Buckets { indexes: self.indexes.clone(), counts };
        }
        merge_indexes(&self.indexes, &other.indexes)
            .map(|(index, a, b)| {
                let count = |side: &Buckets, i: Option<usize>| i.map_or(0.0, |i| side.counts[i]);
                (index, combine(count(self, a), count(other, b)))
            })
            .collect()
    }
}

/// The index in a layout that is `shift` schemas coarser.
#[inline]
pub(super) fn reduced_index(index: i32, shift: u32) -> i32 {
    ((index - 1) >> shift) + 1
}

/// Walks two ascending index columns; gives each index once with its places in both.
pub(super) fn merge_indexes<'a>(
    a: &'a [i32],
    b: &'a [i32],
) -> impl Iterator<Item = (i32, Option<usize>, Option<usize>)> + 'a {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let next = match (a.get(i), b.get(j)) {
            (None, None) => return None,
            (Some(&x), None) => x,
            (None, Some(&y)) => y,
            (Some(&x), Some(&y)) => x.min(y),
        };
        let left = (a.get(i) == Some(&next)).then_some(i);
        let right = (b.get(j) == Some(&next)).then_some(j);
        i += usize::from(left.is_some());
        j += usize::from(right.is_some());
        Some((next, left, right))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_round() {
        let spans = [(-3, 1), (2, 2), (3, 1)];
        let buckets = Buckets::from_spans(&spans, &[2.0, 1.0, 0.0, 7.0]).unwrap();
        assert_eq!(buckets.indexes(), [-3, 0, 1, 5]);
        assert_eq!(buckets.spans(), spans);
        assert!(Buckets::from_spans(&[(0, 2)], &[1.0]).is_none());
        assert!(Buckets::from_spans(&[(0, 1), (-1, 1)], &[1.0, 1.0]).is_none());
        assert!(Buckets::from_spans(&[(i32::MAX, 2)], &[1.0, 1.0]).is_none());
    }

    #[test]
    fn merging_and_reducing() {
        let a: Buckets = [(0, 1.0), (1, 2.0), (4, 3.0)].into_iter().collect();
        let b: Buckets = [(1, 10.0), (2, 20.0)].into_iter().collect();
        let sum = a.merged(&b, |x, y| x + y);
        assert_eq!(sum.iter().collect::<Vec<_>>(), [(0, 1.0), (1, 12.0), (2, 20.0), (4, 3.0)]);
        assert_eq!(sum.reduced(1).iter().collect::<Vec<_>>(), [(0, 1.0), (1, 32.0), (2, 3.0)]);
        let mut gone = a.merged(&a, |x, y| x - y);
        gone.compact();
        assert!(gone.is_empty());
    }
}
