//! The exemplars of a shard: a ring of the newest ones, whatever their series.
//!
//! ```text
//! ring    | oldest | ... | newest |          at most as many as the shard may keep; the oldest go first
//! series  labels -> exemplars in the ring, the newest of them
//! ```
//!
//! They are kept by the labels of their series and not by its number, so that they outlive the series in the head. They are
//! logged before they are applied, and written whole into every checkpoint. Owned by the shard's core.

mod record;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::limits::SHARD_EXEMPLARS_MAX;
use crate::model::exemplar::Exemplar;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::time::TimeRange;

pub(crate) use record::decode;
pub use record::encode;

/// Exemplars in the order of their arrival.
#[derive(Debug)]
pub struct Exemplars {
    max: usize,
    ring: VecDeque<(Rc<Labels>, Exemplar)>,
    series: HashMap<Rc<Labels>, OfSeries>,
}

/// What is known of the exemplars of one series.
#[derive(Debug)]
struct OfSeries {
    count: usize,
    newest: Exemplar,
}

/// What becomes of an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept.
    Keep,
    /// It says what the newest of its series says.
    Repeats,
    /// It is older than the newest of its series.
    OutOfOrder,
}

impl Default for Exemplars {
    fn default() -> Self {
        Exemplars { max: SHARD_EXEMPLARS_MAX, ring: VecDeque::new(), series: HashMap::new() }
    }
}

impl Exemplars {
    /// Keeps at most so many from now on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
        while self.ring.len() > max {
            self.forget_oldest();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Of how many series.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// What would become of an exemplar of a series.
    pub fn judge(&self, series: &Labels, exemplar: &Exemplar) -> Verdict {
        match self.series.get(series).map(|of| &of.newest) {
            Some(newest) if newest.repeats(exemplar) => Verdict::Repeats,
            Some(newest) if exemplar.timestamp_ms < newest.timestamp_ms => Verdict::OutOfOrder,
            _ => Verdict::Keep,
        }
    }

    /// Adds an exemplar unless it is there or too late; the oldest makes room.
    pub fn push(&mut self, series: Labels, exemplar: &Exemplar) {
        if self.max == 0 || self.judge(&series, exemplar) != Verdict::Keep {
            return;
        }
        if self.ring.len() >= self.max {
            self.forget_oldest();
        }
        let key = match self.series.get_key_value(&series) {
            Some((key, _)) => Rc::clone(key),
            None => Rc::new(series),
        };
        let newest = exemplar.clone();
        match self.series.get_mut(&*key) {
            Some(of) => *of = OfSeries { count: of.count + 1, newest },
            None => drop(self.series.insert(Rc::clone(&key), OfSeries { count: 1, newest })),
        }
        self.ring.push_back((key, exemplar.clone()));
    }

    fn forget_oldest(&mut self) {
        let Some((series, _)) = self.ring.pop_front() else { return };
        if let Some(of) = self.series.get_mut(&*series) {
            of.count -= 1;
            if of.count == 0 {
                self.series.remove(&*series);
            }
        }
    }

    /// The exemplars in `range` of the series that pass any of the selectors, by series, in order of time.
    pub fn select(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> BTreeMap<Labels, Vec<Exemplar>> {
        let pass = |labels: &Labels, matchers: &Vec<Matcher>| {
            matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or("")))
        };
        let wanted: hashbrown::HashSet<&Labels> = (self.series.keys().map(|labels| &**labels))
            .filter(|labels| selectors.iter().any(|matchers| pass(labels, matchers)))
            .collect();
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for (series, exemplar) in &self.ring {
            if range.contains(exemplar.timestamp_ms) && wanted.contains(&**series) {
                found.entry((**series).clone()).or_default().push(exemplar.clone());
            }
        }
        found
    }

    /// All of them, in payloads of about `bytes` bytes.
    pub fn encode_all(&self, bytes: usize) -> Vec<Vec<u8>> {
        let (mut payloads, mut payload) = (Vec::new(), Vec::new());
        for (series, exemplar) in &self.ring {
            encode(&mut payload, series.encoded(), exemplar);
            if payload.len() >= bytes {
                payloads.push(std::mem::take(&mut payload));
            }
        }
        payloads.extend((!payload.is_empty()).then_some(payload));
        payloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    fn exemplar(timestamp_ms: i64, trace: &str) -> Exemplar {
        let labels = Labels::from_pairs([("trace_id", trace)]);
        Exemplar { labels, value: 0.5, timestamp_ms, dated: true }
    }

    fn all(exemplars: &Exemplars) -> Vec<(String, Vec<i64>)> {
        let found = exemplars.select(&[vec![]], TimeRange::new(i64::MIN, i64::MAX));
        let times = |list: Vec<Exemplar>| list.iter().map(|e| e.timestamp_ms).collect();
        found.into_iter().map(|(labels, list)| (labels.to_string(), times(list))).collect()
    }

    #[test]
    fn the_oldest_make_room() {
        let mut exemplars = Exemplars::default();
        exemplars.set_max(3);
        for (name, t) in [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("c", 5)] {
            exemplars.push(series(name), &exemplar(t, "x"));
        }
        assert_eq!(all(&exemplars), [("a".to_owned(), vec![3, 4]), ("c".to_owned(), vec![5])]);
        assert_eq!((exemplars.len(), exemplars.series_count()), (3, 2));
        exemplars.set_max(0);
        exemplars.push(series("a"), &exemplar(9, "x"));
        assert!(exemplars.is_empty() && exemplars.series_count() == 0);
    }

    #[test]
    fn what_is_known_or_late_is_left_out() {
        let mut exemplars = Exemplars::default();
        exemplars.push(series("a"), &exemplar(5, "x"));
        let judge = |t, trace| exemplars.judge(&series("a"), &exemplar(t, trace));
        assert_eq!(judge(5, "x"), Verdict::Repeats);
        assert_eq!(judge(4, "y"), Verdict::OutOfOrder);
        assert_eq!(judge(5, "y"), Verdict::Keep);
        assert_eq!(exemplars.judge(&series("b"), &exemplar(4, "y")), Verdict::Keep);
    }

    #[test]
    fn selectors_and_times_choose() {
        let mut exemplars = Exemplars::default();
        for (name, t) in [("a", 1), ("b", 2), ("a", 3)] {
            exemplars.push(series(name), &exemplar(t, "x"));
        }
        let select = |selectors: &[Vec<Matcher>], from, to| {
            let found = exemplars.select(selectors, TimeRange::new(from, to));
            found.values().map(Vec::len).sum::<usize>()
        };
        let named = |name: &str| vec![Matcher::equal("__name__", name)];
        assert_eq!(select(&[named("a")], 0, 9), 2);
        assert_eq!(select(&[named("a"), named("b")], 0, 2), 2);
        assert_eq!(select(&[named("c")], 0, 9), 0);
        assert_eq!(select(&[], 0, 9), 0);
    }

    #[test]
    fn they_go_round() {
        let mut exemplars = Exemplars::default();
        for i in 0..100 {
            exemplars.push(series(&format!("s{}", i % 7)), &exemplar(i - 50, &i.to_string()));
        }
        let mut again = Exemplars::default();
        let payloads = exemplars.encode_all(500);
        assert!(payloads.len() > 3);
        for payload in &payloads {
            decode(payload, &mut |series, exemplar| {
                again.push(Labels::from_encoded(series).unwrap(), exemplar);
            })
            .unwrap();
        }
        assert_eq!(all(&again), all(&exemplars));
        assert_eq!(again.ring, exemplars.ring);
    }
}
