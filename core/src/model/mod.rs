//! The data model: what a series, a sample and a matcher are. Pure values; no I/O, no clock.

pub mod columns;
pub mod exemplar;
pub mod histogram;
pub mod kahan;
pub mod labels;
pub mod matcher;
pub mod metadata;
mod pattern;
mod re2;
pub mod sample;
pub mod tenant;
pub mod time;
