//! `openstack_sd`: the instances, hypervisors or load balancers of one region of OpenStack.
//!
//! Each refresh begins with a login at Keystone ([`keystone`]), whose answer says where Nova, Neutron and Octavia are.

mod keystone;

use std::collections::{BTreeMap, HashMap, HashSet};

use http::HeaderName;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::keystone::Login;
use self::keystone::Session;
use super::super::ask::{Ask, DiscoveryError, answer, ask_pages, get, refresh_by, with_secret};
use super::super::meta::{Meta, host_port, one_group};
use crate::scrape::TargetGroup;

const PREFIX: &str = "__meta_openstack_";
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

type Targets = Vec<BTreeMap<String, String>>;

/// What becomes targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A target for each address of an instance.
    Instance,
    /// A target for each hypervisor.
    Hypervisor,
    /// A target for each load balancer that listens for Prometheus.
    LoadBalancer,
}

/// What is asked for, as whom, and how targets are made of it.
pub struct OpenStack {
    /// As whom.
    pub login: Login,
    /// What becomes targets.
    pub role: Role,
    /// The region.
    pub region: String,
    /// Which of a service's endpoints: `public`, `internal` or `admin`.
    pub availability: String,
    /// Whether instances of all projects are wanted.
    pub all_tenants: bool,
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// Some of a list: only one of them is there.
    Page {
        servers: Vec<Server> = "servers",
        hypervisors: Vec<Hypervisor> = "hypervisors",
        ports: Vec<Port> = "ports",
        floating_ips: Vec<FloatingIp> = "floatingips",
        balancers: Vec<Balancer> = "loadbalancers",
        listeners: Vec<Listener> = "listeners",
        servers_links: Vec<Link> = "servers_links",
        hypervisors_links: Vec<Link> = "hypervisors_links",
        ports_links: Vec<Link> = "ports_links",
        floating_ips_links: Vec<Link> = "floatingips_links",
        balancers_links: Vec<Link> = "loadbalancers_links",
        listeners_links: Vec<Link> = "listeners_links",
    }
}

answer! {
    /// Where the list goes on.
    Link { rel: String = "rel", href: String = "href", }
}

answer! {
    /// An instance.
    Server {
        id: String = "id",
        name: String = "name",
        status: String = "status",
        project: String = "tenant_id",
        user: String = "user_id",
        flavor: Value = "flavor",
        image: Value = "image",
        metadata: BTreeMap<String, String> = "metadata",
        addresses: BTreeMap<String, Vec<Address>> = "addresses",
    }
}

answer! {
    /// An address of an instance.
    Address { ip: String = "addr", }
}

answer! {
    /// A hypervisor; its id is a number in older answers.
    Hypervisor {
        id: Value = "id",
        hostname: String = "hypervisor_hostname",
        host_ip: String = "host_ip",
        kind: String = "hypervisor_type",
        state: String = "state",
        status: String = "status",
    }
}

answer! {
    /// A port of a network, and the device that has it.
    Port { id: String = "id", device: String = "device_id", }
}

answer! {
    /// A public address, and the port and the address that it leads to.
    FloatingIp { port: String = "port_id", fixed: String = "fixed_ip_address", public: String = "floating_ip_address", }
}

answer! {
    /// A load balancer.
    Balancer {
        id: String = "id",
        name: String = "name",
        operating_status: String = "operating_status",
        provisioning_status: String = "provisioning_status",
        zone: String = "availability_zone",
        vip: String = "vip_address",
        vip_port: String = "vip_port_id",
        provider: String = "provider",
        project: String = "project_id",
        tags: Vec<String> = "tags",
    }
}

answer! {
    /// Where a load balancer listens.
    Listener { protocol: String = "protocol", port: i64 = "protocol_port", balancers: Vec<Reference> = "loadbalancers", }
}

answer! {
    /// Something by its id.
    Reference { id: String = "id", }
}

/// How a page names the next one.
fn next(page: &Page) -> Option<&str> {
    let links = [
        &page.servers_links,
        &page.hypervisors_links,
        &page.ports_links,
        &page.floating_ips_links,
        &page.balancers_links,
        &page.listeners_links,
    ];
    links.into_iter().flatten().find(|link| link.rel == "next").map(|link| link.href.as_str())
}

impl OpenStack {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let session = self.login.session(ask).await?;
        let targets = match self.role {
            Role::Instance => self.instances(ask, &session).await?,
            Role::Hypervisor => self.hypervisors(ask, &session).await?,
            Role::LoadBalancer => self.balancers(ask, &session).await?,
        };
        Ok(one_group(format!("OS_{}", self.region), targets))
    }

    /// All of a list of a service.
    async fn all<T: DeserializeOwned>(
        &self,
        ask: &dyn Ask,
        session: &Session,
        service: &str,
        path: &str,
        items: fn(Page) -> Vec<T>,
    ) -> Result<Vec<T>, DiscoveryError> {
        let base = session.endpoint(service, &self.region, &self.availability)?;
        let version = if service == "compute" || base.ends_with("/v2.0") { "" } else { "/v2.0" };
        let url = format!("{base}{version}/{path}");
        let origin = origin(&url);
        // Behind a proxy links may name another scheme or host; the token stays where it was sent first.
        let following = |page: &Page, _| {
            let uri: http::Uri = next(page)?.parse().ok()?;
            Some(format!("{origin}{}", uri.path_and_query()?))
        };
        let request = with_secret(get(&url)?, TOKEN, &session.token)?;
        let pages = ask_pages(ask, request, following).await?;
        Ok(pages.into_iter().flat_map(items).collect())
    }

    async fn hypervisors(
        &self,
        ask: &dyn Ask,
        session: &Session,
    ) -> Result<Targets, DiscoveryError> {
        let path = "os-hypervisors/detail";
        let found = self.all(ask, session, "compute", path, |page| page.hypervisors).await?;
        let target = |one: Hypervisor| {
            let address = host_port(&one.host_ip, self.port);
            let id = one.id.as_str().map_or_else(|| one.id.to_string(), str::to_owned);
            let labels = [
                ("hypervisor_id", id),
                ("hypervisor_hostname", one.hostname),
                ("hypervisor_host_ip", one.host_ip),
                ("hypervisor_status", one.status),
                ("hypervisor_state", one.state),
                ("hypervisor_type", one.kind),
            ];
            Meta::with(PREFIX, labels).at(address)
        };
        Ok(found.into_iter().map(target).collect())
    }

    async fn instances(&self, ask: &dyn Ask, session: &Session) -> Result<Targets, DiscoveryError> {
        let ports = self.all(ask, session, "network", "ports", |page| page.ports).await?;
        let devices: HashMap<String, String> =
            ports.into_iter().map(|port| (port.id, port.device)).collect();
        let floating = self.all(ask, session, "network", "floatingips", |p| p.floating_ips).await?;
        let mut public = HashMap::new();
        for ip in floating.into_iter().filter(|ip| !ip.fixed.is_empty()) {
            if let Some(device) = devices.get(&ip.port) {
                public.insert((device.clone(), ip.fixed), ip.public);
            }
        }
        let path =
            if self.all_tenants { "servers/detail?all_tenants=true" } else { "servers/detail" };
        let servers = self.all(ask, session, "compute", path, |page| page.servers).await?;
        let shown: HashSet<&str> = public.values().map(String::as_str).collect();
        let mut targets = Vec::new();
        for server in &servers {
            let Some(common) = instance(server) else { continue };
            for (pool, addresses) in &server.addresses {
                // A public address is a label of the private one that it leads to.
                for ip in addresses
                    .iter()
                    .map(|a| a.ip.as_str())
                    .filter(|ip| !ip.is_empty() && !shown.contains(ip))
                {
                    let mut meta = common.clone();
                    meta.set("address_pool", pool.as_str()).set("private_ip", ip);
                    let outside = public.get(&(server.id.clone(), ip.to_owned()));
                    meta.set_some("public_ip", outside.map(String::as_str));
                    targets.push(meta.at(host_port(ip, self.port)));
                }
            }
        }
        Ok(targets)
    }

    async fn balancers(&self, ask: &dyn Ask, session: &Session) -> Result<Targets, DiscoveryError> {
        let service = "load-balancer";
        let balancers =
            self.all(ask, session, service, "lbaas/loadbalancers", |p| p.balancers).await?;
        let listeners = self.all(ask, session, service, "lbaas/listeners", |p| p.listeners).await?;
        let floating = self.all(ask, session, "network", "floatingips", |p| p.floating_ips).await?;
        let public: HashMap<&str, &str> =
            floating.iter().map(|ip| (ip.port.as_str(), ip.public.as_str())).collect();
        let mut listens = HashMap::new();
        for listener in listeners.iter().filter(|listener| listener.protocol == "PROMETHEUS") {
            for balancer in &listener.balancers {
                listens.entry(balancer.id.as_str()).or_insert(listener.port);
            }
        }
        let target = |one: &Balancer| {
            let port = listens.get(one.id.as_str())?;
            let labels = [
                ("loadbalancer_id", one.id.clone()),
                ("loadbalancer_name", one.name.clone()),
                ("loadbalancer_operating_status", one.operating_status.clone()),
                ("loadbalancer_provisioning_status", one.provisioning_status.clone()),
                ("loadbalancer_availability_zone", one.zone.clone()),
                ("loadbalancer_vip", one.vip.clone()),
                ("loadbalancer_provider", one.provider.clone()),
                ("project_id", one.project.clone()),
                ("loadbalancer_tags", one.tags.join(",")),
            ];
            let mut meta = Meta::with(PREFIX, labels);
            let outside = public.get(one.vip_port.as_str()).filter(|_| !one.vip_port.is_empty());
            meta.set_some("loadbalancer_floating_ip", outside.copied());
            Some(meta.at(host_port(&one.vip, port)))
        };
        Ok(balancers.iter().filter_map(target).collect())
    }
}

/// What all targets of an instance have; `None` if it has no flavor.
fn instance(server: &Server) -> Option<Meta> {
    let flavor = server.flavor["original_name"].as_str().or(server.flavor["id"].as_str())?;
    let mut meta = Meta::with(
        PREFIX,
        [
            ("instance_id", server.id.clone()),
            ("instance_status", server.status.clone()),
            ("instance_name", server.name.clone()),
            ("project_id", server.project.clone()),
            ("user_id", server.user.clone()),
            ("instance_flavor", flavor.to_owned()),
        ],
    );
    meta.set_some("instance_image", server.image["id"].as_str());
    meta.set_each("tag_", &server.metadata);
    Some(meta)
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |slash| host + slash);
    &url[..end]
}

refresh_by!(OpenStack, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const SERVERS: &str = r#"{"servers": [{"id": "ef07", "name": "herp", "status": "ACTIVE", "tenant_id": "fcad", "user_id": "9349", "flavor": {"id": "1"}, "image": {"id": "f90f"}, "metadata": {"env": "prod"},
      "addresses": {"private": [{"addr": "10.0.0.31", "version": 4}, {"addr": "10.10.10.2"}]}}, {"id": "dry", "flavor": {"id": "1"}, "image": "", "addresses": {}}], "servers_links": [{"rel": "next", "href": "http://elsewhere/v2.1/p/servers/detail?marker=dry"}]}"#;
    const MORE: &str = r#"{"servers": [{"id": "87ca", "flavor": {"original_name": "m1.medium"}, "image": "", "addresses": {"private": [{"addr": "10.0.0.32"}]}}]}"#;
    const NETWORK: [(&str, u16, &str); 2] = [
        ("/v2.0/ports", 200, r#"{"ports": [{"id": "port", "device_id": "ef07"}]}"#),
        (
            "/v2.0/floatingips",
            200,
            r#"{"floatingips": [{"port_id": "port", "fixed_ip_address": "10.0.0.31", "floating_ip_address": "10.10.10.2"}, {"port_id": null, "floating_ip_address": "9.9.9.9"}, {"port_id": "vip", "floating_ip_address": "192.168.1.2"}]}"#,
        ),
    ];

    fn openstack(role: Role, answers: &[(&'static str, u16, &'static str)]) -> (OpenStack, Tokens) {
        let login = Login {
            identity_endpoint: "http://keystone:5000/v3".into(),
            username: "me".into(),
            password: "hunter2".into(),
            project_name: "p".into(),
            domain_name: "d".into(),
            ..Login::default()
        };
        let openstack = OpenStack {
            login,
            role,
            region: "RegionOne".into(),
            availability: "public".into(),
            all_tenants: true,
            port: 80,
        };
        (openstack, Tokens(Recorded::new(answers)))
    }

    /// Adds the token that stands in a header.
    pub(super) struct Tokens(pub(super) Recorded);

    impl Ask for Tokens {
        fn ask(
            &self,
            request: http::Request<bytes::Bytes>,
        ) -> futures_util::future::LocalBoxFuture<
            '_,
            Result<http::Response<bytes::Bytes>, DiscoveryError>,
        > {
            if !request.uri().path().ends_with("/auth/tokens") {
                return self.0.ask(request);
            }
            let catalog = r#"{"token": {"catalog": [{"type": "compute", "endpoints": [{"interface": "admin", "region_id": "RegionOne", "url": "http://admin"}, {"interface": "public", "region_id": "RegionOne", "url": "http://nova/v2.1/p/"}]},
                {"type": "network", "endpoints": [{"interface": "public", "region": "RegionOne", "url": "http://neutron/"}]}, {"type": "load-balancer", "endpoints": [{"interface": "public", "region_id": "RegionOne", "url": "http://octavia"}]}]}}"#;
            self.0.asked.borrow_mut().push(request);
            let answer = http::Response::builder()
                .status(201)
                .header("x-subject-token", "tok")
                .body(catalog.into());
            Box::pin(async { Ok(answer.unwrap()) })
        }
    }

    fn listed((openstack, ask): &(OpenStack, Tokens)) -> String {
        shown(&futures_util::FutureExt::now_or_never(openstack.list(ask)).unwrap().unwrap())
    }

    #[test]
    fn instances_by_their_addresses() {
        let both = openstack(
            Role::Instance,
            &[
                NETWORK[0],
                NETWORK[1],
                ("marker=dry", 200, MORE),
                ("/servers/detail?all_tenants=true", 200, SERVERS),
            ],
        );
        assert_eq!(
            listed(&both),
            r#"OS_RegionOne {}
  {"__address__": "10.0.0.31:80", "__meta_openstack_address_pool": "private", "__meta_openstack_instance_flavor": "1", "__meta_openstack_instance_id": "ef07", "__meta_openstack_instance_image": "f90f", "__meta_openstack_instance_name": "herp", "__meta_openstack_instance_status": "ACTIVE", "__meta_openstack_private_ip": "10.0.0.31", "__meta_openstack_project_id": "fcad", "__meta_openstack_public_ip": "10.10.10.2", "__meta_openstack_tag_env": "prod", "__meta_openstack_user_id": "9349"}
  {"__address__": "10.0.0.32:80", "__meta_openstack_address_pool": "private", "__meta_openstack_instance_flavor": "m1.medium", "__meta_openstack_instance_id": "87ca", "__meta_openstack_private_ip": "10.0.0.32"}
"#
        );
        assert_eq!(
            both.1.0.urls(),
            [
                "http://keystone:5000/v3/auth/tokens",
                "http://neutron/v2.0/ports",
                "http://neutron/v2.0/floatingips",
                "http://nova/v2.1/p/servers/detail?all_tenants=true",
                "http://nova/v2.1/p/servers/detail?marker=dry"
            ]
        );
        assert!(
            both.1.0.asked.borrow()[1..]
                .iter()
                .all(|request| request.headers()["x-auth-token"] == "tok")
        );
        assert_eq!(
            both.1.0.bodies()[0],
            r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"d"},"name":"me","password":"hunter2"}}},"scope":{"project":{"domain":{"name":"d"},"name":"p"}}}}"#
        );
    }

    #[test]
    fn hypervisors_and_load_balancers() {
        let hypervisors = r#"{"hypervisors": [{"id": 1, "hypervisor_hostname": "nc14", "host_ip": "172.16.70.14", "hypervisor_type": "QEMU", "state": "up", "status": "enabled"}]}"#;
        assert_eq!(
            listed(&openstack(Role::Hypervisor, &[("/os-hypervisors/detail", 200, hypervisors)])),
            r#"OS_RegionOne {}
  {"__address__": "172.16.70.14:80", "__meta_openstack_hypervisor_host_ip": "172.16.70.14", "__meta_openstack_hypervisor_hostname": "nc14", "__meta_openstack_hypervisor_id": "1", "__meta_openstack_hypervisor_state": "up", "__meta_openstack_hypervisor_status": "enabled", "__meta_openstack_hypervisor_type": "QEMU"}
"#
        );
        let balancers = r#"{"loadbalancers": [{"id": "lb1", "name": "l", "operating_status": "ONLINE", "provisioning_status": "ACTIVE", "availability_zone": "az1", "vip_address": "10.0.0.32", "vip_port_id": "vip", "provider": "amphora", "project_id": "fcad", "tags": ["a", "b"]}, {"id": "other"}]}"#;
        let listeners = r#"{"listeners": [{"protocol": "HTTP", "protocol_port": 80, "loadbalancers": [{"id": "lb1"}, {"id": "other"}]}, {"protocol": "PROMETHEUS", "protocol_port": 9273, "loadbalancers": [{"id": "lb1"}]}]}"#;
        assert_eq!(
            listed(&openstack(
                Role::LoadBalancer,
                &[
                    NETWORK[1],
                    ("/lbaas/loadbalancers", 200, balancers),
                    ("/lbaas/listeners", 200, listeners)
                ]
            )),
            r#"OS_RegionOne {}
  {"__address__": "10.0.0.32:9273", "__meta_openstack_loadbalancer_availability_zone": "az1", "__meta_openstack_loadbalancer_floating_ip": "192.168.1.2", "__meta_openstack_loadbalancer_id": "lb1", "__meta_openstack_loadbalancer_name": "l", "__meta_openstack_loadbalancer_operating_status": "ONLINE", "__meta_openstack_loadbalancer_provider": "amphora", "__meta_openstack_loadbalancer_provisioning_status": "ACTIVE", "__meta_openstack_loadbalancer_tags": "a,b", "__meta_openstack_loadbalancer_vip": "10.0.0.32", "__meta_openstack_project_id": "fcad"}
"#
        );
    }

    #[test]
    fn failures() {
        let (mut openstack, ask) = openstack(Role::Instance, &[("", 500, "oh")]);
        assert!(refresh(&mut openstack, &ask.0).is_err(), "no login");
        openstack.region = "Moon".into();
        let error =
            futures_util::FutureExt::now_or_never(openstack.list(&ask)).unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"OpenStack has no public endpoint of network in region "Moon""#
        );
    }
}
