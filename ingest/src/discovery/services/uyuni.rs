//! `uyuni_sd`: the exporters of the systems that an Uyuni server manages, asked for by XML-RPC.
//!
//! A login is good for ten minutes and renewed after five, or when a question fails.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use roxmltree::Node;

use super::super::ask::{Ask, DiscoveryError, ask_ok, post, refresh_by};
use super::super::meta::{Meta, one_group};
use super::super::xml::{self, child, children};
use crate::scrape::TargetGroup;

const LOGIN_SECONDS: i64 = 600;

/// What is asked for, as whom, and how targets are made of it.
#[derive(Default)]
pub struct Uyuni {
    /// Where the server is: `https://uyuni`.
    pub server: String,
    /// Who asks.
    pub username: String,
    /// The password of who asks.
    pub password: String,
    /// Which systems.
    pub entitlement: String,
    /// What stands between groups.
    pub separator: String,
    /// The session, and until when it is used.
    pub session: Option<(String, i64)>,
}

impl Uyuni {
    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let listed = self.everything(ask).await;
        listed.inspect_err(|_| self.session = None)
    }

    async fn everything(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let session = self.session(ask).await?;
        let entitled = [text(&session), text(&self.entitlement)].concat();
        let method = "system.listSystemGroupsForSystemsWithEntitlement";
        let groups = self.call(ask, method, &entitled).await?;
        let groups: BTreeMap<String, Value> =
            groups.into_items().map(|one| (one.text("id"), one)).collect();
        let mut ids = "<array><data>".to_owned();
        for id in groups.keys() {
            let _ = write!(ids, "<value><int>{}</int></value>", escaped(id));
        }
        let systems = [text(&session), parameter(&format!("{ids}</data></array>"))].concat();
        let endpoints = self.call(ask, "system.monitoring.listEndpoints", &systems).await?;
        let networks = self.call(ask, "system.getNetworkForSystems", &systems).await?;
        let networks: HashMap<String, Value> =
            networks.into_items().map(|one| (one.text("system_id"), one)).collect();
        let targets = endpoints.into_items().map(|endpoint| {
            let id = endpoint.text("system_id");
            self.target(&endpoint, groups.get(&id), networks.get(&id))
        });
        Ok(one_group(self.url(), targets.collect()))
    }

    fn target(
        &self,
        endpoint: &Value,
        groups: Option<&Value>,
        network: Option<&Value>,
    ) -> BTreeMap<String, String> {
        let of_network =
            |name: &str| network.map_or_else(String::new, |network| network.text(name));
        let names: Vec<String> = groups
            .iter()
            .flat_map(|one| one.items_of("system_groups"))
            .map(|g| g.text("name"))
            .collect();
        let tls = endpoint.text("tls_enabled") == "1";
        let hostname = of_network("hostname");
        let address = format!("{hostname}:{}", endpoint.text("port"));
        Meta::with(
            "__meta_uyuni_",
            [
                ("minion_hostname", hostname),
                ("primary_fqdn", of_network("primary_fqdn")),
                ("system_id", endpoint.text("system_id")),
                ("groups", names.join(&self.separator)),
                ("endpoint_name", endpoint.text("endpoint_name")),
                ("exporter", endpoint.text("exporter_name")),
                ("proxy_module", endpoint.text("module")),
                ("metrics_path", endpoint.text("path")),
                ("scheme", if tls { "https" } else { "http" }.to_owned()),
            ],
        )
        .at(address)
    }

    async fn session(&mut self, ask: &dyn Ask) -> Result<String, DiscoveryError> {
        let now_ms = ask.now_ms();
        if let Some((session, until)) = &self.session
            && now_ms < *until
        {
            return Ok(session.clone());
        }
        let seconds = parameter(&format!("<int>{LOGIN_SECONDS}</int>"));
        let who = [text(&self.username), text(&self.password), seconds].concat();
        let Value::Text(session) = self.call(ask, "auth.login", &who).await? else {
            return Err(self.wrong("the login is no text".to_owned()));
        };
        self.session = Some((session.clone(), now_ms + LOGIN_SECONDS * 500));
        Ok(session)
    }

    fn url(&self) -> String {
        format!("{}/rpc/api", self.server.trim_end_matches('/'))
    }

    fn wrong(&self, reason: String) -> DiscoveryError {
        DiscoveryError::Answer { url: self.url(), reason }
    }

    async fn call(
        &self,
        ask: &dyn Ask,
        method: &str,
        parameters: &str,
    ) -> Result<Value, DiscoveryError> {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>"
        );
        let answer = ask_ok(ask, post(&self.url(), "text/xml", body)?).await?;
        let wrong = |e| self.wrong(format!("{method}: {e}"));
        let document = xml::parse(xml::utf8(answer.body()).map_err(wrong)?).map_err(wrong)?;
        let root = document.root_element();
        let of = |node: Node, names: &[&str]| {
            let found = names.iter().try_fold(node, |node, name| child(node, name));
            found.map(|node| Value::of(node, 0))
        };
        if let Some(fault) = of(root, &["fault", "value"]) {
            return Err(wrong(crate::limits::excerpt(&fault.text("faultString"))));
        }
        let value = of(root, &["params", "param", "value"]);
        value.ok_or_else(|| wrong("no value".to_owned()))
    }
}

/// A value of XML-RPC; numbers and truths stay texts.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    List(Vec<Value>),
    Struct(BTreeMap<String, Value>),
}

/// Values in values.
const DEPTH_MAX: usize = 16;

impl Value {
    /// The content of a `<value>`; what lies too deep is no text.
    fn of(node: Node, depth: usize) -> Self {
        let Some(inner) = node.children().find(Node::is_element).filter(|_| depth < DEPTH_MAX)
        else {
            return Value::Text(node.text().unwrap_or_default().to_owned());
        };
        match inner.tag_name().name() {
            "array" => {
                let values =
                    child(inner, "data").into_iter().flat_map(|data| children(data, "value"));
                Value::List(values.map(|value| Value::of(value, depth + 1)).collect())
            }
            "struct" => {
                let member = |member| {
                    Some((
                        xml::text(member, "name").to_owned(),
                        Value::of(child(member, "value")?, depth + 1),
                    ))
                };
                Value::Struct(children(inner, "member").filter_map(member).collect())
            }
            _ => Value::Text(inner.text().unwrap_or_default().to_owned()),
        }
    }

    fn into_items(self) -> impl Iterator<Item = Value> {
        if let Value::List(items) = self { items.into_iter() } else { Vec::new().into_iter() }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        if let Value::Struct(members) = self { members.get(name) } else { None }
    }

    /// The text of a member; empty if there is none.
    fn text(&self, name: &str) -> String {
        if let Some(Value::Text(text)) = self.get(name) { text.clone() } else { String::new() }
    }

    /// The elements of a member that is a list.
    fn items_of(&self, name: &str) -> &[Value] {
        if let Some(Value::List(items)) = self.get(name) { items } else { &[] }
    }
}

fn text(text: &str) -> String {
    parameter(&format!("<string>{}</string>", escaped(text)))
}

fn parameter(value: &str) -> String {
    format!("<param><value>{value}</value></param>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

refresh_by!(Uyuni, list);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;
    use http::{Request, Response};

    use super::super::super::ask::recorded::shown;
    use super::*;

    const GROUPS: &str = "<array><data><value><struct><member><name>id</name><value><int>1000010000</int></value></member><member><name>system_groups</name>
        <value><array><data><value><struct><member><name>name</name><value>a&amp;b</value></member></struct></value><value><struct><member><name>name</name><value><string>c</string></value></member></struct></value></data></array></value></member></struct></value></data></array>";
    const ENDPOINTS: &str = "<array><data><value><struct><member><name>system_id</name><value><i4>1000010000</i4></value></member><member><name>port</name><value><int>9100</int></value></member>
        <member><name>path</name><value>/metrics</value></member><member><name>exporter_name</name><value>node_exporter</value></member><member><name>endpoint_name</name><value>Node</value></member>
        <member><name>module</name><value>m</value></member><member><name>tls_enabled</name><value><boolean>1</boolean></value></member></struct></value></data></array>";
    const NETWORKS: &str = "<array><data><value><struct><member><name>system_id</name><value><int>1000010000</int></value></member><member><name>hostname</name><value>h</value></member>
        <member><name>primary_fqdn</name><value>h.x</value></member></struct></value></data></array>";

    const FAULT: &str = "<methodResponse><fault><value><struct><member><name>faultString</name><value>no such user</value></member></struct></value></fault></methodResponse>";

    /// Answers by method.
    #[derive(Default)]
    struct Server(RefCell<Vec<String>>, bool);

    impl Ask for Server {
        fn ask(
            &self,
            request: Request<Bytes>,
        ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
            let body = String::from_utf8_lossy(request.body()).into_owned();
            let method = xml::parse(&body).unwrap();
            let method = xml::text(method.root_element(), "methodName").to_owned();
            let value = match method.as_str() {
                "auth.login" => "<string>token</string>",
                "system.monitoring.listEndpoints" => ENDPOINTS,
                "system.getNetworkForSystems" => NETWORKS,
                _ => GROUPS,
            };
            let answer = if self.1 {
                FAULT.to_owned()
            } else {
                format!(
                    "<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
                )
            };
            self.0.borrow_mut().push(body);
            async { Ok(Response::new(answer.into())) }.boxed_local()
        }

        fn now_ms(&self) -> i64 {
            0
        }
    }

    fn uyuni() -> Uyuni {
        Uyuni {
            server: "https://u/".into(),
            username: "me".into(),
            password: "<&>".into(),
            entitlement: "monitoring_entitled".into(),
            separator: ",".into(),
            session: None,
        }
    }

    #[test]
    fn exporters_of_systems() {
        let (server, mut uyuni) = (Server::default(), uyuni());
        let groups = uyuni.list(&server).now_or_never().unwrap().unwrap();
        assert_eq!(
            shown(&groups),
            r#"https://u/rpc/api {}
  {"__address__": "h:9100", "__meta_uyuni_endpoint_name": "Node", "__meta_uyuni_exporter": "node_exporter", "__meta_uyuni_groups": "a&b,c", "__meta_uyuni_metrics_path": "/metrics", "__meta_uyuni_minion_hostname": "h", "__meta_uyuni_primary_fqdn": "h.x", "__meta_uyuni_proxy_module": "m", "__meta_uyuni_scheme": "https", "__meta_uyuni_system_id": "1000010000"}
"#
        );
        assert!(server.0.borrow()[0].contains("<string>&lt;&amp;&gt;</string>"));
        assert!(server.0.borrow()[2].contains("<value><int>1000010000</int></value>"));
        uyuni.list(&server).now_or_never().unwrap().unwrap();
        assert_eq!(server.0.borrow().len(), 4 + 3, "one login");
        let broken = Server(RefCell::default(), true);
        let error = uyuni.list(&broken).now_or_never().unwrap().unwrap_err().to_string();
        assert!(error.ends_with("no such user") && uyuni.session.is_none(), "{error}");
    }
}
