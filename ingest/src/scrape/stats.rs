//! Counters of scraping on one core, for the program's own metrics.

use super::error::ScrapeError;

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeStats {
    /// Label sets that were relabelled and became targets, were dropped or failed, on this core and not on another.
    pub targets_made: u64,
    /// Scrapes that were made.
    pub scrapes: u64,
    /// Those that failed.
    pub scrapes_failed: u64,
    /// Failed because the body was too large.
    pub body_size_exceeded: u64,
    /// Failed because there were too many samples.
    pub sample_limit_exceeded: u64,
    /// Failed because of a limit on labels.
    pub label_limits_exceeded: u64,
    /// Failed because a native histogram had too many buckets.
    pub histogram_limit_exceeded: u64,
    /// Samples in all bodies.
    pub samples_scraped: u64,
    /// Samples of a series that had one in the same scrape already.
    pub samples_duplicate: u64,
    /// Samples that storage refused.
    pub samples_refused: u64,
    /// Scrapes that storage did not take at all.
    pub appends_failed: u64,
    /// Caches that were emptied because their target only fails, each time with other lines.
    pub cache_flushes_forced: u64,
}

impl ScrapeStats {
    /// Adds those of another core.
    pub fn merge(&mut self, other: &ScrapeStats) {
        let ScrapeStats {
            targets_made,
            scrapes,
            scrapes_failed,
            body_size_exceeded,
            sample_limit_exceeded,
            label_limits_exceeded,
            histogram_limit_exceeded,
            samples_scraped,
            samples_duplicate,
            samples_refused,
            appends_failed,
            cache_flushes_forced,
        } = other;
        self.targets_made += targets_made;
        self.scrapes += scrapes;
        self.scrapes_failed += scrapes_failed;
        self.body_size_exceeded += body_size_exceeded;
        self.sample_limit_exceeded += sample_limit_exceeded;
        self.label_limits_exceeded += label_limits_exceeded;
        self.histogram_limit_exceeded += histogram_limit_exceeded;
        self.samples_scraped += samples_scraped;
        self.samples_duplicate += samples_duplicate;
        self.samples_refused += samples_refused;
        self.appends_failed += appends_failed;
        self.cache_flushes_forced += cache_flushes_forced;
    }

    /// Counts one scrape.
    pub(super) fn note(&mut self, error: Option<&ScrapeError>, samples: u64, duplicates: u64) {
        self.scrapes += 1;
        self.samples_scraped += samples;
        self.samples_duplicate += duplicates;
        let Some(error) = error else { return };
        self.scrapes_failed += 1;
        match error {
            ScrapeError::BodySize => self.body_size_exceeded += 1,
            ScrapeError::SampleLimit => self.sample_limit_exceeded += 1,
            ScrapeError::HistogramBuckets => self.histogram_limit_exceeded += 1,
            ScrapeError::LabelLimit { .. }
            | ScrapeError::LabelNameLength { .. }
            | ScrapeError::LabelValueLength { .. } => self.label_limits_exceeded += 1,
            _ => {}
        }
    }
}
