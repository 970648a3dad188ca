//! The roles that make targets of what stands behind a service: endpoints and endpointslice.
//!
//! Each address and port is a target, with the labels of the pod it belongs to. Ports of such pods that no address has
//! are targets too, so that a port for metrics need not be part of the service.

use std::collections::BTreeMap;

use super::super::meta::{Meta, host_port};
use super::labels::{
    PREFIX, add_namespace, add_node, add_object, add_pod, add_port, add_service, containers,
};
use super::objects::{EndpointSlice, Endpoints, ObjectRef, Pod, Service};
use super::{Attach, Stores, TargetGroup};

/// The label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Targets as they are gathered, with the ports that each pod was seen with.
struct Gathered<'a> {
    stores: &'a Stores,
    attach: Attach,
    targets: Vec<BTreeMap<String, String>>,
    seen: BTreeMap<String, (&'a Pod, Vec<i64>)>,
}

impl<'a> Gathered<'a> {
    fn new(stores: &'a Stores, attach: Attach) -> Self {
        Gathered { stores, attach, targets: Vec::new(), seen: BTreeMap::new() }
    }

    /// Adds a target; `protocol` is the one to show for the container's port, the container's own if there is none.
    fn add(
        &mut self,
        mut meta: Meta,
        address: String,
        reference: Option<&ObjectRef>,
        port: Option<i64>,
        protocol: Option<&str>,
    ) {
        let of_pod = reference.filter(|reference| reference.kind == "Pod");
        let key = of_pod.map(|pod| format!("{}/{}", pod.namespace, pod.name));
        if let Some(key) = key
            && let Some(pod) = self.stores.pods.get(&key)
        {
            add_pod(&mut meta, pod, self.stores, self.attach);
            for (container, init) in containers(pod) {
                if let Some(own) = container.ports.iter().find(|own| Some(own.number) == port) {
                    let protocol = protocol.unwrap_or(&own.protocol);
                    add_port(&mut meta, container, init, (&own.name, own.number, protocol));
                }
            }
            self.seen.entry(key).or_insert((pod, Vec::new())).1.extend(port);
        }
        self.targets.push(meta.at(address));
    }

    /// Adds the ports of the pods that were seen, as far as no target has them.
    fn finish(mut self) -> Vec<BTreeMap<String, String>> {
        for (pod, ports) in self.seen.values().filter(|(pod, _)| !pod.status.ip.is_empty()) {
            for (container, init) in containers(pod) {
                for port in container.ports.iter().filter(|port| !ports.contains(&port.number)) {
                    let mut meta = Meta::new(PREFIX);
                    add_port(&mut meta, container, init, (&port.name, port.number, &port.protocol));
                    add_pod(&mut meta, pod, self.stores, self.attach);
                    self.targets.push(meta.at(host_port(&pod.status.ip, port.number)));
                }
            }
        }
        self.targets
    }
}

fn add_reference(meta: &mut Meta, role: &str, reference: Option<&ObjectRef>) {
    if let Some(reference) = reference {
        meta.set(&format!("{role}_address_target_kind"), reference.kind.as_str());
        meta.set(&format!("{role}_address_target_name"), reference.name.as_str());
    }
}

/// The targets of an `Endpoints` object.
pub(super) fn endpoints(
    source: String,
    object: &Endpoints,
    stores: &Stores,
    attach: Attach,
) -> TargetGroup {
    let namespace = &object.meta.namespace;
    let mut common = Meta::new(PREFIX);
    common.set("namespace", namespace.as_str());
    if let Some(service) = stores.services.get(&format!("{namespace}/{}", object.meta.name)) {
        add_service(&mut common, service);
    }
    add_object(&mut common, &object.meta, "endpoints");
    add_namespace(&mut common, stores, attach, namespace);
    let mut gathered = Gathered::new(stores, attach);
    for subset in &object.subsets {
        for port in &subset.ports {
            let ready = subset.ready.iter().map(|address| (address, "true"));
            for (address, ready) in ready.chain(subset.not_ready.iter().map(|a| (a, "false"))) {
                let mut meta = Meta::new(PREFIX);
                meta.set("endpoint_port_name", port.name.as_str());
                meta.set("endpoint_port_protocol", port.protocol.as_str());
                meta.set("endpoint_ready", ready);
                meta.set("endpoint_hostname", address.hostname.as_str());
                meta.set_some("endpoint_node_name", address.node.as_deref());
                let reference = address.target.as_ref();
                add_reference(&mut meta, "endpoint", reference);
                let named = reference.filter(|reference| reference.kind == "Node");
                let node = address.node.as_ref().or(named.map(|reference| &reference.name));
                if let Some(node) = node {
                    add_node(&mut meta, stores, attach, node);
                }
                let at = host_port(&address.ip, port.number);
                gathered.add(meta, at, reference, Some(port.number), Some(&port.protocol));
            }
        }
    }
    TargetGroup { source, targets: gathered.finish(), labels: common.into_labels() }
}

/// The targets of an `EndpointSlice`.
pub(super) fn slice(
    source: String,
    object: &EndpointSlice,
    stores: &Stores,
    attach: Attach,
) -> TargetGroup {
    let namespace = &object.meta.namespace;
    let mut common = Meta::new(PREFIX);
    common.set("namespace", namespace.as_str());
    common.set("endpointslice_address_type", object.address_type.as_str());
    add_object(&mut common, &object.meta, "endpointslice");
    let service = object.meta.labels.get(SERVICE_NAME);
    let service = service.and_then(|name| stores.services.get(&format!("{namespace}/{name}")));
    if let Some(service) = service {
        add_service(&mut common, service);
    }
    add_namespace(&mut common, stores, attach, namespace);
    if service.is_some_and(|service| is_second_family(service, object)) {
        return TargetGroup { source, ..TargetGroup::default() };
    }
    let mut gathered = Gathered::new(stores, attach);
    for endpoint in &object.endpoints {
        for port in &object.ports {
            let mut meta = Meta::new(PREFIX);
            meta.set_some("endpointslice_port_name", port.name.as_deref());
            meta.set_some("endpointslice_port_protocol", port.protocol.as_deref());
            meta.set_some("endpointslice_port", port.number.map(|number| number.to_string()));
            meta.set_some("endpointslice_port_app_protocol", port.app_protocol.as_deref());
            let conditions = &endpoint.conditions;
            for (name, value) in [
                ("ready", conditions.ready),
                ("serving", conditions.serving),
                ("terminating", conditions.terminating),
            ] {
                let name = format!("endpointslice_endpoint_conditions_{name}");
                meta.set_some(&name, value.map(|value| value.to_string()));
            }
            meta.set_some("endpointslice_endpoint_hostname", endpoint.hostname.as_deref());
            meta.set_some("endpointslice_endpoint_node_name", endpoint.node.as_deref());
            meta.set_some("endpointslice_endpoint_zone", endpoint.zone.as_deref());
            meta.set_each("endpointslice_endpoint_topology_", &endpoint.topology);
            for key in endpoint.topology.keys() {
                let key = super::super::sanitized(key);
                meta.set(&format!("endpointslice_endpoint_topology_present_{key}"), "true");
            }
            let reference = endpoint.target.as_ref();
            add_reference(&mut meta, "endpointslice", reference);
            let named = reference.filter(|reference| reference.kind == "Node");
            let node = named.map(|reference| &reference.name).or(endpoint.node.as_ref());
            if let Some(node) = node {
                add_node(&mut meta, stores, attach, node);
            }
            for address in &endpoint.addresses {
                let at = port
                    .number
                    .map_or_else(|| address.clone(), |number| host_port(address, number));
                gathered.add(meta.clone(), at, reference, port.number, None);
            }
        }
    }
    TargetGroup { source, targets: gathered.finish(), labels: common.into_labels() }
}

/// Whether the slice holds the other addresses of a service that has both families: the same pods once more.
fn is_second_family(service: &Service, slice: &EndpointSlice) -> bool {
    let both =
        matches!(service.spec.family_policy.as_str(), "PreferDualStack" | "RequireDualStack");
    both && service.spec.families.first().is_some_and(|first| *first != slice.address_type)
}
