//! `eureka_sd`: the instances of each application that registered with a Eureka server, whose list is XML.

use std::collections::BTreeMap;

use http::header::{ACCEPT, HeaderValue};
use roxmltree::Node;

use super::super::ask::{Ask, DiscoveryError, ask_ok, get, refresh_by};
use super::super::meta::{Meta, host_port, one_group, sanitized};
use super::super::xml::{self, child, text};
use crate::scrape::TargetGroup;

/// See the module.
pub struct Eureka {
    /// Where the API begins: `http://host:8761/eureka`.
    pub base: String,
}

/// Labels whose value is the text of an element of the instance.
const TEXTS: [(&str, &str); 11] = [
    ("hostname", "hostName"),
    ("homepage_url", "homePageUrl"),
    ("statuspage_url", "statusPageUrl"),
    ("healthcheck_url", "healthCheckUrl"),
    ("ip_addr", "ipAddr"),
    ("vip_address", "vipAddress"),
    ("secure_vip_address", "secureVipAddress"),
    ("status", "status"),
    ("id", "instanceId"),
    ("port", "port"),
    ("secure_port", "securePort"),
];

impl Eureka {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let url = format!("{}/apps", self.base);
        let mut request = get(&url)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/xml"));
        let response = ask_ok(ask, request).await?;
        let targets = targets(response.body());
        Ok(one_group("eureka", targets.map_err(|reason| DiscoveryError::Answer { url, reason })?))
    }
}

fn targets(body: &[u8]) -> Result<Vec<BTreeMap<String, String>>, String> {
    let body = xml::utf8(body)?;
    let document = xml::parse(body)?;
    let mut targets = Vec::new();
    for application in xml::children(document.root_element(), "application") {
        let name = text(application, "name");
        for instance in xml::children(application, "instance") {
            targets.push(target(body, name, instance)?);
        }
    }
    Ok(targets)
}

fn target(
    body: &str,
    application: &str,
    instance: Node,
) -> Result<BTreeMap<String, String>, String> {
    let mut meta = Meta::new("__meta_eureka_");
    meta.set("app_name", application).set_plain("instance", text(instance, "instanceId"));
    for (label, element) in TEXTS {
        meta.set(&format!("app_instance_{label}"), text(instance, element));
    }
    for (label, element) in [("port", "port"), ("secure_port", "securePort")] {
        if let Some(port) = child(instance, element) {
            let number = text(instance, element);
            let number: i64 = number.parse().map_err(|_| format!("{element} {number:?}"))?;
            let enabled = port.attribute("enabled") == Some("true");
            meta.set(&format!("app_instance_{label}"), number.to_string());
            meta.set(&format!("app_instance_{label}_enabled"), enabled.to_string());
        }
    }
    let country = Some(text(instance, "countryId")).filter(|text| !text.is_empty());
    meta.set("app_instance_country_id", country.unwrap_or("0"));
    let mut set_each = |prefix: &str, of: Option<Node>| {
        for item in of.iter().flat_map(Node::children).filter(Node::is_element) {
            let name = format!("app_instance_{prefix}_{}", sanitized(item.tag_name().name()));
            meta.set(&name, xml::inner(body, item));
        }
    };
    let center = child(instance, "dataCenterInfo");
    set_each("metadata", child(instance, "metadata"));
    set_each("datacenterinfo_metadata", center.and_then(|center| child(center, "metadata")));
    if let Some(center) = center {
        meta.set("app_instance_datacenterinfo_name", text(center, "name"));
    }
    let port = child(instance, "port").map_or("80", |_| text(instance, "port"));
    Ok(meta.at(host_port(text(instance, "hostName"), port)))
}

refresh_by!(Eureka, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const APPS: &str = r#"<applications><versions__delta>1</versions__delta>
      <application><name>WEB</name>
        <instance><instanceId>h:web:1</instanceId><hostName>h</hostName><ipAddr>10.0.0.1</ipAddr><status>UP</status>
          <port enabled="true">8080</port><securePort enabled="false">443</securePort><countryId>1</countryId>
          <dataCenterInfo class="x"><name>MyOwn</name><metadata><zone>z</zone></metadata></dataCenterInfo>
          <metadata><management.port>8090</management.port><escaped>a&amp;b</escaped></metadata>
          <homePageUrl>http://h:8080/</homePageUrl><statusPageUrl>http://h/info</statusPageUrl><healthCheckUrl>http://h/health</healthCheckUrl>
          <vipAddress>web</vipAddress><secureVipAddress>webs</secureVipAddress></instance>
        <instance><hostName>portless</hostName></instance>
      </application></applications>"#;

    #[test]
    fn instances_of_applications() {
        let ask = Recorded::new(&[("/eureka/apps", 200, APPS)]);
        let mut eureka = Eureka { base: "http://e/eureka".into() };
        assert_eq!(
            shown(&refresh(&mut eureka, &ask).unwrap()),
            r#"eureka {}
  {"__address__": "h:8080", "__meta_eureka_app_instance_country_id": "1", "__meta_eureka_app_instance_datacenterinfo_metadata_zone": "z", "__meta_eureka_app_instance_datacenterinfo_name": "MyOwn", "__meta_eureka_app_instance_healthcheck_url": "http://h/health", "__meta_eureka_app_instance_homepage_url": "http://h:8080/", "__meta_eureka_app_instance_hostname": "h", "__meta_eureka_app_instance_id": "h:web:1", "__meta_eureka_app_instance_ip_addr": "10.0.0.1", "__meta_eureka_app_instance_metadata_escaped": "a&amp;b", "__meta_eureka_app_instance_metadata_management_port": "8090", "__meta_eureka_app_instance_port": "8080", "__meta_eureka_app_instance_port_enabled": "true", "__meta_eureka_app_instance_secure_port": "443", "__meta_eureka_app_instance_secure_port_enabled": "false", "__meta_eureka_app_instance_secure_vip_address": "webs", "__meta_eureka_app_instance_status": "UP", "__meta_eureka_app_instance_statuspage_url": "http://h/info", "__meta_eureka_app_instance_vip_address": "web", "__meta_eureka_app_name": "WEB", "instance": "h:web:1"}
  {"__address__": "portless:80", "__meta_eureka_app_instance_country_id": "0", "__meta_eureka_app_instance_hostname": "portless", "__meta_eureka_app_name": "WEB", "instance": ""}
"#
        );
    }

    #[test]
    fn garbage_is_refused() {
        let mut eureka = Eureka { base: "http://e".into() };
        for bad in [
            "",
            "<a>",
            "{}",
            "<applications><application><instance><port>x</port></instance></application></applications>",
        ] {
            let ask = Recorded::new(&[("", 200, bad)]);
            assert!(
                matches!(refresh(&mut eureka, &ask), Err(DiscoveryError::Answer { .. })),
                "{bad}"
            );
        }
    }
}
