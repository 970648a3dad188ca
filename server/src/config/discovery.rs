//! Where targets come from: `static_configs` and every `*_sd_configs` of Prometheus, as tables.
//!
//! All are read and checked, so that a good file is told from a bad one. Which of them are acted on is said by
//! [`Discovery::idle`]; the others are named in a warning at load.

use std::collections::BTreeMap;

use super::http_client::{HttpClientConfig, TlsConfig};
use super::scalars::{Duration, Secret, Url};
use super::section::{Blank, Checked, ensure, fault, one_of, required, section};

const MINUTE: Duration = Duration::from_secs(60);
const HALF_MINUTE: Duration = Duration::from_secs(30);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn text(value: &str) -> String {
    value.to_owned()
}

section! {
    /// Every discoverer of one job or one alertmanager.
    #[allow(clippy::struct_field_names, reason = "the names are Prometheus'")]
    Discovery {
        aws_sd_configs: Vec<AwsSdConfig>,
        azure_sd_configs: Vec<AzureSdConfig>,
        consul_sd_configs: Vec<ConsulSdConfig>,
        digitalocean_sd_configs: Vec<DigitalOceanSdConfig>,
        dns_sd_configs: Vec<DnsSdConfig>,
        docker_sd_configs: Vec<DockerSdConfig>,
        dockerswarm_sd_configs: Vec<DockerSwarmSdConfig>,
        ec2_sd_configs: Vec<Ec2SdConfig>,
        ecs_sd_configs: Vec<AwsClustersSdConfig>,
        elasticache_sd_configs: Vec<AwsClustersSdConfig>,
        eureka_sd_configs: Vec<EurekaSdConfig>,
        file_sd_configs: Vec<FileSdConfig>,
        gce_sd_configs: Vec<GceSdConfig>,
        hetzner_sd_configs: Vec<HetznerSdConfig>,
        http_sd_configs: Vec<HttpSdConfig>,
        ionos_sd_configs: Vec<IonosSdConfig>,
        kubernetes_sd_configs: Vec<KubernetesSdConfig>,
        kuma_sd_configs: Vec<KumaSdConfig>,
        lightsail_sd_configs: Vec<LightsailSdConfig>,
        linode_sd_configs: Vec<LinodeSdConfig>,
        marathon_sd_configs: Vec<MarathonSdConfig>,
        msk_sd_configs: Vec<AwsClustersSdConfig>,
        nerve_sd_configs: Vec<ZookeeperSdConfig>,
        nomad_sd_configs: Vec<NomadSdConfig>,
        oci_sd_configs: Vec<OciSdConfig>,
        openstack_sd_configs: Vec<OpenStackSdConfig>,
        outscale_sd_configs: Vec<OutscaleSdConfig>,
        ovhcloud_sd_configs: Vec<OvhCloudSdConfig>,
        puppetdb_sd_configs: Vec<PuppetDbSdConfig>,
        rds_sd_configs: Vec<RdsSdConfig>,
        scaleway_sd_configs: Vec<ScalewaySdConfig>,
        serverset_sd_configs: Vec<ZookeeperSdConfig>,
        stackit_sd_configs: Vec<StackitSdConfig>,
        triton_sd_configs: Vec<TritonSdConfig>,
        uyuni_sd_configs: Vec<UyuniSdConfig>,
        vultr_sd_configs: Vec<VultrSdConfig>,
        static_configs: Vec<StaticConfig>,
    }
}

impl Discovery {
    /// The discoverers that are configured but not acted on by this version: all but `static_configs`.
    pub(crate) fn idle(&self) -> Vec<String> {
        let rest = Discovery { static_configs: Vec::new(), ..self.clone() };
        if rest.is_blank() {
            return Vec::new();
        }
        match serde_json::to_value(&rest) {
            Ok(serde_json::Value::Object(fields)) => {
                fields.into_iter().map(|(name, _)| name).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Static targets must be addresses, not URLs, unless relabelling may still mend them.
    pub(crate) fn check_static_targets(&self) -> Checked {
        let mut targets = self.static_configs.iter().flat_map(|group| &group.targets);
        match targets.find(|target| target.contains('/')) {
            Some(bad) => Err(fault("static_configs", format!("{bad:?} is not a valid hostname"))),
            None => Ok(()),
        }
    }
}

section! {
    /// Targets written out, with the labels of each of their series.
    StaticConfig { targets: Vec<String>, labels: BTreeMap<String, String> }
}

section! {
    /// A condition of a cloud's listing call.
    Filter { name: String, values: Vec<String> }
    check = Self::with_values
}

impl Filter {
    fn with_values(&mut self) -> Checked {
        ensure(!self.values.is_empty(), "values", || "filter values cannot be empty".to_owned())
    }
}

section! {
    /// Any AWS service, by role.
    AwsSdConfig {
        role: String,
        region: String,
        endpoint: String,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        filters: Vec<Filter>,
        clusters: Vec<String>,
    }
    inline { http: HttpClientConfig }
    check = Self::known_role
}

impl AwsSdConfig {
    fn known_role(&mut self) -> Checked {
        one_of("role", &self.role, &["ec2", "lightsail", "ecs", "msk", "elasticache", "rds"])
    }
}

section! {
    /// ECS, MSK and `ElastiCache` clusters.
    AwsClustersSdConfig {
        region: String,
        endpoint: String,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        clusters: Vec<String>,
        port: u16 = 80,
        refresh_interval: Duration = MINUTE,
        request_concurrency: u32 = 10,
    }
    inline { http: HttpClientConfig }
}

section! {
    /// EC2 instances.
    Ec2SdConfig {
        endpoint: String,
        region: String,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        filters: Vec<Filter>,
    }
    inline { http: HttpClientConfig }
}

section! {
    /// RDS databases.
    RdsSdConfig {
        region: String,
        endpoint: String,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        clusters: Vec<String>,
        port: u16 = 80,
        refresh_interval: Duration = MINUTE,
        filters: Vec<Filter>,
        request_concurrency: u32 = 10,
    }
    inline { http: HttpClientConfig }
}

section! {
    /// Lightsail instances.
    LightsailSdConfig {
        endpoint: String,
        region: String,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    }
    inline { http: HttpClientConfig }
}

section! {
    /// Azure virtual machines.
    AzureSdConfig {
        environment: String = text("AzurePublicCloud"),
        port: u16 = 80,
        subscription_id: String,
        tenant_id: String,
        client_id: String,
        client_secret: Secret,
        refresh_interval: Duration = FIVE_MINUTES,
        authentication_method: String = text("OAuth"),
        resource_group: String,
    }
    inline { http: HttpClientConfig }
    check = Self::can_authenticate
}

impl AzureSdConfig {
    fn can_authenticate(&mut self) -> Checked {
        required("subscription_id", &self.subscription_id, "azure SD configuration")?;
        one_of(
            "authentication_method",
            &self.authentication_method,
            &["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"],
        )?;
        if self.authentication_method != "OAuth" {
            return Ok(());
        }
        required("tenant_id", &self.tenant_id, "azure SD configuration")?;
        required("client_id", &self.client_id, "azure SD configuration")?;
        required("client_secret", self.client_secret.reveal(), "azure SD configuration")
    }
}

section! {
    /// Services of Consul's catalogue.
    ConsulSdConfig {
        server: String = text("localhost:8500"),
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
    /// Droplets and databases.
    DigitalOceanSdConfig {
        role: String = text("droplets"),
        port: u16 = 80,
        refresh_interval: Duration = MINUTE,
    }
    inline { http: HttpClientConfig }
    check = Self::known_role
}

impl DigitalOceanSdConfig {
    fn known_role(&mut self) -> Checked {
        one_of("role", &self.role, &["droplets", "databases"])
    }
}

section! {
    /// Answers of a DNS server.
    DnsSdConfig {
        names: Vec<String>,
        refresh_interval: Duration = HALF_MINUTE,
        r#type: String = text("SRV"),
        port: u16,
    }
    check = Self::complete
}

impl DnsSdConfig {
    fn complete(&mut self) -> Checked {
        ensure(!self.names.is_empty(), "names", || {
            "DNS-SD config must contain at least one SRV record name".to_owned()
        })?;
        let kind = self.r#type.to_ascii_uppercase();
        one_of("type", &kind, &["SRV", "A", "AAAA", "MX", "NS"])?;
        ensure(kind == "SRV" || self.port > 0, "type", || {
            "a port is required in DNS-SD configs for all record types except SRV".to_owned()
        })
    }
}

section! {
    /// Containers of a Docker daemon.
    DockerSdConfig {
        host: String,
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
        host: String,
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
    EurekaSdConfig { server: String, refresh_interval: Duration = HALF_MINUTE }
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
    /// Files of target groups.
    FileSdConfig { files: Vec<String>, refresh_interval: Duration = FIVE_MINUTES }
    check = Self::complete
}

impl FileSdConfig {
    fn complete(&mut self) -> Checked {
        ensure(!self.files.is_empty(), "files", || {
            "file service discovery config must contain at least one path name".to_owned()
        })?;
        match self.files.iter().find(|name| !is_file_pattern(name, &["json", "yml", "yaml"])) {
            Some(bad) => {
                Err(fault("files", format!("path name {bad:?} is not valid for file discovery")))
            }
            None => Ok(()),
        }
    }
}

/// Whether it ends as `x.yml` does, with `*` only in the last element, as Prometheus' patterns demand.
pub(crate) fn is_file_pattern(path: &str, endings: &[&str]) -> bool {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let ending = name
        .rsplit_once('.')
        .is_some_and(|(_, e)| endings.iter().any(|ending| e.eq_ignore_ascii_case(ending)));
    ending && !dir.contains('*')
}

fn http_url(field: &'static str, value: &str) -> Checked {
    match url::Url::parse(value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        _ => Err(fault(
            field,
            format!("{field} must be a URL with scheme 'http' or 'https' and a host"),
        )),
    }
}

section! {
    /// Google Compute Engine instances.
    GceSdConfig {
        project: String,
        zone: String,
        filter: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        tag_separator: String = text(","),
    }
    check = Self::complete
}

impl GceSdConfig {
    fn complete(&mut self) -> Checked {
        required("project", &self.project, "GCE SD configuration")?;
        required("zone", &self.zone, "GCE SD configuration")
    }
}

section! {
    /// Hetzner's servers.
    HetznerSdConfig {
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        role: String,
        label_selector: String,
    }
    inline { http: HttpClientConfig }
    check = Self::known_role
}

impl HetznerSdConfig {
    fn known_role(&mut self) -> Checked {
        one_of("role", &self.role, &["robot", "hcloud"])
    }
}

section! {
    /// Target groups from a URL.
    HttpSdConfig { refresh_interval: Duration = MINUTE, url: String }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl HttpSdConfig {
    fn complete(&mut self) -> Checked {
        required("url", &self.url, "HTTP SD configuration")?;
        http_url("url", &self.url)
    }
}

section! {
    /// IONOS Cloud's servers.
    IonosSdConfig { datacenter_id: String, refresh_interval: Duration = MINUTE, port: u16 = 80 }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl IonosSdConfig {
    fn complete(&mut self) -> Checked {
        required("datacenter_id", &self.datacenter_id, "IONOS SD configuration")
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
        server: String,
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
    /// Linode's instances.
    LinodeSdConfig {
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        tag_separator: String = text(","),
        region: String,
    }
    inline { http: HttpClientConfig }
}

section! {
    /// Marathon's applications.
    MarathonSdConfig {
        servers: Vec<String>,
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
        server: String = text("http://localhost:4646"),
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
    /// Oracle Cloud's instances.
    OciSdConfig {
        auth: String = text("api_key"),
        tenancy: String,
        user: String,
        fingerprint: String,
        key_file: String,
        key_passphrase: Secret,
        key_passphrase_file: String,
        region: String,
        compartments: Vec<String>,
        port: u16 = 80,
        refresh_interval: Duration = MINUTE,
    }
    inline { http: HttpClientConfig }
    check = Self::can_authenticate
}

impl OciSdConfig {
    fn can_authenticate(&mut self) -> Checked {
        required("region", &self.region, "oci_sd")?;
        one_of("auth", &self.auth, &["api_key", "instance_principal"])?;
        let fields = [
            ("tenancy", &self.tenancy),
            ("user", &self.user),
            ("fingerprint", &self.fingerprint),
            ("key_file", &self.key_file),
        ];
        for (field, value) in fields {
            let wanted = self.auth == "api_key";
            ensure(value.is_empty() != wanted, field, || {
                format!(
                    "oci_sd: {field} {} with auth {:?}",
                    if wanted { "is required" } else { "may not be set" },
                    self.auth
                )
            })?;
        }
        ensure(
            self.key_passphrase.is_empty() || self.key_passphrase_file.is_empty(),
            "key_passphrase",
            || {
                "oci_sd: at most one of key_passphrase & key_passphrase_file must be configured"
                    .to_owned()
            },
        )
    }
}

section! {
    /// `OpenStack`'s servers.
    OpenStackSdConfig {
        identity_endpoint: String,
        username: String,
        userid: String,
        password: Secret,
        project_name: String,
        project_id: String,
        domain_name: String,
        domain_id: String,
        application_credential_name: String,
        application_credential_id: String,
        application_credential_secret: Secret,
        role: String,
        region: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        all_tenants: bool,
        tls_config: TlsConfig,
        availability: String = text("public"),
    }
    check = Self::complete
}

impl OpenStackSdConfig {
    fn complete(&mut self) -> Checked {
        one_of("availability", &self.availability, &["admin", "internal", "public"])?;
        one_of("role", &self.role, &["hypervisor", "instance", "loadbalancer"])?;
        required("region", &self.region, "openstack SD configuration")
    }
}

section! {
    /// Outscale's virtual machines.
    OutscaleSdConfig {
        endpoint: String,
        region: String = text("eu-west-2"),
        access_key: String,
        secret_key: Secret,
        secret_key_file: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl OutscaleSdConfig {
    fn complete(&mut self) -> Checked {
        required("region", &self.region, "outscale SD configuration")?;
        required("access_key", &self.access_key, "outscale SD configuration")?;
        exactly_one_key(&self.secret_key, &self.secret_key_file)
    }
}

fn exactly_one_key(key: &Secret, file: &str) -> Checked {
    ensure(key.is_empty() != file.is_empty(), "secret_key", || {
        "exactly one of secret_key & secret_key_file must be configured".to_owned()
    })
}

section! {
    /// `OVHcloud`'s servers.
    OvhCloudSdConfig {
        endpoint: String = text("ovh-eu"),
        application_key: String,
        application_secret: Secret,
        consumer_key: Secret,
        refresh_interval: Duration = MINUTE,
        service: String,
    }
    check = Self::complete
}

impl OvhCloudSdConfig {
    fn complete(&mut self) -> Checked {
        required("endpoint", &self.endpoint, "ovhcloud SD configuration")?;
        required("application_key", &self.application_key, "ovhcloud SD configuration")?;
        required(
            "application_secret",
            self.application_secret.reveal(),
            "ovhcloud SD configuration",
        )?;
        required("consumer_key", self.consumer_key.reveal(), "ovhcloud SD configuration")?;
        one_of("service", &self.service, &["dedicated_server", "vps"])
    }
}

section! {
    /// Resources of `PuppetDB`.
    PuppetDbSdConfig {
        refresh_interval: Duration = MINUTE,
        url: String,
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
    /// Scaleway's instances.
    ScalewaySdConfig {
        project_id: String,
        api_url: String = text("https://api.scaleway.com"),
        zone: String = text("fr-par-1"),
        access_key: String,
        secret_key: Secret,
        secret_key_file: String,
        name_filter: String,
        tags_filter: Vec<String>,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        role: String,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl ScalewaySdConfig {
    fn complete(&mut self) -> Checked {
        one_of("role", &self.role, &["instance", "baremetal"])?;
        required("project_id", &self.project_id, "scaleway SD configuration")?;
        required("access_key", &self.access_key, "scaleway SD configuration")?;
        exactly_one_key(&self.secret_key, &self.secret_key_file)
    }
}

section! {
    /// STACKIT's servers.
    StackitSdConfig {
        project: String,
        refresh_interval: Duration = MINUTE,
        port: u16 = 80,
        region: String = text("eu01"),
        endpoint: String,
        service_account_key: Secret,
        private_key: Secret,
        service_account_key_path: String,
        private_key_path: String,
        credentials_file_path: String,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl StackitSdConfig {
    fn complete(&mut self) -> Checked {
        required("project", &self.project, "stackit SD configuration")?;
        if self.endpoint.is_empty() { Ok(()) } else { http_url("endpoint", &self.endpoint) }
    }
}

section! {
    /// Triton's containers and nodes.
    TritonSdConfig {
        account: String,
        role: String = text("container"),
        dns_suffix: String,
        endpoint: String,
        groups: Vec<String>,
        port: u16 = 9163,
        refresh_interval: Duration = MINUTE,
        tls_config: TlsConfig,
        version: u32 = 1,
    }
    check = Self::complete
}

impl TritonSdConfig {
    fn complete(&mut self) -> Checked {
        one_of("role", &self.role, &["container", "cn"])?;
        required("account", &self.account, "triton SD configuration")?;
        required("dns_suffix", &self.dns_suffix, "triton SD configuration")?;
        required("endpoint", &self.endpoint, "triton SD configuration")?;
        ensure(!self.refresh_interval.is_zero(), "refresh_interval", || {
            "triton SD configuration requires RefreshInterval to be a positive integer".to_owned()
        })
    }
}

section! {
    /// Systems of an Uyuni server.
    UyuniSdConfig {
        server: String,
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

section! {
    /// Vultr's instances.
    VultrSdConfig { refresh_interval: Duration = MINUTE, port: u16 = 80 }
    inline { http: HttpClientConfig }
}
