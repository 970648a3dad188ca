//! Providers of machines, whose listings are asked for now and then.
//!
//! One file each: the part of the answers that is read, the table of labels, and a test with recorded answers.

pub mod aws;
pub mod azure;
pub mod digitalocean;
pub mod gce;
pub mod hetzner;
pub mod ionos;
pub mod linode;
pub mod oci;
pub mod openstack;
pub mod outscale;
pub mod ovhcloud;
pub mod scaleway;
pub mod stackit;
pub mod triton;
pub mod vultr;
