//! `hetzner_sd`: the servers of Hetzner Cloud, or the dedicated ones of Hetzner Robot.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::ask::{
    Ask, DiscoveryError, answer, ask_json, ask_pages, get, refresh_by, with_query,
};
use super::super::meta::{Meta, host_port, one_group, sanitized};
use crate::scrape::TargetGroup;

const CLOUD: &str = "https://api.hetzner.cloud/v1";
const ROBOT: &str = "https://robot-ws.your-server.de";
const PREFIX: &str = "__meta_hetzner_";

/// What Prometheus shows of an address that is not there.
const NO_ADDRESS: &str = "<nil>";

/// What becomes targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Servers of the cloud.
    Cloud,
    /// Dedicated servers.
    Robot,
}

/// See the module.
pub struct Hetzner {
    /// What becomes targets.
    pub role: Role,
    /// Which servers of the cloud, by their labels.
    pub label_selector: String,
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// Some of the servers or of the networks.
    Page { servers: Vec<Server> = "servers", networks: Vec<Network> = "networks", meta: PageMeta = "meta", }
}

answer! {
    /// How it goes on.
    PageMeta { pagination: Pagination = "pagination", }
}

answer! {
    /// The number of the next page.
    Pagination { next: Option<u64> = "next_page", }
}

answer! {
    /// A private network.
    Network { id: i64 = "id", name: String = "name", }
}

answer! {
    /// A server of the cloud.
    Server {
        id: i64 = "id",
        name: String = "name",
        status: String = "status",
        public: PublicNet = "public_net",
        private: Vec<PrivateNet> = "private_net",
        location: Option<Location> = "location",
        datacenter: Datacenter = "datacenter",
        server_type: ServerType = "server_type",
        image: Image = "image",
        labels: BTreeMap<String, String> = "labels",
    }
}

answer! {
    /// Public addresses.
    PublicNet { ipv4: Ip = "ipv4", ipv6: Ip = "ipv6", }
}

answer! {
    /// An address, or a network of them.
    Ip { ip: Option<String> = "ip", }
}

answer! {
    /// An address in a private network.
    PrivateNet { network: i64 = "network", ip: String = "ip", }
}

answer! {
    /// Where servers of older answers are.
    Datacenter { location: Location = "location", }
}

answer! {
    /// Where a server is.
    Location { name: String = "name", network_zone: String = "network_zone", }
}

answer! {
    /// What a server has.
    ServerType {
        name: String = "name",
        cores: i64 = "cores",
        cpu_type: String = "cpu_type",
        memory: f64 = "memory",
        disk: i64 = "disk",
    }
}

answer! {
    /// What a server was made of.
    Image {
        name: String = "name",
        description: String = "description",
        os_version: String = "os_version",
        os_flavor: String = "os_flavor",
    }
}

answer! {
    /// A dedicated server, in its envelope.
    Dedicated { server: Robot = "server", }
}

answer! {
    /// A dedicated server.
    Robot {
        ip: String = "server_ip",
        number: i64 = "server_number",
        name: String = "server_name",
        datacenter: String = "dc",
        status: String = "status",
        product: String = "product",
        cancelled: bool = "cancelled",
        subnets: Vec<Subnet> = "subnet",
    }
}

answer! {
    /// A network of a dedicated server.
    Subnet { ip: String = "ip", mask: String = "mask", }
}

impl Hetzner {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let targets = match self.role {
            Role::Cloud => self.cloud(ask).await?,
            Role::Robot => {
                let servers: Vec<Dedicated> =
                    ask_json(ask, get(&format!("{ROBOT}/server"))?).await?;
                servers.into_iter().map(|one| self.robot_target(one.server)).collect()
            }
        };
        Ok(one_group("hetzner", targets))
    }

    async fn cloud(&self, ask: &dyn Ask) -> Result<Vec<BTreeMap<String, String>>, DiscoveryError> {
        let mut url = format!("{CLOUD}/servers?per_page=50");
        if !self.label_selector.is_empty() {
            url = with_query(&url, [("label_selector", self.label_selector.as_str())]);
        }
        let servers = pages(ask, &url).await?;
        let networks = pages(ask, &format!("{CLOUD}/networks?per_page=50")).await?;
        let networks = networks.into_iter().flat_map(|page| page.networks);
        let names: BTreeMap<i64, String> = networks.map(|n| (n.id, sanitized(&n.name))).collect();
        let servers = servers.into_iter().flat_map(|page| page.servers);
        Ok(servers.map(|server| self.cloud_target(server, &names)).collect())
    }

    fn cloud_target(
        &self,
        server: Server,
        networks: &BTreeMap<i64, String>,
    ) -> BTreeMap<String, String> {
        let ip = |ip: Ip| ip.ip.unwrap_or_else(|| NO_ADDRESS.to_owned());
        let (public, has) = (ip(server.public.ipv4), server.server_type);
        let location = server.location.unwrap_or(server.datacenter.location);
        let address = host_port(&public, self.port);
        let mut meta = Meta::with(
            PREFIX,
            [
                ("role", "hcloud".to_owned()),
                ("server_id", server.id.to_string()),
                ("server_name", server.name),
                ("server_status", server.status),
                ("public_ipv4", public),
                ("public_ipv6_network", ip(server.public.ipv6)),
                ("hcloud_location", location.name.clone()),
                ("hcloud_location_network_zone", location.network_zone.clone()),
                ("hcloud_datacenter_location", location.name),
                ("hcloud_datacenter_location_network_zone", location.network_zone),
                ("hcloud_server_type", has.name),
                ("hcloud_cpu_cores", has.cores.to_string()),
                ("hcloud_cpu_type", has.cpu_type),
                ("hcloud_memory_size_gb", has.memory.trunc().to_string()),
                ("hcloud_disk_size_gb", has.disk.to_string()),
                ("hcloud_image_name", server.image.name),
                ("hcloud_image_description", server.image.description),
                ("hcloud_image_os_version", server.image.os_version),
                ("hcloud_image_os_flavor", server.image.os_flavor),
            ],
        );
        for private in server.private {
            if let Some(name) = networks.get(&private.network) {
                meta.set(&format!("hcloud_private_ipv4_{name}"), private.ip);
            }
        }
        meta.set_each_present("hcloud_label", &server.labels);
        meta.at(address)
    }

    fn robot_target(&self, server: Robot) -> BTreeMap<String, String> {
        let address = host_port(&server.ip, self.port);
        let datacenter = server.datacenter.to_lowercase();
        let not_v4 = |subnet: &&Subnet| !matches!(subnet.ip.parse(), Ok(IpAddr::V4(_)));
        let v6 = server.subnets.iter().find(not_v4);
        Meta::with(
            PREFIX,
            [
                ("role", "robot".to_owned()),
                ("server_id", server.number.to_string()),
                ("server_name", server.name),
                ("datacenter", datacenter.clone()),
                ("public_ipv4", server.ip),
                (
                    "public_ipv6_network",
                    v6.map_or_else(String::new, |v6| format!("{}/{}", v6.ip, v6.mask)),
                ),
                ("server_status", server.status),
                ("robot_datacenter", datacenter),
                ("robot_product", server.product),
                ("robot_cancelled", server.cancelled.to_string()),
            ],
        )
        .at(address)
    }
}

async fn pages(ask: &dyn Ask, url: &str) -> Result<Vec<Page>, DiscoveryError> {
    let next = |page: &Page, _| page.meta.pagination.next.map(|next| format!("{url}&page={next}"));
    ask_pages(ask, get(url)?, next).await
}

refresh_by!(Hetzner, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const FIRST: &str = r#"{"servers": [{"id": 42, "name": "my-server", "status": "running", "labels": {"my-key": "v", "bare": ""},
      "public_net": {"ipv4": {"ip": "1.2.3.4"}, "ipv6": {"ip": "2001:db8::/64"}}, "private_net": [{"network": 4711, "ip": "10.0.0.2"}, {"network": 1, "ip": "10.1.0.2"}],
      "server_type": {"name": "cx11", "cores": 1, "cpu_type": "shared", "memory": 1.5, "disk": 25},
      "location": {"name": "fsn1", "network_zone": "eu-central"}, "image": {"name": "ubuntu-20.04", "description": "Ubuntu", "os_version": "20.04", "os_flavor": "ubuntu"}}],
      "meta": {"pagination": {"next_page": 2}}}"#;
    const SECOND: &str = r#"{"servers": [{"id": 43, "image": null, "public_net": {"ipv4": null, "ipv6": null}, "datacenter": {"location": {"name": "old"}}}], "meta": {"pagination": {"next_page": null}}}"#;

    fn hetzner(role: Role) -> Hetzner {
        Hetzner { role, label_selector: "a=b".into(), port: 80 }
    }

    #[test]
    fn servers_of_the_cloud() {
        let ask = Recorded::new(&[
            ("&page=2", 200, SECOND),
            ("/servers?per_page=50&label_selector=a%3Db", 200, FIRST),
            ("/networks", 200, r#"{"networks": [{"id": 4711, "name": "my net"}]}"#),
        ]);
        assert_eq!(
            shown(&refresh(&mut hetzner(Role::Cloud), &ask).unwrap()),
            r#"hetzner {}
  {"__address__": "1.2.3.4:80", "__meta_hetzner_hcloud_cpu_cores": "1", "__meta_hetzner_hcloud_cpu_type": "shared", "__meta_hetzner_hcloud_datacenter_location": "fsn1", "__meta_hetzner_hcloud_datacenter_location_network_zone": "eu-central", "__meta_hetzner_hcloud_disk_size_gb": "25", "__meta_hetzner_hcloud_image_description": "Ubuntu", "__meta_hetzner_hcloud_image_name": "ubuntu-20.04", "__meta_hetzner_hcloud_image_os_flavor": "ubuntu", "__meta_hetzner_hcloud_image_os_version": "20.04", "__meta_hetzner_hcloud_label_my_key": "v", "__meta_hetzner_hcloud_labelpresent_bare": "true", "__meta_hetzner_hcloud_labelpresent_my_key": "true", "__meta_hetzner_hcloud_location": "fsn1", "__meta_hetzner_hcloud_location_network_zone": "eu-central", "__meta_hetzner_hcloud_memory_size_gb": "1", "__meta_hetzner_hcloud_private_ipv4_my_net": "10.0.0.2", "__meta_hetzner_hcloud_server_type": "cx11", "__meta_hetzner_public_ipv4": "1.2.3.4", "__meta_hetzner_public_ipv6_network": "2001:db8::/64", "__meta_hetzner_role": "hcloud", "__meta_hetzner_server_id": "42", "__meta_hetzner_server_name": "my-server", "__meta_hetzner_server_status": "running"}
  {"__address__": "<nil>:80", "__meta_hetzner_hcloud_cpu_cores": "0", "__meta_hetzner_hcloud_datacenter_location": "old", "__meta_hetzner_hcloud_disk_size_gb": "0", "__meta_hetzner_hcloud_location": "old", "__meta_hetzner_hcloud_memory_size_gb": "0", "__meta_hetzner_public_ipv4": "<nil>", "__meta_hetzner_public_ipv6_network": "<nil>", "__meta_hetzner_role": "hcloud", "__meta_hetzner_server_id": "43"}
"#
        );
    }

    #[test]
    fn dedicated_servers() {
        let ask = Recorded::new(&[(
            "/server",
            200,
            r#"[{"server": {"server_ip": "123.123.123.123", "server_number": 321, "server_name": "server1", "product": "DS 3000", "dc": "NBG1-DC1", "status": "ready", "cancelled": false,
                "subnet": [{"ip": "123.0.0.0", "mask": "29"}, {"ip": "2a01:4f8:111:4221::", "mask": "64"}]}}]"#,
        )]);
        assert_eq!(
            shown(&refresh(&mut hetzner(Role::Robot), &ask).unwrap()),
            r#"hetzner {}
  {"__address__": "123.123.123.123:80", "__meta_hetzner_datacenter": "nbg1-dc1", "__meta_hetzner_public_ipv4": "123.123.123.123", "__meta_hetzner_public_ipv6_network": "2a01:4f8:111:4221::/64", "__meta_hetzner_robot_cancelled": "false", "__meta_hetzner_robot_datacenter": "nbg1-dc1", "__meta_hetzner_robot_product": "DS 3000", "__meta_hetzner_role": "robot", "__meta_hetzner_server_id": "321", "__meta_hetzner_server_name": "server1", "__meta_hetzner_server_status": "ready"}
"#
        );
    }
}
