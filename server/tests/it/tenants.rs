//! Tenants: each writes, sees and deletes its own series, and nobody can name, forge or read another's.

use serde_json::Value;
use tidemark_bench::http::{Client, Response, path};

use crate::exporter::Exporter;
use crate::harness::{Tidemark, eventually, now_ms};
use crate::remote_write::{TimeSeries, encode, series};

const CONFIG: &str = "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n";

/// What the other tenant is called, and the label that says so: neither may be seen.
const SECRETS: [&str; 2] = ["team-a", "__tenant_id__"];

fn start(config: &str) -> Tidemark {
    let arguments = [
        "--tenancy.enabled",
        "--web.enable-admin-api",
        "--cardinality.limit=tenant=team-c:active=40",
        "--query.cache-size=1000000",
    ];
    Tidemark::start_with(&format!("{CONFIG}{config}"), &arguments)
}

/// A request with the headers of a tenant.
fn send(tidemark: &Tidemark, tenants: &[&str], method: &str, path: &str, body: &[u8]) -> Response {
    let mut headers = vec![("Content-Type", "application/x-protobuf")];
    headers.extend(tenants.iter().map(|tenant| ("X-Scope-OrgID", *tenant)));
    let mut client = Client::new(tidemark.url()).expect("an address");
    client.request(method, path, &headers, body).expect("an answer")
}

fn write(tidemark: &Tidemark, tenant: &str, timeseries: Vec<TimeSeries>) -> Response {
    send(tidemark, &[tenant], "POST", "/api/v1/write", &encode(timeseries))
}

fn ask(tidemark: &Tidemark, tenant: &str, call: &str, parameters: &[(&str, &str)]) -> Response {
    send(tidemark, &[tenant], "GET", &path(call, parameters), &[])
}

/// The value of an expression that gives one sample.
fn value(tidemark: &Tidemark, tenant: &str, expression: &str) -> Option<f64> {
    let answer = ask(tidemark, tenant, "/api/v1/query", &[("query", expression)]);
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let result = body["data"]["result"].as_array().expect("a vector");
    assert!(result.len() <= 1, "{expression}: {body}");
    result.first()?["value"][1].as_str()?.parse().ok()
}

fn shared(sample: f64) -> Vec<TimeSeries> {
    vec![series(&[("__name__", "shared"), ("job", "j")], &[(now_ms(), sample)])]
}

#[test]
fn who_names_no_tenant_is_told_so() {
    let tidemark = start("");
    for call in ["query?query=1", "query_range", "series", "labels", "label/a/values", "metadata"] {
        let call = format!("/api/v1/{call}");
        for tenants in [&[][..], &[""], &["a", "b"], &["a|b"], &["a/b"]] {
            let answer = send(&tidemark, tenants, "GET", &call, &[]);
            assert_eq!(answer.status, 401, "{call} {tenants:?}: {}", answer.text());
        }
    }
    let refused = send(&tidemark, &[], "POST", "/api/v1/write", &encode(shared(1.0)));
    assert_eq!((refused.status, refused.text().trim()), (401, "no org id"));
    assert_eq!(send(&tidemark, &[], "GET", "/federate?match[]=up", &[]).status, 401);
    assert_eq!(send(&tidemark, &[], "POST", "/api/v1/read", &[]).status, 401);
    for open in ["/-/healthy", "/metrics", "/api/v1/status/buildinfo", "/api/v1/targets"] {
        assert_eq!(send(&tidemark, &[], "GET", open, &[]).status, 200, "{open}");
    }
}

#[test]
fn the_same_series_of_two_tenants_are_two() {
    let tidemark = start("");
    for round in 1..4 {
        // From the second round on both are known by the bytes of their labels, which are the same.
        for (tenant, sample) in [("team-a", 1.0), ("team-b", 2.0), ("anonymous", 3.0)] {
            let sample = sample * f64::from(round);
            assert_eq!(write(&tidemark, tenant, shared(sample)).status, 204);
            assert_eq!(value(&tidemark, tenant, "shared"), Some(sample));
            let range = [("query", "shared"), ("start", "0"), ("end", "100"), ("step", "10")];
            assert_eq!(ask(&tidemark, tenant, "/api/v1/query_range", &range).status, 200);
        }
    }
    assert_eq!(value(&tidemark, "team-b", "count(shared)"), Some(1.0));
    assert_eq!(value(&tidemark, "team-d", "shared"), None);
    let gone = ask(&tidemark, "team-b", "/api/v1/label/__name__/values", &[]);
    assert!(gone.text().contains("shared"));
    let delete = path("/api/v1/admin/tsdb/delete_series", &[("match[]", "shared")]);
    assert_eq!(send(&tidemark, &["team-b"], "POST", &delete, &[]).status, 204);
    assert_eq!(value(&tidemark, "team-b", "shared"), None);
    assert_eq!(value(&tidemark, "team-a", "shared"), Some(3.0), "it is another's");
}

#[test]
fn nobody_can_write_for_another() {
    let tidemark = start("");
    assert_eq!(write(&tidemark, "team-a", shared(1.0)).status, 204);
    for tenant in ["team-b", "anonymous"] {
        for forged in ["team-a", "team-b", ""] {
            let labels = [("__name__", "shared"), ("__tenant_id__", forged), ("job", "j")];
            let answer = write(&tidemark, tenant, vec![series(&labels, &[(now_ms(), 9.0)])]);
            assert_eq!(answer.status, 400, "{tenant} as {forged:?}: {}", answer.text());
        }
    }
    assert_eq!(value(&tidemark, "team-a", "shared"), Some(1.0));
    assert_eq!(value(&tidemark, "team-b", "shared"), None);
}

#[test]
fn nobody_can_read_of_another() {
    let tidemark = start("");
    let secret = [("__name__", "hidden_metric"), ("hidden_label", "hidden_value")];
    let sample = [(now_ms(), 1.0)];
    assert_eq!(write(&tidemark, "team-a", vec![series(&secret, &sample)]).status, 204);
    assert_eq!(write(&tidemark, "team-b", shared(2.0)).status, 204);
    let hidden = |answer: &Response, what: &str| {
        let text = answer.text();
        assert_eq!(answer.status, 200, "{what}: {text}");
        let shown = SECRETS.iter().chain(&["hidden_"]).find(|secret| text.contains(**secret));
        assert_eq!(shown, None, "{what}: {text}");
    };
    for expression in [
        r#"{__name__=~".+"}"#,
        r#"{"__tenant_id__"=~".*", __name__=~".+"}"#,
        r#"{__name__=~".+"} or {"__tenant_id__"!="team-b", __name__=~".+"}"#,
        r#"count by (__tenant_id__) ({__name__=~".+"})"#,
        r#"group without (job) ({__name__=~".+"})"#,
        r#"count_values("v", {__name__=~".+"})"#,
        r#"label_replace(shared, "leak", "$1", "__tenant_id__", "(.+)")"#,
        r#"label_join(shared, "leak", ",", "__tenant_id__", "job")"#,
        r#"sum by (__tenant_id__) (rate({__name__=~".+"}[5m:1s]))"#,
        r#"last_over_time({__name__=~".+"}[1h])"#,
        r#"absent({"__tenant_id__"="x"})"#,
        "shared and on (__tenant_id__) shared",
    ] {
        for client in ["team-b", "anonymous"] {
            let parameters = [("query", expression), ("nocache", "1")];
            let mut answer = ask(&tidemark, client, "/api/v1/query", &parameters);
            if expression.starts_with("absent") {
                // It makes labels of what was asked, which is no secret.
                let text = answer.text().replace("__tenant_id__", "");
                answer.body = text.into_bytes();
            }
            hidden(&answer, expression);
        }
    }
    for (call, parameters) in [
        ("/api/v1/series", &[("match[]", r#"{__name__=~".+"}"#)][..]),
        ("/api/v1/labels", &[]),
        ("/api/v1/labels", &[("match[]", "shared")]),
        ("/api/v1/label/__tenant_id__/values", &[]),
        ("/api/v1/label/__name__/values", &[]),
        ("/api/v1/metadata", &[]),
        ("/federate", &[("match[]", r#"{__name__=~".+"}"#)]),
        ("/api/v1/query_exemplars", &[("query", "hidden_metric"), ("start", "0"), ("end", "9e9")]),
        ("/api/v1/cardinality/metric_names", &[]),
        ("/api/v1/cardinality/label_names", &[]),
        ("/api/v1/cardinality/label_pairs", &[]),
        ("/api/v1/cardinality/label_values", &[("label_name", "__tenant_id__")]),
    ] {
        hidden(&ask(&tidemark, "team-b", call, parameters), call);
    }
    let own = ask(&tidemark, "team-a", "/api/v1/cardinality/label_pairs", &[]).text();
    assert!(own.contains("hidden_label=hidden_value") && !own.contains("__tenant_id__"), "{own}");
}

#[test]
fn a_job_says_whose_its_targets_are_and_they_cannot() {
    let liar = Exporter::with_text("# HELP lie L\nlie{__tenant_id__=\"team-b\"} 1\n");
    let address = liar.address();
    let rule = "metric_relabel_configs: [{target_label: __tenant_id__, replacement: team-b}]";
    let tidemark = start(&format!(
        "- {{job_name: named, honor_labels: true, static_configs: [{{targets: ['{address}'], labels: {{__tenant_id__: team-a}}}}]}}\n\
         - {{job_name: unnamed, honor_labels: true, {rule}, static_configs: [{{targets: ['{address}']}}]}}\n"
    ));
    for (tenant, job) in [("team-a", "named"), ("anonymous", "unnamed")] {
        let up = format!("up{{job=\"{job}\"}}");
        eventually(&up, || value(&tidemark, tenant, &up).filter(|up| *up == 1.0));
        eventually("its series", || value(&tidemark, tenant, "lie"));
        assert_eq!(value(&tidemark, tenant, "count(up)"), Some(1.0));
        let metadata = ask(&tidemark, tenant, "/api/v1/metadata", &[]).text();
        assert!(metadata.contains("\"lie\""), "{metadata}");
    }
    assert_eq!(value(&tidemark, "team-b", r#"count({__name__=~".+"})"#), None);
    assert!(!ask(&tidemark, "team-b", "/api/v1/metadata", &[]).text().contains("lie"));
}

#[test]
fn a_tenant_past_its_limit_stops_nobody_else() {
    let tidemark = start("");
    let many = |metric: &str| {
        let one =
            |n: usize| series(&[("__name__", metric), ("n", &n.to_string())], &[(now_ms(), 1.0)]);
        (0..400).map(one).collect::<Vec<_>>()
    };
    assert_eq!(write(&tidemark, "team-c", many("many")).status, 429);
    assert_eq!(write(&tidemark, "team-a", many("many")).status, 204);
    let kept = value(&tidemark, "team-c", "count(many)").expect("some are taken");
    assert!((10.0..=80.0).contains(&kept), "{kept}");
    assert_eq!(value(&tidemark, "team-a", "count(many)"), Some(400.0));
}

#[test]
fn without_the_flag_the_header_means_nothing() {
    let tidemark = Tidemark::start(CONFIG);
    assert_eq!(write(&tidemark, "team-a", shared(1.0)).status, 204);
    assert_eq!(value(&tidemark, "team-b", "shared"), Some(1.0));
}
