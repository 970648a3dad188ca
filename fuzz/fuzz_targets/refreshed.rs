//! Any answers to a mechanism that asks for everything now and then become groups or are refused: registries of services,
//! orchestrators, clouds, an HTTP directory.
//!
//! The first byte of the input chooses the mechanism. The rest is the answers in their order, behind a byte 0x1e each; one that
//! begins with `!` is a no. There are two refreshes, so that what is kept of the first meets the second.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run refreshed fuzz/seeds/refreshed -- -max_total_time=300 -max_len=2048
//! ```

#![no_main]

#[path = "../src/script.rs"]
mod script;

use std::time::Duration;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use script::Script;
use tidemark_ingest::discovery::clouds::aws::AwsOptions;
use tidemark_ingest::discovery::clouds::aws::ec2::Ec2;
use tidemark_ingest::discovery::clouds::aws::ecs::Ecs;
use tidemark_ingest::discovery::clouds::aws::elasticache::Elasticache;
use tidemark_ingest::discovery::clouds::aws::lightsail::Lightsail;
use tidemark_ingest::discovery::clouds::aws::msk::Msk;
use tidemark_ingest::discovery::clouds::aws::rds::Rds;
use tidemark_ingest::discovery::clouds::azure::{self, Azure, AzureOptions};
use tidemark_ingest::discovery::clouds::digitalocean::{self, DigitalOcean};
use tidemark_ingest::discovery::clouds::gce::Gce;
use tidemark_ingest::discovery::clouds::hetzner::{self, Hetzner};
use tidemark_ingest::discovery::clouds::ionos::Ionos;
use tidemark_ingest::discovery::clouds::linode::Linode;
use tidemark_ingest::discovery::clouds::oci::Oci;
use tidemark_ingest::discovery::clouds::openstack::{self, Login, OpenStack};
use tidemark_ingest::discovery::clouds::ovhcloud::{OvhCloud, OvhCloudOptions};
use tidemark_ingest::discovery::clouds::scaleway::Scaleway;
use tidemark_ingest::discovery::clouds::stackit::{Stackit, StackitOptions};
use tidemark_ingest::discovery::clouds::triton::Triton;
use tidemark_ingest::discovery::clouds::vultr::Vultr;
use tidemark_ingest::discovery::docker::{Docker, DockerOptions};
use tidemark_ingest::discovery::dockerswarm::{self, Swarm};
use tidemark_ingest::discovery::http::Http;
use tidemark_ingest::discovery::services::eureka::Eureka;
use tidemark_ingest::discovery::services::kuma::Kuma;
use tidemark_ingest::discovery::services::marathon::Marathon;
use tidemark_ingest::discovery::services::nomad::Nomad;
use tidemark_ingest::discovery::services::puppetdb::PuppetDb;
use tidemark_ingest::discovery::services::uyuni::Uyuni;
use tidemark_ingest::discovery::Refresh;

fn base() -> String {
    "http://localhost".to_owned()
}

fn x() -> String {
    "x".to_owned()
}

fn swarm(role: dockerswarm::Role) -> Box<dyn Refresh> {
    Box::new(Swarm { base: base(), role, port: 80, filters: Vec::new() })
}

fn docker(match_first_network: bool) -> Box<dyn Refresh> {
    Box::new(Docker::new(DockerOptions {
        base: base(),
        port: 80,
        filters: Vec::new(),
        host_networking_host: x(),
        match_first_network,
    }))
}

fn azure(method: azure::Method) -> Box<dyn Refresh> {
    let options = AzureOptions {
        environment: "AzurePublicCloud".to_owned(),
        method,
        subscription_id: x(),
        tenant_id: x(),
        client_id: x(),
        client_secret: x(),
        resource_group: String::new(),
        port: 80,
    };
    Box::new(Azure::new(options).expect("the cloud is known"))
}

fn openstack(role: openstack::Role) -> Box<dyn Refresh> {
    let login = Login { identity_endpoint: base(), username: x(), password: x(), ..Login::default() };
    Box::new(OpenStack {
        login,
        role,
        region: x(),
        availability: "public".to_owned(),
        all_tenants: false,
        port: 80,
    })
}

fn ovh(vps: bool) -> Box<dyn Refresh> {
    let options = OvhCloudOptions {
        endpoint: "ovh-eu".to_owned(),
        application_key: x(),
        application_secret: x(),
        consumer_key: x(),
        vps,
    };
    Box::new(OvhCloud::new(options).expect("the endpoint is known"))
}

fn scaleway(baremetal: bool) -> Box<dyn Refresh> {
    Box::new(Scaleway {
        base: base(),
        zone: x(),
        secret_key: x(),
        secret_key_file: String::new(),
        name_filter: String::new(),
        tags_filter: Vec::new(),
        baremetal,
        port: 80,
    })
}

fn triton(compute_nodes: bool) -> Box<dyn Refresh> {
    Box::new(Triton {
        endpoint: "localhost".to_owned(),
        port: 80,
        version: 1,
        compute_nodes,
        groups: Vec::new(),
        dns_suffix: x(),
    })
}

/// AWS with a key that is configured, and with one that the machine is asked for.
fn aws(known: bool) -> AwsOptions {
    let key = if known { x() } else { String::new() };
    AwsOptions { region: x(), access_key: key.clone(), secret_key: key, ..AwsOptions::default() }
}

/// Every mechanism, in each of its roles.
const MECHANISMS: &[fn() -> Box<dyn Refresh>] = &[
    || Box::new(Http::new("http://localhost/", Duration::from_secs(60))),
    || docker(true),
    || docker(false),
    || swarm(dockerswarm::Role::Services),
    || swarm(dockerswarm::Role::Tasks),
    || swarm(dockerswarm::Role::Nodes),
    || Box::new(Eureka { base: base() }),
    || Box::new(Kuma::new("http://localhost", "0s", "x")),
    || Box::new(Marathon::new(vec![base()], String::new(), String::new())),
    || {
        Box::new(Nomad {
            base: base(),
            allow_stale: true,
            namespace: x(),
            region: x(),
            tag_separator: ",".to_owned(),
        })
    },
    || Box::new(PuppetDb { base: base(), query: x(), include_parameters: true, port: 80 }),
    || {
        Box::new(Uyuni {
            server: base(),
            username: x(),
            password: x(),
            entitlement: x(),
            separator: ",".to_owned(),
            session: None,
        })
    },
    || Box::new(Ec2::new(aws(true), 80, Vec::new())),
    || Box::new(Ec2::new(aws(false), 80, Vec::new())),
    || Box::new(Lightsail::new(aws(true), 80)),
    || azure(azure::Method::OAuth),
    || azure(azure::Method::ManagedIdentity),
    || Box::new(DigitalOcean { role: digitalocean::Role::Droplets, port: 80 }),
    || Box::new(DigitalOcean { role: digitalocean::Role::Databases, port: 80 }),
    || {
        Box::new(Gce {
            project: x(),
            zone: x(),
            filter: String::new(),
            port: 80,
            tag_separator: ",".to_owned(),
            token: None,
        })
    },
    || Box::new(Hetzner { role: hetzner::Role::Cloud, label_selector: String::new(), port: 80 }),
    || Box::new(Hetzner { role: hetzner::Role::Robot, label_selector: String::new(), port: 80 }),
    || Box::new(Ionos { datacenter_id: x(), port: 80 }),
    || Box::new(Linode::new(80, "", ",")),
    || openstack(openstack::Role::Instance),
    || openstack(openstack::Role::Hypervisor),
    || openstack(openstack::Role::LoadBalancer),
    || ovh(true),
    || ovh(false),
    || scaleway(true),
    || scaleway(false),
    || {
        let options = StackitOptions { project: x(), region: x(), port: 80, ..StackitOptions::default() };
        Box::new(Stackit::new(options))
    },
    || triton(true),
    || triton(false),
    || Box::new(Vultr { port: 80 }),
    || Box::new(Ecs::new(aws(true), 80, Vec::new())),
    || Box::new(Elasticache::new(aws(true), Vec::new())),
    || Box::new(Msk::new(aws(true), 80, Vec::new())),
    || Box::new(Msk::new(aws(true), 80, vec![x()])),
    || {
        let key_file = "key".to_owned();
        Box::new(Oci { tenancy: x(), region: x(), key_file, port: 80, ..Oci::default() })
    },
    || Box::new(Rds::new(aws(true), 80, Vec::new(), Vec::new())),
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, answers)) = bytes.split_first() else { return };
    let mut mechanism = MECHANISMS[usize::from(which) % MECHANISMS.len()]();
    let script = Script::new(answers);
    for _ in 0..2 {
        let groups = mechanism.refresh(&script).now_or_never().expect("every answer is there");
        for target in groups.into_iter().flatten().flat_map(|group| group.targets) {
            // Not always with an address: a database that is not reachable yet has none.
            assert!(!target.is_empty());
        }
    }
});
