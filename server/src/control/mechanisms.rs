//! The table of discoverers: which field of a job makes which task.

use std::rc::Rc;

use tidemark_ingest::discovery::Refresh;
use tidemark_ingest::discovery::docker::{Docker, DockerOptions};
use tidemark_ingest::discovery::dockerswarm::{Role, Swarm};
use tidemark_ingest::discovery::http::Http;

use super::http::HttpAsk;
use super::provider::{Feed, Running};
use super::stats::Stats;
use super::{consul, dns, file, kubernetes, refresh};
use crate::config::discovery::{
    ConsulSdConfig, Discovery, DnsSdConfig, DockerSdConfig, DockerSwarmSdConfig, FileSdConfig,
    Filter, HttpSdConfig, KubernetesSdConfig,
};
use crate::config::http_client::HttpClientConfig;
use crate::config::scalars::Duration;

/// What a discoverer's task is given.
pub(super) struct Context {
    /// Where updates go.
    pub(super) feed: Feed,
    /// What is counted.
    pub(super) stats: Rc<Stats>,
    /// Name of the mechanism, as in metrics.
    pub(super) mechanism: &'static str,
    /// The job for which it was made first.
    pub(super) job: String,
}

macro_rules! mechanisms {
    ($( $name:literal: $variant:ident from $field:ident: $config:ty; )*) => {
        /// One `*_sd_config`. Two that are equal are served by one task.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "there are few, and they are kept for comparing")]
        pub(super) enum Wanted { $( $variant($config), )* }

        /// The fields of a job that are acted on.
        pub(crate) const ACTED_ON: &[&str] = &[$( stringify!($field), )*];

        impl Wanted {
            /// All of one job.
            pub(super) fn all(discovery: &Discovery) -> Vec<Self> {
                let mut all = Vec::new();
                $( all.extend(discovery.$field.iter().cloned().map(Wanted::$variant)); )*
                all
            }

            /// The mechanism's name, as in metrics.
            pub(super) fn name(&self) -> &'static str {
                match self { $( Wanted::$variant(_) => $name, )* }
            }
        }
    };
}

mechanisms! {
    "consul": Consul from consul_sd_configs: ConsulSdConfig;
    "dns": Dns from dns_sd_configs: DnsSdConfig;
    "docker": Docker from docker_sd_configs: DockerSdConfig;
    "dockerswarm": DockerSwarm from dockerswarm_sd_configs: DockerSwarmSdConfig;
    "file": File from file_sd_configs: FileSdConfig;
    "http": Http from http_sd_configs: HttpSdConfig;
    "kubernetes": Kubernetes from kubernetes_sd_configs: KubernetesSdConfig;
}

impl Wanted {
    /// Starts the task; `Err` says what the configuration cannot mean.
    pub(super) fn start(&self, context: Context) -> Result<Running, String> {
        match self {
            Wanted::Consul(c) => consul::start(c, context),
            Wanted::Dns(c) => Ok(Running::start(dns::run(c.clone(), context))),
            Wanted::Docker(c) => {
                let (base, client) = docker_daemon(&c.host, &c.http, c.refresh_interval)?;
                let mechanism = Docker::new(DockerOptions {
                    base,
                    port: c.port,
                    filters: filters(&c.filters),
                    host_networking_host: c.host_networking_host.clone(),
                    match_first_network: c.match_first_network,
                });
                Ok(asking(mechanism, client, c.refresh_interval, context))
            }
            Wanted::DockerSwarm(c) => {
                let (base, client) = docker_daemon(&c.host, &c.http, c.refresh_interval)?;
                let role = match c.role.as_str() {
                    "services" => Role::Services,
                    "tasks" => Role::Tasks,
                    _ => Role::Nodes,
                };
                let mechanism = Swarm { base, role, port: c.port, filters: filters(&c.filters) };
                Ok(asking(mechanism, client, c.refresh_interval, context))
            }
            Wanted::File(c) => Ok(Running::start(file::run(c.clone(), context))),
            Wanted::Kubernetes(c) => Ok(Running::start(kubernetes::run(c.clone(), context))),
            Wanted::Http(c) => {
                let mechanism = Http::new(&c.url, c.refresh_interval.as_std());
                let client = HttpAsk::new(&c.http, c.refresh_interval.as_std())?;
                Ok(asking(mechanism, client, c.refresh_interval, context))
            }
        }
    }
}

/// Starts a discoverer that asks over HTTP now and then.
fn asking(
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

fn filters(filters: &[Filter]) -> Vec<(String, Vec<String>)> {
    filters.iter().map(|filter| (filter.name.clone(), filter.values.clone())).collect()
}
