//! Where targets come from: `static_configs` and every `*_sd_configs` of Prometheus, as tables.
//!
//! All are read and checked, so that a good file is told from a bad one. Here stands what needs no product: lists, files, HTTP, DNS;
//! [`clouds`] has providers of machines, [`services`] registries and orchestrators.

mod clouds;
mod services;

use std::collections::BTreeMap;

#[allow(clippy::wildcard_imports, reason = "a table of all of them follows")]
pub(crate) use clouds::*;
#[allow(clippy::wildcard_imports, reason = "a table of all of them follows")]
pub(crate) use services::*;

use super::http_client::HttpClientConfig;
use super::paths::Directory;
use super::scalars::{Address, Duration};
use super::section::{Checked, ensure, fault, one_of, required, section};

const MINUTE: Duration = Duration::from_secs(60);
const HALF_MINUTE: Duration = Duration::from_secs(30);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn text<T: From<&'static str>>(value: &'static str) -> T {
    value.into()
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
        ecs_sd_configs: Vec<EcsSdConfig>,
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
    /// Static targets must be addresses, not URLs, unless relabelling may still mend them.
    pub(crate) fn check_static_targets(&self) -> Checked {
        let mut targets = self.static_configs.iter().flat_map(|group| &group.targets);
        match targets.find(|target| target.contains('/')) {
            Some(bad) => Err(fault("static_configs", format!("{bad:?} is not a valid hostname"))),
            None => Ok(()),
        }
    }
}

/// The file names of the HTTP client or TLS settings of each discoverer, which stand in one field of it.
macro_rules! file_names {
    ($discovery:ident: $( $inner:ident of $( $field:ident )*; )*) => {{
        let mut names = Vec::new();
        $( $( names.extend($discovery.$field.iter_mut().flat_map(|sd| sd.$inner.file_names())); )* )*
        names
    }};
}

impl Directory for Discovery {
    fn file_names(&mut self) -> Vec<&mut String> {
        let mut names = file_names! { self:
            http of aws_sd_configs azure_sd_configs consul_sd_configs digitalocean_sd_configs docker_sd_configs
                dockerswarm_sd_configs ec2_sd_configs ecs_sd_configs elasticache_sd_configs eureka_sd_configs
                hetzner_sd_configs http_sd_configs ionos_sd_configs kuma_sd_configs lightsail_sd_configs linode_sd_configs
                msk_sd_configs nomad_sd_configs puppetdb_sd_configs rds_sd_configs stackit_sd_configs uyuni_sd_configs
                vultr_sd_configs;
            tls_config of openstack_sd_configs triton_sd_configs;
        };
        names.extend(self.file_sd_configs.iter_mut().flat_map(|sd| &mut sd.files));
        for sd in &mut self.kubernetes_sd_configs {
            names.push(&mut sd.kubeconfig_file);
            names.extend(sd.http.file_names());
        }
        for sd in &mut self.marathon_sd_configs {
            names.push(&mut sd.auth_token_file);
            names.extend(sd.http.file_names());
        }
        for sd in &mut self.oci_sd_configs {
            names.extend([&mut sd.key_file, &mut sd.key_passphrase_file]);
            names.extend(sd.http.file_names());
        }
        for sd in &mut self.outscale_sd_configs {
            names.push(&mut sd.secret_key_file);
            names.extend(sd.http.file_names());
        }
        for sd in &mut self.scaleway_sd_configs {
            names.push(&mut sd.secret_key_file);
            names.extend(sd.http.file_names());
        }
        names
    }
}

section! {
    /// Targets written out, with the labels of each of their series.
    StaticConfig { targets: Vec<String>, labels: BTreeMap<String, String> }
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
    /// Target groups from a URL.
    HttpSdConfig { refresh_interval: Duration = MINUTE, url: Address }
    inline { http: HttpClientConfig }
    check = Self::complete
}

impl HttpSdConfig {
    fn complete(&mut self) -> Checked {
        required("url", &self.url, "HTTP SD configuration")?;
        http_url("url", &self.url)
    }
}
