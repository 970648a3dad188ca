//! `msk_sd`: the brokers and controllers of MSK's provisioned clusters in one region, each endpoint of them a target.
//!
//! ```text
//! ListClustersV2, or DescribeClusterV2 for each that is named ─▶ each cluster: ListNodes
//! ```

use std::collections::BTreeMap;

use super::super::super::ask::{Ask, DiscoveryError, answer, refresh_by};
use super::super::super::meta::{Meta, host_port, one_group};
use super::caller::too_many_pages;
use super::sigv4::encoded;
use super::{AwsOptions, Caller, Session, bounded};
use crate::limits::DISCOVERY_PAGES_MAX;
use crate::scrape::TargetGroup;

/// The service as it is signed, which is its host too.
const KAFKA: &str = "kafka";

/// The clusters that have nodes.
const PROVISIONED: &str = "PROVISIONED";

/// See the module.
pub struct Msk {
    session: Session,
    port: u16,
    /// Those to look into, by their ARNs; all if there are none.
    clusters: Vec<String>,
}

answer! {
    /// A page of either list.
    Page {
        clusters: Vec<Cluster> = "clusterInfoList",
        nodes: Vec<Node> = "nodeInfoList",
        next: String = "nextToken",
    }
}

answer! {
    /// A cluster that was asked for.
    Described { cluster: Cluster = "clusterInfo", }
}

answer! {
    /// A cluster.
    Cluster {
        arn: String = "clusterArn",
        name: String = "clusterName",
        kind: String = "clusterType",
        version: String = "currentVersion",
        state: String = "state",
        provisioned: Provisioned = "provisioned",
        tags: BTreeMap<String, String> = "tags",
    }
}

answer! {
    /// What is told of a cluster with nodes.
    Provisioned {
        software: Software = "currentBrokerSoftwareInfo",
        monitoring: Monitoring = "openMonitoring",
    }
}

answer! {
    /// What its brokers run.
    Software {
        kafka: String = "kafkaVersion",
        configuration: String = "configurationArn",
        revision: Option<i64> = "configurationRevision",
    }
}

answer! {
    /// Whether it can be monitored.
    Monitoring { prometheus: Exporters = "prometheus", }
}

answer! {
    /// What runs for that.
    Exporters { jmx: Option<Exporter> = "jmxExporter", node: Option<Exporter> = "nodeExporter", }
}

answer! {
    /// Whether an exporter runs.
    Exporter { enabled: bool = "enabledInBroker", }
}

answer! {
    /// A node: a broker, a controller, or something else.
    Node {
        arn: String = "nodeARN",
        added: String = "addedToClusterTime",
        instance_type: String = "instanceType",
        broker: Option<Broker> = "brokerNodeInfo",
        controller: Option<Controller> = "controllerNodeInfo",
    }
}

answer! {
    /// What is told of a broker.
    Broker {
        id: f64 = "brokerId",
        interface: String = "attachedENIId",
        subnet: String = "clientSubnet",
        address: String = "clientVpcIpAddress",
        endpoints: Vec<String> = "endpoints",
    }
}

answer! {
    /// What is told of a controller.
    Controller { endpoints: Vec<String> = "endpoints", }
}

impl Msk {
    /// The nodes of `clusters`, or of all.
    pub fn new(options: AwsOptions, port: u16, clusters: Vec<String>) -> Self {
        Msk { session: Session::new(options), port, clusters }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let caller = self.session.caller(ask).await?;
        let clusters = match self.clusters.as_slice() {
            [] => {
                let path =
                    format!("/api/v2/clusters?clusterTypeFilter={PROVISIONED}&maxResults=100");
                pages(&caller, &path).await?.into_iter().flat_map(|page| page.clusters).collect()
            }
            named => described(&caller, named).await?,
        };
        let nodes = async |cluster: &Cluster| {
            let path = format!("/v1/clusters/{}/nodes?maxResults=100", encoded(&cluster.arn));
            pages(&caller, &path).await
        };
        let nodes = caller.each(&clusters, nodes).await?;
        let mut targets = Vec::new();
        for (cluster, pages) in clusters.iter().zip(nodes) {
            for node in pages.into_iter().flat_map(|page| page.nodes) {
                targets.extend(cluster.targets(node, self.port));
                bounded(targets.len(), "ListNodes")?;
            }
        }
        Ok(one_group(caller.region, targets))
    }
}

/// The clusters that are named and have nodes.
async fn described(caller: &Caller<'_>, arns: &[String]) -> Result<Vec<Cluster>, DiscoveryError> {
    let describe = async |arn: &String| {
        let path = format!("/api/v2/clusters/{}", encoded(arn));
        let described: Described = caller.rest(KAFKA, &path).await?;
        Ok(described.cluster)
    };
    let mut clusters = caller.each(arns, describe).await?;
    clusters.retain(|cluster| cluster.kind == PROVISIONED);
    Ok(clusters)
}

/// All pages of a list.
async fn pages(caller: &Caller<'_>, path: &str) -> Result<Vec<Page>, DiscoveryError> {
    let mut all: Vec<Page> = Vec::new();
    for _ in 0..DISCOVERY_PAGES_MAX {
        let page: Page = match all.last() {
            None => caller.rest(KAFKA, path).await?,
            Some(last) => {
                let next = format!("{path}&nextToken={}", encoded(&last.next));
                caller.rest(KAFKA, &next).await?
            }
        };
        let last = page.next.is_empty();
        all.push(page);
        if last {
            return Ok(all);
        }
    }
    Err(too_many_pages(path))
}

impl Cluster {
    /// The endpoints of a node.
    fn targets(&self, node: Node, port: u16) -> Vec<BTreeMap<String, String>> {
        let mut meta = self.meta(&node);
        let (index, endpoints) = match (node.broker, node.controller) {
            (Some(broker), _) => {
                meta.set("node_type", "BROKER").set("node_attached_eni", broker.interface);
                meta.set("broker_id", format!("{:.0}", broker.id));
                meta.set("broker_client_subnet", broker.subnet);
                meta.set("broker_client_vpc_ip", broker.address);
                let exporter = &self.provisioned.monitoring.prometheus.node;
                meta.set_some("broker_node_exporter_enabled", enabled(exporter.as_ref()));
                ("broker_endpoint_index", broker.endpoints)
            }
            (None, Some(controller)) => {
                meta.set("node_type", "CONTROLLER");
                ("controller_endpoint_index", controller.endpoints)
            }
            (None, None) => return Vec::new(),
        };
        let target = |(i, endpoint): (usize, &String)| {
            let mut meta = meta.clone();
            meta.set(index, i.to_string());
            meta.at(host_port(endpoint, port))
        };
        endpoints.iter().enumerate().map(target).collect()
    }

    /// The labels that every node has.
    fn meta(&self, node: &Node) -> Meta {
        let Provisioned { software, monitoring } = &self.provisioned;
        let mut meta = Meta::with(
            "__meta_msk_",
            [
                ("cluster_name", self.name.clone()),
                ("cluster_arn", self.arn.clone()),
                ("cluster_state", self.state.clone()),
                ("cluster_type", self.kind.clone()),
                ("cluster_version", self.version.clone()),
                ("cluster_kafka_version", software.kafka.clone()),
                ("cluster_configuration_arn", software.configuration.clone()),
                ("node_arn", node.arn.clone()),
                ("node_added_time", node.added.clone()),
                ("node_instance_type", node.instance_type.clone()),
            ],
        );
        let revision = software.revision.map(|revision| revision.to_string());
        meta.set_some("cluster_configuration_revision", revision);
        let exporter = monitoring.prometheus.jmx.as_ref();
        meta.set_some("cluster_jmx_exporter_enabled", enabled(exporter));
        meta.set_each("cluster_tag_", &self.tags);
        meta
    }
}

/// Whether an exporter runs, if that is told.
fn enabled(exporter: Option<&Exporter>) -> Option<String> {
    exporter.map(|exporter| exporter.enabled.to_string())
}

refresh_by!(Msk, list);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::super::super::ask::recorded::shown;
    use super::super::recorded::{Aws, options};
    use super::*;

    const ANSWERS: [(&str, &str); 6] = [
        (
            "/api/v2/clusters?clusterTypeFilter=PROVISIONED&maxResults=100&nextToken=a%2Fb",
            r#"{"clusterInfoList": [{"clusterArn": "arn:2", "clusterName": "two", "clusterType": "PROVISIONED"}], "nextToken": null}"#,
        ),
        (
            "/api/v2/clusters?clusterTypeFilter=PROVISIONED&maxResults=100",
            r#"{"clusterInfoList": [{"clusterArn": "arn:1", "clusterName": "one", "clusterType": "PROVISIONED", "currentVersion": "K3", "state": "ACTIVE", "tags": {"a-b": "c"},
               "provisioned": {"currentBrokerSoftwareInfo": {"kafkaVersion": "3.6.0", "configurationArn": "arn:k", "configurationRevision": 2},
                 "openMonitoring": {"prometheus": {"jmxExporter": {"enabledInBroker": true}, "nodeExporter": {"enabledInBroker": false}}}}}], "nextToken": "a/b"}"#,
        ),
        (
            "/v1/clusters/arn%3A1/nodes?maxResults=100&nextToken=n",
            r#"{"nodeInfoList": [{"nodeARN": "arn:n:3", "controllerNodeInfo": {"endpoints": ["c-1.example"]}}, {"nodeARN": "arn:n:4", "zookeeperNodeInfo": {"endpoints": ["z-1.example"]}}]}"#,
        ),
        (
            "/v1/clusters/arn%3A1/nodes?maxResults=100",
            r#"{"nodeInfoList": [{"nodeARN": "arn:n:1", "addedToClusterTime": "2026-01-02T03:04:05.678Z", "instanceType": "m5.large", "nodeType": "BROKER",
               "brokerNodeInfo": {"brokerId": 1.0, "attachedENIId": "eni-1", "clientSubnet": "sub-1", "clientVpcIpAddress": "10.0.0.1", "endpoints": ["b-1.example", "b-1b.example"]}}], "nextToken": "n"}"#,
        ),
        ("/v1/clusters/arn%3A2/nodes", r#"{"nodeInfoList": []}"#),
        (
            "/api/v2/clusters/arn%3As",
            r#"{"clusterInfo": {"clusterArn": "arn:s", "clusterType": "SERVERLESS"}}"#,
        ),
    ];

    fn refreshed(
        clusters: &[&str],
        failing: &'static str,
    ) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let clusters = clusters.iter().map(|arn| (*arn).to_owned()).collect();
        let aws = Aws::new(&ANSWERS, failing);
        Msk::new(options(), 11_001, clusters).list(&aws).now_or_never().expect("nothing waits")
    }

    #[test]
    fn brokers_and_controllers() {
        assert_eq!(
            shown(&refreshed(&[], "").unwrap()),
            r#"eu-west-2 {}
  {"__address__": "b-1.example:11001", "__meta_msk_broker_client_subnet": "sub-1", "__meta_msk_broker_client_vpc_ip": "10.0.0.1", "__meta_msk_broker_endpoint_index": "0", "__meta_msk_broker_id": "1", "__meta_msk_broker_node_exporter_enabled": "false", "__meta_msk_cluster_arn": "arn:1", "__meta_msk_cluster_configuration_arn": "arn:k", "__meta_msk_cluster_configuration_revision": "2", "__meta_msk_cluster_jmx_exporter_enabled": "true", "__meta_msk_cluster_kafka_version": "3.6.0", "__meta_msk_cluster_name": "one", "__meta_msk_cluster_state": "ACTIVE", "__meta_msk_cluster_tag_a_b": "c", "__meta_msk_cluster_type": "PROVISIONED", "__meta_msk_cluster_version": "K3", "__meta_msk_node_added_time": "2026-01-02T03:04:05.678Z", "__meta_msk_node_arn": "arn:n:1", "__meta_msk_node_attached_eni": "eni-1", "__meta_msk_node_instance_type": "m5.large", "__meta_msk_node_type": "BROKER"}
  {"__address__": "b-1b.example:11001", "__meta_msk_broker_client_subnet": "sub-1", "__meta_msk_broker_client_vpc_ip": "10.0.0.1", "__meta_msk_broker_endpoint_index": "1", "__meta_msk_broker_id": "1", "__meta_msk_broker_node_exporter_enabled": "false", "__meta_msk_cluster_arn": "arn:1", "__meta_msk_cluster_configuration_arn": "arn:k", "__meta_msk_cluster_configuration_revision": "2", "__meta_msk_cluster_jmx_exporter_enabled": "true", "__meta_msk_cluster_kafka_version": "3.6.0", "__meta_msk_cluster_name": "one", "__meta_msk_cluster_state": "ACTIVE", "__meta_msk_cluster_tag_a_b": "c", "__meta_msk_cluster_type": "PROVISIONED", "__meta_msk_cluster_version": "K3", "__meta_msk_node_added_time": "2026-01-02T03:04:05.678Z", "__meta_msk_node_arn": "arn:n:1", "__meta_msk_node_attached_eni": "eni-1", "__meta_msk_node_instance_type": "m5.large", "__meta_msk_node_type": "BROKER"}
  {"__address__": "c-1.example:11001", "__meta_msk_cluster_arn": "arn:1", "__meta_msk_cluster_configuration_arn": "arn:k", "__meta_msk_cluster_configuration_revision": "2", "__meta_msk_cluster_jmx_exporter_enabled": "true", "__meta_msk_cluster_kafka_version": "3.6.0", "__meta_msk_cluster_name": "one", "__meta_msk_cluster_state": "ACTIVE", "__meta_msk_cluster_tag_a_b": "c", "__meta_msk_cluster_type": "PROVISIONED", "__meta_msk_cluster_version": "K3", "__meta_msk_controller_endpoint_index": "0", "__meta_msk_node_arn": "arn:n:3", "__meta_msk_node_type": "CONTROLLER"}
"#
        );
    }

    #[test]
    fn named_clusters_without_nodes_are_left_out_and_failures_are_told() {
        assert_eq!(refreshed(&["arn:s"], "").unwrap()[0].targets.len(), 0);
        let missing = refreshed(&["arn:x"], "").unwrap_err().to_string();
        assert!(missing.contains("404"), "{missing}");
        for failing in ["nextToken=a", "nextToken=n", "arn%3A2"] {
            let refused = refreshed(&[], failing).unwrap_err().to_string();
            assert!(refused.contains("Denied"), "{failing}: {refused}");
        }
    }
}
