//! What one target exposed in its last scrapes, so that what comes again costs next to nothing.
//!
//! ```text
//! lines   xxh3-128 of the bytes that name a series -> series, or "relabelling drops it"; in the order of the body
//! series  its number in storage, or its labels until that is known; fingerprint, last scrape it was in, whether it is live
//! ```
//!
//! A target writes its lines in the same order every time, so the next one is nearly always the one behind the last
//! ([`crate::known`] does the same for remote write). Storage tells the number of a series that it was given by its labels; from
//! then on it goes by number and its labels are let go. Should a number mean nothing any more ([`Cache::distrust`]), lines are read anew.
//!
//! Two spellings of one series (labels in another order) are two lines and one series. Lines are found by a hash of 128
//! bits without comparing bytes: a target that contrives two lines with one hash mixes up its own two series, no more.
//!
//! A series is *live* while its last sample is no staleness marker. A scrape ends in [`Cache::commit`], where live
//! series that it did not bring end, or in [`Cache::fail`], where all of them end. Owned by the loop of the target.

use hashbrown::HashTable;
use tidemark_core::model::labels::Fingerprint;
use xxhash_rust::xxh3::xxh3_128;

use crate::known::Known;

/// The series number that says "dropped by relabelling".
const DROPPED: u32 = u32::MAX;

/// Lines more than twice those of the last good scrape by this many are thrown out even if no scrape succeeds.
const LINES_SLACK: usize = 1000;

/// The series and lines of one target; see the module's page.
#[derive(Default)]
pub(super) struct Cache {
    lines: Vec<Line>,
    by_line: HashTable<u32>,
    /// The line behind the one that was found last.
    next_line: usize,
    series: Vec<Series>,
    /// Places in `series` that are free.
    free: Vec<u32>,
    by_fingerprint: HashTable<u32>,
    /// Number of the scrape under way or of the last one.
    scrape: u32,
    /// Lines that this scrape brought.
    lines_seen: usize,
    /// Lines after the last good scrape.
    lines_good: usize,
}

#[derive(Clone, Copy)]
struct Line {
    hash: LineHash,
    series: u32,
    seen: u32,
}

/// Hash of the bytes that name a series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LineHash([u64; 2]);

impl LineHash {
    pub(super) fn of(line: &[u8]) -> Self {
        let hash = xxh3_128(line);
        LineHash([hash as u64, (hash >> 64) as u64])
    }
}

/// How storage is told which series is meant.
pub(super) enum Name {
    /// By labels in canonical encoding; empty where they are let go and the number is not trusted.
    Labels(Box<[u8]>),
    /// By its number.
    Number(Known),
}

impl Name {
    /// Whether it may be that of the series with these labels, whose fingerprint is the same.
    fn is_of(&self, labels: &[u8]) -> bool {
        match self {
            Name::Labels(own) => own.is_empty() || **own == *labels,
            Name::Number(_) => true,
        }
    }
}

/// One series as it is stored.
pub(super) struct Series {
    pub(super) fingerprint: Fingerprint,
    pub(super) name: Name,
    /// The last scrape that brought it.
    seen: u32,
    /// Whether its end has to be marked when it vanishes.
    live: bool,
    /// Whether it is to be live once this scrape has succeeded.
    tracked: bool,
}

/// What is known of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It is this series.
    Series(u32),
    /// Relabelling drops it.
    Dropped,
    /// Nothing.
    Nothing,
}

impl Cache {
    /// Begins a scrape.
    pub(super) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
        self.lines_seen = 0;
        self.next_line = 0;
    }

    /// What is known of a line; notes that this scrape brought it.
    #[inline]
    pub(super) fn find(&mut self, hash: LineHash) -> Found {
        let at = match self.lines.get(self.next_line) {
            Some(next) if next.hash == hash => self.next_line,
            _ => match self.by_line.find(hash.0[0], |&at| self.lines[at as usize].hash == hash) {
                Some(&at) => at as usize,
                None => return Found::Nothing,
            },
        };
        self.next_line = at + 1;
        let line = &mut self.lines[at];
        if line.seen != self.scrape {
            line.seen = self.scrape;
            self.lines_seen += 1;
        }
        if line.series == DROPPED { Found::Dropped } else { Found::Series(line.series) }
    }

    /// Remembers that relabelling drops the line.
    pub(super) fn add_dropped(&mut self, hash: LineHash) {
        self.add_line(hash, DROPPED);
    }

    /// Remembers which series a line is. The line must not be known.
    pub(super) fn add(&mut self, hash: LineHash, fingerprint: Fingerprint, labels: &[u8]) -> u32 {
        let series = &self.series;
        let same = |&i: &u32| {
            let known = &series[i as usize];
            known.fingerprint == fingerprint && known.name.is_of(labels)
        };
        let place = match self.by_fingerprint.find(fingerprint.0 as u64, same) {
            Some(&place) => place,
            None => self.add_series(fingerprint, labels),
        };
        if let Name::Labels(own) = &mut self.series[place as usize].name
            && own.is_empty()
        {
            *own = labels.into();
        }
        self.add_line(hash, place);
        place
    }

    /// Remembers where storage has a series.
    pub(super) fn learn(&mut self, place: u32, known: Known) {
        if let Some(series) = self.series.get_mut(place as usize) {
            series.name = Name::Number(known);
        }
    }

    /// Some number means nothing any more: trusts none, so that all lines are read anew.
    pub(super) fn distrust(&mut self) {
        self.forget_lines();
        for series in &mut self.series {
            if let Name::Number(_) = series.name {
                series.name = Name::Labels(Box::default());
            }
        }
    }

    /// A series by its number.
    #[inline]
    pub(super) fn series(&self, place: u32) -> &Series {
        &self.series[place as usize]
    }

    /// Notes that this scrape brought a sample of the series; says whether it had brought one before. With `track` the
    /// series' end is to be marked once it vanishes.
    #[inline]
    pub(super) fn see(&mut self, place: u32, track: bool) -> bool {
        let scrape = self.scrape;
        let series = &mut self.series[place as usize];
        let again = series.seen == scrape;
        series.tracked = track || (again && series.tracked);
        series.seen = scrape;
        again
    }

    /// Ends a scrape that succeeded: `ended` gets every live series that it did not bring, then what it did not bring is
    /// forgotten.
    pub(super) fn commit(&mut self, mut ended: impl FnMut(&Series)) {
        let scrape = self.scrape;
        let mut series_seen = 0;
        for series in &mut self.series {
            if series.seen == scrape {
                series.live = series.tracked;
                series_seen += 1;
            } else if series.live {
                ended(series);
                series.live = false;
            }
        }
        if self.lines_seen < self.lines.len() || series_seen < self.by_fingerprint.len() {
            self.forget_unseen();
        }
        self.lines_good = self.lines.len();
    }

    /// Ends a scrape that failed, or scraping altogether: `ended` gets every live series. Lines are kept for the next
    /// scrape; says whether there were so many that they were thrown out after all.
    pub(super) fn fail(&mut self, mut ended: impl FnMut(&Series)) -> bool {
        for series in self.series.iter_mut().filter(|s| s.live) {
            ended(series);
            series.live = false;
        }
        let overflow = self.lines.len() > 2 * self.lines_good + LINES_SLACK;
        if overflow {
            self.forget_unseen();
        }
        overflow
    }

    /// Forgets what lines mean, since relabelling has changed. Live series stay live until a scrape does not bring them.
    pub(super) fn forget_lines(&mut self) {
        self.lines.clear();
        self.by_line.clear();
    }

    fn add_line(&mut self, hash: LineHash, series: u32) {
        self.lines.push(Line { hash, series, seen: self.scrape });
        self.enter_line(self.lines.len() - 1);
        self.lines_seen += 1;
    }

    fn enter_line(&mut self, at: usize) {
        let Cache { lines, by_line, .. } = self;
        by_line.insert_unique(lines[at].hash.0[0], at as u32, |&at| lines[at as usize].hash.0[0]);
    }

    fn add_series(&mut self, fingerprint: Fingerprint, labels: &[u8]) -> u32 {
        let new = Series {
            fingerprint,
            name: Name::Labels(labels.into()),
            seen: self.scrape.wrapping_sub(1),
            live: false,
            tracked: false,
        };
        let place = self.free.pop().unwrap_or(self.series.len() as u32);
        match self.series.get_mut(place as usize) {
            Some(free) => *free = new,
            None => self.series.push(new),
        }
        let series = &self.series;
        self.by_fingerprint.insert_unique(fingerprint.0 as u64, place, |&i| {
            series[i as usize].fingerprint.0 as u64
        });
        place
    }

    /// Throws out the lines and series that this scrape did not bring.
    fn forget_unseen(&mut self) {
        let scrape = self.scrape;
        self.lines.retain(|line| line.seen == scrape);
        self.by_line.clear();
        (0..self.lines.len()).for_each(|at| self.enter_line(at));
        let (series, free) = (&mut self.series, &mut self.free);
        self.by_fingerprint.retain(|&mut place| {
            let known = &mut series[place as usize];
            if known.seen != scrape {
                known.name = Name::Labels(Box::default());
                free.push(place);
            }
            known.seen == scrape
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::model::labels::Labels;

    /// One scrape of lines `spelling=series`; returns the series that ended.
    fn scrape(cache: &mut Cache, lines: &[(&str, &str)], good: bool) -> Vec<String> {
        cache.begin();
        for (spelling, name) in lines {
            let hash = LineHash::of(spelling.as_bytes());
            let place = match cache.find(hash) {
                Found::Series(place) => place,
                Found::Dropped => continue,
                Found::Nothing => {
                    let labels = Labels::from_pairs([("__name__", *name)]);
                    cache.add(hash, labels.fingerprint(), labels.encoded())
                }
            };
            cache.see(place, true);
        }
        let mut ended = Vec::new();
        let name = |s: &Series| match &s.name {
            Name::Labels(labels) => Labels::from_encoded(labels).unwrap().to_string(),
            Name::Number(known) => format!("number {}", known.number),
        };
        if good {
            cache.commit(|s| ended.push(name(s)));
        } else {
            cache.fail(|s| ended.push(name(s)));
        }
        ended.sort();
        ended
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_series_ends_once_when_it_vanishes() {
        let mut cache = Cache::default();
        assert_eq!(scrape(&mut cache, &[("a", "a"), ("b", "b")], true), NONE);
        assert_eq!(scrape(&mut cache, &[("a", "a")], true), ["b"]);
        assert_eq!(scrape(&mut cache, &[("a", "a")], true), NONE);
        assert_eq!(cache.lines.len(), 1);
        assert_eq!(scrape(&mut cache, &[("b", "b")], true), ["a"]);
        assert_eq!(cache.series.len(), 2, "the place of b is used again");
    }

    #[test]
    fn a_series_goes_by_its_number_until_that_is_not_trusted() {
        let mut cache = Cache::default();
        assert_eq!(scrape(&mut cache, &[("a", "a"), ("b", "b")], true), NONE);
        for place in 0..2 {
            cache.learn(place, Known { shard: 1, number: 7 + place });
        }
        assert_eq!(scrape(&mut cache, &[("a2", "a"), ("b", "b")], true), NONE, "another spelling");
        assert_eq!(cache.series.len(), 2);
        assert_eq!(scrape(&mut cache, &[("a2", "a")], true), ["number 8"]);
        cache.distrust();
        assert_eq!(scrape(&mut cache, &[("a", "a"), ("c", "c")], true), NONE);
        assert_eq!(scrape(&mut cache, &[], true), ["a", "c"], "by labels again");
    }

    #[test]
    fn lines_are_found_in_any_order() {
        let mut cache = Cache::default();
        let lines = [("a", "a"), ("b", "b"), ("c", "c")];
        scrape(&mut cache, &lines, true);
        for order in [[2, 1, 0], [1, 0, 2], [0, 1, 2]] {
            assert_eq!(scrape(&mut cache, &order.map(|i| lines[i]), true), NONE);
            assert_eq!(cache.lines.len(), 3);
        }
        assert_eq!(scrape(&mut cache, &lines[1..], true), ["a"]);
        assert_eq!(scrape(&mut cache, &lines, true), NONE);
    }

    #[test]
    fn all_end_when_a_scrape_fails_even_those_it_brought() {
        let mut cache = Cache::default();
        scrape(&mut cache, &[("a", "a"), ("b", "b")], true);
        assert_eq!(scrape(&mut cache, &[("a", "a")], false), ["a", "b"]);
        assert_eq!(scrape(&mut cache, &[], false), NONE);
        assert_eq!(cache.lines.len(), 2);
        assert_eq!(scrape(&mut cache, &[("a", "a")], true), NONE);
        assert_eq!(scrape(&mut cache, &[], true), ["a"]);
    }

    #[test]
    fn another_spelling_is_the_same_series() {
        let mut cache = Cache::default();
        scrape(&mut cache, &[("a1", "a")], true);
        assert_eq!(scrape(&mut cache, &[("a2", "a")], true), NONE);
        assert_eq!(cache.series.len(), 1);
        cache.forget_lines();
        assert_eq!(scrape(&mut cache, &[("a2", "other")], true), ["a"]);
    }

    #[test]
    fn a_target_that_only_fails_cannot_fill_the_cache() {
        let mut cache = Cache::default();
        for i in 0..10 * LINES_SLACK {
            let name = format!("m{i}");
            scrape(&mut cache, &[(&name, &name)], false);
        }
        assert!(cache.lines.len() <= LINES_SLACK + 1);
        assert!(cache.series.len() <= LINES_SLACK + 1);
    }

    #[test]
    fn untracked_series_do_not_end() {
        let mut cache = Cache::default();
        cache.begin();
        let labels = Labels::from_pairs([("__name__", "a")]);
        let place = cache.add(LineHash::of(b"a"), labels.fingerprint(), labels.encoded());
        assert!(!cache.see(place, false));
        assert!(cache.see(place, false));
        cache.commit(|_| panic!("it is not live"));
        assert_eq!(scrape(&mut cache, &[], true), NONE);
    }
}
