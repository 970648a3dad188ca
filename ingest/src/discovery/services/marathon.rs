//! `marathon_sd`: the tasks of each Marathon application, a target for each port.

use std::collections::BTreeMap;

use super::super::ask::{Ask, DiscoveryError, answer, ask_json, get, refresh_by, with_secret};
use super::super::meta::{Meta, host_port};
use crate::scrape::TargetGroup;

const PREFIX: &str = "__meta_marathon_";

/// See the module.
#[derive(Default)]
pub struct Marathon {
    /// Where the API begins, on each server; one is asked after the other.
    pub servers: Vec<String>,
    /// The token of DC/OS, sent as it wants it.
    pub token: String,
    /// The file that has it.
    pub token_file: String,
    turn: usize,
}

answer! {
    /// All applications.
    Apps { apps: Vec<App> = "apps", }
}

answer! {
    /// An application.
    App {
        id: String = "id",
        tasks: Vec<Task> = "tasks",
        labels: BTreeMap<String, String> = "labels",
        container: Container = "container",
        definitions: Vec<Definition> = "portDefinitions",
        networks: Vec<Network> = "networks",
        require_ports: bool = "requirePorts",
    }
}

answer! {
    /// One run of an application.
    Task {
        id: String = "id",
        host: String = "host",
        ports: Vec<u32> = "ports",
        addresses: Vec<Address> = "ipAddresses",
    }
}

answer! {
    /// Where a task is in a container network.
    Address { address: String = "ipAddress", }
}

answer! {
    /// What runs.
    Container { docker: Docker = "docker", mappings: Vec<Mapping> = "portMappings", }
}

answer! {
    /// The image; and ports before Marathon 1.5.
    Docker { image: String = "image", mappings: Vec<Mapping> = "portMappings", }
}

answer! {
    /// A port of the container and of its host.
    Mapping {
        labels: BTreeMap<String, String> = "labels",
        container_port: u32 = "containerPort",
        host_port: u32 = "hostPort",
    }
}

answer! {
    /// A port of an application on its host's network.
    Definition { labels: BTreeMap<String, String> = "labels", port: u32 = "port", }
}

answer! {
    /// A network of an application.
    Network { mode: String = "mode", }
}

impl Marathon {
    /// One that asks these servers.
    pub fn new(servers: Vec<String>, token: String, token_file: String) -> Self {
        Marathon { servers, token, token_file, turn: 0 }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let server = &self.servers[self.turn % self.servers.len()];
        self.turn += 1;
        let mut request = get(&format!("{server}/v2/apps/?embed=apps.tasks"))?;
        let token = match self.token_file.as_str() {
            "" => self.token.clone(),
            path => ask.file(path).await?.trim().to_owned(),
        };
        if !token.is_empty() {
            let header = http::header::AUTHORIZATION;
            request = with_secret(request, header, &format!("token={token}"))?;
        }
        let answer: Apps = ask_json(ask, request).await?;
        Ok(answer.apps.iter().map(App::group).collect())
    }
}

/// A port of every task and its labels; 0 is a port that the task knows.
type Ports<'a> = Vec<(u32, Option<&'a BTreeMap<String, String>>)>;

impl App {
    fn group(&self) -> TargetGroup {
        let mut labels = Meta::new(PREFIX);
        labels.set("app", self.id.as_str()).set("image", self.container.docker.image.as_str());
        labels.set_each("app_label_", &self.labels);
        let mut ports = self.ports();
        let mut targets = Vec::new();
        for task in &self.tasks {
            // Ports that only tasks know are the same for all of them.
            if ports.1.is_empty() {
                ports.1 = task.ports.iter().map(|port| (*port, None)).collect();
            }
            self.push_targets(task, &ports, &mut targets);
        }
        TargetGroup { source: self.id.clone(), targets, labels: labels.into_labels() }
    }

    /// Whether tasks have addresses of their own.
    fn has_own_addresses(&self) -> bool {
        self.networks.first().is_some_and(|network| network.mode == "container")
    }

    /// The ports that the application declares, and what the labels of their labels begin with.
    fn ports(&self) -> (&'static str, Ports<'_>) {
        let mappings = [&self.container.mappings, &self.container.docker.mappings];
        if let Some(mappings) = mappings.into_iter().find(|mappings| !mappings.is_empty()) {
            let own = self.has_own_addresses();
            let port = |m: &Mapping| if own { m.container_port } else { m.host_port };
            let ports = mappings.iter().map(|m| (port(m), Some(&m.labels))).collect();
            return ("port_mapping_label_", ports);
        }
        // Without `requirePorts` the number is that of the service, and the task knows where it listens.
        let port = |d: &Definition| if self.require_ports { d.port } else { 0 };
        let ports = self.definitions.iter().map(|d| (port(d), Some(&d.labels))).collect();
        ("port_definition_label_", ports)
    }

    fn push_targets(
        &self,
        task: &Task,
        (prefix, ports): &(&'static str, Ports<'_>),
        targets: &mut Vec<BTreeMap<String, String>>,
    ) {
        let own = task.addresses.first().filter(|_| self.has_own_addresses());
        let host = own.map_or(&task.host, |address| &address.address);
        for (i, (port, labels)) in ports.iter().enumerate() {
            let known = task.ports.get(i).filter(|_| *port == 0 && task.ports.len() == ports.len());
            let mut meta = Meta::new(PREFIX);
            meta.set("task", task.id.as_str()).set("port_index", i.to_string());
            meta.set_each(prefix, labels.iter().copied().flatten());
            targets.push(meta.at(host_port(host, known.unwrap_or(port))));
        }
    }
}

refresh_by!(Marathon, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const APPS: &str = r#"{"apps": [
      {"id": "/mapped", "labels": {"a-b": "c"}, "container": {"docker": {"image": "nginx"}, "portMappings": [{"containerPort": 80, "hostPort": 0, "labels": {"metrics": "yes"}}, {"containerPort": 81, "hostPort": 8081}]},
       "networks": [{"mode": "container/bridge"}], "tasks": [{"id": "t1", "host": "h1", "ports": [31000, 31001]}]},
      {"id": "/old", "container": {"docker": {"image": "old", "portMappings": [{"containerPort": 90}]}}, "networks": [{"mode": "container"}],
       "tasks": [{"id": "t2", "host": "h2", "ports": [1], "ipAddresses": [{"ipAddress": "10.0.0.2", "protocol": "IPv4"}]}]},
      {"id": "/defined", "portDefinitions": [{"port": 10000, "labels": {"x": "y"}}], "tasks": [{"id": "t3", "host": "h3", "ports": [31003]}]},
      {"id": "/required", "requirePorts": true, "portDefinitions": [{"port": 9000}], "tasks": [{"id": "t4", "host": "h4", "ports": [31004]}]},
      {"id": "/bare", "tasks": [{"id": "t5", "host": "h5", "ports": [31005]}, {"id": "t6", "host": "h6", "ports": null}]}]}"#;

    #[test]
    fn tasks_by_port() {
        let ask = Recorded::new(&[("/v2/apps", 200, APPS)]);
        let mut marathon =
            Marathon::new(vec!["http://a".into(), "http://b".into()], "s".into(), String::new());
        assert_eq!(
            shown(&refresh(&mut marathon, &ask).unwrap()),
            r#"/mapped {"__meta_marathon_app": "/mapped", "__meta_marathon_app_label_a_b": "c", "__meta_marathon_image": "nginx"}
  {"__address__": "h1:31000", "__meta_marathon_port_index": "0", "__meta_marathon_port_mapping_label_metrics": "yes", "__meta_marathon_task": "t1"}
  {"__address__": "h1:8081", "__meta_marathon_port_index": "1", "__meta_marathon_task": "t1"}
/old {"__meta_marathon_app": "/old", "__meta_marathon_image": "old"}
  {"__address__": "10.0.0.2:90", "__meta_marathon_port_index": "0", "__meta_marathon_task": "t2"}
/defined {"__meta_marathon_app": "/defined"}
  {"__address__": "h3:31003", "__meta_marathon_port_definition_label_x": "y", "__meta_marathon_port_index": "0", "__meta_marathon_task": "t3"}
/required {"__meta_marathon_app": "/required"}
  {"__address__": "h4:9000", "__meta_marathon_port_index": "0", "__meta_marathon_task": "t4"}
/bare {"__meta_marathon_app": "/bare"}
  {"__address__": "h5:31005", "__meta_marathon_port_index": "0", "__meta_marathon_task": "t5"}
  {"__address__": "h6:31005", "__meta_marathon_port_index": "0", "__meta_marathon_task": "t6"}
"#
        );
        refresh(&mut marathon, &ask).unwrap();
        assert_eq!(
            ask.urls(),
            ["http://a/v2/apps/?embed=apps.tasks", "http://b/v2/apps/?embed=apps.tasks"]
        );
        assert_eq!(ask.asked.borrow()[0].headers()["authorization"], "token=s");
        let mut by_file = Marathon::new(vec!["http://a".into()], String::new(), "/f".into());
        assert!(refresh(&mut by_file, &ask).is_err());
        refresh(&mut by_file, &ask).unwrap_err();
        let ask = Recorded::new(&[("", 200, "{}")]).with(&[("/f", "x\n")]);
        refresh(&mut by_file, &ask).unwrap();
        assert_eq!(ask.asked.borrow()[0].headers()["authorization"], "token=x");
    }
}
