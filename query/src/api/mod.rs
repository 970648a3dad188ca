//! The answers of the query API: parameters in, bytes out.
//!
//! Each endpoint is a function of the request's [`Params`] and of what it asks (the engine, the shards, a parser alone),
//! and gives a [`Response`] in Prometheus' exact JSON. Sockets, headers and routing are the server's.
//!
//! * [`params`], [`time`]: what the client wrote, with Prometheus' errors;
//! * [`query`]: `query`, `query_range`, `format_query`, `parse_query`;
//! * [`series`]: `series`, `labels`, `label/<name>/values`, `metadata`;
//! * [`search`]: names and values that fit what someone types;
//! * [`exemplars`] answers `query_exemplars`;
//! * [`federate`], [`remote_read`]: samples as they are stored, for other servers;
//! * [`arrow`]: values in columns;
//! * [`json`], [`value_json`], [`tree_json`]: bytes.

pub mod arrow;
pub mod exemplars;
pub mod federate;
pub mod json;
pub mod params;
pub mod query;
mod raw;
pub mod remote_read;
mod response;
pub mod search;
pub mod series;
mod spread;
pub mod time;
mod tree_json;
mod value_json;

pub use params::Params;
pub use response::{Response, Rest, failure, success};
