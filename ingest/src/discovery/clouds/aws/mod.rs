//! Amazon's services: who asks ([`credentials`]), how a request is signed ([`sigv4`]), and what is found ([`ec2`], [`ecs`], [`lightsail`]).
//!
//! The signature is forty lines over `ring`'s HMAC; `aws-sigv4` and what reads credentials with it bring some thirty crates.

pub(crate) mod credentials;
pub mod ec2;
pub mod ecs;
pub mod lightsail;
pub(crate) mod sigv4;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use self::credentials::Credentials;
use super::super::ask::{Ask, DiscoveryError, ask_ok};

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
}

/// What one mechanism knows from refresh to refresh.
struct Session {
    options: AwsOptions,
    region: String,
    credentials: Option<Credentials>,
}

impl Session {
    fn new(options: AwsOptions) -> Self {
        Session { region: options.region.clone(), options, credentials: None }
    }

    /// The region, found out once.
    async fn region(&mut self, ask: &dyn Ask) -> Result<String, DiscoveryError> {
        if self.region.is_empty() {
            self.region = credentials::region(&self.options, ask).await?;
        }
        Ok(self.region.clone())
    }

    /// Sends a signed request to the service's endpoint; what `request` makes of its URL.
    async fn send(
        &mut self,
        ask: &dyn Ask,
        service: &str,
        request: impl FnOnce(&str) -> Result<Request<Bytes>, DiscoveryError>,
    ) -> Result<Response<Bytes>, DiscoveryError> {
        let region = self.region(ask).await?;
        let url = match self.options.endpoint.as_str() {
            "" => endpoint(service, &region),
            endpoint => with_path(endpoint),
        };
        let known = self.credentials.take().filter(|known| known.good_at(ask.now_ms()));
        let credentials = match known {
            Some(known) => known,
            None => credentials::find(&self.options, &region, ask).await?,
        };
        let signed = sigv4::sign(request(&url)?, &credentials, &region, service, ask.now_ms())?;
        let answer = ask_ok(ask, signed).await;
        let refused = matches!(
            &answer,
            Err(DiscoveryError::Status {
                status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN,
                ..
            })
        );
        self.credentials = Some(credentials).filter(|_| !refused);
        answer
    }
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
