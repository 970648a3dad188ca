//! Everything that brings samples in: protocols, relabelling, discovery of targets, scraping.
//!
//! Whatever the wire format, samples take one way: a decoder in [`protocols`] turns bytes into [`rows::Rows`], relabelling
//! and limits act on them, and [`route::split`] deals them out to the shards that own them. Nothing here opens a socket:
//! request bodies are handed in, and what has to be fetched is fetched by whoever runs the crate.
//!
//! The types to know:
//! * [`rows::Rows`]: the one shape that every protocol decodes into;
//! * [`known::KnownSeries`]: what spares a series that was seen before most of that;
//! * [`label_set::LabelSet`]: a label set while it is being changed;
//! * [`scrape::Job`]: what to scrape, how often, and how.

pub mod backfill;
pub mod discovery;
pub mod duration;
pub mod handshake;
pub mod known;
pub mod label_set;
pub mod limits;
pub mod protocols;
pub mod relabel;
pub mod route;
pub mod rows;
pub mod scrape;
