//! What answers requests, by family; which path leads where is in [`routes`](super::routes).

pub(crate) mod admin;
pub(crate) mod alerting;
pub(crate) mod cardinality;
pub(crate) mod features;
pub(crate) mod lifecycle;
pub(crate) mod notifications;
pub(crate) mod pages;
pub(crate) mod queries;
pub(crate) mod query;
pub(crate) mod status;
pub(crate) mod targets;
pub(crate) mod tsdb;
pub(crate) mod write;
