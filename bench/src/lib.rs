//! Load generators and benchmarks, for Tidemark and for the systems that it is compared with.
//!
//! `tidemark-bench` drives any server that takes Prometheus remote write and answers PromQL. It sends the [data set](dataset)
//! in [bodies](body) that are encoded once and re-dated at each sending, reads what the server spends from [`process`], and counts
//! at the end whether everything that was acknowledged is there; or it is the [targets] that a server scrapes. Run as an ordinary
//! program with threads and blocking sockets (tokio where thousands of connections wait), it shares nothing with the engine that
//! it measures.
//!
//! The three types to know:
//! * [`dataset::Dataset`]: what is sent;
//! * [`body::Encoder`]: how it becomes requests;
//! * [`systems::Target`]: whom it is sent to.

// An ordinary threaded program: it runs beside the runtime, never on it, and measures wall-clock time.
#![allow(clippy::disallowed_methods)]

pub mod body;
pub mod commands;
pub mod count;
pub mod dataset;
pub mod expressions;
pub mod http;
pub mod load;
pub mod process;
pub mod report;
pub mod results;
pub mod snappy;
pub mod systems;
pub mod targets;
