//! Amazon's services: who asks ([`credentials`]), how a request is signed ([`sigv4`]) and sent ([`caller`]), and what is found
//! ([`ec2`], [`ecs`], [`elasticache`], [`lightsail`], [`msk`], [`rds`]).
//!
//! The signature is forty lines over `ring`'s HMAC; `aws-sigv4` and what reads credentials with it bring some thirty crates.

mod caller;
pub(crate) mod credentials;
pub mod ec2;
pub mod ecs;
pub mod elasticache;
mod labels;
pub mod lightsail;
pub mod msk;
pub mod rds;
pub(crate) mod sigv4;

pub(crate) use self::caller::{Caller, Session};
use super::super::ask::DiscoveryError;
use crate::limits::DISCOVERY_TARGETS_MAX;

/// Which region is asked, where, and as whom. Empty is what the environment says.
#[derive(Clone, Debug, Default)]
pub struct AwsOptions {
    /// Region: `eu-west-2`.
    pub region: String,
    /// Where the service's API begins, if not where AWS has it.
    pub endpoint: String,
    /// A key, with its secret.
    pub access_key: String,
    /// The secret of the key.
    pub secret_key: String,
    /// The profile of the shared files.
    pub profile: String,
    /// The role to take on.
    pub role_arn: String,
    /// What the role's owner wants to be told.
    pub external_id: String,
    /// Requests under way at once, where a service takes several.
    pub concurrency: usize,
}

/// Where AWS has a service.
fn endpoint(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{service}.{region}.{suffix}/")
}

/// An endpoint with the slash that its path begins with.
fn with_path(endpoint: &str) -> String {
    format!("{}/", endpoint.trim_end_matches('/'))
}

/// That no discoverer has more things than [`DISCOVERY_TARGETS_MAX`].
fn bounded(things: usize, action: &str) -> Result<(), DiscoveryError> {
    if things <= DISCOVERY_TARGETS_MAX {
        return Ok(());
    }
    let reason = format!("more than {DISCOVERY_TARGETS_MAX} targets");
    Err(DiscoveryError::Answer { url: action.to_owned(), reason })
}

/// Things to ask about and answers that AWS might give, for the tests of its services.
#[cfg(test)]
mod recorded;
