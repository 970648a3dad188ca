//! `ionos_sd`: the servers of one data centre of IONOS Cloud.

use std::collections::BTreeMap;

use super::super::ask::{Ask, DiscoveryError, answer, ask_json, get, refresh_by};
use super::super::meta::{Meta, host_port, one_group, sanitized};
use crate::scrape::TargetGroup;

const BASE: &str = "https://api.ionos.com/cloudapi/v6";

/// What an interface without a name is called.
const NAMELESS: &str = "unnamed";

/// See the module.
pub struct Ionos {
    /// The data centre.
    pub datacenter_id: String,
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// The servers.
    Servers { id: String = "id", items: Vec<Server> = "items", }
}

answer! {
    /// A server.
    Server {
        id: String = "id",
        metadata: Metadata = "metadata",
        properties: Properties = "properties",
        entities: Entities = "entities",
    }
}

answer! {
    /// What the cloud says of a server.
    Metadata { state: String = "state", }
}

answer! {
    /// What a server is.
    Properties {
        name: String = "name",
        zone: String = "availabilityZone",
        cpu_family: String = "cpuFamily",
        state: String = "vmState",
        kind: String = "type",
        boot_cdrom: Reference = "bootCdrom",
        boot_volume: Reference = "bootVolume",
    }
}

answer! {
    /// Another resource.
    Reference { id: String = "id", }
}

answer! {
    /// What belongs to a server.
    Entities { nics: Nics = "nics", volumes: Volumes = "volumes", }
}

answer! {
    /// Its interfaces.
    Nics { items: Vec<Nic> = "items", }
}

answer! {
    /// An interface.
    Nic { properties: Option<NicProperties> = "properties", }
}

answer! {
    /// Name and addresses of an interface.
    NicProperties { name: Option<String> = "name", ips: Vec<String> = "ips", }
}

answer! {
    /// Its volumes.
    Volumes { items: Vec<Volume> = "items", }
}

answer! {
    /// A volume.
    Volume { properties: VolumeProperties = "properties", }
}

answer! {
    /// What a volume was made of.
    VolumeProperties { image: String = "image", }
}

impl Ionos {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let url = format!("{BASE}/datacenters/{}/servers?depth=3", self.datacenter_id);
        let servers: Servers = ask_json(ask, get(&url)?).await?;
        let target = |server| self.target(&servers.id, server);
        Ok(one_group("ionos", servers.items.into_iter().filter_map(target).collect()))
    }

    /// `None` if the server has no address.
    fn target(&self, servers_id: &str, server: Server) -> Option<BTreeMap<String, String>> {
        let (mut ips, mut by_nic) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        let nics = server.entities.nics.items.into_iter().filter_map(|nic| nic.properties);
        for nic in nics {
            let name = nic.name.as_deref().unwrap_or(NAMELESS);
            // The addresses of the interface that is named last come first, as in Prometheus.
            ips.splice(0..0, nic.ips.iter().cloned());
            by_nic.entry(sanitized(name)).or_default().splice(0..0, nic.ips);
        }
        let address = host_port(ips.first()?, self.port);
        let (is, volumes) = (server.properties, server.entities.volumes.items);
        let image = volumes.into_iter().next().unwrap_or_default().properties.image;
        let mut meta = Meta::with(
            "__meta_ionos_server_",
            [
                ("availability_zone", is.zone),
                ("boot_cdrom_id", is.boot_cdrom.id),
                ("boot_image_id", image),
                ("boot_volume_id", is.boot_volume.id),
                ("cpu_family", is.cpu_family),
                ("id", server.id),
                ("lifecycle", server.metadata.state),
                ("name", is.name),
                ("servers_id", servers_id.to_owned()),
                ("state", is.state),
                ("type", is.kind),
            ],
        );
        meta.set_list("ip", ",", &ips);
        for (name, ips) in &by_nic {
            let name = format!("nic_ip_{name}");
            meta.set(&name, if ips.is_empty() { ",," } else { "" }).set_list(&name, ",", ips);
        }
        Some(meta.at(address))
    }
}

refresh_by!(Ionos, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    #[test]
    fn servers_with_addresses() {
        let ask = Recorded::new(&[(
            "https://api.ionos.com/cloudapi/v6/datacenters/d/servers?depth=3",
            200,
            r#"{"id": "d/servers", "items": [{"id": "s1", "metadata": {"state": "AVAILABLE"}, "properties": {"name": "web", "availabilityZone": "AUTO", "cpuFamily": "INTEL", "vmState": "RUNNING", "type": "ENTERPRISE", "bootCdrom": {"id": "cd"}, "bootVolume": null},
               "entities": {"volumes": {"items": [{"properties": {"image": "img"}}]}, "nics": {"items": [{"properties": {"name": "a-b", "ips": ["85.1.1.1"]}}, {"properties": {"name": null, "ips": ["10.0.0.1", "10.0.0.2"]}}, {"properties": {"name": "dry", "ips": null}}]}}}, {"id": "none"}]}"#,
        )]);
        let mut ionos = Ionos { datacenter_id: "d".into(), port: 80 };
        assert_eq!(
            shown(&refresh(&mut ionos, &ask).unwrap()),
            r#"ionos {}
  {"__address__": "10.0.0.1:80", "__meta_ionos_server_availability_zone": "AUTO", "__meta_ionos_server_boot_cdrom_id": "cd", "__meta_ionos_server_boot_image_id": "img", "__meta_ionos_server_cpu_family": "INTEL", "__meta_ionos_server_id": "s1", "__meta_ionos_server_ip": ",10.0.0.1,10.0.0.2,85.1.1.1,", "__meta_ionos_server_lifecycle": "AVAILABLE", "__meta_ionos_server_name": "web", "__meta_ionos_server_nic_ip_a_b": ",85.1.1.1,", "__meta_ionos_server_nic_ip_dry": ",,", "__meta_ionos_server_nic_ip_unnamed": ",10.0.0.1,10.0.0.2,", "__meta_ionos_server_servers_id": "d/servers", "__meta_ionos_server_state": "RUNNING", "__meta_ionos_server_type": "ENTERPRISE"}
"#
        );
        assert!(refresh(&mut ionos, &Recorded::new(&[("", 200, "[]")])).is_err());
    }
}
