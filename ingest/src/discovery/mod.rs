//! Discovery: where the targets of a job come from when nobody writes them down.
//!
//! A mechanism turns answers of some directory (a file, a URL, a DNS server, Consul, Kubernetes, a cloud) into target groups,
//! whose labels are Prometheus' own to the letter: `__address__`, and what is known of the target as `__meta_<mechanism>_*`.
//! Nothing here opens a socket or a file. There are five shapes:
//!
//! * [`Refresh`]: everything is asked for anew now and then. Requests go out through [`Ask`], which the server gives, and
//!   what comes back is the whole truth: groups that are missing are gone. Most mechanisms are of this shape; each of
//!   [`clouds`] and [`services`] is one file.
//! * [`mod@file`] and [`dns`] are handed bytes and records, and keep by themselves what a failure must not take away.
//! * [`consul`] is asked one question after the other, each answered when something changes, and says what follows.
//! * [`zookeeper`] is told what its server says, and says what to send and which groups follow.
//! * [`kubernetes`] is told of objects that come, change and go, and says which groups follow.
//!
//! A refresh that fails is an `Err`: whoever runs it keeps the groups of the last one that did not.

mod ask;
pub mod clouds;
pub mod consul;
pub mod dns;
pub mod docker;
pub mod dockerswarm;
pub mod file;
pub mod group;
pub mod http;
pub mod kubernetes;
mod meta;
mod moment;
pub mod services;
pub mod sign;
mod xml;
pub mod zookeeper;

pub use ask::{Ask, DiscoveryError, Refresh, with_query, without_password};
pub use meta::{Meta, host_port, sanitized};

pub use crate::scrape::TargetGroup;
