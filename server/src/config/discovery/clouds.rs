//! Providers of machines: what Prometheus discovers at each of them.

use super::super::http_client::{HttpClientConfig, TlsConfig};
use super::super::scalars::{Address, Duration, Secret};
use super::super::section::{Checked, ensure, one_of, required, section};
use super::{FIVE_MINUTES, MINUTE, http_url, text};

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
        endpoint: Address,
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
    /// Tasks of ECS clusters.
    EcsSdConfig {
        region: String,
        endpoint: Address,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        clusters: Vec<String>,
        port: u16 = 80,
        refresh_interval: Duration = MINUTE,
        request_concurrency: u32 = 20,
    }
    inline { http: HttpClientConfig }
}

section! {
    /// MSK and `ElastiCache` clusters.
    AwsClustersSdConfig {
        region: String,
        endpoint: Address,
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
        endpoint: Address,
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
        endpoint: Address,
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
        endpoint: Address,
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
        ensure(self.compartments.iter().all(|id| !id.is_empty()), "compartments", || {
            "oci_sd: compartments must not be empty".to_owned()
        })?;
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
        identity_endpoint: Address,
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
        endpoint: Address,
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
        endpoint: Address = text("ovh-eu"),
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
    /// Scaleway's instances.
    ScalewaySdConfig {
        project_id: String,
        api_url: Address = text("https://api.scaleway.com"),
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
        endpoint: Address,
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
        endpoint: Address,
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
    /// Vultr's instances.
    VultrSdConfig { refresh_interval: Duration = MINUTE, port: u16 = 80 }
    inline { http: HttpClientConfig }
}
