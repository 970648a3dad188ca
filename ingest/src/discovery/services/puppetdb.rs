//! `puppetdb_sd`: the resources that a query of PuppetDB gives.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tidemark_core::model::histogram::GoFloat;

use super::super::ask::{Ask, DiscoveryError, answer, ask_ok, post_json, read_json, refresh_by};
use super::super::http::is_json_answer;
use super::super::meta::{Meta, host_port, one_group, sanitized};
use crate::scrape::TargetGroup;

const SEPARATOR: &str = ",";

/// What is asked for, and how targets are made of it.
pub struct PuppetDb {
    /// Where PuppetDB is: `https://puppetdb:8081`.
    pub base: String,
    /// The question, in Puppet's query language.
    pub query: String,
    /// Whether parameters become labels; they may be secrets.
    pub include_parameters: bool,
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// A resource of a node's catalogue.
    Resource {
        certname: String = "certname",
        resource: String = "resource",
        kind: String = "type",
        title: String = "title",
        exported: bool = "exported",
        tags: Vec<String> = "tags",
        file: String = "file",
        environment: String = "environment",
        parameters: Map<String, Value> = "parameters",
    }
}

impl PuppetDb {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let url = format!("{}/pdb/query/v4", self.base.trim_end_matches('/'));
        let request = post_json(&url, &json!({ "query": self.query }))?;
        let response = ask_ok(ask, request).await?;
        let read = is_json_answer(&response).and_then(|()| read_json(response.body(), &mut 0));
        let resources: Vec<Resource> =
            read.map_err(|reason| DiscoveryError::Answer { url: url.clone(), reason })?;
        let targets = resources.into_iter().map(|resource| self.target(resource)).collect();
        Ok(one_group(format!("{url}?query={}", self.query), targets))
    }

    fn target(&self, resource: Resource) -> BTreeMap<String, String> {
        let address = host_port(&resource.certname, self.port);
        let mut meta = Meta::with(
            "__meta_puppetdb_",
            [
                ("query", self.query.clone()),
                ("certname", resource.certname),
                ("resource", resource.resource),
                ("type", resource.kind),
                ("title", resource.title),
                ("exported", resource.exported.to_string()),
                ("file", resource.file),
                ("environment", resource.environment),
            ],
        );
        meta.set_list("tags", SEPARATOR, &resource.tags);
        if self.include_parameters {
            set_parameters(&mut meta, "parameter_", &resource.parameters);
        }
        meta.at(address)
    }
}

/// A label for each parameter, those in others included.
fn set_parameters(meta: &mut Meta, prefix: &str, parameters: &Map<String, Value>) {
    for (key, value) in parameters {
        let name = format!("{prefix}{}", sanitized(key));
        match value {
            Value::Object(inner) => set_parameters(meta, &format!("{name}_"), inner),
            Value::Array(values) => {
                let texts: Vec<String> = values.iter().map(text).collect();
                meta.set_some(&name, Some(texts.join(SEPARATOR)).filter(|text| !text.is_empty()));
            }
            value => {
                meta.set_some(&name, Some(text(value)).filter(|text| !text.is_empty()));
            }
        }
    }
}

/// A plain value as Go writes it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => {
            number.as_f64().map(|v| GoFloat(v).to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

refresh_by!(PuppetDb, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const RESOURCES: &str = r#"[{"certname": "edinburgh.example.com", "environment": "prod", "exported": false, "file": "/etc/x.pp", "line": 384, "resource": "49af", "tags": ["role", "apache"],
      "title": "default", "type": "Apache::Vhost",
      "parameters": {"port": 80, "big": 1000000, "half": 0.5, "ssl": true, "empty": "", "list": [1, "a", null], "none": [], "labels": {"alias": "x-y", "deep": {"z.z": "1"}}, "nothing": null}}]"#;

    fn puppetdb(include_parameters: bool) -> PuppetDb {
        let (base, query) = ("https://p:8081/".into(), "inventory{}".into());
        PuppetDb { base, query, include_parameters, port: 9100 }
    }

    #[test]
    fn resources_with_and_without_parameters() {
        let ask = Recorded::new(&[("/pdb/query/v4", 200, RESOURCES)]);
        let with = refresh(&mut puppetdb(true), &ask).unwrap();
        assert_eq!(
            shown(&with),
            r#"https://p:8081/pdb/query/v4?query=inventory{} {}
  {"__address__": "edinburgh.example.com:9100", "__meta_puppetdb_certname": "edinburgh.example.com", "__meta_puppetdb_environment": "prod", "__meta_puppetdb_exported": "false", "__meta_puppetdb_file": "/etc/x.pp", "__meta_puppetdb_parameter_big": "1e+06", "__meta_puppetdb_parameter_half": "0.5", "__meta_puppetdb_parameter_labels_alias": "x-y", "__meta_puppetdb_parameter_labels_deep_z_z": "1", "__meta_puppetdb_parameter_list": "1,a,", "__meta_puppetdb_parameter_port": "80", "__meta_puppetdb_parameter_ssl": "true", "__meta_puppetdb_query": "inventory{}", "__meta_puppetdb_resource": "49af", "__meta_puppetdb_tags": ",role,apache,", "__meta_puppetdb_title": "default", "__meta_puppetdb_type": "Apache::Vhost"}
"#
        );
        assert_eq!(ask.bodies(), [r#"{"query":"inventory{}"}"#]);
        let without = refresh(&mut puppetdb(false), &ask).unwrap();
        assert!(without[0].targets[0].keys().all(|name| !name.contains("parameter")));
    }
}
