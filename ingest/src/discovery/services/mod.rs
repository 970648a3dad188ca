//! Registries of services, and what orchestrates containers, that are asked for everything now and then.
//!
//! One file each: the part of the answers that is read, the table of labels, and a test with recorded answers.

pub mod eureka;
pub mod kuma;
pub mod marathon;
pub mod nomad;
pub mod puppetdb;
pub mod uyuni;
