//! `nomad_sd`: the instances of each service that is registered with Nomad.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::ask::{Ask, DiscoveryError, answer, ask_json, get, refresh_by, with_query};
use super::super::meta::{Meta, host_port, one_group};
use crate::scrape::TargetGroup;

/// What is asked for, and how targets are made of it.
pub struct Nomad {
    /// Where the API begins: `http://localhost:4646`.
    pub base: String,
    /// Whether a server that is not the leader may answer.
    pub allow_stale: bool,
    /// Which namespace.
    pub namespace: String,
    /// Which region.
    pub region: String,
    /// What stands between tags.
    pub tag_separator: String,
}

answer! {
    /// The services of a namespace.
    Listed { services: Vec<Service> = "Services", }
}

answer! {
    /// A service by name.
    Service { name: String = "ServiceName", }
}

answer! {
    /// An instance of a service.
    Instance {
        id: String = "ID",
        service: String = "ServiceName",
        namespace: String = "Namespace",
        node_id: String = "NodeID",
        datacenter: String = "Datacenter",
        tags: Vec<String> = "Tags",
        address: String = "Address",
        port: i64 = "Port",
    }
}

impl Nomad {
    fn url(&self, path: &str) -> String {
        let mut query = vec![];
        for (name, value) in [("region", &self.region), ("namespace", &self.namespace)] {
            if !value.is_empty() {
                query.push((name, value.as_str()));
            }
        }
        if self.allow_stale {
            query.push(("stale", ""));
        }
        with_query(&format!("{}/v1/{path}", self.base), query)
    }

    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let namespaces: Vec<Listed> = ask_json(ask, get(&self.url("services"))?).await?;
        let mut targets = Vec::new();
        for service in namespaces.iter().flat_map(|namespace| &namespace.services) {
            let name = utf8_percent_encode(&service.name, NON_ALPHANUMERIC);
            let url = self.url(&format!("service/{name}"));
            let instances: Vec<Instance> = ask_json(ask, get(&url)?).await?;
            targets.extend(instances.into_iter().map(|instance| self.target(instance)));
        }
        Ok(one_group("Nomad", targets))
    }

    fn target(&self, instance: Instance) -> std::collections::BTreeMap<String, String> {
        let address = host_port(&instance.address, instance.port);
        let mut meta = Meta::with(
            "__meta_nomad_",
            [
                ("address", instance.address.clone()),
                ("dc", instance.datacenter),
                ("namespace", instance.namespace),
                ("node_id", instance.node_id),
                ("service", instance.service),
                ("service_address", instance.address),
                ("service_id", instance.id),
                ("service_port", instance.port.to_string()),
            ],
        );
        meta.set_list("tags", &self.tag_separator, &instance.tags);
        meta.at(address)
    }
}

refresh_by!(Nomad, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    #[test]
    fn instances_of_services() {
        let ask = Recorded::new(&[
            (
                "/v1/services",
                200,
                r#"[{"Namespace": "default", "Services": [{"ServiceName": "a/b", "Tags": []}]}]"#,
            ),
            (
                "/v1/service/a%2Fb",
                200,
                r#"[{"ID": "_nomad-task-1", "ServiceName": "a/b", "Namespace": "default", "NodeID": "n", "Datacenter": "dc1", "Tags": ["x", "y"], "Address": "10.0.0.1", "Port": 80},
                    {"ID": "2", "Address": "fd00::1", "Port": 81, "Tags": null}]"#,
            ),
        ]);
        let mut nomad = Nomad {
            base: "http://nomad:4646".into(),
            allow_stale: true,
            namespace: "default".into(),
            region: "global".into(),
            tag_separator: ",".into(),
        };
        assert_eq!(
            shown(&refresh(&mut nomad, &ask).unwrap()),
            r#"Nomad {}
  {"__address__": "10.0.0.1:80", "__meta_nomad_address": "10.0.0.1", "__meta_nomad_dc": "dc1", "__meta_nomad_namespace": "default", "__meta_nomad_node_id": "n", "__meta_nomad_service": "a/b", "__meta_nomad_service_address": "10.0.0.1", "__meta_nomad_service_id": "_nomad-task-1", "__meta_nomad_service_port": "80", "__meta_nomad_tags": ",x,y,"}
  {"__address__": "[fd00::1]:81", "__meta_nomad_address": "fd00::1", "__meta_nomad_service_address": "fd00::1", "__meta_nomad_service_id": "2", "__meta_nomad_service_port": "81"}
"#
        );
        assert_eq!(
            ask.urls()[0],
            "http://nomad:4646/v1/services?region=global&namespace=default&stale="
        );
        let broken = Recorded::new(&[("/v1/services", 200, "[{}, {\"Services\": 1}]")]);
        assert!(refresh(&mut nomad, &broken).is_err());
    }
}
