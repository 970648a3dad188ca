//! Scraping: fetching the metrics of many targets, each on its own schedule.
//!
//! A [`job::Job`] says what to scrape and how; [`target::resolve`] makes targets of its groups, after relabelling. The
//! sockets and the store are behind the traits of [`fetch`].

pub mod fetch;
pub mod job;
pub mod negotiate;
pub mod status;
pub mod target;

pub use fetch::{Append, Fetch, FetchError, FetchLimits, JobName};
pub use job::{Job, JobLimits, TargetGroup};
