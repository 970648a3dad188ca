//! Each role on a small cluster, and what a change of each kind affects.

use serde_json::{Value, json};

use super::super::ask::recorded::shown;
use super::*;

fn attach_all() -> Attach {
    Attach { node: true, namespace: true, deployment: true, job: true, cron_job: true }
}

/// One object of each kind, tied together.
fn objects() -> Vec<(Kind, Value)> {
    let owned = |kind: &str, name: &str| json!([{"kind": kind, "name": name, "controller": true}]);
    vec![
        (
            Kind::Node,
            json!({"metadata": {"name": "n1", "labels": {"zone": "a"}}, "spec": {"providerID": "p://1"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "InternalIP", "address": "10.0.0.9"}]}}),
        ),
        (
            Kind::Namespace,
            json!({"metadata": {"name": "ns", "labels": {"team": "x"}, "annotations": {"a/b": ""}}}),
        ),
        (
            Kind::ReplicaSet,
            json!({"metadata": {"name": "web-1", "namespace": "ns", "ownerReferences": owned("Deployment", "web")}}),
        ),
        (
            Kind::Job,
            json!({"metadata": {"name": "job-1", "namespace": "ns", "ownerReferences": owned("CronJob", "nightly")}}),
        ),
        (
            Kind::Pod,
            json!({"metadata": {"name": "web-1-a", "namespace": "ns", "uid": "u", "labels": {"app": "web"}, "ownerReferences": owned("ReplicaSet", "web-1")},
            "spec": {"nodeName": "n1", "initContainers": [{"name": "init", "image": "i"}],
            "containers": [{"name": "c", "image": "nginx", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 90, "protocol": "TCP"}]}]},
            "status": {"phase": "Running", "podIP": "10.1.0.1", "hostIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "containerID": "docker://1"}]}}),
        ),
        (
            Kind::Pod,
            json!({"metadata": {"name": "job-1-a", "namespace": "ns", "ownerReferences": owned("Job", "job-1")}, "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
            "status": {"podIP": "fd00::1"}}),
        ),
        (
            Kind::Service,
            json!({"metadata": {"name": "web", "namespace": "ns", "annotations": {"scrape": "true"}},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.2.0.1", "loadBalancerIP": "1.1.1.1", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "h"}, {"ip": "3.3.3.3"}]}}}),
        ),
        (
            Kind::Endpoints,
            json!({"metadata": {"name": "web", "namespace": "ns", "labels": {"l": "v"}}, "subsets": [{"ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "addresses": [{"ip": "10.1.0.1", "nodeName": "n1", "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-1-a"}}],
            "notReadyAddresses": [{"ip": "10.9.9.9", "hostname": "ext"}]}]}),
        ),
        (
            Kind::EndpointSlice,
            json!({"metadata": {"name": "web-x", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}],
            "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": true, "serving": null}, "nodeName": "n1", "zone": "z",
            "deprecatedTopology": {"k/y": "v"}, "targetRef": {"kind": "Pod", "namespace": "ns", "name": "web-1-a"}}]}),
        ),
        (
            Kind::Ingress,
            json!({"metadata": {"name": "in", "namespace": "ns"}, "spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["*.example"]}],
            "rules": [{"host": "a.example", "http": {"paths": [{"path": "/x"}, {}]}}, {"host": "b"}]}}),
        ),
    ]
}

fn list(cluster: &mut Cluster, kind: Kind, namespace: &str, items: &[Value]) -> Vec<Change> {
    cluster.list_begins(kind, namespace);
    let mut changes = Vec::new();
    for page in items.chunks(1) {
        changes.extend(cluster.list_page(kind, namespace, page).unwrap());
    }
    changes.extend(cluster.list_ends(kind, namespace).unwrap());
    changes
}

/// A cluster that has listed everything it wants.
fn listed(role: Role, attach: Attach) -> Cluster {
    let mut cluster = Cluster::new(role, attach, &[String::new()]);
    for (kind, namespace) in cluster.wanted() {
        assert!(cluster.groups().is_empty(), "not before all was listed");
        let items: Vec<Value> =
            objects().into_iter().filter(|(k, _)| *k == kind).map(|(_, object)| object).collect();
        list(&mut cluster, kind, &namespace, &items);
    }
    cluster
}

fn found(role: Role, attach: Attach) -> String {
    shown(&listed(role, attach).groups()).replace("__meta_kubernetes_", "~")
}

#[test]
fn nodes() {
    assert_eq!(
        found(Role::Node, Attach::default()),
        r#"node/n1 {"~node_condition_ready": "true", "~node_label_zone": "a", "~node_labelpresent_zone": "true", "~node_name": "n1", "~node_provider_id": "p://1"}
  {"__address__": "10.0.0.1:10250", "instance": "n1", "~node_address_Hostname": "h", "~node_address_InternalIP": "10.0.0.1"}
"#
        .replace(r#""instance": "n1", "~node_address_Hostname": "h", "~node_address_InternalIP": "10.0.0.1""#,
            r#""~node_address_Hostname": "h", "~node_address_InternalIP": "10.0.0.1", "instance": "n1""#)
    );
}

#[test]
fn pods_with_everything_attached() {
    assert_eq!(
        found(Role::Pod, attach_all()),
        r#"pod/ns/job-1-a {"~namespace": "ns", "~namespace_annotationpresent_a_b": "true", "~namespace_label_team": "x", "~namespace_labelpresent_team": "true", "~node_label_zone": "a", "~node_labelpresent_zone": "true", "~node_name": "n1", "~pod_controller_kind": "Job", "~pod_controller_name": "job-1", "~pod_cronjob_name": "nightly", "~pod_ip": "fd00::1", "~pod_job_name": "job-1", "~pod_name": "job-1-a", "~pod_node_name": "n1", "~pod_ready": "unknown"}
  {"__address__": "fd00::1", "~pod_container_init": "false", "~pod_container_name": "c"}
pod/ns/web-1-a {"~namespace": "ns", "~namespace_annotationpresent_a_b": "true", "~namespace_label_team": "x", "~namespace_labelpresent_team": "true", "~node_label_zone": "a", "~node_labelpresent_zone": "true", "~node_name": "n1", "~pod_controller_kind": "ReplicaSet", "~pod_controller_name": "web-1", "~pod_deployment_name": "web", "~pod_host_ip": "10.0.0.1", "~pod_ip": "10.1.0.1", "~pod_label_app": "web", "~pod_labelpresent_app": "true", "~pod_name": "web-1-a", "~pod_node_name": "n1", "~pod_phase": "Running", "~pod_ready": "true", "~pod_uid": "u"}
  {"__address__": "10.1.0.1:80", "~pod_container_id": "docker://1", "~pod_container_image": "nginx", "~pod_container_init": "false", "~pod_container_name": "c", "~pod_container_port_name": "http", "~pod_container_port_number": "80", "~pod_container_port_protocol": "TCP"}
  {"__address__": "10.1.0.1:90", "~pod_container_id": "docker://1", "~pod_container_image": "nginx", "~pod_container_init": "false", "~pod_container_name": "c", "~pod_container_port_number": "90", "~pod_container_port_protocol": "TCP"}
  {"__address__": "10.1.0.1", "~pod_container_image": "i", "~pod_container_init": "true", "~pod_container_name": "init"}
"#
    );
}

#[test]
fn services_and_ingresses() {
    assert_eq!(
        found(Role::Service, Attach::default()),
        r#"svc/ns/web {"~namespace": "ns", "~service_annotation_scrape": "true", "~service_annotationpresent_scrape": "true", "~service_name": "web"}
  {"__address__": "web.ns.svc:8080", "~service_cluster_ip": "10.2.0.1", "~service_loadbalancer_ip": "2.2.2.2,3.3.3.3", "~service_port_name": "http", "~service_port_number": "8080", "~service_port_protocol": "TCP", "~service_type": "LoadBalancer"}
"#
    );
    assert_eq!(
        found(Role::Ingress, Attach::default()),
        r#"ingress/ns/in {"~ingress_class_name": "nginx", "~ingress_name": "in", "~namespace": "ns"}
  {"__address__": "a.example", "~ingress_host": "a.example", "~ingress_path": "/x", "~ingress_scheme": "https"}
  {"__address__": "a.example", "~ingress_host": "a.example", "~ingress_path": "/", "~ingress_scheme": "https"}
  {"__address__": "b", "~ingress_host": "b", "~ingress_path": "/", "~ingress_scheme": "http"}
"#
    );
}

/// The labels of the pod `web-1-a` as they stand in targets behind a service.
const POD: &str = r#""~pod_container_image": "nginx", "~pod_container_init": "false", "~pod_container_name": "c", "~pod_container_port_name": "http", "~pod_container_port_number": "80", "~pod_container_port_protocol": "TCP", "~pod_controller_kind": "ReplicaSet", "~pod_controller_name": "web-1", "~pod_host_ip": "10.0.0.1", "~pod_ip": "10.1.0.1", "~pod_label_app": "web", "~pod_labelpresent_app": "true", "~pod_name": "web-1-a", "~pod_node_name": "n1", "~pod_phase": "Running", "~pod_ready": "true", "~pod_uid": "u"}"#;

#[test]
fn what_stands_behind_a_service() {
    let other_port =
        POD.replace(r#""~pod_container_port_name": "http", "#, "").replace("\"80\"", "\"90\"");
    assert_eq!(
        found(Role::Endpoints, Attach::default()),
        format!(
            r#"endpoints/ns/web {{"~endpoints_label_l": "v", "~endpoints_labelpresent_l": "true", "~endpoints_name": "web", "~namespace": "ns", "~service_annotation_scrape": "true", "~service_annotationpresent_scrape": "true", "~service_name": "web"}}
  {{"__address__": "10.1.0.1:80", "~endpoint_address_target_kind": "Pod", "~endpoint_address_target_name": "web-1-a", "~endpoint_node_name": "n1", "~endpoint_port_name": "http", "~endpoint_port_protocol": "TCP", "~endpoint_ready": "true", {POD}
  {{"__address__": "10.9.9.9:80", "~endpoint_hostname": "ext", "~endpoint_port_name": "http", "~endpoint_port_protocol": "TCP", "~endpoint_ready": "false"}}
  {{"__address__": "10.1.0.1:90", {other_port}
"#
        )
    );
    assert_eq!(
        found(Role::EndpointSlice, Attach::default()),
        format!(
            r#"endpointslice/ns/web-x {{"~endpointslice_address_type": "IPv4", "~endpointslice_label_kubernetes_io_service_name": "web", "~endpointslice_labelpresent_kubernetes_io_service_name": "true", "~endpointslice_name": "web-x", "~namespace": "ns", "~service_annotation_scrape": "true", "~service_annotationpresent_scrape": "true", "~service_name": "web"}}
  {{"__address__": "10.1.0.1:80", "~endpointslice_address_target_kind": "Pod", "~endpointslice_address_target_name": "web-1-a", "~endpointslice_endpoint_conditions_ready": "true", "~endpointslice_endpoint_node_name": "n1", "~endpointslice_endpoint_topology_k_y": "v", "~endpointslice_endpoint_topology_present_k_y": "true", "~endpointslice_endpoint_zone": "z", "~endpointslice_port": "80", "~endpointslice_port_app_protocol": "h2c", "~endpointslice_port_name": "http", "~endpointslice_port_protocol": "TCP", {POD}
  {{"__address__": "10.1.0.1:90", {other_port}
"#
        )
    );
}

#[test]
fn changes_affect_what_depends_on_them() {
    let mut cluster = listed(Role::Endpoints, Attach { node: true, ..Attach::default() });
    assert_eq!(cluster.groups().len(), 1);
    let node = &objects()[0].1;
    assert_eq!(cluster.event(Kind::Node, Event::Applied, node), Ok(None), "a heartbeat");
    assert!(cluster.groups().is_empty());
    let mut service = objects()[6].1.clone();
    service["metadata"]["labels"] = json!({"new": "1"});
    assert_eq!(cluster.event(Kind::Service, Event::Applied, &service), Ok(Some(Change::Updated)));
    assert!(cluster.groups()[0].labels.contains_key("__meta_kubernetes_service_label_new"));
    let elsewhere = json!({"metadata": {"name": "x", "namespace": "other"}});
    assert_eq!(cluster.event(Kind::Pod, Event::Applied, &elsewhere), Ok(Some(Change::Added)));
    assert!(cluster.groups().is_empty(), "another namespace");
    // A list after a gap takes away what is missing in it.
    assert_eq!(list(&mut cluster, Kind::Endpoints, "", &[]), [Change::Removed]);
    let gone = cluster.groups();
    assert_eq!((gone[0].source.as_str(), gone[0].targets.len()), ("endpoints/ns/web", 0));
    assert!(cluster.event(Kind::Pod, Event::Applied, &json!({"metadata": {}})).is_err());
    assert!(cluster.event(Kind::Pod, Event::Applied, &json!({"metadata": 7})).is_err());
}

#[test]
fn namespaces_are_listed_apart() {
    let names = ["a".to_owned(), "b".to_owned()];
    let mut cluster = Cluster::new(Role::Service, Attach::default(), &names);
    assert_eq!(cluster.wanted().len(), 2);
    let service = |namespace: &str| json!({"metadata": {"name": "s", "namespace": namespace}, "spec": {"ports": [{"port": 1}]}});
    list(&mut cluster, Kind::Service, "a", &[service("a")]);
    list(&mut cluster, Kind::Service, "b", &[service("b")]);
    assert_eq!(cluster.groups().len(), 2);
    assert_eq!(list(&mut cluster, Kind::Service, "a", &[]), [Change::Removed]);
    assert_eq!(cluster.len(), 1, "the other namespace stays");
    assert_eq!(Kind::Service.path("a"), "/api/v1/namespaces/a/services");
    assert_eq!(Kind::Node.path("a"), "/api/v1/nodes");
}
