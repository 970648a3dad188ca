//! `consul_sd`: the services of a Consul catalogue, a target for each instance.
//!
//! Consul answers a question that carries the index of the last answer when something has changed since, or after the time
//! that the question allows. Whoever runs this asks for the catalogue, if the names of the services are not all configured,
//! and in parallel for each service that is wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::ask::{Ask, DiscoveryError, answer, ask_json, ask_ok, get, with_query};
use super::meta::{Meta, host_port};
use crate::scrape::TargetGroup;

/// How long a question may wait for a change.
pub const WAIT_MAX: Duration = Duration::from_mins(2);

/// The header that carries the index of an answer.
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");

/// The header that carries the token.
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// What is asked for, and how targets are made of it.
#[derive(Clone, Debug, Default)]
pub struct Consul {
    /// Where the API begins: `http://localhost:8500`, with the path prefix.
    pub base: String,
    /// The access token; empty for none.
    pub token: String,
    /// Data centre; empty for the agent's.
    pub datacenter: String,
    /// Namespace; empty for the default one.
    pub namespace: String,
    /// Admin partition; empty for the default one.
    pub partition: String,
    /// Between tags in the label of them.
    pub tag_separator: String,
    /// Whether any server may answer.
    pub allow_stale: bool,
    /// The services; empty for all.
    pub services: Vec<String>,
    /// Tags that each instance must have.
    pub tags: Vec<String>,
    /// Metadata that each node must have.
    pub node_meta: BTreeMap<String, String>,
    /// Condition on the catalogue.
    pub filter: String,
    /// Condition on the instances.
    pub health_filter: String,
}

answer! {
    /// The agent, as far as it is read.
    Agent { config: AgentConfig = "Config", }
}

answer! {
    /// Its configuration.
    AgentConfig { datacenter: String = "Datacenter", }
}

answer! {
    /// An instance of a service.
    Instance { node: Node = "Node", service: Service = "Service", checks: Vec<Check> = "Checks", }
}

answer! {
    /// Where it runs.
    Node {
        name: String = "Node",
        address: String = "Address",
        meta: BTreeMap<String, String> = "Meta",
        tagged: BTreeMap<String, String> = "TaggedAddresses",
    }
}

answer! {
    /// What it is.
    Service {
        id: String = "ID",
        tags: Vec<String> = "Tags",
        address: String = "Address",
        port: i64 = "Port",
        namespace: String = "Namespace",
        partition: String = "Partition",
        meta: BTreeMap<String, String> = "Meta",
    }
}

answer! {
    /// How it is.
    Check { id: String = "CheckID", status: String = "Status", }
}

impl Consul {
    /// Whether the names of services are to be asked for.
    pub fn watches_catalogue(&self) -> bool {
        self.services.is_empty() || !self.tags.is_empty() || !self.filter.is_empty()
    }

    /// The data centre: the one configured, or the agent's.
    pub async fn find_datacenter(&self, ask: &dyn Ask) -> Result<String, DiscoveryError> {
        if !self.datacenter.is_empty() {
            return Ok(self.datacenter.clone());
        }
        let url = format!("{}/v1/agent/self", self.base);
        let agent: Agent = ask_json(ask, self.request(&url)?).await?;
        if agent.config.datacenter.is_empty() {
            return Err(DiscoveryError::Answer { url, reason: "it names no data centre".into() });
        }
        Ok(agent.config.datacenter)
    }

    /// The services of the catalogue that are wanted; `None` if nothing has changed since `index`.
    pub async fn catalogue(
        &self,
        ask: &dyn Ask,
        index: &mut u64,
    ) -> Result<Option<Vec<String>>, DiscoveryError> {
        let url = self.question("catalog/services", &self.filter, &[], *index);
        let services: Option<BTreeMap<String, Option<Vec<String>>>> =
            self.ask(ask, &url, index).await?;
        let wanted = |(name, tags): (String, Option<Vec<String>>)| {
            let tags = tags.unwrap_or_default();
            let named = self.services.is_empty() || self.services.contains(&name);
            (named && self.tags.iter().all(|tag| tags.contains(tag))).then_some(name)
        };
        Ok(services.map(|services| services.into_iter().filter_map(wanted).collect()))
    }

    /// The instances of `service`; `None` if nothing has changed since `index`.
    pub async fn service(
        &self,
        ask: &dyn Ask,
        service: &str,
        datacenter: &str,
        index: &mut u64,
    ) -> Result<Option<TargetGroup>, DiscoveryError> {
        let encoded =
            percent_encoding::utf8_percent_encode(service, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("health/service/{encoded}");
        let url = self.question(&path, &self.health_filter, &self.tags, *index);
        let instances: Option<Vec<Instance>> = self.ask(ask, &url, index).await?;
        let Some(instances) = instances else { return Ok(None) };
        let mut labels = Meta::new("__meta_consul_");
        labels.set("service", service).set("dc", datacenter);
        let targets = instances.iter().map(|instance| self.target(instance)).collect();
        let labels = labels.into_labels();
        Ok(Some(TargetGroup { source: service.to_owned(), targets, labels }))
    }

    fn question(&self, path: &str, filter: &str, tags: &[String], index: u64) -> String {
        let (index, wait) = (index.to_string(), format!("{}ms", WAIT_MAX.as_millis()));
        let node_meta: Vec<String> =
            self.node_meta.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        let given = [
            ("dc", self.datacenter.as_str()),
            ("ns", &self.namespace),
            ("partition", &self.partition),
            ("filter", filter),
        ];
        let waiting = [("index", index.as_str()), ("wait", &wait)];
        let pairs = given.into_iter().filter(|(_, value)| !value.is_empty());
        let pairs = pairs.chain(self.allow_stale.then_some(("stale", "")));
        let pairs = pairs.chain(waiting.into_iter().filter(|_| index != "0"));
        let pairs = pairs.chain(tags.iter().map(|tag| ("tag", tag.as_str())));
        let pairs = pairs.chain(node_meta.iter().map(|pair| ("node-meta", pair.as_str())));
        with_query(&format!("{}/v1/{path}", self.base), pairs)
    }

    fn request(&self, url: &str) -> Result<http::Request<bytes::Bytes>, DiscoveryError> {
        let mut request = get(url)?;
        if !self.token.is_empty() {
            let bad =
                |_| DiscoveryError::Setting("token: characters that a header cannot have".into());
            let mut token = HeaderValue::from_str(&self.token).map_err(bad)?;
            token.set_sensitive(true);
            request.headers_mut().insert(TOKEN, token);
        }
        Ok(request)
    }

    /// The answer unless it is the one of `index`, which becomes its own.
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        ask: &dyn Ask,
        url: &str,
        index: &mut u64,
    ) -> Result<Option<T>, DiscoveryError> {
        let response = ask_ok(ask, self.request(url)?).await?;
        let wrong = |reason: String| DiscoveryError::Answer { url: url.to_owned(), reason };
        let new = response.headers().get(INDEX).and_then(|value| value.to_str().ok());
        let new: u64 = new
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong("its X-Consul-Index is no number".to_owned()))?;
        if new == *index && new != 0 {
            return Ok(None);
        }
        let answer = serde_json::from_slice(response.body()).map_err(|e| wrong(e.to_string()))?;
        // An index that goes back is that of another life of the server: everything is asked for anew.
        *index = if new < *index { 0 } else { new };
        Ok(Some(answer))
    }

    fn target(&self, instance: &Instance) -> BTreeMap<String, String> {
        let Instance { node, service, checks } = instance;
        let (mut meta, between) = (Meta::new("__meta_consul_"), &self.tag_separator);
        meta.set("address", &*node.address);
        meta.set("node", &*node.name);
        meta.set("namespace", &*service.namespace);
        meta.set("partition", &*service.partition);
        meta.set("tags", format!("{between}{}{between}", service.tags.join(between)));
        meta.set("service_address", &*service.address);
        meta.set("service_port", service.port.to_string());
        meta.set("service_id", &*service.id);
        meta.set("health", health(checks));
        meta.set_each("metadata_", &node.meta);
        meta.set_each("service_metadata_", &service.meta);
        meta.set_each("tagged_address_", &node.tagged);
        let host = if service.address.is_empty() { &node.address } else { &service.address };
        meta.at(host_port(host, service.port))
    }
}

/// The worst of all checks; maintenance is worse than all.
fn health(checks: &[Check]) -> &'static str {
    const WORST_FIRST: [&str; 3] = ["critical", "warning", "passing"];
    let maintained = |check: &Check| {
        check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:")
    };
    if checks.iter().any(maintained) {
        return "maintenance";
    }
    let worst = WORST_FIRST.iter().find(|status| checks.iter().any(|c| c.status == **status));
    worst.copied().unwrap_or("passing")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;

    use super::super::ask::recorded::shown;
    use super::*;

    /// Answers with an index.
    struct Agent(&'static str, u64, std::cell::RefCell<Vec<String>>);

    impl Ask for Agent {
        fn ask(
            &self,
            request: http::Request<bytes::Bytes>,
        ) -> LocalBoxFuture<'_, Result<http::Response<bytes::Bytes>, DiscoveryError>> {
            self.2.borrow_mut().push(request.uri().to_string());
            let response = http::Response::builder().header(INDEX, self.1).body(self.0.into());
            async move { Ok(response.unwrap()) }.boxed_local()
        }
    }

    fn agent(body: &'static str, index: u64) -> Agent {
        Agent(body, index, std::cell::RefCell::default())
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().unwrap()
    }

    const INSTANCES: &str = r#"[{"Node": {"Node": "n1", "Address": "10.0.0.1", "Meta": {"rack-id": "7"}, "TaggedAddresses": {"lan": "10.0.0.1"}},
        "Service": {"ID": "web-1", "Tags": ["a", "b"], "Address": "", "Port": 80, "Meta": {"v": "2"}, "Namespace": "ns"},
        "Checks": [{"CheckID": "x", "Status": "passing"}, {"CheckID": "y", "Status": "warning"}]},
        {"Node": {"Node": "n2", "Address": "10.0.0.2", "Meta": null}, "Service": {"ID": "web-2", "Tags": null, "Address": "fd00::1", "Port": 81},
        "Checks": [{"CheckID": "_node_maintenance", "Status": "critical"}]}]"#;

    #[test]
    fn instances_of_a_service() {
        let consul =
            Consul { base: "http://c".into(), tag_separator: ",".into(), ..Consul::default() };
        let (ask, mut index) = (agent(INSTANCES, 5), 0);
        let group = now(consul.service(&ask, "web", "dc1", &mut index)).unwrap().unwrap();
        assert_eq!(
            shown(&[group]).replace("__meta_consul_", "~"),
            r#"web {"~dc": "dc1", "~service": "web"}
  {"__address__": "10.0.0.1:80", "~address": "10.0.0.1", "~health": "warning", "~metadata_rack_id": "7", "~namespace": "ns", "~node": "n1", "~service_id": "web-1", "~service_metadata_v": "2", "~service_port": "80", "~tagged_address_lan": "10.0.0.1", "~tags": ",a,b,"}
  {"__address__": "[fd00::1]:81", "~address": "10.0.0.2", "~health": "maintenance", "~node": "n2", "~service_address": "fd00::1", "~service_id": "web-2", "~service_port": "81", "~tags": ",,"}
"#
        );
        assert_eq!(index, 5);
        assert_eq!(now(consul.service(&ask, "web", "dc1", &mut index)).unwrap(), None);
        index = 9;
        assert!(now(consul.service(&ask, "web", "dc1", &mut index)).unwrap().is_some());
        assert_eq!(index, 0, "the server began anew");
        assert_eq!(
            *ask.2.borrow(),
            [
                "http://c/v1/health/service/web",
                "http://c/v1/health/service/web?index=5&wait=120000ms",
                "http://c/v1/health/service/web?index=9&wait=120000ms"
            ]
        );
        let broken = now(consul.service(&agent("[{", 6), "web", "dc1", &mut index)).unwrap_err();
        assert!(broken.to_string().contains("EOF"), "{broken}");
        assert_eq!(index, 0, "it is asked for again");
    }

    #[test]
    fn the_catalogue_is_filtered() {
        let consul = Consul {
            base: "http://c/p".into(),
            datacenter: "d".into(),
            allow_stale: true,
            tags: vec!["a".into()],
            node_meta: BTreeMap::from([("k".into(), "v".into())]),
            filter: "x == 1".into(),
            ..Consul::default()
        };
        let ask = agent(r#"{"web": ["a", "b"], "db": [], "none": null}"#, 1);
        let names = now(consul.catalogue(&ask, &mut 0)).unwrap();
        assert_eq!(names, Some(vec!["web".to_owned()]));
        assert_eq!(
            *ask.2.borrow(),
            ["http://c/p/v1/catalog/services?dc=d&filter=x%20%3D%3D%201&stale=&node-meta=k%3Av"]
        );
        assert!(consul.watches_catalogue());
        assert!(!Consul { services: vec!["x".into()], ..Consul::default() }.watches_catalogue());
        assert_eq!(now(consul.find_datacenter(&ask)).unwrap(), "d");
        let plain = Consul { base: "http://c".into(), ..Consul::default() };
        let ask = agent(r#"{"Config": {"Datacenter": "dc9"}}"#, 0);
        assert_eq!(now(plain.find_datacenter(&ask)).unwrap(), "dc9");
    }
}
