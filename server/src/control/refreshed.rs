//! The mechanisms that ask for everything now and then: what each configuration asks, as whom, and how often.
//!
//! One row each, those of clouds in [`super::clouds`]. What the answers mean is in `tidemark_ingest::discovery`.

use tidemark_ingest::discovery::Refresh;
use tidemark_ingest::discovery::docker::{Docker, DockerOptions};
use tidemark_ingest::discovery::dockerswarm::{Role, Swarm};
use tidemark_ingest::discovery::http::Http;
use tidemark_ingest::discovery::services::{eureka, kuma, marathon, nomad, puppetdb, uyuni};

use super::consul::GRACE;
use super::http::HttpAsk;
use super::mechanisms::{Context, Start};
use super::provider::Running;
use super::refresh;
use crate::config::discovery::{
    DockerSdConfig, DockerSwarmSdConfig, EurekaSdConfig, Filter, HttpSdConfig, KumaSdConfig,
    MarathonSdConfig, NomadSdConfig, PuppetDbSdConfig, UyuniSdConfig,
};
use crate::config::http_client::HttpClientConfig;
use crate::config::scalars::Duration;

/// Whom a configuration asks as, and the mechanism that asks.
macro_rules! refreshed {
    ($( $config:ty: |$c:ident| $client:expr => $mechanism:expr; )*) => { $(
        impl Start for $config {
            fn start(&self, context: Context) -> Result<Running, String> {
                let $c = self;
                let client = HttpAsk::new($client, $c.refresh_interval.as_std())?;
                Ok(asking($mechanism, client, $c.refresh_interval, context))
            }
        }
    )* };
}

refreshed! {
    EurekaSdConfig: |c| &c.http => eureka::Eureka { base: c.server.to_string() };
    HttpSdConfig: |c| &c.http => Http::new(&c.url, c.refresh_interval.as_std());
    MarathonSdConfig: |c| &c.http => marathon::Marathon::new(
        c.servers.iter().map(|server| server.to_string()).collect(),
        c.auth_token.reveal().to_owned(),
        c.auth_token_file.clone(),
    );
    NomadSdConfig: |c| &c.http => nomad::Nomad {
        base: c.server.trim().trim_end_matches('/').to_owned(),
        allow_stale: c.allow_stale,
        namespace: c.namespace.clone(),
        region: c.region.clone(),
        tag_separator: c.tag_separator.clone(),
    };
    PuppetDbSdConfig: |c| &c.http => puppetdb::PuppetDb {
        base: c.url.to_string(),
        query: c.query.clone(),
        include_parameters: c.include_parameters,
        port: c.port,
    };
    UyuniSdConfig: |c| &c.http => uyuni::Uyuni {
        server: c.server.to_string(),
        username: c.username.clone(),
        password: c.password.reveal().to_owned(),
        entitlement: c.entitlement.clone(),
        separator: c.separator.clone(),
        session: None,
    };
}

pub(super) use refreshed;

impl Start for KumaSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        let client = HttpAsk::new(&self.http, self.fetch_timeout.as_std() + GRACE)?;
        let wait = self.fetch_timeout.to_string();
        let mechanism = kuma::Kuma::new(&self.server, &wait, &self.client_id);
        Ok(asking(mechanism, client, self.refresh_interval, context))
    }
}

impl Start for DockerSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        let (base, client) = docker_daemon(&self.host, &self.http, self.refresh_interval)?;
        let mechanism = Docker::new(DockerOptions {
            base,
            port: self.port,
            filters: filters(&self.filters),
            host_networking_host: self.host_networking_host.clone(),
            match_first_network: self.match_first_network,
        });
        Ok(asking(mechanism, client, self.refresh_interval, context))
    }
}

impl Start for DockerSwarmSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        let (base, client) = docker_daemon(&self.host, &self.http, self.refresh_interval)?;
        let role = match self.role.as_str() {
            "services" => Role::Services,
            "tasks" => Role::Tasks,
            _ => Role::Nodes,
        };
        let mechanism = Swarm { base, role, port: self.port, filters: filters(&self.filters) };
        Ok(asking(mechanism, client, self.refresh_interval, context))
    }
}

/// Starts a discoverer that asks over HTTP now and then.
pub(super) fn asking(
    mechanism: impl Refresh + 'static,
    client: HttpAsk,
    every: Duration,
    context: Context,
) -> Running {
    Running::start(refresh::run(Box::new(mechanism), client, every.as_std(), context))
}

/// Where a Docker daemon's API begins, and a client that gets there. The HTTP client's configuration is for `http` and
/// `https`, as in Prometheus.
fn docker_daemon(
    host: &str,
    client: &HttpClientConfig,
    every: Duration,
) -> Result<(String, HttpAsk), String> {
    let (scheme, rest) = host.split_once("://").ok_or(format!("host {host:?} has no scheme"))?;
    let rest = rest.trim_end_matches('/');
    let (every, plain) = (every.as_std(), HttpClientConfig::default());
    match scheme {
        "unix" => Ok(("http://docker".to_owned(), HttpAsk::over_socket(rest, every)?)),
        "tcp" => Ok((format!("http://{rest}"), HttpAsk::new(&plain, every)?)),
        "http" | "https" => Ok((format!("{scheme}://{rest}"), HttpAsk::new(client, every)?)),
        _ => Err(format!("host {host:?}: the scheme is none of unix, tcp, http, https")),
    }
}

pub(super) fn filters(filters: &[Filter]) -> Vec<(String, Vec<String>)> {
    filters.iter().map(|filter| (filter.name.clone(), filter.values.clone())).collect()
}
