//! Tests of the crate from outside.

mod api_series;
mod reference_queries;
mod stored;
