//! `kuma_sd`: the data planes that a Kuma control plane assigns, by its REST form of xDS.
//!
//! The server holds a question back until something changes, at most the `fetch_timeout`, and then says 304.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::json;

use super::super::ask::{
    Ask, DiscoveryError, answer, post_json, read_json, refresh_by, refused, with_query,
};
use super::super::meta::{Meta, one_group};
use crate::scrape::TargetGroup;

const TYPE: &str = "type.googleapis.com/kuma.observability.v1.MonitoringAssignment";

/// See the module.
#[derive(Default)]
pub struct Kuma {
    url: String,
    client_id: String,
    version: String,
    nonce: String,
    last: Vec<TargetGroup>,
}

answer! {
    /// All assignments. Names of fields come in either form of protobuf's JSON.
    Answer {
        version: String = "versionInfo",
        version_snake: String = "version_info",
        kind: String = "typeUrl",
        kind_snake: String = "type_url",
        nonce: String = "nonce",
        resources: Vec<Assignment> = "resources",
    }
}

answer! {
    /// The data planes of a service.
    Assignment {
        mesh: String = "mesh",
        service: String = "service",
        labels: BTreeMap<String, String> = "labels",
        targets: Vec<Target> = "targets",
    }
}

answer! {
    /// A data plane.
    Target {
        name: String = "name",
        scheme: String = "scheme",
        address: String = "address",
        path: String = "metricsPath",
        path_snake: String = "metrics_path",
        labels: BTreeMap<String, String> = "labels",
    }
}

/// Whichever of two forms is there.
fn either(camel: String, snake: String) -> String {
    if camel.is_empty() { snake } else { camel }
}

impl Kuma {
    /// Asks `server`, which may wait for `fetch_timeout`, written as in the configuration. Without a `client_id` the host's
    /// name is told.
    pub fn new(server: &str, fetch_timeout: &str, client_id: &str) -> Self {
        let server = server.trim_end_matches('/');
        let url = format!("{server}/v3/discovery:monitoringassignments");
        let url = with_query(&url, [("fetch-timeout", fetch_timeout)]);
        Kuma { url, client_id: client_id.to_owned(), ..Kuma::default() }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        if self.client_id.is_empty() {
            let host = ask.file("/proc/sys/kernel/hostname").await;
            self.client_id = host.map_or_else(|_| "tidemark".to_owned(), |h| h.trim().to_owned());
        }
        let question = json!({
            "version_info": self.version,
            "response_nonce": self.nonce,
            "type_url": TYPE,
            "node": { "id": self.client_id },
        });
        let response = ask.ask(post_json(&self.url, &question)?).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED => return Ok(self.last.clone()),
            StatusCode::OK => {}
            _ => return Err(refused(&self.url, &response)),
        }
        let wrong = |reason| DiscoveryError::Answer { url: self.url.clone(), reason };
        let answer: Answer = read_json(response.body(), &mut 0).map_err(wrong)?;
        let kind = either(answer.kind, answer.kind_snake);
        if kind != TYPE {
            return Err(wrong(format!(
                "received invalid typeURL for Kuma MADS v1 Resource: {kind}"
            )));
        }
        let targets = answer.resources.into_iter().flat_map(targets).collect();
        self.version = either(answer.version, answer.version_snake);
        self.nonce = answer.nonce;
        self.last = one_group("kuma", targets);
        Ok(self.last.clone())
    }
}

fn targets(assignment: Assignment) -> Vec<BTreeMap<String, String>> {
    let mut common = Meta::new("__meta_kuma_");
    common.set_each("label_", &assignment.labels);
    common.set("mesh", assignment.mesh).set("service", assignment.service);
    let target = |target: Target| {
        let mut meta = Meta::new("__meta_kuma_");
        meta.set_each("label_", &target.labels).extend(&common);
        meta.set("dataplane", target.name.as_str()).set_plain("instance", target.name);
        meta.set_plain("__scheme__", target.scheme);
        meta.set_plain("__metrics_path__", either(target.path, target.path_snake));
        meta.at(target.address)
    };
    assignment.targets.into_iter().map(target).collect()
}

refresh_by!(Kuma, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const ANSWER: &str = r#"{"versionInfo": "v1", "nonce": "n1", "typeUrl": "type.googleapis.com/kuma.observability.v1.MonitoringAssignment", "resources": [
      {"@type": "type.googleapis.com/kuma.observability.v1.MonitoringAssignment", "mesh": "metrics", "service": "redis", "labels": {"team.x": "infra"},
       "targets": [{"name": "redis-01", "scheme": "http", "address": "10.1.1.1:8000", "metricsPath": "/m", "labels": {"kuma_io_protocol": "http", "team.x": "own"}}]}]}"#;

    #[test]
    fn data_planes_of_services() {
        let mut kuma = Kuma::new("http://kuma:5676/", "2m", "me");
        let ask =
            Recorded::new(&[("/v3/discovery:monitoringassignments?fetch-timeout=2m", 200, ANSWER)]);
        let groups = refresh(&mut kuma, &ask).unwrap();
        assert_eq!(
            shown(&groups),
            r#"kuma {}
  {"__address__": "10.1.1.1:8000", "__meta_kuma_dataplane": "redis-01", "__meta_kuma_label_kuma_io_protocol": "http", "__meta_kuma_label_team_x": "infra", "__meta_kuma_mesh": "metrics", "__meta_kuma_service": "redis", "__metrics_path__": "/m", "__scheme__": "http", "instance": "redis-01"}
"#
        );
        let unchanged = Recorded::new(&[("", 304, "")]);
        assert_eq!(refresh(&mut kuma, &unchanged).unwrap(), groups);
        assert!(
            unchanged.bodies()[0].contains(r#""version_info":"v1""#)
                && unchanged.bodies()[0].contains(r#""response_nonce":"n1""#)
        );
        assert!(ask.bodies()[0].contains(r#""node":{"id":"me"}"#));
        for (status, bad) in [(500, ""), (200, "{}"), (200, "[]"), (204, "")] {
            assert!(refresh(&mut kuma, &Recorded::new(&[("", status, bad)])).is_err(), "{bad}");
        }
        let mut nameless = Kuma::new("http://k", "1s", "");
        refresh(
            &mut nameless,
            &Recorded::new(&[("", 200, ANSWER)]).with(&[("/proc/sys/kernel/hostname", "h\n")]),
        )
        .unwrap();
        assert_eq!(nameless.client_id, "h");
    }
}
