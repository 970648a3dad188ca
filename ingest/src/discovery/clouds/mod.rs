//! Providers of machines, whose listings are asked for now and then.
//!
//! One file each: the part of the answers that is read, the table of labels, and a test with recorded answers.

pub mod digitalocean;
pub mod hetzner;
pub mod linode;
pub mod vultr;
