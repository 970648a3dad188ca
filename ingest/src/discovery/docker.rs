//! `docker_sd`: the containers of one Docker daemon, a target for each network and TCP port.

use std::collections::{BTreeMap, HashMap};

use super::ask::{Ask, DiscoveryError, answer, ask_json, get, refresh_by, with_query};
use super::meta::{Meta, host_port};
use crate::scrape::TargetGroup;

const PREFIX: &str = "__meta_docker_";

/// What is asked for, and how targets are made of it.
#[derive(Clone, Debug, Default)]
pub struct DockerOptions {
    /// Where the daemon's API begins: `http://host:2375`.
    pub base: String,
    /// The port of containers that expose none.
    pub port: u16,
    /// Conditions, each a name and its values.
    pub filters: Vec<(String, Vec<String>)>,
    /// The address of containers on the host's network.
    pub host_networking_host: String,
    /// Of a container's networks only the first by name is taken.
    pub match_first_network: bool,
}

/// See the module.
pub struct Docker(DockerOptions);

answer! {
    /// A container.
    Container {
        id: String = "Id",
        names: Vec<String> = "Names",
        image: String = "Image",
        image_id: String = "ImageID",
        labels: BTreeMap<String, String> = "Labels",
        ports: Vec<Port> = "Ports",
        host: HostConfig = "HostConfig",
        networks: NetworkSettings = "NetworkSettings",
    }
}

answer! {
    /// A port that a container exposes.
    Port {
        ip: String = "IP",
        private: u16 = "PrivatePort",
        public: u16 = "PublicPort",
        kind: String = "Type",
    }
}

answer! {
    /// How a container is connected.
    HostConfig { network_mode: String = "NetworkMode", }
}

answer! {
    /// The networks of a container by name.
    NetworkSettings { networks: BTreeMap<String, Option<Endpoint>> = "Networks", }
}

answer! {
    /// A container's place in one network.
    Endpoint {
        network_id: String = "NetworkID",
        ip: String = "IPAddress",
        ip_v6: String = "GlobalIPv6Address",
    }
}

answer! {
    /// A network.
    Network {
        id: String = "Id",
        name: String = "Name",
        scope: String = "Scope",
        internal: bool = "Internal",
        ingress: bool = "Ingress",
        labels: BTreeMap<String, String> = "Labels",
    }
}

/// The query of a listing: Docker's filters are JSON, `{"name": {"value": true}}`.
pub(crate) fn filtered(url: &str, filters: &[(String, Vec<String>)]) -> String {
    if filters.is_empty() {
        return url.to_owned();
    }
    let mut wanted: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for (name, values) in filters {
        wanted.entry(name).or_default().extend(values.iter().map(|value| (value.as_str(), true)));
    }
    let json = serde_json::to_string(&wanted).expect("maps of texts are JSON");
    with_query(url, [("filters", json.as_str())])
}

/// The labels of each network by its id.
pub(crate) async fn network_labels(
    ask: &dyn Ask,
    base: &str,
    prefix: &'static str,
) -> Result<HashMap<String, Meta>, DiscoveryError> {
    let networks: Vec<Network> = ask_json(ask, get(&format!("{base}/networks"))?).await?;
    let labelled = networks.into_iter().map(|network| {
        let mut meta = Meta::new(prefix);
        meta.set("network_id", network.id.as_str());
        meta.set("network_name", network.name);
        meta.set("network_scope", network.scope);
        meta.set("network_internal", network.internal.to_string());
        meta.set("network_ingress", network.ingress.to_string());
        meta.set_each("network_label_", &network.labels);
        (network.id, meta)
    });
    Ok(labelled.collect())
}

impl Docker {
    /// As told.
    pub fn new(options: DockerOptions) -> Self {
        Docker(options)
    }

    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let url = filtered(&format!("{}/containers/json", self.0.base), &self.0.filters);
        let containers: Vec<Container> = ask_json(ask, get(&url)?).await?;
        let networks = network_labels(ask, &self.0.base, PREFIX).await?;
        let by_id: HashMap<&str, &Container> =
            containers.iter().map(|container| (container.id.as_str(), container)).collect();
        let mut targets = Vec::new();
        for container in containers.iter().filter(|container| !container.names.is_empty()) {
            let common = labels(container);
            let endpoints = endpoints(container, &by_id).values().flatten();
            let kept = if self.0.match_first_network { 1 } else { usize::MAX };
            for endpoint in endpoints.take(kept) {
                let mut common = common.clone();
                let ip = if endpoint.ip.is_empty() { &endpoint.ip_v6 } else { &endpoint.ip };
                common.set("network_ip", ip.as_str());
                if let Some(network) = networks.get(&endpoint.network_id) {
                    common.extend(network);
                }
                self.push_targets(container, ip, &common, &mut targets);
            }
        }
        Ok(vec![TargetGroup { source: "Docker".to_owned(), targets, labels: BTreeMap::new() }])
    }

    /// A target for each TCP port, or one if there is none.
    fn push_targets(
        &self,
        container: &Container,
        ip: &str,
        common: &Meta,
        targets: &mut Vec<BTreeMap<String, String>>,
    ) {
        let before = targets.len();
        for port in container.ports.iter().filter(|port| port.kind == "tcp") {
            let mut meta = common.clone();
            meta.set("port_private", port.private.to_string());
            if port.public > 0 {
                meta.set("port_public", port.public.to_string());
                meta.set("port_public_ip", port.ip.as_str());
            }
            targets.push(meta.at(host_port(ip, port.private)));
        }
        if targets.len() == before {
            let address = if container.host.network_mode == "host" {
                self.0.host_networking_host.clone()
            } else {
                host_port(ip, self.0.port)
            };
            targets.push(common.clone().at(address));
        }
    }
}

fn labels(container: &Container) -> Meta {
    let mut meta = Meta::new(PREFIX);
    meta.set("container_id", container.id.as_str());
    meta.set("container_name", container.names[0].as_str());
    meta.set("container_network_mode", container.host.network_mode.as_str());
    meta.set("container_image", container.image.as_str());
    meta.set("container_image_id", container.image_id.as_str());
    meta.set_each("container_label_", &container.labels);
    meta
}

/// The networks of a container; those of another one if it shares them (`container:<id>`).
fn endpoints<'a>(
    container: &'a Container,
    by_id: &HashMap<&str, &'a Container>,
) -> &'a BTreeMap<String, Option<Endpoint>> {
    let mut at = container;
    // As many steps as there are containers: two may name each other.
    for _ in by_id {
        let shared = at.host.network_mode.strip_prefix("container:");
        match shared.and_then(|id| by_id.get(id)) {
            Some(other) if at.networks.networks.is_empty() => at = other,
            _ => break,
        }
    }
    &at.networks.networks
}

refresh_by!(Docker, list);

#[cfg(test)]
mod tests {
    use super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const CONTAINERS: &str = r#"[
        {"Id": "c1", "Names": ["/web"], "Image": "nginx", "ImageID": "sha256:1", "Labels": {"com.x/y": "z"},
         "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
         "HostConfig": {"NetworkMode": "bridge"},
         "NetworkSettings": {"Networks": {"a": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}, "b": {"NetworkID": "n2", "IPAddress": "10.1.0.2"}, "z": null}}},
        {"Id": "c2", "Names": ["/side"], "Labels": null, "Ports": null, "HostConfig": {"NetworkMode": "container:c1"}, "NetworkSettings": {"Networks": {}}},
        {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {"Networks": {"host": {"NetworkID": "n3", "IPAddress": ""}}}},
        {"Id": "c4", "Names": ["/loop"], "HostConfig": {"NetworkMode": "container:c4"}, "NetworkSettings": {}},
        {"Id": "c5", "Names": ["/six"], "HostConfig": {"NetworkMode": "six"}, "NetworkSettings": {"Networks": {"six": {"GlobalIPv6Address": "fd00::2"}}}}]"#;
    const NETWORKS: &str = r#"[{"Id": "n1", "Name": "bridge", "Scope": "local", "Internal": true, "Labels": {"l": "v"}}, {"Id": "n3", "Name": "host"}]"#;

    fn docker(filters: &[(&str, &str)], match_first_network: bool) -> Docker {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), vec![(*value).to_owned()]);
        Docker::new(DockerOptions {
            base: "http://docker".into(),
            port: 9000,
            filters: filters.iter().map(own).collect(),
            host_networking_host: "localhost".into(),
            match_first_network,
        })
    }

    #[test]
    fn containers_networks_and_ports() {
        let ask = Recorded::new(&[("/containers", 200, CONTAINERS), ("/networks", 200, NETWORKS)]);
        let groups = refresh(&mut docker(&[], true), &ask).unwrap();
        assert_eq!(
            shown(&groups),
            r#"Docker {}
  {"__address__": "10.0.0.2:80", "__meta_docker_container_id": "c1", "__meta_docker_container_image": "nginx", "__meta_docker_container_image_id": "sha256:1", "__meta_docker_container_label_com_x_y": "z", "__meta_docker_container_name": "/web", "__meta_docker_container_network_mode": "bridge", "__meta_docker_network_id": "n1", "__meta_docker_network_ingress": "false", "__meta_docker_network_internal": "true", "__meta_docker_network_ip": "10.0.0.2", "__meta_docker_network_label_l": "v", "__meta_docker_network_name": "bridge", "__meta_docker_network_scope": "local", "__meta_docker_port_private": "80", "__meta_docker_port_public": "8080", "__meta_docker_port_public_ip": "0.0.0.0"}
  {"__address__": "10.0.0.2:9000", "__meta_docker_container_id": "c2", "__meta_docker_container_name": "/side", "__meta_docker_container_network_mode": "container:c1", "__meta_docker_network_id": "n1", "__meta_docker_network_ingress": "false", "__meta_docker_network_internal": "true", "__meta_docker_network_ip": "10.0.0.2", "__meta_docker_network_label_l": "v", "__meta_docker_network_name": "bridge", "__meta_docker_network_scope": "local"}
  {"__address__": "localhost", "__meta_docker_container_id": "c3", "__meta_docker_container_name": "/host", "__meta_docker_container_network_mode": "host", "__meta_docker_network_id": "n3", "__meta_docker_network_ingress": "false", "__meta_docker_network_internal": "false", "__meta_docker_network_name": "host"}
  {"__address__": "[fd00::2]:9000", "__meta_docker_container_id": "c5", "__meta_docker_container_name": "/six", "__meta_docker_container_network_mode": "six", "__meta_docker_network_ip": "fd00::2"}
"#
        );
        assert_eq!(refresh(&mut docker(&[], false), &ask).unwrap()[0].targets.len(), 6);
    }

    #[test]
    fn filters_and_failures() {
        let ask = Recorded::new(&[("/containers", 200, CONTAINERS), ("/networks", 500, "no")]);
        let failed = refresh(&mut docker(&[("label", "a=b"), ("label", "c")], true), &ask);
        assert!(matches!(failed, Err(DiscoveryError::Status { .. })), "{failed:?}");
        let filters = percent_encoding::percent_decode_str(&ask.urls()[0])
            .decode_utf8()
            .unwrap()
            .into_owned();
        assert_eq!(
            filters,
            r#"http://docker/containers/json?filters={"label":{"a=b":true,"c":true}}"#
        );
    }
}
