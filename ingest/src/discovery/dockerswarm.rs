//! `dockerswarm_sd`: services, tasks or nodes of a Docker swarm.

use std::collections::{BTreeMap, HashMap};

use super::ask::{Ask, DiscoveryError, answer, ask_json, get, refresh_by};
use super::docker::{filtered, network_labels};
use super::meta::{Meta, host_port};
use crate::scrape::TargetGroup;

const PREFIX: &str = "__meta_dockerswarm_";

type Targets = Vec<BTreeMap<String, String>>;

/// What becomes targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A target for each published port of a service.
    Services,
    /// A target for each port of each task.
    Tasks,
    /// A target for each node.
    Nodes,
}

/// See the module.
pub struct Swarm {
    /// Where the daemon's API begins: `http://host:2375`.
    pub base: String,
    /// What becomes targets.
    pub role: Role,
    /// The port of what publishes none.
    pub port: u16,
    /// Conditions, each a name and its values.
    pub filters: Vec<(String, Vec<String>)>,
}

answer! {
    /// A node of the swarm.
    Node {
        id: String = "ID",
        spec: NodeSpec = "Spec",
        description: Description = "Description",
        status: NodeStatus = "Status",
        manager: Option<Manager> = "ManagerStatus",
    }
}

answer! {
    /// What a node is to be.
    NodeSpec {
        role: String = "Role",
        availability: String = "Availability",
        labels: BTreeMap<String, String> = "Labels",
    }
}

answer! {
    /// What a node is.
    Description {
        hostname: String = "Hostname",
        platform: Platform = "Platform",
        engine: Engine = "Engine",
    }
}

answer! {
    /// Hardware and system.
    Platform { architecture: String = "Architecture", os: String = "OS", }
}

answer! {
    /// The daemon.
    Engine { version: String = "EngineVersion", }
}

answer! {
    /// How a node is.
    NodeStatus { state: String = "State", address: String = "Addr", }
}

answer! {
    /// A node's part in managing.
    Manager {
        leader: bool = "Leader",
        reachability: String = "Reachability",
        address: String = "Addr",
    }
}

answer! {
    /// A service.
    Service {
        id: String = "ID",
        spec: ServiceSpec = "Spec",
        endpoint: ServiceEndpoint = "Endpoint",
        update: Option<Update> = "UpdateStatus",
    }
}

answer! {
    /// What a service is to be.
    ServiceSpec {
        name: String = "Name",
        labels: BTreeMap<String, String> = "Labels",
        mode: Mode = "Mode",
        template: TaskSpec = "TaskTemplate",
    }
}

answer! {
    /// How a service is spread.
    Mode {
        global: Option<serde_json::Value> = "Global",
        replicated: Option<serde_json::Value> = "Replicated",
    }
}

answer! {
    /// Where a service is found.
    ServiceEndpoint { ports: Vec<PortConfig> = "Ports", addresses: Vec<VirtualIp> = "VirtualIPs", }
}

answer! {
    /// A published port.
    PortConfig {
        name: String = "Name",
        protocol: String = "Protocol",
        published: u32 = "PublishedPort",
        mode: String = "PublishMode",
    }
}

answer! {
    /// An address of a service in one network.
    VirtualIp { network_id: String = "NetworkID", address: String = "Addr", }
}

answer! {
    /// How an update goes.
    Update { state: String = "State", }
}

answer! {
    /// A task.
    Task {
        id: String = "ID",
        service_id: String = "ServiceID",
        node_id: String = "NodeID",
        slot: i64 = "Slot",
        desired_state: String = "DesiredState",
        spec: TaskSpec = "Spec",
        status: TaskStatus = "Status",
        networks: Vec<Attachment> = "NetworksAttachments",
    }
}

answer! {
    /// What a task is to run.
    TaskSpec { container: Option<ContainerSpec> = "ContainerSpec", }
}

answer! {
    /// The container of a task.
    ContainerSpec {
        labels: BTreeMap<String, String> = "Labels",
        hostname: String = "Hostname",
        image: String = "Image",
    }
}

answer! {
    /// How a task is.
    TaskStatus {
        state: String = "State",
        container: Option<ContainerStatus> = "ContainerStatus",
        ports: PortStatus = "PortStatus",
    }
}

answer! {
    /// The container that runs.
    ContainerStatus { id: String = "ContainerID", }
}

answer! {
    /// The ports of a task.
    PortStatus { ports: Vec<PortConfig> = "Ports", }
}

answer! {
    /// A task's place in one network.
    Attachment { network: NetworkRef = "Network", addresses: Vec<String> = "Addresses", }
}

answer! {
    /// The network itself.
    NetworkRef { id: String = "ID", }
}

impl Swarm {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let targets = match self.role {
            Role::Services => self.services(ask).await?,
            Role::Tasks => self.tasks(ask).await?,
            Role::Nodes => self.nodes(ask).await?,
        };
        Ok(vec![TargetGroup { source: "DockerSwarm".to_owned(), targets, labels: BTreeMap::new() }])
    }

    fn url(&self, what: &str) -> String {
        format!("{}/{what}", self.base)
    }

    async fn nodes(&self, ask: &dyn Ask) -> Result<Targets, DiscoveryError> {
        let url = filtered(&self.url("nodes"), &self.filters);
        let nodes: Vec<Node> = ask_json(ask, get(&url)?).await?;
        let target = |node: &Node| {
            let mut meta = node_labels(node);
            meta.set("node_engine_version", &*node.description.engine.version);
            if let Some(manager) = &node.manager {
                meta.set("node_manager_leader", manager.leader.to_string());
                meta.set("node_manager_reachability", &*manager.reachability);
                meta.set("node_manager_address", &*manager.address);
            }
            meta.at(host_port(&node.status.address, self.port))
        };
        Ok(nodes.iter().map(target).collect())
    }

    async fn services(&self, ask: &dyn Ask) -> Result<Targets, DiscoveryError> {
        let url = filtered(&self.url("services"), &self.filters);
        let services: Vec<Service> = ask_json(ask, get(&url)?).await?;
        let networks = network_labels(ask, &self.base, PREFIX).await?;
        let mut targets = Vec::new();
        for service in &services {
            let common = full_service_labels(service);
            for address in &service.endpoint.addresses {
                let ip = ip_of(&address.address)?;
                let mut common = common.clone();
                common.extend(networks.get(&address.network_id).unwrap_or(&Meta::new(PREFIX)));
                let ports = service.endpoint.ports.iter().filter(|port| port.protocol == "tcp");
                let before = targets.len();
                targets.extend(ports.map(|port| {
                    let mut meta = common.clone();
                    meta.set("service_endpoint_port_name", &*port.name);
                    meta.set("service_endpoint_port_publish_mode", &*port.mode);
                    meta.at(host_port(ip, port.published))
                }));
                if targets.len() == before {
                    targets.push(common.at(host_port(ip, self.port)));
                }
            }
        }
        Ok(targets)
    }

    async fn tasks(&self, ask: &dyn Ask) -> Result<Targets, DiscoveryError> {
        let url = filtered(&self.url("tasks"), &self.filters);
        let tasks: Vec<Task> = ask_json(ask, get(&url)?).await?;
        let services: Vec<Service> = ask_json(ask, get(&self.url("services"))?).await?;
        let services: HashMap<&str, &Service> =
            services.iter().map(|service| (service.id.as_str(), service)).collect();
        let nodes: Vec<Node> = ask_json(ask, get(&self.url("nodes"))?).await?;
        let nodes: HashMap<&str, &Node> =
            nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let networks = network_labels(ask, &self.base, PREFIX).await?;
        let mut targets = Vec::new();
        for task in &tasks {
            let service = services.get(task.service_id.as_str()).copied();
            let mut common = task_labels(task);
            if let Some(service) = service {
                common.extend(&service_labels(service));
            }
            if let Some(node) = nodes.get(task.node_id.as_str()) {
                common.extend(&node_labels(node));
            }
            let ports = task.status.ports.ports.iter().filter(|port| port.protocol == "tcp");
            targets.extend(ports.map(|port| {
                let address = host_port(common.get("node_address"), port.published);
                let mut meta = common.clone();
                meta.set("task_port_publish_mode", &*port.mode);
                meta.at(address)
            }));
            let published = service.map_or(&[][..], |service| &service.endpoint.ports);
            for attachment in &task.networks {
                let mut common = common.clone();
                common.extend(networks.get(&attachment.network.id).unwrap_or(&Meta::new(PREFIX)));
                for address in &attachment.addresses {
                    let ip = ip_of(address)?;
                    let before = targets.len();
                    let ports = published.iter().filter(|port| port.protocol == "tcp");
                    targets.extend(ports.map(|port| {
                        let mut meta = common.clone();
                        meta.set("task_port_publish_mode", &*port.mode);
                        meta.at(host_port(ip, port.published))
                    }));
                    if targets.len() == before {
                        targets.push(common.clone().at(host_port(ip, self.port)));
                    }
                }
            }
        }
        Ok(targets)
    }
}

/// The address of `10.0.0.3/24`.
fn ip_of(cidr: &str) -> Result<&str, DiscoveryError> {
    let ip = cidr.split_once('/').map_or("", |(ip, _)| ip);
    match ip.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(ip),
        Err(_) => Err(DiscoveryError::Exchange(format!("{cidr:?} is no address with a prefix"))),
    }
}

/// What tasks say of their node.
fn node_labels(node: &Node) -> Meta {
    let mut meta = Meta::new(PREFIX);
    meta.set("node_id", &*node.id);
    meta.set("node_role", &*node.spec.role);
    meta.set("node_address", &*node.status.address);
    meta.set("node_availability", &*node.spec.availability);
    meta.set("node_hostname", &*node.description.hostname);
    meta.set("node_status", &*node.status.state);
    meta.set_each("node_label_", &node.spec.labels);
    meta.set("node_platform_architecture", &*node.description.platform.architecture);
    meta.set("node_platform_os", &*node.description.platform.os);
    meta
}

/// What tasks say of their service.
fn service_labels(service: &Service) -> Meta {
    let mut meta = Meta::new(PREFIX);
    let mode = &service.spec.mode;
    let mode = match (&mode.global, &mode.replicated) {
        (Some(_), _) => "global",
        (None, Some(_)) => "replicated",
        (None, None) => "",
    };
    meta.set("service_id", &*service.id);
    meta.set("service_name", &*service.spec.name);
    meta.set("service_mode", mode);
    meta.set_each("service_label_", &service.spec.labels);
    meta
}

/// What services say of themselves.
fn full_service_labels(service: &Service) -> Meta {
    let mut meta = service_labels(service);
    if let Some(container) = &service.spec.template.container {
        meta.set("service_task_container_hostname", &*container.hostname);
        meta.set("service_task_container_image", &*container.image);
    }
    meta.set_some("service_updating_status", service.update.as_ref().map(|u| u.state.as_str()));
    meta
}

fn task_labels(task: &Task) -> Meta {
    let mut meta = Meta::new(PREFIX);
    meta.set("task_id", &*task.id);
    meta.set("task_desired_state", &*task.desired_state);
    meta.set("task_state", &*task.status.state);
    meta.set("task_slot", task.slot.to_string());
    meta.set_some("task_container_id", task.status.container.as_ref().map(|c| c.id.as_str()));
    if let Some(container) = &task.spec.container {
        meta.set_each("container_label_", &container.labels);
    }
    meta
}

refresh_by!(Swarm, list);

#[cfg(test)]
mod tests {
    use super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const NODES: &str = r#"[{"ID": "n", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"a.b": "c"}},
        "Description": {"Hostname": "h", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "20"}},
        "Status": {"State": "ready", "Addr": "10.0.0.1"}, "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}}]"#;
    const SERVICES: &str = r#"[{"ID": "s", "Spec": {"Name": "web", "Labels": {"l": "v"}, "Mode": {"Replicated": {"Replicas": 2}},
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx", "Hostname": "hn"}}}, "UpdateStatus": {"State": "completed"},
        "Endpoint": {"Ports": [{"Name": "http", "Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "ingress"}, {"Protocol": "udp", "PublishedPort": 1}],
        "VirtualIPs": [{"NetworkID": "net", "Addr": "10.255.0.4/16"}]}}]"#;
    const TASKS: &str = r#"[{"ID": "t", "ServiceID": "s", "NodeID": "n", "Slot": 1, "DesiredState": "running",
        "Spec": {"ContainerSpec": {"Labels": {"x": "y"}}},
        "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c"}, "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 9, "PublishMode": "host"}]}},
        "NetworksAttachments": [{"Network": {"ID": "net"}, "Addresses": ["10.255.0.5/16"]}]}]"#;
    const NETWORKS: &str =
        r#"[{"Id": "net", "Name": "ingress", "Scope": "swarm", "Ingress": true}]"#;

    fn found(role: Role) -> String {
        let ask = Recorded::new(&[
            ("/nodes", 200, NODES),
            ("/services", 200, SERVICES),
            ("/tasks", 200, TASKS),
            ("/networks", 200, NETWORKS),
        ]);
        let mut swarm = Swarm { base: "http://d".into(), role, port: 80, filters: Vec::new() };
        shown(&refresh(&mut swarm, &ask).unwrap()).replace("__meta_dockerswarm_", "~")
    }

    #[test]
    fn each_role() {
        assert_eq!(
            found(Role::Nodes),
            r#"DockerSwarm {}
  {"__address__": "10.0.0.1:80", "~node_address": "10.0.0.1", "~node_availability": "active", "~node_engine_version": "20", "~node_hostname": "h", "~node_id": "n", "~node_label_a_b": "c", "~node_manager_address": "10.0.0.1:2377", "~node_manager_leader": "true", "~node_manager_reachability": "reachable", "~node_platform_architecture": "x86_64", "~node_platform_os": "linux", "~node_role": "manager", "~node_status": "ready"}
"#
        );
        assert_eq!(
            found(Role::Services),
            r#"DockerSwarm {}
  {"__address__": "10.255.0.4:8080", "~network_id": "net", "~network_ingress": "true", "~network_internal": "false", "~network_name": "ingress", "~network_scope": "swarm", "~service_endpoint_port_name": "http", "~service_endpoint_port_publish_mode": "ingress", "~service_id": "s", "~service_label_l": "v", "~service_mode": "replicated", "~service_name": "web", "~service_task_container_hostname": "hn", "~service_task_container_image": "nginx", "~service_updating_status": "completed"}
"#
        );
        let tasks = found(Role::Tasks);
        assert_eq!(tasks.lines().count(), 3, "{tasks}");
        assert!(tasks.contains(r#"  {"__address__": "10.0.0.1:9", "~container_label_x": "y", "~node_address": "10.0.0.1", "~node_availability": "active", "~node_hostname": "h", "~node_id": "n", "~node_label_a_b": "c", "~node_platform_architecture": "x86_64", "~node_platform_os": "linux", "~node_role": "manager", "~node_status": "ready", "~service_id": "s", "~service_label_l": "v", "~service_mode": "replicated", "~service_name": "web", "~task_container_id": "c", "~task_desired_state": "running", "~task_id": "t", "~task_port_publish_mode": "host", "~task_slot": "1", "~task_state": "running"}"#), "{tasks}");
        assert!(tasks.contains(r#""__address__": "10.255.0.5:8080""#), "{tasks}");
        assert!(tasks.contains(r#""~network_scope": "swarm""#), "{tasks}");
        assert_eq!(
            ip_of("10.0.0.1").unwrap_err().to_string(),
            "\"10.0.0.1\" is no address with a prefix"
        );
    }
}
