//! Registries of services, and what orchestrates containers.

use std::collections::BTreeMap;

use super::super::http_client::HttpClientConfig;
use super::super::scalars::{Address, Duration, Secret, Url};
use super::super::section::{Checked, ensure, fault, one_of, required, section};
use super::clouds::Filter;
use super::{HALF_MINUTE, MINUTE, http_url, text};

section! {
    /// Services of Consul's catalogue.
    ConsulSdConfig {
        server: Address = text("localhost:8500"),
        path_prefix: String,
        token: Secret,
        datacenter: String,
        namespace: String,
        partition: String,
        tag_separator: String = text(","),
        scheme: String = text("http"),
        username: String,
        password: Secret,
        allow_stale: bool = true,
        refresh_interval: Duration = HALF_MINUTE,
        services: Vec<String>,
        tags: Vec<String>,
        node_meta: BTreeMap<String, String>,
        filter: String,
        health_filter: String,
    }
    inline { http: HttpClientConfig }
    check = Self::one_identity
}

impl ConsulSdConfig {
    fn one_identity(&mut self) -> Checked {
        required("server", self.server.trim(), "consul SD configuration")?;
        let named = !self.username.is_empty() || !self.password.is_empty();
        ensure(!named || self.http.basic_auth.is_none(), "username", || {
            "at most one of consul SD configuration username and password and basic auth can be configured".to_owned()
        })?;
        let other = self.http.authorization.is_some() || self.http.oauth2.is_some();
        ensure(self.token.is_empty() || !other, "token", || {
            "at most one of consul SD token, authorization, or oauth2 can be configured".to_owned()
        })
    }
}

section! {
    /// Containers of a Docker daemon.
    DockerSdConfig {
        host: Address,
        port: u16 = 80,
        filters: Vec<Filter>,
        host_networking_host: String = text("localhost"),
        refresh_interval: Duration = MINUTE,
        match_first_network: bool = true,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl DockerSdConfig {
    fn complete(&mut self) -> Checked {
        required("host", &self.host, "docker SD configuration")
    }
}

section! {
    /// Services, tasks and nodes of a swarm.
    DockerSwarmSdConfig {
        host: Address,
        role: String,
        port: u16 = 80,
        filters: Vec<Filter>,
        refresh_interval: Duration = MINUTE,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl DockerSwarmSdConfig {
    fn complete(&mut self) -> Checked {
        required("host", &self.host, "dockerswarm SD configuration")?;
        one_of("role", &self.role, &["services", "nodes", "tasks"])
    }
}

section! {
    /// Instances that registered with Eureka.
    EurekaSdConfig { server: Address, refresh_interval: Duration = HALF_MINUTE }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl EurekaSdConfig {
    fn complete(&mut self) -> Checked {
        required("server", &self.server, "eureka SD configuration")?;
        http_url("server", &self.server)
    }
}

section! {
    /// Objects of a Kubernetes API server.
    KubernetesSdConfig {
        api_server: Option<Url>,
        role: String,
        kubeconfig_file: String,
        namespaces: Namespaces,
        selectors: Vec<Selector>,
        attach_metadata: AttachMetadata,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

section! {
    /// Which namespaces.
    Namespaces { own_namespace: bool, names: Vec<String> }
}

section! {
    /// Which objects of one role.
    Selector { role: String, label: String, field: String }
}

section! {
    /// What is added to a target from other objects.
    AttachMetadata { node: bool, namespace: bool, deployment: bool, job: bool, cronjob: bool }
}

/// For each role the roles whose selectors it takes.
const KUBERNETES_ROLES: [(&str, &[&str]); 6] = [
    ("pod", &["pod", "node"]),
    ("service", &["service"]),
    ("endpoints", &["pod", "service", "endpoints"]),
    ("endpointslice", &["pod", "service", "endpointslice"]),
    ("node", &["node"]),
    ("ingress", &["ingress"]),
];

impl KubernetesSdConfig {
    fn complete(&mut self) -> Checked {
        let Some((role, selectable)) = KUBERNETES_ROLES.iter().find(|(role, _)| *role == self.role)
        else {
            return Err(fault("role", format!("unknown Kubernetes SD role {:?}", self.role)));
        };
        let (server, file) = (self.api_server.is_some(), !self.kubeconfig_file.is_empty());
        let custom = self.http != HttpClientConfig::default();
        for (wrong, field, message) in [
            (
                server && file,
                "kubeconfig_file",
                "cannot use 'kubeconfig_file' and 'api_server' simultaneously",
            ),
            (
                file && custom,
                "kubeconfig_file",
                "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
            ),
            (
                !server && custom,
                "role",
                "to use custom HTTP client configuration please provide the 'api_server' URL explicitly",
            ),
            (
                server && self.namespaces.own_namespace,
                "namespaces",
                "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
            ),
            (
                file && self.namespaces.own_namespace,
                "namespaces",
                "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
            ),
        ] {
            ensure(!wrong, field, || message.to_owned())?;
        }
        for (i, selector) in self.selectors.iter().enumerate() {
            ensure(selectable.contains(&selector.role.as_str()), "selectors", || {
                format!("{role} role supports only {} selectors", selectable.join(", "))
            })?;
            let twice = self.selectors[..i].iter().any(|earlier| earlier.role == selector.role);
            let terms = selector.field.split(',').filter(|term| !term.is_empty());
            let bad_term = terms.map(str::trim).find(|term| !term.contains('='));
            ensure(bad_term.is_none(), "selectors", || {
                format!(
                    "invalid selector: {:?}; can't understand {:?}",
                    selector.field,
                    bad_term.unwrap_or("")
                )
            })?;
            ensure(!twice, "selectors", || format!("duplicated selector role: {}", selector.role))?;
        }
        Ok(())
    }
}

section! {
    /// Assignments of Kuma's control plane.
    KumaSdConfig {
        refresh_interval: Duration = Duration::from_secs(15),
        fetch_timeout: Duration = Duration::from_secs(120),
        server: Address,
        client_id: String,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl KumaSdConfig {
    fn complete(&mut self) -> Checked {
        required("server", &self.server, "kuma SD configuration")?;
        http_url("server", &self.server)
    }
}

section! {
    /// Marathon's applications.
    MarathonSdConfig {
        servers: Vec<Address>,
        refresh_interval: Duration = HALF_MINUTE,
        auth_token: Secret,
        auth_token_file: String,
    }
    inline { http: HttpClientConfig }
    check = Self::one_identity
}

impl MarathonSdConfig {
    fn one_identity(&mut self) -> Checked {
        ensure(!self.servers.is_empty(), "servers", || {
            "marathon_sd: must contain at least one Marathon server".to_owned()
        })?;
        let (token, file) = (!self.auth_token.is_empty(), !self.auth_token_file.is_empty());
        ensure(!(token && file), "auth_token", || {
            "marathon_sd: at most one of auth_token & auth_token_file must be configured".to_owned()
        })?;
        ensure(!(token || file) || !self.http.authenticates(), "servers", || {
            "marathon_sd: at most one of auth_token, auth_token_file, basic_auth, bearer_token & authorization must be configured".to_owned()
        })
    }
}

section! {
    /// Nerve's and Serverset's members in `ZooKeeper`.
    ZookeeperSdConfig {
        servers: Vec<String>,
        paths: Vec<String>,
        timeout: Duration = Duration::from_secs(10),
    }
    check = Self::complete
}

impl ZookeeperSdConfig {
    fn complete(&mut self) -> Checked {
        ensure(!self.servers.is_empty(), "servers", || {
            "ZooKeeper SD config must contain at least one Zookeeper server".to_owned()
        })?;
        ensure(!self.paths.is_empty(), "paths", || {
            "ZooKeeper SD config must contain at least one path".to_owned()
        })?;
        match self.paths.iter().find(|path| !path.starts_with('/')) {
            Some(bad) => {
                Err(fault("paths", format!("ZooKeeper SD config paths must begin with '/': {bad}")))
            }
            None => Ok(()),
        }
    }
}

section! {
    /// Nomad's services.
    NomadSdConfig {
        allow_stale: bool = true,
        namespace: String = text("default"),
        refresh_interval: Duration = MINUTE,
        region: String = text("global"),
        server: Address = text("http://localhost:4646"),
        tag_separator: String = text(","),
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl NomadSdConfig {
    fn complete(&mut self) -> Checked {
        required("server", self.server.trim(), "nomad SD configuration")
    }
}

section! {
    /// Resources of `PuppetDB`.
    PuppetDbSdConfig {
        refresh_interval: Duration = MINUTE,
        url: Address,
        query: String,
        include_parameters: bool,
        port: u16 = 80,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl PuppetDbSdConfig {
    fn complete(&mut self) -> Checked {
        required("url", &self.url, "PuppetDB SD configuration")?;
        http_url("url", &self.url)?;
        required("query", &self.query, "PuppetDB SD configuration")
    }
}

section! {
    /// Systems of an Uyuni server.
    UyuniSdConfig {
        server: Address,
        username: String,
        password: Secret,
        entitlement: String = text("monitoring_entitled"),
        separator: String = text(","),
        refresh_interval: Duration = MINUTE,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl UyuniSdConfig {
    fn complete(&mut self) -> Checked {
        required("server", &self.server, "Uyuni SD configuration")?;
        required("username", &self.username, "Uyuni SD configuration")?;
        required("password", self.password.reveal(), "Uyuni SD configuration")
    }
}
