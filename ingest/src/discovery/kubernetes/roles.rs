//! The roles that make targets of one object: node, pod, service, ingress.

use std::collections::BTreeMap;

use super::super::meta::{Meta, host_port};
use super::labels::{
    PREFIX, add_namespace, add_node, add_object, add_pod, add_port, add_service, containers,
};
use super::objects::{ContainerStatus, Ingress, Node, Pod, Service};
use super::{Attach, Stores, TargetGroup};

/// The addresses of a node, the best first.
const NODE_ADDRESSES: [&str; 6] =
    ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

/// A target for the kubelet of a node; none if the node has no address.
pub(super) fn node(source: String, node: &Node) -> TargetGroup {
    let mut meta = Meta::new(PREFIX);
    meta.set("node_provider_id", node.spec.provider_id.as_str());
    for condition in &node.status.conditions {
        let name = super::super::sanitized(&condition.kind.to_ascii_lowercase());
        meta.set(&format!("node_condition_{name}"), condition.status.to_ascii_lowercase());
    }
    add_object(&mut meta, &node.meta, "node");
    let addresses = &node.status.addresses;
    let of_kind = |kind: &&str| addresses.iter().find(|address| address.kind == *kind);
    let Some(best) = NODE_ADDRESSES.iter().find_map(of_kind) else {
        return TargetGroup { source, ..TargetGroup::default() };
    };
    let mut target = Meta::new(PREFIX);
    for address in addresses.iter().rev() {
        let name = format!("node_address_{}", super::super::sanitized(&address.kind));
        target.set(&name, address.address.as_str());
    }
    let mut target = target.at(host_port(&best.address, node.status.daemons.kubelet.port));
    target.insert("instance".to_owned(), node.meta.name.clone());
    TargetGroup { source, targets: vec![target], labels: meta.into_labels() }
}

/// A target for each port of each container of a pod; none while the pod has no address.
pub(super) fn pod(source: String, pod: &Pod, stores: &Stores, attach: Attach) -> TargetGroup {
    let unknown_node = attach.node && !stores.nodes.contains_key(&pod.spec.node);
    if pod.status.ip.is_empty() || unknown_node {
        return TargetGroup { source, ..TargetGroup::default() };
    }
    let mut common = Meta::new(PREFIX);
    add_pod(&mut common, pod, stores, attach);
    common.set("namespace", pod.meta.namespace.as_str());
    add_node(&mut common, stores, attach, &pod.spec.node);
    add_namespace(&mut common, stores, attach, &pod.meta.namespace);
    let mut targets = Vec::new();
    for (container, init) in containers(pod) {
        let statuses = if init { &pod.status.init_containers } else { &pod.status.containers };
        let own = |status: &&ContainerStatus| status.name == container.name;
        let mut meta = Meta::new(PREFIX);
        meta.set_some("pod_container_id", statuses.iter().find(own).map(|s| s.id.as_str()));
        meta.set("pod_container_name", container.name.as_str());
        meta.set("pod_container_image", container.image.as_str());
        meta.set("pod_container_init", init.to_string());
        if container.ports.is_empty() {
            targets.push(meta.clone().at(pod.status.ip.as_str()));
        }
        for port in &container.ports {
            let mut meta = meta.clone();
            add_port(&mut meta, container, init, (&port.name, port.number, &port.protocol));
            targets.push(meta.at(host_port(&pod.status.ip, port.number)));
        }
    }
    TargetGroup { source, targets, labels: common.into_labels() }
}

/// A target for each port of a service.
pub(super) fn service(
    source: String,
    service: &Service,
    stores: &Stores,
    attach: Attach,
) -> TargetGroup {
    let (object, spec) = (&service.meta, &service.spec);
    let mut common = Meta::new(PREFIX);
    add_service(&mut common, service);
    add_namespace(&mut common, stores, attach, &object.namespace);
    let target = |port: &super::objects::ServicePort| {
        let mut meta = Meta::new(PREFIX);
        meta.set("service_port_name", port.name.as_str());
        meta.set("service_port_number", port.number.to_string());
        meta.set("service_port_protocol", port.protocol.as_str());
        meta.set("service_type", spec.kind.as_str());
        if spec.kind == "ExternalName" {
            meta.set("service_external_name", spec.external_name.as_str());
        } else {
            meta.set("service_cluster_ip", spec.cluster_ip.as_str());
        }
        if spec.kind == "LoadBalancer" {
            meta.set("service_loadbalancer_ip", balancer_ips(service));
        }
        meta.at(format!("{}.{}.svc:{}", object.name, object.namespace, port.number))
    };
    let targets = spec.ports.iter().map(target).collect();
    TargetGroup { source, targets, labels: common.into_labels() }
}

fn balancer_ips(service: &Service) -> String {
    let given = service.status.balancer.ingress.iter().map(|ingress| ingress.ip.as_str());
    let given: Vec<&str> = given.filter(|ip| !ip.is_empty()).collect();
    if given.is_empty() { service.spec.load_balancer_ip.clone() } else { given.join(",") }
}

/// A target for each path of an ingress.
pub(super) fn ingress(
    source: String,
    ingress: &Ingress,
    stores: &Stores,
    attach: Attach,
) -> TargetGroup {
    let mut common = Meta::new(PREFIX);
    common.set("namespace", ingress.meta.namespace.as_str());
    common.set("ingress_class_name", ingress.spec.class.as_str());
    add_object(&mut common, &ingress.meta, "ingress");
    add_namespace(&mut common, stores, attach, &ingress.meta.namespace);
    let mut targets: Vec<BTreeMap<String, String>> = Vec::new();
    for rule in &ingress.spec.rules {
        let mut hosts = ingress.spec.tls.iter().flat_map(|tls| &tls.hosts);
        let secure = hosts.any(|pattern| matches_host(pattern, &rule.host));
        let root = vec![super::objects::IngressPath::default()];
        for path in rule.http.as_ref().map_or(&root, |http| &http.paths) {
            let mut meta = Meta::new(PREFIX);
            meta.set("ingress_scheme", if secure { "https" } else { "http" });
            meta.set("ingress_host", rule.host.as_str());
            meta.set("ingress_path", if path.path.is_empty() { "/" } else { &path.path });
            targets.push(meta.at(rule.host.as_str()));
        }
    }
    TargetGroup { source, targets, labels: common.into_labels() }
}

/// Whether a name is as a pattern says, whose first part may be `*`.
fn matches_host(pattern: &str, host: &str) -> bool {
    let wildcard = pattern.strip_prefix("*.").zip(host.split_once('.'));
    pattern == host || wildcard.is_some_and(|(pattern, (_, host))| pattern == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_patterns() {
        for (pattern, host, expected) in [
            ("a.example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("a.example", "b.example", false),
        ] {
            assert_eq!(matches_host(pattern, host), expected, "{pattern} {host}");
        }
    }
}
