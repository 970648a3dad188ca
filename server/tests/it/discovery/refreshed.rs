//! Mechanisms that ask a JSON or XML API for everything now and then: beside a real Prometheus where Debian's has them and
//! the API's place can be configured; and what happens when the API misbehaves.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::recorded::{api, json, nothing, server};
use super::{Pair, found, job, targets};
use crate::exporter::Answer;
use crate::harness::{Tidemark, eventually};

const EUREKA: &str = r#"<applications><application><name>WEB</name>
    <instance><instanceId>i1</instanceId><hostName>127.0.0.1</hostName><ipAddr>127.0.0.1</ipAddr><status>UP</status><port enabled="true">1</port>
      <securePort enabled="false">443</securePort><countryId>1</countryId><dataCenterInfo class="c"><name>MyOwn</name><metadata><zone>z</zone></metadata></dataCenterInfo>
      <metadata><management.port>8090</management.port><x>a&amp;b</x></metadata><homePageUrl>http://h/</homePageUrl><vipAddress>web</vipAddress></instance>
    <instance><instanceId>i2</instanceId><hostName>127.0.0.2</hostName></instance></application></applications>"#;
const PUPPETDB: &str = r#"[{"certname": "127.0.0.3", "environment": "prod", "exported": true, "file": "/f.pp", "line": 1, "resource": "49af", "tags": ["a", "b"], "title": "t", "type": "Apache::Vhost",
    "parameters": {"port": 80, "million": 1000000, "half": 0.5, "ssl": true, "list": ["x", 1], "labels": {"alias": "y"}, "none": null}}]"#;
const MARATHON: &str = r#"{"apps": [{"id": "/web", "labels": {"a-b": "c"}, "container": {"docker": {"image": "nginx"}, "portMappings": [{"containerPort": 80, "hostPort": 0, "labels": {"m": "1"}}, {"hostPort": 8081}]},
      "tasks": [{"id": "t1", "host": "127.0.0.4", "ports": [1, 2]}]},
    {"id": "/net", "networks": [{"mode": "container"}], "container": {"portMappings": [{"containerPort": 90}]}, "tasks": [{"id": "t2", "host": "h", "ports": [1], "ipAddresses": [{"ipAddress": "127.0.0.5"}]}]},
    {"id": "/defined", "portDefinitions": [{"port": 10000, "labels": {"x": "y"}}], "tasks": [{"id": "t3", "host": "127.0.0.6", "ports": [3]}]},
    {"id": "/bare", "tasks": [{"id": "t4", "host": "127.0.0.7", "ports": [4, 5]}]}]}"#;

#[test]
fn registries_of_services() {
    let address = api(|asked| match asked.path.as_str() {
        "/eureka/apps" => json("", EUREKA),
        "/pdb/query/v4" if asked.body == r#"{"query":"resources {}"}"# => json("", PUPPETDB),
        "/v2/apps/?embed=apps.tasks" => json("", MARATHON),
        _ => nothing(),
    });
    let both = Pair::start(&format!(
        "scrape_configs:\n\
         - {{job_name: eureka, eureka_sd_configs: [{{server: 'http://{address}/eureka'}}]}}\n\
         - {{job_name: puppetdb, puppetdb_sd_configs: [{{url: 'http://{address}', query: 'resources {{}}', include_parameters: true, port: 9100}}]}}\n\
         - {{job_name: marathon, marathon_sd_configs: [{{servers: ['http://{address}']}}]}}\n"
    ));
    both.agree("registries of services", 2 + 1 + 6);
}

#[test]
fn services_of_nomad() {
    let server = server(&[
        ("/v1/services", r#"[{"Namespace": "default", "Services": [{"ServiceName": "web"}]}]"#),
        (
            "/v1/service/web?region=global&namespace=default&stale=",
            r#"[{"ID": "1", "ServiceName": "web", "Namespace": "default", "NodeID": "n", "Datacenter": "dc", "Tags": ["a"], "Address": "127.0.0.1", "Port": 1}]"#,
        ),
    ]);
    let tidemark = Tidemark::start(&job(&format!(
        "nomad_sd_configs: [{{server: 'http://{}', tag_separator: ';'}}]",
        server.address()
    )));
    let only = found(&tidemark, 1).pop_first().expect("there is one");
    assert!(
        only.contains(r#""__meta_nomad_address":"127.0.0.1","__meta_nomad_dc":"dc","__meta_nomad_namespace":"default","__meta_nomad_node_id":"n","__meta_nomad_service":"web","__meta_nomad_service_address":"127.0.0.1","__meta_nomad_service_id":"1","__meta_nomad_service_port":"1","__meta_nomad_tags":";a;""#),
        "{only}"
    );
}

#[test]
fn assignments_of_kuma_and_servers_of_stackit() {
    let address = api(|asked| match asked.path.as_str() {
        "/v3/discovery:monitoringassignments?fetch-timeout=2m"
            if asked.body.contains(r#""version_info":"v1""#) =>
        {
            Answer::Raw(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_vec())
        }
        "/v3/discovery:monitoringassignments?fetch-timeout=2m"
            if asked.body.contains(r#""node":{"id":"me"}"#) =>
        {
            json("", KUMA)
        }
        "/v1/projects/p/servers?details=true" if asked.head.contains("authorization: bearer t") => {
            json("", STACKIT)
        }
        _ => nothing(),
    });
    let tidemark = Tidemark::start(&format!(
        "scrape_configs:\n\
         - {{job_name: kuma, kuma_sd_configs: [{{server: 'http://{address}', client_id: me, refresh_interval: 100ms}}]}}\n\
         - {{job_name: stackit, stackit_sd_configs: [{{project: p, endpoint: 'http://{address}', authorization: {{credentials: t}}}}]}}\n"
    ));
    let refreshes = || {
        let of = r#"prometheus_sd_refresh_duration_seconds_count{mechanism="kuma",config="kuma"}"#;
        metric(&tidemark, of).unwrap_or(0.0)
    };
    eventually("unchanged assignments", || (refreshes() > 2.0).then_some(()));
    let both: Vec<String> = found(&tidemark, 2).into_iter().collect();
    assert!(both.iter().any(|t| t.contains(r#""__meta_kuma_dataplane":"a""#)), "{both:?}");
    assert!(both.iter().any(|t| t.contains(r#""__meta_stackit_name":"s""#)), "{both:?}");
    assert_eq!(metric(&tidemark, "prometheus_sd_kuma_fetch_failures_total "), Some(0.0));
}

const KUMA: &str = r#"{"versionInfo": "v1", "nonce": "n", "typeUrl": "type.googleapis.com/kuma.observability.v1.MonitoringAssignment",
    "resources": [{"mesh": "m", "service": "s", "targets": [{"name": "a", "scheme": "http", "address": "127.0.0.1:1", "metricsPath": "/m"}]}]}"#;
const STACKIT: &str =
    r#"{"items": [{"id": "1", "name": "s", "nics": [{"ipv4": "127.0.0.2", "networkName": "n"}]}]}"#;

const GROUPS: &str = r#"[{"targets": ["127.0.0.1:1"]}]"#;

#[test]
fn a_token_is_fetched_first() {
    let address = api(|asked| {
        let has = |what: &str| asked.head.contains(what) || asked.body.contains(what);
        match asked.path.as_str() {
            "/token" if has("authorization: basic bwu6c2vjcmv0") && has("scope=a+b") => {
                json("", r#"{"access_token": "tok", "token_type": "bearer", "expires_in": 3600}"#)
            }
            "/targets" if has("authorization: bearer tok") => json("", GROUPS),
            _ => nothing(),
        }
    });
    let config = job(&format!(
        "http_sd_configs: [{{url: 'http://{address}/targets', oauth2: {{client_id: me, client_secret: secret, scopes: [a, b], token_url: 'http://{address}/token'}}}}]"
    ));
    Pair::start(&config).agree("behind a token", 1);
}

/// `name` without labels, or with all of those.
fn metric(tidemark: &Tidemark, name: &str) -> Option<f64> {
    let text = tidemark.get("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// What the API does wrong, one after the other.
fn misbehave(phase: usize, elsewhere: &str) -> Answer {
    let raw = |text: String| Answer::Raw(text.into_bytes());
    match phase {
        1 => Answer::Silence(Duration::from_secs(2)),
        2 => raw("HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nwhy".to_owned()),
        3 => json("", r#"[{"Services": [{"ServiceName": 7}]}]"#),
        4 => raw("garbage\r\n\r\n".to_owned()),
        5 => raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".to_owned()),
        6 => Answer::Stream(Box::new(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b' '; 1 << 14]).is_ok() {}
        })),
        7 => json("", &format!("[{}{{}}]", "{},".repeat(1_000_000))),
        8 => json("", &"[".repeat(10_000)),
        9 => raw("HTTP/1.1 302 Found\r\nLocation: /v1/services?again\r\nContent-Length: 0\r\n\r\n"
            .to_owned()),
        _ => raw(format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/v1/services\r\nContent-Length: 0\r\n\r\n"
        )),
    }
}

#[test]
fn an_api_that_misbehaves_takes_no_target_away() {
    const SERVICES: &str = r#"[{"Services": [{"ServiceName": "web"}]}]"#;
    const PHASES: usize = 10;
    let phase = Arc::new(AtomicUsize::new(0));
    let strangers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&strangers);
    let elsewhere = api(move |asked| {
        seen.lock().expect("no panic").push(asked.head.clone());
        nothing()
    });
    let now = Arc::clone(&phase);
    let address = api(move |asked| match now.load(Ordering::Relaxed) {
        0 if asked.path.starts_with("/v1/services") => json("", SERVICES),
        0 => json(
            "",
            r#"[{"Address": "127.0.0.1", "Port": 1}, {"Address": "127.0.0.2", "Port": 1}]"#,
        ),
        phase if phase <= PHASES => misbehave(phase, &elsewhere),
        _ if asked.path.starts_with("/v1/services") => json("", SERVICES),
        _ => json("", r#"[{"Address": "127.0.0.3", "Port": 1}]"#),
    });
    let tidemark = Tidemark::start(&job(&format!(
        "nomad_sd_configs: [{{server: 'http://{address}', refresh_interval: 500ms, authorization: {{credentials: hunter2}}, http_headers: {{X-Org: {{secrets: [hunter3]}}}}}}]"
    )));
    let first = found(&tidemark, 2);
    let failures = || metric(&tidemark, "prometheus_sd_nomad_failures_total ").unwrap_or(0.0);
    for wrong in 1..=PHASES {
        phase.store(wrong, Ordering::Relaxed);
        let before = failures();
        // The first of them may have begun before.
        eventually("two failures", || (failures() >= before + 2.0).then_some(()));
        assert_eq!(targets(tidemark.url()), first, "{wrong} changes nothing");
    }
    let of = r#"{mechanism="nomad",config="found"}"#;
    let counted = metric(&tidemark, &format!("prometheus_sd_refresh_failures_total{of} "));
    assert!(counted >= Some(2.0 * PHASES as f64), "{counted:?}");
    assert_eq!(
        metric(&tidemark, r#"prometheus_sd_discovered_targets{name="scrape",config="found"} "#),
        Some(2.0)
    );
    assert!(
        metric(&tidemark, &format!("prometheus_sd_refresh_duration_seconds_count{of} ")) >= counted
    );
    let strangers = strangers.lock().expect("no panic");
    assert!(!strangers.is_empty(), "the redirect was followed");
    assert!(
        strangers.iter().all(|head| !head.contains("hunter")),
        "without credentials: {strangers:?}"
    );
    phase.store(PHASES + 1, Ordering::Relaxed);
    found(&tidemark, 1);
}
