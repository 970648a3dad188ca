//! The objects of a Kubernetes cluster, as far as labels are made of them.
//!
//! What is not named here is skipped while reading. So an object takes little memory, and one that changed only in
//! something else (the heartbeat of a node) is equal to the one before and changes nothing.

use std::collections::BTreeMap;

use super::super::ask::answer;

answer! {
    /// What every object has.
    ObjectMeta {
        name: String = "name",
        namespace: String = "namespace",
        uid: String = "uid",
        labels: BTreeMap<String, String> = "labels",
        annotations: BTreeMap<String, String> = "annotations",
        owners: Vec<Owner> = "ownerReferences",
    }
}

answer! {
    /// Who made an object.
    Owner { kind: String = "kind", name: String = "name", controller: bool = "controller", }
}

answer! {
    /// An object of which only this matters: a namespace, a replica set, a job.
    Plain { meta: ObjectMeta = "metadata", }
}

answer! {
    /// A pod.
    Pod { meta: ObjectMeta = "metadata", spec: PodSpec = "spec", status: PodStatus = "status", }
}

answer! {
    /// What it is to be.
    PodSpec {
        node: String = "nodeName",
        containers: Vec<Container> = "containers",
        init_containers: Vec<Container> = "initContainers",
    }
}

answer! {
    /// A container of a pod.
    Container { name: String = "name", image: String = "image", ports: Vec<ContainerPort> = "ports", }
}

answer! {
    /// A port of a container.
    ContainerPort { name: String = "name", number: i64 = "containerPort", protocol: String = "protocol", }
}

answer! {
    /// What a pod is.
    PodStatus {
        phase: String = "phase",
        ip: String = "podIP",
        host_ip: String = "hostIP",
        conditions: Vec<Condition> = "conditions",
        containers: Vec<ContainerStatus> = "containerStatuses",
        init_containers: Vec<ContainerStatus> = "initContainerStatuses",
    }
}

answer! {
    /// Something that is true, false or unknown of an object.
    Condition { kind: String = "type", status: String = "status", }
}

answer! {
    /// What runs of a container.
    ContainerStatus { name: String = "name", id: String = "containerID", }
}

answer! {
    /// A service.
    Service { meta: ObjectMeta = "metadata", spec: ServiceSpec = "spec", status: ServiceStatus = "status", }
}

answer! {
    /// What it is to be.
    ServiceSpec {
        kind: String = "type",
        cluster_ip: String = "clusterIP",
        external_name: String = "externalName",
        load_balancer_ip: String = "loadBalancerIP",
        ports: Vec<ServicePort> = "ports",
        family_policy: String = "ipFamilyPolicy",
        families: Vec<String> = "ipFamilies",
    }
}

answer! {
    /// A port of a service.
    ServicePort { name: String = "name", number: i64 = "port", protocol: String = "protocol", }
}

answer! {
    /// What a service is.
    ServiceStatus { balancer: LoadBalancer = "loadBalancer", }
}

answer! {
    /// Its load balancer.
    LoadBalancer { ingress: Vec<BalancerIngress> = "ingress", }
}

answer! {
    /// An address of a load balancer.
    BalancerIngress { ip: String = "ip", }
}

answer! {
    /// The addresses behind a service.
    Endpoints { meta: ObjectMeta = "metadata", subsets: Vec<Subset> = "subsets", }
}

answer! {
    /// Addresses with the same ports.
    Subset {
        ready: Vec<EndpointAddress> = "addresses",
        not_ready: Vec<EndpointAddress> = "notReadyAddresses",
        ports: Vec<EndpointPort> = "ports",
    }
}

answer! {
    /// One address.
    EndpointAddress {
        ip: String = "ip",
        hostname: String = "hostname",
        node: Option<String> = "nodeName",
        target: Option<ObjectRef> = "targetRef",
    }
}

answer! {
    /// One port.
    EndpointPort { name: String = "name", number: i64 = "port", protocol: String = "protocol", }
}

answer! {
    /// Another object.
    ObjectRef { kind: String = "kind", namespace: String = "namespace", name: String = "name", }
}

answer! {
    /// Some of the addresses behind a service.
    EndpointSlice {
        meta: ObjectMeta = "metadata",
        address_type: String = "addressType",
        endpoints: Vec<Endpoint> = "endpoints",
        ports: Vec<SlicePort> = "ports",
    }
}

answer! {
    /// One of them.
    Endpoint {
        addresses: Vec<String> = "addresses",
        conditions: EndpointConditions = "conditions",
        hostname: Option<String> = "hostname",
        target: Option<ObjectRef> = "targetRef",
        node: Option<String> = "nodeName",
        zone: Option<String> = "zone",
        topology: BTreeMap<String, String> = "deprecatedTopology",
    }
}

answer! {
    /// How it is.
    EndpointConditions {
        ready: Option<bool> = "ready",
        serving: Option<bool> = "serving",
        terminating: Option<bool> = "terminating",
    }
}

answer! {
    /// A port of a slice.
    SlicePort {
        name: Option<String> = "name",
        protocol: Option<String> = "protocol",
        number: Option<i64> = "port",
        app_protocol: Option<String> = "appProtocol",
    }
}

answer! {
    /// A node.
    Node { meta: ObjectMeta = "metadata", spec: NodeSpec = "spec", status: NodeStatus = "status", }
}

answer! {
    /// What it is to be.
    NodeSpec { provider_id: String = "providerID", }
}

answer! {
    /// What it is.
    NodeStatus {
        conditions: Vec<Condition> = "conditions",
        addresses: Vec<NodeAddress> = "addresses",
        daemons: DaemonEndpoints = "daemonEndpoints",
    }
}

answer! {
    /// An address of a node.
    NodeAddress { kind: String = "type", address: String = "address", }
}

answer! {
    /// What listens on a node.
    DaemonEndpoints { kubelet: DaemonEndpoint = "kubeletEndpoint", }
}

answer! {
    /// Where it listens.
    DaemonEndpoint { port: i64 = "Port", }
}

answer! {
    /// An ingress.
    Ingress { meta: ObjectMeta = "metadata", spec: IngressSpec = "spec", }
}

answer! {
    /// What it is to be.
    IngressSpec {
        class: String = "ingressClassName",
        tls: Vec<IngressTls> = "tls",
        rules: Vec<IngressRule> = "rules",
    }
}

answer! {
    /// Names that are served with TLS.
    IngressTls { hosts: Vec<String> = "hosts", }
}

answer! {
    /// What is served under one name.
    IngressRule { host: String = "host", http: Option<HttpRule> = "http", }
}

answer! {
    /// Under which paths.
    HttpRule { paths: Vec<IngressPath> = "paths", }
}

answer! {
    /// One path.
    IngressPath { path: String = "path", }
}

impl ObjectMeta {
    /// The owner that manages the object.
    pub(crate) fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }
}
