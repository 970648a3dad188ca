//! `scaleway_sd`: the instances or the bare metal servers of one zone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use http::{HeaderName, Request};

use super::super::ask::{
    Answer, Ask, DiscoveryError, answer, ask_pages, get, refresh_by, with_query, with_secret,
};
use super::super::meta::{Meta, host_port, one_group};
use crate::scrape::TargetGroup;

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// Entries of one page, the most that there can be.
const PER_PAGE: usize = 100;

/// What is asked for, as whom, and how targets are made of it.
pub struct Scaleway {
    /// Where the API begins.
    pub base: String,
    /// The zone: `fr-par-1`.
    pub zone: String,
    /// Who asks.
    pub secret_key: String,
    /// The file that says who asks.
    pub secret_key_file: String,
    /// Only servers whose name has this in it.
    pub name_filter: String,
    /// Only servers with these tags.
    pub tags_filter: Vec<String>,
    /// Whether bare metal servers are wanted, not instances.
    pub baremetal: bool,
    /// The port of the targets.
    pub port: u16,
}

type Targets = Vec<BTreeMap<String, String>>;

answer! {
    /// Some of the instances.
    Instances { servers: Vec<Instance> = "servers", }
}

answer! {
    /// An instance.
    Instance {
        id: String = "id",
        name: String = "name",
        hostname: String = "hostname",
        boot_type: String = "boot_type",
        organization: String = "organization",
        project: String = "project",
        state: String = "state",
        commercial_type: String = "commercial_type",
        zone: String = "zone",
        image: Image = "image",
        location: Location = "location",
        security_group: Named = "security_group",
        tags: Vec<String> = "tags",
        public_ips: Vec<Ip> = "public_ips",
        public_ip: Option<Ip> = "public_ip",
        ipv6: Option<Ip> = "ipv6",
        private_ip: Option<String> = "private_ip",
        nics: Vec<Named> = "private_nics",
    }
}

answer! {
    /// What an instance was made of.
    Image { id: String = "id", name: String = "name", arch: String = "arch", }
}

answer! {
    /// Where an instance is.
    Location { cluster: String = "cluster_id", hypervisor: String = "hypervisor_id", node: String = "node_id", }
}

answer! {
    /// Something with a name.
    Named { id: String = "id", name: String = "name", version: String = "version", }
}

answer! {
    /// An address; bare metal calls the family `version`.
    Ip { address: String = "address", family: String = "family", version: String = "version", }
}

answer! {
    /// Some of the addresses of interfaces in private networks.
    Ips { ips: Vec<NicIp> = "ips", }
}

answer! {
    /// An address of an interface, with the length of its network.
    NicIp { address: String = "address", is_ipv6: bool = "is_ipv6", resource: Named = "resource", }
}

answer! {
    /// Some of the bare metal servers, of what can be rented, or of the systems.
    Bare { servers: Vec<BareServer> = "servers", offers: Vec<Named> = "offers", systems: Vec<Named> = "os", }
}

answer! {
    /// A bare metal server.
    BareServer {
        id: String = "id",
        name: String = "name",
        zone: String = "zone",
        status: String = "status",
        project: String = "project_id",
        offer: String = "offer_id",
        install: Install = "install",
        tags: Vec<String> = "tags",
        ips: Vec<Ip> = "ips",
    }
}

answer! {
    /// What was installed.
    Install { os: String = "os_id", }
}

impl Scaleway {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let token = match self.secret_key_file.as_str() {
            "" => self.secret_key.clone(),
            path => ask.file(path).await?.trim().to_owned(),
        };
        let targets = if self.baremetal {
            self.bare(ask, &token).await?
        } else {
            self.instances(ask, &token).await?
        };
        Ok(one_group("scaleway", targets))
    }

    /// All of a list, of which `number` says how many a page has.
    async fn all<P: Answer>(
        &self,
        ask: &dyn Ask,
        token: &str,
        path: &str,
        number: fn(&P) -> usize,
    ) -> Result<Vec<P>, DiscoveryError> {
        let base = with_query(&format!("{}{path}", self.base), [("per_page", "100")]);
        let url = |page: usize| format!("{base}&page={page}");
        let request: Request<_> = with_secret(get(&url(1))?, TOKEN, token)?;
        let next = |page: &P, pages: usize| (number(page) >= PER_PAGE).then(|| url(pages + 1));
        ask_pages(ask, request, next).await
    }

    /// The path of the servers, with what filters them.
    fn servers(&self, path: &str, tags: &[String]) -> String {
        let name = Some(("name", self.name_filter.as_str())).filter(|(_, name)| !name.is_empty());
        let tags = tags.iter().map(|tags| ("tags", tags.as_str()));
        with_query(&format!("{path}/zones/{}/servers", self.zone), name.into_iter().chain(tags))
    }

    async fn instances(&self, ask: &dyn Ask, token: &str) -> Result<Targets, DiscoveryError> {
        let tags = [self.tags_filter.join(",")];
        let tags = if self.tags_filter.is_empty() { &[][..] } else { &tags[..] };
        let path = self.servers("/instance/v1", tags);
        let pages = self.all(ask, token, &path, |page: &Instances| page.servers.len()).await?;
        let servers: Vec<Instance> = pages.into_iter().flat_map(|page| page.servers).collect();
        let nics = self.nics(ask, token, &servers).await?;
        Ok(servers.into_iter().filter_map(|server| self.instance(server, &nics)).collect())
    }

    /// The addresses of the interfaces of instances that have no other.
    async fn nics(
        &self,
        ask: &dyn Ask,
        token: &str,
        servers: &[Instance],
    ) -> Result<HashMap<String, String>, DiscoveryError> {
        let bare = |one: &&Instance| {
            one.private_ip.is_none() && one.public_ip.is_none() && one.ipv6.is_none()
        };
        let mut by_region: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for server in servers.iter().filter(bare) {
            let ids = server.nics.iter().map(|nic| nic.id.as_str()).filter(|id| !id.is_empty());
            by_region.entry(region(&server.zone)).or_default().extend(ids);
        }
        let mut found = HashMap::new();
        for (region, ids) in by_region.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            let kind = ("resource_types", "instance_private_nic");
            let query = ids.into_iter().map(|id| ("resource_ids", id)).chain([kind]);
            let path = with_query(&format!("/ipam/v1/regions/{region}/ips"), query);
            let pages = self.all(ask, token, &path, |page: &Ips| page.ips.len()).await?;
            for ip in pages.into_iter().flat_map(|page| page.ips).filter(|ip| !ip.is_ipv6) {
                let address = ip.address.split('/').next().unwrap_or_default();
                found.insert(ip.resource.id, address.to_owned());
            }
        }
        Ok(found)
    }

    /// `None` if the instance has no address.
    fn instance(
        &self,
        server: Instance,
        nics: &HashMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        let public = |family: &str| -> Vec<String> {
            let of = server.public_ips.iter().filter(|ip| ip.family == family);
            of.map(|ip| ip.address.clone()).collect()
        };
        let (v4, v6) = (public("inet"), public("inet6"));
        let old = |ip: &Option<Ip>| ip.as_ref().map(|ip| ip.address.clone());
        let (public_ip, ipv6) = (old(&server.public_ip), old(&server.ipv6));
        let is_v4 = server.public_ip.as_ref().is_none_or(|ip| ip.family != "inet6");
        let public_v4 = public_ip.clone().filter(|_| is_v4);
        let outer = server.private_ip.clone().or(public_ip).or(ipv6.clone());
        let inner = || server.nics.iter().find_map(|nic| nics.get(&nic.id).cloned());
        let nic = if outer.is_none() { inner() } else { None };
        let private = server.private_ip.clone().or(nic.clone());
        let address = host_port(&outer.or(nic)?, self.port);
        let region = region(&server.zone).to_owned();
        let mut meta = Meta::with(
            "__meta_scaleway_instance_",
            [
                ("boot_type", server.boot_type),
                ("hostname", server.hostname),
                ("id", server.id),
                ("name", server.name),
                ("organization_id", server.organization),
                ("project_id", server.project),
                ("status", server.state),
                ("type", server.commercial_type),
                ("zone", server.zone),
                ("region", region),
                ("image_arch", server.image.arch),
                ("image_id", server.image.id),
                ("image_name", server.image.name),
                ("location_cluster_id", server.location.cluster),
                ("location_hypervisor_id", server.location.hypervisor),
                ("location_node_id", server.location.node),
                ("security_group_id", server.security_group.id),
                ("security_group_name", server.security_group.name),
            ],
        );
        meta.set_some("private_ipv4", private);
        meta.set_some("public_ipv4", public_v4);
        meta.set_some("public_ipv6", ipv6);
        meta.set_list("public_ipv4_addresses", ",", &v4);
        meta.set_list("public_ipv6_addresses", ",", &v6);
        meta.set_list("tags", ",", &server.tags);
        Some(meta.at(address))
    }

    async fn bare(&self, ask: &dyn Ask, token: &str) -> Result<Targets, DiscoveryError> {
        let path = self.servers("/baremetal/v1", &self.tags_filter);
        let servers = self.all(ask, token, &path, |page: &Bare| page.servers.len()).await?;
        let path = |kind: &str| format!("/baremetal/v1/zones/{}/{kind}", self.zone);
        let offers = self.all(ask, token, &path("offers"), |page: &Bare| page.offers.len()).await?;
        let systems = self.all(ask, token, &path("os"), |page: &Bare| page.systems.len()).await?;
        let offers: Vec<Named> = offers.into_iter().flat_map(|page| page.offers).collect();
        let systems: Vec<Named> = systems.into_iter().flat_map(|page| page.systems).collect();
        let servers = servers.into_iter().flat_map(|page| page.servers);
        Ok(servers.map(|server| self.bare_server(server, &offers, &systems)).collect())
    }

    fn bare_server(
        &self,
        server: BareServer,
        offers: &[Named],
        systems: &[Named],
    ) -> BTreeMap<String, String> {
        let by_id = |all: &[Named], id: &str| {
            all.iter().find(|one| !id.is_empty() && one.id == id).cloned().unwrap_or_default()
        };
        let system = by_id(systems, &server.install.os);
        let first = |version: &str| {
            let found = server.ips.iter().find(|ip| ip.version == version);
            found.map(|ip| ip.address.clone()).unwrap_or_default()
        };
        let (v4, v6) = (first("IPv4"), first("IPv6"));
        let reached = if v4.is_empty() { v6.clone() } else { v4.clone() };
        let mut meta = Meta::with(
            "__meta_scaleway_baremetal_",
            [
                ("id", server.id),
                ("name", server.name),
                ("zone", server.zone),
                ("status", server.status),
                ("project_id", server.project),
                ("type", by_id(offers, &server.offer).name),
                ("os_name", system.name),
                ("os_version", system.version),
                ("public_ipv4", v4),
                ("public_ipv6", v6),
            ],
        );
        meta.set_list("tags", ",", &server.tags);
        if reached.is_empty() {
            meta.into_labels()
        } else {
            meta.at(host_port(&reached, self.port))
        }
    }
}

/// The region of a zone: `fr-par` of `fr-par-1`.
fn region(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

refresh_by!(Scaleway, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    fn scaleway(baremetal: bool) -> Scaleway {
        Scaleway {
            base: "https://api.scaleway.com".into(),
            zone: "fr-par-1".into(),
            secret_key: "sk".into(),
            secret_key_file: String::new(),
            name_filter: "web".into(),
            tags_filter: vec!["a".into(), "b".into()],
            baremetal,
            port: 80,
        }
    }

    const SERVERS: &str = r#"{"servers": [{"id": "93c1", "name": "scw", "hostname": "scw-h", "boot_type": "local", "organization": "o", "project": "p", "state": "running", "commercial_type": "DEV1-S", "zone": "fr-par-1",
      "image": {"id": "i", "name": "Ubuntu", "arch": "x86_64"}, "location": {"cluster_id": "40", "hypervisor_id": "1601", "node_id": "29"}, "security_group": {"id": "sg", "name": "sgn"}, "tags": ["t"],
      "public_ip": {"address": "51.1.1.1", "family": "inet"}, "public_ips": [{"address": "51.1.1.1", "family": "inet"}, {"address": "2001:db8::1", "family": "inet6"}], "ipv6": {"address": "2001:bc8::1"}, "private_ip": "10.70.60.57"},
      {"id": "nic", "zone": "fr-par-1", "private_nics": [{"id": "n1"}]}, {"id": "none", "zone": "fr-par-1"}]}"#;

    #[test]
    fn instances() {
        let ask = Recorded::new(&[
            (
                "/ipam/v1/regions/fr-par/ips?resource_ids=n1&resource_types=instance%5Fprivate%5Fnic",
                200,
                r#"{"ips": [{"address": "172.16.0.2/22", "is_ipv6": false, "resource": {"id": "n1"}}, {"address": "fd00::1/64", "is_ipv6": true, "resource": {"id": "n1"}}]}"#,
            ),
            (
                "/instance/v1/zones/fr-par-1/servers?name=web&tags=a%2Cb&per_page=100&page=1",
                200,
                SERVERS,
            ),
        ]);
        assert_eq!(
            shown(&refresh(&mut scaleway(false), &ask).unwrap()),
            r#"scaleway {}
  {"__address__": "10.70.60.57:80", "__meta_scaleway_instance_boot_type": "local", "__meta_scaleway_instance_hostname": "scw-h", "__meta_scaleway_instance_id": "93c1", "__meta_scaleway_instance_image_arch": "x86_64", "__meta_scaleway_instance_image_id": "i", "__meta_scaleway_instance_image_name": "Ubuntu", "__meta_scaleway_instance_location_cluster_id": "40", "__meta_scaleway_instance_location_hypervisor_id": "1601", "__meta_scaleway_instance_location_node_id": "29", "__meta_scaleway_instance_name": "scw", "__meta_scaleway_instance_organization_id": "o", "__meta_scaleway_instance_private_ipv4": "10.70.60.57", "__meta_scaleway_instance_project_id": "p", "__meta_scaleway_instance_public_ipv4": "51.1.1.1", "__meta_scaleway_instance_public_ipv4_addresses": ",51.1.1.1,", "__meta_scaleway_instance_public_ipv6": "2001:bc8::1", "__meta_scaleway_instance_public_ipv6_addresses": ",2001:db8::1,", "__meta_scaleway_instance_region": "fr-par", "__meta_scaleway_instance_security_group_id": "sg", "__meta_scaleway_instance_security_group_name": "sgn", "__meta_scaleway_instance_status": "running", "__meta_scaleway_instance_tags": ",t,", "__meta_scaleway_instance_type": "DEV1-S", "__meta_scaleway_instance_zone": "fr-par-1"}
  {"__address__": "172.16.0.2:80", "__meta_scaleway_instance_id": "nic", "__meta_scaleway_instance_private_ipv4": "172.16.0.2", "__meta_scaleway_instance_region": "fr-par", "__meta_scaleway_instance_zone": "fr-par-1"}
"#
        );
        assert_eq!(ask.asked.borrow()[0].headers()["x-auth-token"], "sk");
    }

    #[test]
    fn bare_metal() {
        let ask = Recorded::new(&[
            (
                "/servers?name=web&tags=a&tags=b&per_page=100&page=1",
                200,
                r#"{"servers": [{"id": "b1", "name": "n", "zone": "fr-par-2", "status": "ready", "project_id": "p", "offer_id": "of", "install": {"os_id": "os"}, "tags": ["x"], "ips": [{"address": "2001::1", "version": "IPv6"}, {"address": "51.0.0.1", "version": "IPv4"}]}, {"id": "dry"}]}"#,
            ),
            ("/offers", 200, r#"{"offers": [{"id": "of", "name": "GP-BM1-S"}]}"#),
            ("/os", 200, r#"{"os": [{"id": "os", "name": "Ubuntu", "version": "20.04"}]}"#),
        ]);
        let by_file = Scaleway { secret_key_file: "/k".into(), ..scaleway(true) };
        assert_eq!(
            shown(&refresh(&mut { by_file }, &ask.with(&[("/k", "sk\n")])).unwrap()),
            r#"scaleway {}
  {"__address__": "51.0.0.1:80", "__meta_scaleway_baremetal_id": "b1", "__meta_scaleway_baremetal_name": "n", "__meta_scaleway_baremetal_os_name": "Ubuntu", "__meta_scaleway_baremetal_os_version": "20.04", "__meta_scaleway_baremetal_project_id": "p", "__meta_scaleway_baremetal_public_ipv4": "51.0.0.1", "__meta_scaleway_baremetal_public_ipv6": "2001::1", "__meta_scaleway_baremetal_status": "ready", "__meta_scaleway_baremetal_tags": ",x,", "__meta_scaleway_baremetal_type": "GP-BM1-S", "__meta_scaleway_baremetal_zone": "fr-par-2"}
  {"__meta_scaleway_baremetal_id": "dry"}
"#
        );
    }
}
