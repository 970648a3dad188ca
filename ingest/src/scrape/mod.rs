//! Scraping: fetching the metrics of many targets, each on its own schedule.
//!
//! A [`Job`] says what to scrape and how; [`target::resolve`] makes targets of its groups, after relabelling. On each core
//! a [`Scraper`] runs one loop for every target that falls to it. What a loop brings goes through a cache that knows the
//! series of the last scrape, and is stored with the report series (`up` and its like) in one append.
//!
//! The sockets and the store are behind the traits of [`fetch`], so that all of it runs on virtual time in tests.

mod body;
mod cache;
mod convert;
mod created;
mod error;
mod families;
pub mod fetch;
mod handle;
mod intake;
pub mod job;
mod loop_;
pub mod negotiate;
mod pool;
mod report;
pub mod room;
mod stats;
pub mod status;
pub mod target;
mod work;

pub use error::ScrapeError;
pub use fetch::{Append, FailureLog, Fetch, FetchError, FetchLimits, JobName};
pub use job::{Discovered, HistogramOptions, Job, JobLimits, TargetGroup};
pub use pool::{Applied, Scraper, ScraperOptions};
pub use stats::ScrapeStats;
pub use work::Work;

#[cfg(test)]
mod tests;
