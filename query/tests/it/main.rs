//! Tests of the crate from outside.

mod api_query;
mod api_series;
mod cache;
mod costs;
mod damaged;
mod distribution;
mod fast_paths;
mod promql_scripts;
mod reference_queries;
mod stored;
