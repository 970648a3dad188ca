//! What the configurations of clouds ask, as whom: one row each, as in [`super::refreshed`].

use tidemark_ingest::discovery::clouds::aws::AwsOptions;
use tidemark_ingest::discovery::clouds::aws::ec2::Ec2;
use tidemark_ingest::discovery::clouds::aws::ecs::Ecs;
use tidemark_ingest::discovery::clouds::aws::elasticache::Elasticache;
use tidemark_ingest::discovery::clouds::aws::lightsail::Lightsail;
use tidemark_ingest::discovery::clouds::aws::msk::Msk;
use tidemark_ingest::discovery::clouds::aws::rds::Rds;
use tidemark_ingest::discovery::clouds::azure::{Azure, AzureOptions, Method};
use tidemark_ingest::discovery::clouds::openstack::{Login, OpenStack, Role};
use tidemark_ingest::discovery::clouds::ovhcloud::{OvhCloud, OvhCloudOptions};
use tidemark_ingest::discovery::clouds::{
    digitalocean, gce, hetzner, ionos, linode, oci, outscale, scaleway, stackit, triton, vultr,
};

use super::http::HttpAsk;
use super::mechanisms::{Context, Start};
use super::provider::Running;
use super::refreshed::{asking, filters, refreshed};
use crate::config::discovery::{
    AwsClustersSdConfig, AwsSdConfig, AzureSdConfig, DigitalOceanSdConfig, Ec2SdConfig,
    EcsSdConfig, GceSdConfig, HetznerSdConfig, IonosSdConfig, LightsailSdConfig, LinodeSdConfig,
    OciSdConfig, OpenStackSdConfig, OutscaleSdConfig, OvhCloudSdConfig, RdsSdConfig,
    ScalewaySdConfig, StackitSdConfig, TritonSdConfig, VultrSdConfig,
};
use crate::config::http_client::{HttpClientConfig, TlsConfig};

/// The fields that all of AWS' services have in common, and how many requests are under way at once.
macro_rules! aws_options {
    ($config:ident, $concurrency:expr) => {
        AwsOptions {
            region: $config.region.clone(),
            endpoint: $config.endpoint.to_string(),
            access_key: $config.access_key.clone(),
            secret_key: $config.secret_key.reveal().to_owned(),
            profile: $config.profile.clone(),
            role_arn: $config.role_arn.clone(),
            external_id: $config.external_id.clone(),
            concurrency: usize::try_from($concurrency).unwrap_or(usize::MAX),
        }
    };
}

refreshed! {
    AzureSdConfig: |c| &c.http => Azure::new(azure_options(c))?;
    DigitalOceanSdConfig: |c| &c.http => digitalocean::DigitalOcean {
        role: match c.role.as_str() {
            "databases" => digitalocean::Role::Databases,
            _ => digitalocean::Role::Droplets,
        },
        port: c.port,
    };
    Ec2SdConfig: |c| &c.http => Ec2::new(aws_options!(c, 1), c.port, filters(&c.filters));
    EcsSdConfig: |c| &c.http => Ecs::new(
        aws_options!(c, c.request_concurrency),
        c.port,
        c.clusters.clone(),
    );
    GceSdConfig: |c| &HttpClientConfig::default() => gce::Gce {
        project: c.project.clone(),
        zone: c.zone.clone(),
        filter: c.filter.clone(),
        port: c.port,
        tag_separator: c.tag_separator.clone(),
        token: None,
    };
    HetznerSdConfig: |c| &c.http => hetzner::Hetzner {
        role: if c.role == "robot" { hetzner::Role::Robot } else { hetzner::Role::Cloud },
        label_selector: c.label_selector.clone(),
        port: c.port,
    };
    IonosSdConfig: |c| &c.http => ionos::Ionos {
        datacenter_id: c.datacenter_id.clone(),
        port: c.port,
    };
    LightsailSdConfig: |c| &c.http => Lightsail::new(aws_options!(c, 1), c.port);
    LinodeSdConfig: |c| &c.http => linode::Linode::new(c.port, &c.region, &c.tag_separator);
    OpenStackSdConfig: |c| &with_tls(&c.tls_config) => openstack(c);
    OutscaleSdConfig: |c| &c.http => outscale::Outscale {
        endpoint: c.endpoint.to_string(),
        region: c.region.clone(),
        access_key: c.access_key.clone(),
        secret_key: (c.secret_key.reveal().to_owned(), c.secret_key_file.clone()),
        port: c.port,
    };
    OvhCloudSdConfig: |c| &HttpClientConfig::default() => OvhCloud::new(OvhCloudOptions {
        endpoint: c.endpoint.to_string(),
        application_key: c.application_key.clone(),
        application_secret: c.application_secret.reveal().to_owned(),
        consumer_key: c.consumer_key.reveal().to_owned(),
        vps: c.service == "vps",
    })?;
    RdsSdConfig: |c| &c.http => Rds::new(
        aws_options!(c, c.request_concurrency),
        c.port,
        c.clusters.clone(),
        filters(&c.filters),
    );
    ScalewaySdConfig: |c| &c.http => scaleway::Scaleway {
        base: c.api_url.trim_end_matches('/').to_owned(),
        zone: c.zone.clone(),
        secret_key: c.secret_key.reveal().to_owned(),
        secret_key_file: c.secret_key_file.clone(),
        name_filter: c.name_filter.clone(),
        tags_filter: c.tags_filter.clone(),
        baremetal: c.role == "baremetal",
        port: c.port,
    };
    StackitSdConfig: |c| &c.http => stackit::Stackit::new(stackit::StackitOptions {
        project: c.project.clone(),
        endpoint: c.endpoint.to_string(),
        region: c.region.clone(),
        account_key: (c.service_account_key.reveal().to_owned(), c.service_account_key_path.clone()),
        private_key: (c.private_key.reveal().to_owned(), c.private_key_path.clone()),
        credentials_file: c.credentials_file_path.clone(),
        port: c.port,
    });
    TritonSdConfig: |c| &with_tls(&c.tls_config) => triton::Triton {
        endpoint: c.endpoint.to_string(),
        port: c.port,
        version: c.version,
        compute_nodes: c.role == "cn",
        groups: c.groups.clone(),
        dns_suffix: c.dns_suffix.clone(),
    };
    VultrSdConfig: |c| &c.http => vultr::Vultr { port: c.port };
}

impl Start for OciSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        if self.auth != "api_key" {
            return Err(format!("auth {:?} is not supported, only \"api_key\"", self.auth));
        }
        let every = self.refresh_interval;
        let mechanism = oci::Oci {
            tenancy: self.tenancy.clone(),
            user: self.user.clone(),
            fingerprint: self.fingerprint.clone(),
            key_file: self.key_file.clone(),
            region: self.region.clone(),
            compartments: self.compartments.clone(),
            port: self.port,
        };
        Ok(asking(mechanism, HttpAsk::new(&self.http, every.as_std())?, every, context))
    }
}

impl Start for AwsClustersSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        let (every, clusters) = (self.refresh_interval, self.clusters.clone());
        let options = aws_options!(self, self.request_concurrency);
        let client = HttpAsk::new(&self.http, every.as_std())?;
        Ok(match context.mechanism {
            "msk" => asking(Msk::new(options, self.port, clusters), client, every, context),
            _ => asking(Elasticache::new(options, clusters), client, every, context),
        })
    }
}

impl Start for AwsSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        // A role takes what its own section does by default.
        let concurrency = if self.role == "ecs" { 20 } else { 10 };
        let (options, every) = (aws_options!(self, concurrency), self.refresh_interval);
        let client = HttpAsk::new(&self.http, every.as_std())?;
        let (port, clusters, filters) = (self.port, self.clusters.clone(), filters(&self.filters));
        match self.role.as_str() {
            "ec2" => Ok(asking(Ec2::new(options, port, filters), client, every, context)),
            "ecs" => Ok(asking(Ecs::new(options, port, clusters), client, every, context)),
            "elasticache" => {
                Ok(asking(Elasticache::new(options, clusters), client, every, context))
            }
            "lightsail" => Ok(asking(Lightsail::new(options, port), client, every, context)),
            "msk" => Ok(asking(Msk::new(options, port, clusters), client, every, context)),
            "rds" => Ok(asking(Rds::new(options, port, clusters, filters), client, every, context)),
            role => Err(format!("role {role:?} is none that AWS has")),
        }
    }
}

/// A client that is nobody but for its certificate.
fn with_tls(tls_config: &TlsConfig) -> HttpClientConfig {
    HttpClientConfig { tls_config: tls_config.clone(), ..HttpClientConfig::default() }
}

fn azure_options(config: &AzureSdConfig) -> AzureOptions {
    AzureOptions {
        environment: config.environment.clone(),
        method: match config.authentication_method.as_str() {
            "ManagedIdentity" => Method::ManagedIdentity,
            "WorkloadIdentity" => Method::WorkloadIdentity,
            "SDK" => Method::Sdk,
            _ => Method::OAuth,
        },
        subscription_id: config.subscription_id.clone(),
        tenant_id: config.tenant_id.clone(),
        client_id: config.client_id.clone(),
        client_secret: config.client_secret.reveal().to_owned(),
        resource_group: config.resource_group.clone(),
        port: config.port,
    }
}

fn openstack(config: &OpenStackSdConfig) -> OpenStack {
    OpenStack {
        login: Login {
            identity_endpoint: config.identity_endpoint.to_string(),
            username: config.username.clone(),
            userid: config.userid.clone(),
            password: config.password.reveal().to_owned(),
            project_name: config.project_name.clone(),
            project_id: config.project_id.clone(),
            domain_name: config.domain_name.clone(),
            domain_id: config.domain_id.clone(),
            credential_name: config.application_credential_name.clone(),
            credential_id: config.application_credential_id.clone(),
            credential_secret: config.application_credential_secret.reveal().to_owned(),
        },
        role: match config.role.as_str() {
            "hypervisor" => Role::Hypervisor,
            "loadbalancer" => Role::LoadBalancer,
            _ => Role::Instance,
        },
        region: config.region.clone(),
        availability: config.availability.clone(),
        all_tenants: config.all_tenants,
        port: config.port,
    }
}
