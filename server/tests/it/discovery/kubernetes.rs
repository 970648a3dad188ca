//! Kubernetes: recorded lists and watches, with pages, bookmarks, broken connections and 410 Gone.
//!
//! Debian builds Prometheus without Kubernetes, so what is found is compared with what Prometheus' documentation says.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::recorded::json;
use super::{found, job};
use crate::exporter::{Answer, Exporter};
use crate::harness::{Tidemark, eventually};

fn service(name: &str, port: u16, version: u64) -> String {
    format!(
        r#"{{"metadata": {{"name": "{name}", "namespace": "default", "resourceVersion": "{version}", "labels": {{"app": "{name}"}}}}, "spec": {{"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{{"name": "p", "port": {port}, "protocol": "TCP"}}]}}}}"#
    )
}

fn list(version: u64, next: &str, items: &[String]) -> Answer {
    let items = items.join(",");
    json(
        "",
        &format!(
            r#"{{"kind": "List", "metadata": {{"resourceVersion": "{version}", "continue": "{next}"}}, "items": [{items}]}}"#
        ),
    )
}

/// A watch that says these lines, then stays open until `phase` has come to `until`.
fn watch(lines: Vec<String>, phase: Arc<AtomicU64>, until: u64) -> Answer {
    Answer::Stream(Box::new(move |stream: &mut TcpStream| {
        let mut text =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
                .to_owned();
        text.extend(lines.into_iter().flat_map(|line| [line, "\n".to_owned()]));
        let sent = stream.write_all(text.as_bytes());
        while sent.is_ok() && phase.load(Ordering::Relaxed) < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }))
}

/// What the API server says, by phase: 0 the beginning, 1 an event more, 2 the version is too old, 3 it is out of order.
fn api_server(path: &str, phase: &Arc<AtomicU64>) -> Answer {
    let now = phase.load(Ordering::Relaxed);
    if now == 3 {
        return Answer::Raw(
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec(),
        );
    }
    if !path.contains("watch=1") {
        return match (now, path.contains("continue=second")) {
            (0, false) => list(10, "second", &[service("a", 1, 5)]),
            (0, true) => list(10, "", &[service("b", 2, 6)]),
            _ => list(40, "", &[service("a", 1, 5), service("d", 4, 33), service("e", 5, 34)]),
        };
    }
    let bookmark = r#"{"type": "BOOKMARK", "object": {"kind": "Service", "metadata": {"resourceVersion": "15"}}}"#;
    let event = |kind: &str, object: &str| format!(r#"{{"type": "{kind}", "object": {object}}}"#);
    let gone =
        event("ERROR", r#"{"kind": "Status", "code": 410, "message": "too old resource version"}"#);
    if path.contains("resourceVersion=10") {
        // Broken after the bookmark: the next watch has to begin there.
        watch(vec![bookmark.to_owned()], Arc::clone(phase), 0)
    } else if path.contains("resourceVersion=15") {
        let added = event("ADDED", &service("c", 3, 20));
        watch(vec![added, event("DELETED", &service("b", 2, 21))], Arc::clone(phase), 2)
    } else if now == 2 && path.contains("resourceVersion=21") {
        watch(vec![gone], Arc::clone(phase), 0)
    } else {
        watch(vec![], Arc::clone(phase), 3)
    }
}

#[test]
fn kubernetes_lists_and_watches() {
    let phase = Arc::new(AtomicU64::new(0));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (now, log) = (Arc::clone(&phase), Arc::clone(&asked));
    let server = Exporter::start(move |path| {
        log.lock().expect("no panic").push(path.to_owned());
        api_server(path, &now)
    });
    let config = |address: &str| {
        job(&format!(
            "kubernetes_sd_configs: [{{role: service, api_server: 'http://{address}', namespaces: {{names: [default]}}, \
             selectors: [{{role: service, label: 'app!=x'}}]}}]"
        ))
    };
    let tidemark = Tidemark::start(&config(server.address()));
    let ports = |number: usize| -> Vec<String> {
        let address = |target: String| {
            target
                .split("default.svc:")
                .nth(1)
                .and_then(|rest| rest.split('/').next())
                .map(str::to_owned)
        };
        found(&tidemark, number).into_iter().filter_map(address).collect()
    };
    // Two pages, then over a broken watch to one that adds c and deletes b.
    eventually("the list and the events after it", || (ports(2) == ["1", "3"]).then_some(()));
    let paths = asked.lock().expect("no panic").clone();
    let first = &paths[0];
    assert!(first.starts_with("/api/v1/namespaces/default/services?limit=500"), "{first}");
    assert!(first.contains("labelSelector=app%21%3Dx"), "{first}");
    let versions = ["resourceVersion=10", "resourceVersion=15"];
    assert!(
        versions.iter().all(|version| paths.iter().any(|path| path.contains(version))),
        "{paths:?}"
    );

    phase.store(2, Ordering::Relaxed);
    assert_eq!(ports(3), ["1", "4", "5"], "listed anew after 410 Gone");

    phase.store(3, Ordering::Relaxed);
    let failures = || {
        let text = tidemark.get("/metrics").text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("prometheus_sd_kubernetes_failures_total "));
        line.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    eventually("failures are counted", || (failures() > 1).then_some(()));
    assert_eq!(ports(3), ["1", "4", "5"], "targets stay while the server is out of order");
    phase.store(2, Ordering::Relaxed);
}

#[test]
fn kubernetes_endpoints_by_a_kubeconfig_file() {
    let pod = r#"{"metadata": {"name": "p", "namespace": "default", "labels": {"app": "web"}}, "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "m", "containerPort": 9}]}]}, "status": {"podIP": "127.0.0.1", "phase": "Running"}}"#;
    let endpoints = r#"{"metadata": {"name": "a", "namespace": "default"}, "subsets": [{"addresses": [{"ip": "127.0.0.1", "nodeName": "n", "targetRef": {"kind": "Pod", "namespace": "default", "name": "p"}}], "ports": [{"name": "h", "port": 8}]}]}"#;
    let node = r#"{"metadata": {"name": "n", "labels": {"zone": "z"}}}"#;
    let server = Exporter::start(move |path| {
        if path.contains("watch=1") {
            return watch(vec![], Arc::default(), u64::MAX);
        }
        let items = match path.split('?').next().unwrap_or_default() {
            "/k8s/api/v1/pods" => vec![pod.to_owned()],
            "/k8s/api/v1/endpoints" => vec![endpoints.to_owned()],
            "/k8s/api/v1/services" => vec![service("a", 1, 1)],
            "/k8s/api/v1/nodes" => vec![node.to_owned()],
            _ => return super::recorded::nothing(),
        };
        list(1, "", &items)
    });
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("kubeconfig");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: 'http://{}/k8s/'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\n",
        server.address()
    );
    std::fs::write(&file, text).expect("it is written");
    let tidemark = Tidemark::start(&job(&format!(
        "kubernetes_sd_configs: [{{role: endpoints, kubeconfig_file: '{}', attach_metadata: {{node: true}}}}]",
        file.display()
    )));
    let all: Vec<String> = found(&tidemark, 2).into_iter().collect();
    for label in [
        r#""__meta_kubernetes_service_label_app":"a""#,
        r#""__meta_kubernetes_pod_label_app":"web""#,
        r#""__meta_kubernetes_pod_container_port_name":"m""#,
    ] {
        assert!(all.iter().any(|target| target.contains(label)), "{label} in {all:#?}");
    }
    let served =
        all.iter().find(|target| target.contains("127.0.0.1:8/")).expect("the endpoint's own port");
    assert!(served.contains(r#""__meta_kubernetes_node_label_zone":"z""#), "{served}");
}
