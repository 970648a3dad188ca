//! The table of discoverers: which field of a job makes which task.

use std::rc::Rc;

use super::provider::{Feed, Running};
use super::stats::Stats;
use crate::config::discovery::{
    AwsClustersSdConfig, AwsSdConfig, AzureSdConfig, ConsulSdConfig, DigitalOceanSdConfig,
    Discovery, DnsSdConfig, DockerSdConfig, DockerSwarmSdConfig, Ec2SdConfig, EcsSdConfig,
    EurekaSdConfig, FileSdConfig, GceSdConfig, HetznerSdConfig, HttpSdConfig, IonosSdConfig,
    KubernetesSdConfig, KumaSdConfig, LightsailSdConfig, LinodeSdConfig, MarathonSdConfig,
    NomadSdConfig, OciSdConfig, OpenStackSdConfig, OutscaleSdConfig, OvhCloudSdConfig,
    PuppetDbSdConfig, RdsSdConfig, ScalewaySdConfig, StackitSdConfig, TritonSdConfig,
    UyuniSdConfig, VultrSdConfig, ZookeeperSdConfig,
};

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

/// A `*_sd_config`, whose task it starts.
pub(super) trait Start {
    /// Starts it; `Err` says what the configuration cannot mean.
    fn start(&self, context: Context) -> Result<Running, String>;
}

macro_rules! mechanisms {
    ($( $name:literal: $variant:ident from $field:ident: $config:ty; )*) => {
        /// One `*_sd_config`. Two that are equal are served by one task.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "there are few, and they are kept for comparing")]
        pub(super) enum Wanted { $( $variant($config), )* }

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

            /// Starts the task; `Err` says what the configuration cannot mean.
            pub(super) fn start(&self, context: Context) -> Result<Running, String> {
                match self { $( Wanted::$variant(config) => config.start(context), )* }
            }
        }
    };
}

mechanisms! {
    "aws": Aws from aws_sd_configs: AwsSdConfig;
    "azure": Azure from azure_sd_configs: AzureSdConfig;
    "consul": Consul from consul_sd_configs: ConsulSdConfig;
    "digitalocean": DigitalOcean from digitalocean_sd_configs: DigitalOceanSdConfig;
    "dns": Dns from dns_sd_configs: DnsSdConfig;
    "docker": Docker from docker_sd_configs: DockerSdConfig;
    "dockerswarm": DockerSwarm from dockerswarm_sd_configs: DockerSwarmSdConfig;
    "ec2": Ec2 from ec2_sd_configs: Ec2SdConfig;
    "ecs": Ecs from ecs_sd_configs: EcsSdConfig;
    "elasticache": Elasticache from elasticache_sd_configs: AwsClustersSdConfig;
    "eureka": Eureka from eureka_sd_configs: EurekaSdConfig;
    "file": File from file_sd_configs: FileSdConfig;
    "gce": Gce from gce_sd_configs: GceSdConfig;
    "hetzner": Hetzner from hetzner_sd_configs: HetznerSdConfig;
    "http": Http from http_sd_configs: HttpSdConfig;
    "kubernetes": Kubernetes from kubernetes_sd_configs: KubernetesSdConfig;
    "ionos": Ionos from ionos_sd_configs: IonosSdConfig;
    "kuma": Kuma from kuma_sd_configs: KumaSdConfig;
    "lightsail": Lightsail from lightsail_sd_configs: LightsailSdConfig;
    "linode": Linode from linode_sd_configs: LinodeSdConfig;
    "marathon": Marathon from marathon_sd_configs: MarathonSdConfig;
    "msk": Msk from msk_sd_configs: AwsClustersSdConfig;
    "nerve": Nerve from nerve_sd_configs: ZookeeperSdConfig;
    "nomad": Nomad from nomad_sd_configs: NomadSdConfig;
    "oci": Oci from oci_sd_configs: OciSdConfig;
    "openstack": OpenStack from openstack_sd_configs: OpenStackSdConfig;
    "outscale": Outscale from outscale_sd_configs: OutscaleSdConfig;
    "ovhcloud": OvhCloud from ovhcloud_sd_configs: OvhCloudSdConfig;
    "puppetdb": PuppetDb from puppetdb_sd_configs: PuppetDbSdConfig;
    "rds": Rds from rds_sd_configs: RdsSdConfig;
    "scaleway": Scaleway from scaleway_sd_configs: ScalewaySdConfig;
    "serverset": Serverset from serverset_sd_configs: ZookeeperSdConfig;
    "stackit": Stackit from stackit_sd_configs: StackitSdConfig;
    "triton": Triton from triton_sd_configs: TritonSdConfig;
    "uyuni": Uyuni from uyuni_sd_configs: UyuniSdConfig;
    "vultr": Vultr from vultr_sd_configs: VultrSdConfig;
}
