//! `triton_sd`: the containers or the compute nodes that a Triton container monitor knows.

use super::super::ask::{Ask, DiscoveryError, answer, ask_json, get, refresh_by, with_query};
use super::super::meta::{Meta, one_group};
use crate::scrape::TargetGroup;

const PREFIX: &str = "__meta_triton_";

/// What is asked for, and how targets are made of it.
pub struct Triton {
    /// Host of the monitor.
    pub endpoint: String,
    /// Port of the monitor and of the targets.
    pub port: u16,
    /// Version of the monitor's API.
    pub version: u32,
    /// Whether compute nodes are wanted, not containers.
    pub compute_nodes: bool,
    /// Only containers of these groups.
    pub groups: Vec<String>,
    /// Domain of the targets' names.
    pub dns_suffix: String,
}

answer! {
    /// What the monitor knows.
    Known { containers: Vec<Container> = "containers", nodes: Vec<Node> = "cns", }
}

answer! {
    /// A container.
    Container {
        server_id: String = "server_uuid",
        alias: String = "vm_alias",
        brand: String = "vm_brand",
        image: String = "vm_image_uuid",
        id: String = "vm_uuid",
        groups: Vec<String> = "groups",
    }
}

answer! {
    /// A compute node.
    Node { id: String = "server_uuid", hostname: String = "server_hostname", }
}

impl Triton {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let path = if self.compute_nodes { "gz/discover" } else { "discover" };
        let mut url = format!("https://{}:{}/v{}/{path}", self.endpoint, self.port, self.version);
        if !self.groups.is_empty() {
            url = with_query(&url, [("groups", self.groups.join(",").as_str())]);
        }
        let known: Known = ask_json(ask, get(&url)?).await?;
        let container = |container: Container| {
            let address = self.address(&container.id);
            let mut meta = Meta::with(
                PREFIX,
                [
                    ("machine_id", container.id),
                    ("machine_alias", container.alias),
                    ("machine_brand", container.brand),
                    ("machine_image", container.image),
                    ("server_id", container.server_id),
                ],
            );
            meta.set_list("groups", ",", &container.groups);
            meta.at(address)
        };
        let node = |node: Node| {
            let address = self.address(&node.id);
            Meta::with(PREFIX, [("machine_id", node.id), ("machine_alias", node.hostname)])
                .at(address)
        };
        let targets = if self.compute_nodes {
            known.nodes.into_iter().map(node).collect()
        } else {
            known.containers.into_iter().map(container).collect()
        };
        Ok(one_group(url, targets))
    }

    fn address(&self, id: &str) -> String {
        format!("{id}.{}:{}", self.dns_suffix, self.port)
    }
}

refresh_by!(Triton, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    #[test]
    fn containers_and_nodes() {
        let ask = Recorded::new(&[
            (
                "/v1/gz/discover",
                200,
                r#"{"cns": [{"server_uuid": "44454c4c", "server_hostname": "server01"}]}"#,
            ),
            (
                "/v1/discover?groups=a%2Cb",
                200,
                r#"{"containers": [{"groups": ["foo", "bar"], "server_uuid": "44454c4c", "vm_alias": "server01", "vm_brand": "lx", "vm_image_uuid": "7b27a514", "vm_uuid": "ad466fbf"}]}"#,
            ),
        ]);
        let mut triton = Triton {
            endpoint: "cmon".into(),
            port: 9163,
            version: 1,
            compute_nodes: false,
            groups: vec!["a".into(), "b".into()],
            dns_suffix: "triton.zone".into(),
        };
        assert_eq!(
            shown(&refresh(&mut triton, &ask).unwrap()),
            r#"https://cmon:9163/v1/discover?groups=a%2Cb {}
  {"__address__": "ad466fbf.triton.zone:9163", "__meta_triton_groups": ",foo,bar,", "__meta_triton_machine_alias": "server01", "__meta_triton_machine_brand": "lx", "__meta_triton_machine_id": "ad466fbf", "__meta_triton_machine_image": "7b27a514", "__meta_triton_server_id": "44454c4c"}
"#
        );
        triton.compute_nodes = true;
        triton.groups.clear();
        assert_eq!(
            shown(&refresh(&mut triton, &ask).unwrap()),
            r#"https://cmon:9163/v1/gz/discover {}
  {"__address__": "44454c4c.triton.zone:9163", "__meta_triton_machine_alias": "server01", "__meta_triton_machine_id": "44454c4c"}
"#
        );
    }
}
