//! Answers to range queries, kept for the same query a little later: dashboards that refresh ask for a window that slides.
//!
//! An answer is a function of the samples around each of its steps, if the query is one whose steps know nothing of the whole
//! range ([`eligible`]). So of an answer kept before, those steps still hold whose samples have not changed: every
//! shard tells the oldest sample that has come since ([`Shard::oldest_change_since`]). The others, mostly the newest few, are evaluated, and
//! the two parts are joined series by series. An answer counts from before the shards are asked what has changed, so nothing
//! falls between.
//!
//! ```text
//! kept        |--------------------------------|
//! changed                               ^ oldest sample that came since
//! asked for          |-------------------------------|
//!                    |<---- kept ------>|< evaluated >|
//! ```
//!
//! Nothing is kept of a query that is asked once, nor of an answer with notes. Bounded in bytes; what was used longest ago goes
//! first. One on each core, owned by its engine.
//!
//! [`Shard::oldest_change_since`]: tidemark_core::shard::Shard::oldest_change_since

pub mod eligible;
mod join;

use std::rc::Rc;

use hashbrown::HashMap;
use tidemark_core::model::tenant::Tenant;
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime::clock::Instant;

use crate::eval::batch::Steps;
use crate::limits::{CACHED_ANSWER_SHARE, CACHED_ANSWERS_MAX};
use crate::value::Series;

pub use join::join;

/// What has to be the same for an answer to be of use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who asks, where tenants are told apart.
    pub tenant: Option<Tenant>,
    /// The text of the query.
    pub query: Rc<str>,
    /// Distance of its steps.
    pub step_ms: i64,
    /// Where between two multiples of that distance its steps lie.
    pub phase_ms: i64,
    /// How far back instant selectors look.
    pub lookback_ms: i64,
}

/// An answer that is kept.
#[derive(Debug)]
pub struct Kept {
    /// Its steps.
    pub steps: Steps,
    /// Its series, sorted by labels.
    pub series: Vec<Series>,
    /// From when on changes have to be looked at.
    pub since: Instant,
}

/// What is known of a query.
#[derive(Clone, Debug)]
pub enum Known {
    /// Nothing: it has not been asked lately.
    Nothing,
    /// It has been asked.
    Asked,
    /// It has been asked and answered.
    Answered(Rc<Kept>),
}

/// Answers kept by one core.
#[derive(Debug)]
pub struct ResultCache {
    bytes_max: usize,
    bytes: usize,
    entries: HashMap<Key, Entry>,
    /// Counts uses, to tell what was used longest ago.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    kept: Option<Rc<Kept>>,
    bytes: usize,
    used: u64,
}

impl ResultCache {
    /// An empty cache of so many bytes; none at all keep nothing.
    pub fn new(bytes_max: usize) -> Self {
        ResultCache { bytes_max, bytes: 0, entries: HashMap::new(), uses: 0 }
    }

    /// Whether it keeps anything at all.
    pub fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is known of a query that is asked now.
    pub fn ask(&mut self, key: &Key) -> Known {
        self.uses += 1;
        let used = self.uses;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.used = used;
            return entry.kept.clone().map_or(Known::Asked, Known::Answered);
        }
        let bytes = key.query.len() + size_of::<(Key, Entry)>();
        self.insert(key.clone(), Entry { kept: None, bytes, used });
        Known::Nothing
    }

    /// Keeps an answer in place of an older one to the same query, unless it is too large.
    pub fn keep(&mut self, key: Key, kept: Kept) {
        let bytes = key.query.len() + size_of::<(Key, Entry)>() + kept.byte_len();
        if bytes > self.bytes_max / CACHED_ANSWER_SHARE {
            self.forget(&key);
            return;
        }
        self.uses += 1;
        self.insert(key, Entry { kept: Some(Rc::new(kept)), bytes, used: self.uses });
    }

    /// Keeps nothing of a query any more.
    pub fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
        }
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        self.forget(&key);
        self.bytes += entry.bytes;
        self.entries.insert(key, entry);
        while self.bytes > self.bytes_max || self.entries.len() > CACHED_ANSWERS_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.forget(&key);
        }
    }
}

impl Kept {
    fn byte_len(&self) -> usize {
        let series = self.series.iter().map(|series| {
            let histograms = series.histograms.iter().map(|(_, h)| h.sample_weight());
            let samples = series.floats.len() + histograms.sum::<usize>();
            samples * 16 + series.labels.encoded().len() + size_of::<Series>()
        });
        series.sum()
    }

    /// How many of the first of `steps` still hold when no sample older than `oldest_ms` has come or gone. A step looks at
    /// samples up to `ahead_ms` after it.
    pub fn holds(&self, steps: Steps, oldest_ms: TimestampMs, ahead_ms: i64) -> usize {
        if steps.start_ms < self.steps.start_ms || self.steps.count == 0 {
            return 0;
        }
        let last_ms = self.steps.end_ms().min(steps.end_ms());
        let unchanged_ms = oldest_ms.saturating_sub(ahead_ms).saturating_sub(1);
        Steps::new(steps.start_ms, last_ms.min(unchanged_ms), steps.interval_ms).count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::model::sample::Sample;
    use tidemark_core::runtime::sim;

    fn key(query: &str) -> Key {
        Key { tenant: None, query: query.into(), step_ms: 10, phase_ms: 0, lookback_ms: 5 }
    }

    fn kept(samples: usize) -> Kept {
        let floats = vec![Sample { timestamp_ms: 0, value: 0.0 }; samples];
        let series = vec![Series { floats, ..Series::default() }];
        Kept {
            steps: Steps::new(100, 200, 10),
            series,
            since: sim::run(1, async { Instant::now() }),
        }
    }

    #[test]
    fn the_second_answer_is_kept_and_the_oldest_goes() {
        let mut cache = ResultCache::new(20_000);
        assert!(matches!(cache.ask(&key("a")), Known::Nothing));
        assert!(matches!(cache.ask(&key("a")), Known::Asked));
        cache.keep(key("a"), kept(100));
        assert!(matches!(cache.ask(&key("a")), Known::Answered(_)));
        for name in 0..20 {
            cache.keep(key(&name.to_string()), kept(200));
            assert!(cache.bytes() <= 20_000);
        }
        assert!(matches!(cache.ask(&key("a")), Known::Nothing));
        assert!(matches!(cache.ask(&key("19")), Known::Answered(_)));
        cache.keep(key("19"), kept(10_000));
        assert!(matches!(cache.ask(&key("19")), Known::Nothing));
    }

    #[test]
    fn steps_hold_up_to_the_oldest_change() {
        let kept = kept(0);
        let holds =
            |start, end, oldest, ahead| kept.holds(Steps::new(start, end, 10), oldest, ahead);
        assert_eq!(holds(120, 220, i64::MAX, 0), 9);
        assert_eq!(holds(120, 150, i64::MAX, 0), 4);
        assert_eq!(holds(120, 220, 150, 0), 3);
        assert_eq!(holds(120, 220, 151, 0), 4);
        assert_eq!(holds(120, 220, 151, 1), 3);
        assert_eq!(holds(90, 220, i64::MAX, 0), 0);
        assert_eq!(holds(120, 220, i64::MIN, 0), 0);
        assert_eq!(holds(210, 220, i64::MAX, 0), 0);
    }
}
