//! Labels that several roles share: of an object's metadata, of pods, services, nodes and namespaces.

use super::super::meta::Meta;
use super::objects::{Container, ObjectMeta, Pod, Service};
use super::{Attach, Stores};

/// What all labels of Kubernetes begin with.
pub(super) const PREFIX: &str = "__meta_kubernetes_";

/// Name, labels and annotations of an object.
pub(super) fn add_object(meta: &mut Meta, object: &ObjectMeta, role: &str) {
    meta.set(&format!("{role}_name"), object.name.as_str());
    add_labels_and_annotations(meta, object, role);
}

fn add_labels_and_annotations(meta: &mut Meta, object: &ObjectMeta, role: &str) {
    meta.set_each_present(&format!("{role}_label"), &object.labels);
    meta.set_each_present(&format!("{role}_annotation"), &object.annotations);
}

/// Labels and annotations of a namespace, where they are asked for.
pub(super) fn add_namespace(meta: &mut Meta, stores: &Stores, attach: Attach, namespace: &str) {
    if attach.namespace
        && let Some(object) = stores.namespaces.get(namespace)
    {
        add_labels_and_annotations(meta, &object.meta, "namespace");
    }
}

/// Name, labels and annotations of a node, where they are asked for.
pub(super) fn add_node(meta: &mut Meta, stores: &Stores, attach: Attach, node: &str) {
    if attach.node
        && let Some(object) = stores.nodes.get(node)
    {
        add_object(meta, &object.meta, "node");
    }
}

/// Namespace and metadata of a service.
pub(super) fn add_service(meta: &mut Meta, service: &Service) {
    meta.set("namespace", service.meta.namespace.as_str());
    add_object(meta, &service.meta, "service");
}

/// What is known of a pod whatever made it a target.
pub(super) fn add_pod(meta: &mut Meta, pod: &Pod, stores: &Stores, attach: Attach) {
    let ready = pod.status.conditions.iter().find(|condition| condition.kind == "Ready");
    let ready = ready.map_or("unknown".to_owned(), |ready| ready.status.to_ascii_lowercase());
    meta.set("pod_ip", pod.status.ip.as_str());
    meta.set("pod_ready", ready);
    meta.set("pod_phase", pod.status.phase.as_str());
    meta.set("pod_node_name", pod.spec.node.as_str());
    meta.set("pod_host_ip", pod.status.host_ip.as_str());
    meta.set("pod_uid", pod.meta.uid.as_str());
    add_object(meta, &pod.meta, "pod");
    let Some(owner) = pod.meta.controller() else { return };
    meta.set("pod_controller_kind", owner.kind.as_str());
    meta.set("pod_controller_name", owner.name.as_str());
    let key = format!("{}/{}", pod.meta.namespace, owner.name);
    let owner_of = |store: &super::Store<super::objects::Plain>, kind: &str| {
        let owner = store.get(&key).and_then(|object| object.meta.controller());
        owner.filter(|owner| owner.kind == kind).map(|owner| owner.name.clone())
    };
    match owner.kind.as_str() {
        "ReplicaSet" if attach.deployment => {
            meta.set_some("pod_deployment_name", owner_of(&stores.replica_sets, "Deployment"));
        }
        "Job" => {
            meta.set_some("pod_job_name", attach.job.then(|| owner.name.clone()));
            if attach.cron_job {
                meta.set_some("pod_cronjob_name", owner_of(&stores.jobs, "CronJob"));
            }
        }
        _ => {}
    }
}

/// The containers of a pod, and whether each is one that only prepares.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let init = pod.spec.init_containers.iter().map(|container| (container, true));
    pod.spec.containers.iter().map(|container| (container, false)).chain(init)
}

/// One port of a container.
pub(super) fn add_port(
    meta: &mut Meta,
    container: &Container,
    init: bool,
    (name, number, protocol): (&str, i64, &str),
) {
    meta.set("pod_container_name", container.name.as_str());
    meta.set("pod_container_image", container.image.as_str());
    meta.set("pod_container_port_name", name);
    meta.set("pod_container_port_number", number.to_string());
    meta.set("pod_container_port_protocol", protocol);
    meta.set("pod_container_init", init.to_string());
}
