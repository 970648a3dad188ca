//! Consul and Docker, recorded; Docker beside a real Prometheus, which Debian builds without Consul.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::recorded::{json, nothing, server, socket_to, wait_for_change};
use super::{Pair, found, job};
use crate::exporter::{Answer, Exporter};
use crate::harness::Tidemark;

const WEB: &str = r#"{"Node": {"ID": "1", "Node": "n1", "Address": "127.0.0.1", "Datacenter": "dc1", "Meta": {"rack-id": "7"},
    "TaggedAddresses": {"lan": "127.0.0.1", "wan": "127.0.0.2"}}, "Service": {"ID": "web-1", "Service": "web", "Tags": ["a", "b"],
    "Address": "", "Port": 1, "Meta": {"version.x": "2"}}, "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "c", "Status": "warning"}]}"#;
const WEB_2: &str = r#"{"Node": {"Node": "n2", "Address": "127.0.0.3", "Datacenter": "dc1"}, "Service": {"ID": "web-2", "Service": "web", "Tags": [],
    "Address": "::1", "Port": 2}, "Checks": [{"CheckID": "_service_maintenance:web-2", "Status": "critical"}]}"#;
const DB: &str = r#"{"Node": {"Node": "n1", "Address": "127.0.0.1"}, "Service": {"ID": "db", "Service": "db", "Port": 3}, "Checks": []}"#;

/// What Consul says at each index: 1, then a second instance, then `db` is gone.
fn consul(path: &str, now: &Arc<AtomicU64>) -> Answer {
    if path.contains("/v1/agent/self") {
        return json("", r#"{"Config": {"Datacenter": "dc1"}}"#);
    }
    let index = wait_for_change(path, now);
    let headers = format!(
        "X-Consul-Index: {index}\r\nX-Consul-LastContact: 0\r\nX-Consul-KnownLeader: true\r\n"
    );
    let body = if path.contains("/v1/catalog/services") {
        let db = if index < 3 { r#", "db": []"# } else { "" };
        format!(r#"{{"web": ["a", "b"]{db}}}"#)
    } else if path.contains("/v1/health/service/web") {
        if index < 2 { format!("[{WEB}]") } else { format!("[{WEB}, {WEB_2}]") }
    } else if path.contains("/v1/health/service/db") {
        format!("[{DB}]")
    } else {
        return nothing();
    };
    json(&headers, &body)
}

#[test]
fn consul_tells_of_changes() {
    let now = Arc::new(AtomicU64::new(1));
    let index = Arc::clone(&now);
    let server = Exporter::start(move |path| consul(path, &index));
    let tidemark = Tidemark::start(&job(&format!(
        "consul_sd_configs: [{{server: '{}', refresh_interval: 100ms, allow_stale: false}}]",
        server.address()
    )));
    let all: Vec<String> = found(&tidemark, 2).into_iter().collect();
    assert!(
        all[0].contains(
            r#""__meta_consul_address":"127.0.0.1","__meta_consul_dc":"dc1","__meta_consul_health":"warning","__meta_consul_metadata_rack_id":"7","__meta_consul_node":"n1","__meta_consul_service":"web","__meta_consul_service_id":"web-1","__meta_consul_service_metadata_version_x":"2","__meta_consul_service_port":"1","__meta_consul_tagged_address_lan":"127.0.0.1","__meta_consul_tagged_address_wan":"127.0.0.2","__meta_consul_tags":",a,b,""#
        ),
        "{all:#?}"
    );
    now.store(2, Ordering::Relaxed);
    found(&tidemark, 3);
    now.store(3, Ordering::Relaxed);
    let left = found(&tidemark, 2);
    assert!(
        left.iter().all(|target| target.contains(r#""__meta_consul_service":"web""#)),
        "{left:#?}"
    );
    let metrics = tidemark.get("/metrics").text();
    assert!(metrics.contains("\nprometheus_sd_consul_rpc_failures_total 0\n"), "{metrics}");
}

const CONTAINERS: &str = r#"[{"Id": "c1", "Names": ["/web"], "Image": "nginx", "ImageID": "sha256:1", "Labels": {"com.example/tier": "front"},
     "Ports": [{"IP": "0.0.0.0", "PrivatePort": 1, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 2, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
     "HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "n1", "IPAddress": "127.0.0.2"}}}},
    {"Id": "c2", "Names": ["/portless"], "Labels": {}, "Ports": [], "HostConfig": {"NetworkMode": "bridge"},
     "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "n1", "IPAddress": "127.0.0.3"}}}},
    {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {"Networks": {"host": {"NetworkID": "n2", "IPAddress": ""}}}}]"#;
const NETWORKS: &str = r#"[{"Id": "n1", "Name": "bridge", "Scope": "local", "Labels": {"a.b": "c"}}, {"Id": "n2", "Name": "host", "Scope": "local", "Internal": true},
    {"Id": "n3", "Name": "ingress", "Scope": "swarm", "Ingress": true}]"#;
const NODES: &str = r#"[{"ID": "n", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"a.b": "c"}},
    "Description": {"Hostname": "h", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "20"}},
    "Status": {"State": "ready", "Addr": "127.0.0.1"}, "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "127.0.0.1:2377"}}]"#;
const SERVICES: &str = r#"[{"ID": "s", "Spec": {"Name": "web", "Labels": {"l": "v"}, "Mode": {"Replicated": {"Replicas": 2}},
    "TaskTemplate": {"ContainerSpec": {"Image": "nginx", "Hostname": "hn"}}}, "UpdateStatus": {"State": "completed"},
    "Endpoint": {"Ports": [{"Name": "http", "Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "ingress"}, {"Protocol": "udp", "PublishedPort": 1}],
    "VirtualIPs": [{"NetworkID": "n3", "Addr": "127.0.0.4/16"}]}}]"#;
const TASKS: &str = r#"[{"ID": "t", "ServiceID": "s", "NodeID": "n", "Slot": 1, "DesiredState": "running", "Spec": {"ContainerSpec": {"Labels": {"x": "y"}}},
    "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c"}, "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 9, "PublishMode": "host"}]}},
    "NetworksAttachments": [{"Network": {"ID": "n3"}, "Addresses": ["127.0.0.5/16"]}]}]"#;

#[test]
fn docker_over_tcp_and_a_unix_socket() {
    let server = server(&[
        ("/_ping", "OK"),
        ("/containers/json", CONTAINERS),
        ("/networks", NETWORKS),
        ("/nodes", NODES),
        ("/services", SERVICES),
        ("/tasks", TASKS),
    ]);
    let directory = tempfile::tempdir().expect("a scratch directory");
    let socket = directory.path().join("docker.sock");
    socket_to(&socket, server.address());
    let (tcp, unix) = (server.address(), socket.display());
    let swarm = |role: &str| {
        format!(
            "- {{job_name: {role}, dockerswarm_sd_configs: [{{host: 'http://{tcp}', role: {role}}}]}}\n"
        )
    };
    let both = Pair::start(&format!(
        "scrape_configs:\n- {{job_name: http, docker_sd_configs: [{{host: 'http://{tcp}', filters: [{{name: status, values: [running]}}]}}]}}\n\
         - {{job_name: tcp, docker_sd_configs: [{{host: 'tcp://{tcp}', port: 90}}]}}\n\
         - {{job_name: unix, docker_sd_configs: [{{host: 'unix://{unix}', host_networking_host: 127.0.0.9}}]}}\n{}{}{}",
        swarm("nodes"),
        swarm("services"),
        swarm("tasks")
    ));
    // Four of the containers three times, a node, a service, and a task twice.
    both.agree("containers and the swarm", 4 * 3 + 1 + 1 + 2);
}
