//! `ovhcloud_sd`: the dedicated servers or the virtual private servers of an OVHcloud account.
//!
//! Requests are signed with the application's secret: `"$1$" + SHA1(secret+consumer+method+URL+body+time)`, by OVH's clock.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::HeaderName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::super::ask::{
    Answer, Ask, DiscoveryError, answer, ask_json, get, refresh_by, with_secret,
};
use super::super::meta::{Meta, one_group};
use super::aws::sigv4::hex;
use crate::scrape::TargetGroup;

/// OVH's endpoints by name; others are URLs.
const ENDPOINTS: [(&str, &str); 7] = [
    ("ovh-eu", "https://eu.api.ovh.com/1.0"),
    ("ovh-ca", "https://ca.api.ovh.com/1.0"),
    ("ovh-us", "https://api.us.ovhcloud.com/1.0"),
    ("kimsufi-eu", "https://eu.api.kimsufi.com/1.0"),
    ("kimsufi-ca", "https://ca.api.kimsufi.com/1.0"),
    ("soyoustart-eu", "https://eu.api.soyoustart.com/1.0"),
    ("soyoustart-ca", "https://ca.api.soyoustart.com/1.0"),
];

const APPLICATION: HeaderName = HeaderName::from_static("x-ovh-application");
const CONSUMER: HeaderName = HeaderName::from_static("x-ovh-consumer");
const SIGNATURE: HeaderName = HeaderName::from_static("x-ovh-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-ovh-timestamp");

/// What is asked for, and as whom.
#[derive(Clone, Debug, Default)]
pub struct OvhCloudOptions {
    /// Name or URL of the API.
    pub endpoint: String,
    /// Who asks.
    pub application_key: String,
    /// The secret of who asks.
    pub application_secret: String,
    /// On behalf of whom.
    pub consumer_key: String,
    /// Whether virtual private servers are wanted, not dedicated ones.
    pub vps: bool,
}

/// See the module.
pub struct OvhCloud {
    options: OvhCloudOptions,
    base: String,
    /// How far OVH's clock is ahead of ours, in seconds.
    ahead: Option<i64>,
}

answer! {
    /// A dedicated server.
    Dedicated {
        name: String = "name",
        state: String = "state",
        commercial_range: String = "commercialRange",
        link_speed: i64 = "linkSpeed",
        rack: String = "rack",
        no_intervention: bool = "noIntervention",
        os: String = "os",
        support_level: String = "supportLevel",
        server_id: i64 = "serverId",
        reverse: String = "reverse",
        datacenter: String = "datacenter",
    }
}

answer! {
    /// A virtual private server.
    Vps {
        name: String = "name",
        zone: String = "zone",
        model: Model = "model",
        display_name: String = "displayName",
        cluster: String = "cluster",
        state: String = "state",
        netboot_mode: String = "netbootMode",
        memory_limit: i64 = "memoryLimit",
        offer_type: String = "offerType",
        vcore: i64 = "vcore",
    }
}

answer! {
    /// What was rented.
    Model {
        maximum_additional_ip: i64 = "maximumAdditionnalIp",
        offer: String = "offer",
        datacenter: Vec<String> = "datacenter",
        vcore: i64 = "vcore",
        version: String = "version",
        name: String = "name",
        disk: i64 = "disk",
        memory: i64 = "memory",
    }
}

impl OvhCloud {
    /// `Err` says that there is no such endpoint.
    pub fn new(options: OvhCloudOptions) -> Result<Self, String> {
        let named = ENDPOINTS.iter().find(|(name, _)| *name == options.endpoint);
        let base = match named {
            Some((_, url)) => (*url).to_owned(),
            None if options.endpoint.contains("://") => {
                options.endpoint.trim_end_matches('/').to_owned()
            }
            None => {
                return Err(format!(
                    "unknown endpoint {:?}: neither a name nor a URL",
                    options.endpoint
                ));
            }
        };
        Ok(OvhCloud { options, base, ahead: None })
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let (path, source) = if self.options.vps {
            ("vps", "ovhcloud_vps")
        } else {
            ("dedicated/server", "ovhcloud_dedicated_server")
        };
        let names: Vec<String> = self.ask(ask, path).await?;
        let mut targets = Vec::new();
        for name in names {
            let path = format!("{path}/{}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
            // A server that cannot be told of is left out, as by Prometheus.
            match self.target(ask, &path).await {
                Ok(target) => targets.push(target),
                Err(error) => {
                    tracing::warn!(server = name, %error, "details of a server at OVHcloud");
                }
            }
        }
        Ok(one_group(source, targets))
    }

    async fn target(
        &mut self,
        ask: &dyn Ask,
        path: &str,
    ) -> Result<BTreeMap<String, String>, DiscoveryError> {
        let (name, mut meta) = if self.options.vps {
            vps(self.ask(ask, path).await?)
        } else {
            dedicated(self.ask(ask, path).await?)
        };
        let ips: Vec<String> = self.ask(ask, &format!("{path}/ips")).await?;
        let ips = addresses(&ips).ok_or_else(|| DiscoveryError::Answer {
            url: format!("{}/{path}/ips", self.base),
            reason: "could not parse IP addresses from list".to_owned(),
        })?;
        let last = |v4: bool| ips.iter().rfind(|ip| ip.is_ipv4() == v4).map(IpAddr::to_string);
        let (v4, v6) = (last(true).unwrap_or_default(), last(false).unwrap_or_default());
        let address = if v4.is_empty() { v6.clone() } else { v4.clone() };
        meta.set("ipv4", v4).set("ipv6", v6).set_plain("instance", name);
        Ok(meta.at(address))
    }

    /// A signed question.
    async fn ask<T: Answer>(&mut self, ask: &dyn Ask, path: &str) -> Result<T, DiscoveryError> {
        let now = ask.now_ms() / 1000;
        if self.ahead.is_none() {
            let theirs: i64 = ask_json(ask, get(&format!("{}/auth/time", self.base))?).await?;
            self.ahead = Some(theirs - now);
        }
        let time = (now + self.ahead.unwrap_or_default()).to_string();
        let url = format!("{}/{path}", self.base);
        let own = &self.options;
        let text = [&own.application_secret, &own.consumer_key, "GET", &url, "", &time].join("+");
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let signature = format!("$1${}", hex(hash.as_ref()));
        let mut request = get(&url)?;
        for (name, value) in [
            (APPLICATION, own.application_key.as_str()),
            (CONSUMER, own.consumer_key.as_str()),
            (SIGNATURE, &signature),
            (TIMESTAMP, &time),
        ] {
            request = with_secret(request, name, value)?;
        }
        ask_json(ask, request).await
    }
}

fn dedicated(server: Dedicated) -> (String, Meta) {
    let labels = [
        ("state", server.state),
        ("commercial_range", server.commercial_range),
        ("link_speed", server.link_speed.to_string()),
        ("rack", server.rack),
        ("no_intervention", server.no_intervention.to_string()),
        ("os", server.os),
        ("support_level", server.support_level),
        ("server_id", server.server_id.to_string()),
        ("reverse", server.reverse),
        ("datacenter", server.datacenter),
        ("name", server.name.clone()),
    ];
    (server.name, Meta::with("__meta_ovhcloud_dedicated_server_", labels))
}

fn vps(server: Vps) -> (String, Meta) {
    let labels = [
        ("offer", server.model.offer),
        ("datacenter", format!("[{}]", server.model.datacenter.join(" "))),
        ("model_vcore", server.model.vcore.to_string()),
        ("maximum_additional_ip", server.model.maximum_additional_ip.to_string()),
        ("version", server.model.version),
        ("model_name", server.model.name),
        ("disk", server.model.disk.to_string()),
        ("memory", server.model.memory.to_string()),
        ("zone", server.zone),
        ("display_name", server.display_name),
        ("cluster", server.cluster),
        ("state", server.state),
        ("name", server.name.clone()),
        ("netboot_mode", server.netboot_mode),
        ("memory_limit", server.memory_limit.to_string()),
        ("offer_type", server.offer_type),
        ("vcore", server.vcore.to_string()),
    ];
    (server.name, Meta::with("__meta_ovhcloud_vps_", labels))
}

/// Single addresses, alone or as a network of 32 bits; `None` if there is none, or something else.
fn addresses(list: &[String]) -> Option<Vec<IpAddr>> {
    let mut all = Vec::new();
    for text in list {
        let (ip, bits) =
            text.split_once('/').map_or((text.as_str(), None), |(ip, b)| (ip, Some(b)));
        let ip: IpAddr = ip.parse().ok()?;
        let bits: Option<u8> = bits.map(str::parse).transpose().ok()?;
        if bits.is_none_or(|bits| bits == 32) && !ip.is_unspecified() {
            all.push(ip);
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

refresh_by!(OvhCloud, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    fn ovh(vps: bool) -> OvhCloud {
        let options = OvhCloudOptions {
            endpoint: "ovh-eu".into(),
            application_key: "ak".into(),
            application_secret: "as".into(),
            consumer_key: "ck".into(),
            vps,
        };
        OvhCloud::new(options).unwrap()
    }

    #[test]
    fn dedicated_servers() {
        let ask = Recorded::new(&[
            ("/auth/time", 200, "1000"),
            ("/dedicated/server/abcde/ips", 200, r#"["1.2.3.4", "2001:db8::1/64", "2001:db8::1"]"#),
            (
                "/dedicated/server/abcde",
                200,
                r#"{"name": "abcde", "os": "debian11_64", "datacenter": "gra3", "rack": "TESTRACK", "state": "ok", "linkSpeed": 123, "serverId": 1234, "reverse": "abcde-rev", "supportLevel": "pro", "commercialRange": "Advance-1 Gen 2", "noIntervention": false}"#,
            ),
            ("/dedicated/server/broken/ips", 200, r#"["x"]"#),
            ("/dedicated/server/broken", 200, "{}"),
            ("/dedicated/server", 200, r#"["abcde", "broken", "missing"]"#),
        ]);
        assert_eq!(
            shown(&refresh(&mut ovh(false), &ask).unwrap()),
            r#"ovhcloud_dedicated_server {}
  {"__address__": "1.2.3.4", "__meta_ovhcloud_dedicated_server_commercial_range": "Advance-1 Gen 2", "__meta_ovhcloud_dedicated_server_datacenter": "gra3", "__meta_ovhcloud_dedicated_server_ipv4": "1.2.3.4", "__meta_ovhcloud_dedicated_server_ipv6": "2001:db8::1", "__meta_ovhcloud_dedicated_server_link_speed": "123", "__meta_ovhcloud_dedicated_server_name": "abcde", "__meta_ovhcloud_dedicated_server_no_intervention": "false", "__meta_ovhcloud_dedicated_server_os": "debian11_64", "__meta_ovhcloud_dedicated_server_rack": "TESTRACK", "__meta_ovhcloud_dedicated_server_reverse": "abcde-rev", "__meta_ovhcloud_dedicated_server_server_id": "1234", "__meta_ovhcloud_dedicated_server_state": "ok", "__meta_ovhcloud_dedicated_server_support_level": "pro", "instance": "abcde"}
"#
        );
        let asked = ask.asked.borrow();
        let headers = asked[1].headers();
        assert_eq!(
            (
                &headers["x-ovh-application"],
                &headers["x-ovh-consumer"],
                &headers["x-ovh-timestamp"]
            ),
            (&"ak".parse().unwrap(), &"ck".parse().unwrap(), &"1000".parse().unwrap())
        );
        let text = "as+ck+GET+https://eu.api.ovh.com/1.0/dedicated/server++1000";
        let expected = hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
        assert_eq!(headers["x-ovh-signature"], format!("$1${expected}"));
    }

    #[test]
    fn virtual_private_servers() {
        let ask = Recorded::new(&[
            ("/auth/time", 200, "0"),
            ("/vps/abc/ips", 200, r#"["192.0.2.1/32"]"#),
            (
                "/vps/abc",
                200,
                r#"{"name": "abc", "zone": "z", "displayName": "abc", "cluster": "c", "state": "running", "netbootMode": "local", "memoryLimit": 2048, "offerType": "ssd", "vcore": 1, "model": {"name": "vps-value-1-2-40", "disk": 40, "offer": "VPS abc", "memory": 2048, "version": "2019v1", "maximumAdditionnalIp": 16, "datacenter": ["a", "b"], "vcore": 1}}"#,
            ),
            ("/vps", 200, r#"["abc"]"#),
        ]);
        assert_eq!(
            shown(&refresh(&mut ovh(true), &ask).unwrap()),
            r#"ovhcloud_vps {}
  {"__address__": "192.0.2.1", "__meta_ovhcloud_vps_cluster": "c", "__meta_ovhcloud_vps_datacenter": "[a b]", "__meta_ovhcloud_vps_disk": "40", "__meta_ovhcloud_vps_display_name": "abc", "__meta_ovhcloud_vps_ipv4": "192.0.2.1", "__meta_ovhcloud_vps_maximum_additional_ip": "16", "__meta_ovhcloud_vps_memory": "2048", "__meta_ovhcloud_vps_memory_limit": "2048", "__meta_ovhcloud_vps_model_name": "vps-value-1-2-40", "__meta_ovhcloud_vps_model_vcore": "1", "__meta_ovhcloud_vps_name": "abc", "__meta_ovhcloud_vps_netboot_mode": "local", "__meta_ovhcloud_vps_offer": "VPS abc", "__meta_ovhcloud_vps_offer_type": "ssd", "__meta_ovhcloud_vps_state": "running", "__meta_ovhcloud_vps_vcore": "1", "__meta_ovhcloud_vps_version": "2019v1", "__meta_ovhcloud_vps_zone": "z", "instance": "abc"}
"#
        );
        assert!(
            refresh(&mut ovh(true), &Recorded::new(&[("/auth/time", 200, "0"), ("", 500, "")]))
                .is_err()
        );
        assert!(
            OvhCloud::new(OvhCloudOptions {
                endpoint: "moon".into(),
                ..OvhCloudOptions::default()
            })
            .is_err()
        );
    }
}
