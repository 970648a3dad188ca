//! End to end: the real binary, with the components it is used with around it.
//!
//! Every test starts its own servers on free loopback ports, with scratch directories, and ends them by their process ids. A
//! component that is missing fails its test with a sentence that says so; `scripts/test` installs them all.
//! `docs/TESTING.md` tells what is tested where.

// Ordinary threaded test code beside the server, never on its cores.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod components;
mod exporter;
mod harness;
mod remote_write;

mod api;
mod attacks;
mod bad_calls;
mod bad_queries;
mod bad_requests;
mod bad_targets;
mod blocks;
mod cardinality;
mod columns;
mod comparison;
mod configuration;
mod conformance;
mod discovery;
mod disk_full;
mod features;
mod hang_up;
mod idle;
mod import;
mod kill;
mod lifecycle;
mod peers;
mod prom_client;
mod promtool;
mod read_back;
mod relabelling;
mod sender;
mod targets;
mod tenants;
