//! `gce_sd`: the instances of one zone of Google Compute Engine.
//!
//! Who asks is found as Google's own clients do: a file that `GOOGLE_APPLICATION_CREDENTIALS` names, that of `gcloud`, else
//! the service account of the machine. Files may hold a service account, or a user with a refresh token.

use std::collections::BTreeMap;

use http::{HeaderName, Request};
use serde_json::json;

use super::super::ask::{
    Ask, DiscoveryError, answer, ask_json, ask_pages, get, post_form, refresh_by, with_bearer,
    with_query, with_secret,
};
use super::super::meta::{Meta, one_group, sanitized};
use super::super::sign;
use crate::scrape::TargetGroup;

const BASE: &str = "https://compute.googleapis.com/compute/v1";
const SCOPE: &str = "https://www.googleapis.com/auth/compute.readonly";
const TOKENS: &str = "https://oauth2.googleapis.com/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

/// How long before its end a token is not used any more.
const RENEW_BEFORE_MS: i64 = 60_000;

/// What is asked for, and how targets are made of it.
#[derive(Default)]
pub struct Gce {
    /// The project.
    pub project: String,
    /// The zone.
    pub zone: String,
    /// Which instances, in Google's words.
    pub filter: String,
    /// The port of the targets.
    pub port: u16,
    /// What stands between tags.
    pub tag_separator: String,
    /// The token, and until when it is good.
    pub token: Option<(String, i64)>,
}

answer! {
    /// Some of the instances.
    Page { items: Vec<Instance> = "items", next: String = "nextPageToken", }
}

answer! {
    /// An instance; its id is a number in quotes.
    Instance {
        id: String = "id",
        name: String = "name",
        zone: String = "zone",
        status: String = "status",
        machine_type: String = "machineType",
        interfaces: Vec<Interface> = "networkInterfaces",
        tags: Tags = "tags",
        metadata: Metadata = "metadata",
        labels: BTreeMap<String, String> = "labels",
    }
}

answer! {
    /// An interface.
    Interface {
        name: String = "name",
        network: String = "network",
        subnetwork: String = "subnetwork",
        ip: String = "networkIP",
        access: Vec<Access> = "accessConfigs",
    }
}

answer! {
    /// How an interface is reached from outside.
    Access { kind: String = "type", ip: String = "natIP", }
}

answer! {
    /// Tags of the network's rules.
    Tags { items: Vec<String> = "items", }
}

answer! {
    /// What users have said of an instance.
    Metadata { items: Vec<Pair> = "items", }
}

answer! {
    /// A name and its value, if there is one.
    Pair { key: String = "key", value: Option<String> = "value", }
}

answer! {
    /// A file of credentials, as far as it is read.
    KeyFile {
        kind: String = "type",
        client_email: String = "client_email",
        private_key: String = "private_key",
        private_key_id: String = "private_key_id",
        token_uri: String = "token_uri",
        client_id: String = "client_id",
        client_secret: String = "client_secret",
        refresh_token: String = "refresh_token",
    }
}

answer! {
    /// A token.
    Token { token: String = "access_token", seconds: i64 = "expires_in", }
}

impl Gce {
    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let token = self.token(ask).await?;
        let mut url = format!("{BASE}/projects/{}/zones/{}/instances", self.project, self.zone);
        if !self.filter.is_empty() {
            url = with_query(&url, [("filter", self.filter.as_str())]);
        }
        let next = |page: &Page, _| {
            let more = !page.next.is_empty();
            more.then(|| with_query(&url, [("pageToken", page.next.as_str())]))
        };
        let pages = ask_pages(ask, with_bearer(get(&url)?, &token)?, next).await;
        let pages = pages.inspect_err(|_| self.token = None)?;
        let instances = pages.into_iter().flat_map(|page| page.items);
        let targets = instances.filter_map(|instance| self.target(instance)).collect();
        Ok(one_group(format!("GCE_{}_{}", self.project, self.zone), targets))
    }

    /// `None` if the instance is in no network.
    fn target(&self, instance: Instance) -> Option<BTreeMap<String, String>> {
        let first = instance.interfaces.first()?;
        let address = format!("{}:{}", first.ip, self.port);
        let mut meta = Meta::with(
            "__meta_gce_",
            [
                ("project", self.project.clone()),
                ("zone", instance.zone),
                ("instance_id", instance.id),
                ("instance_name", instance.name),
                ("instance_status", instance.status),
                ("machine_type", instance.machine_type),
                ("network", first.network.clone()),
                ("subnetwork", first.subnetwork.clone()),
                ("private_ip", first.ip.clone()),
            ],
        );
        for interface in &instance.interfaces {
            let name = format!("interface_ipv4_{}", sanitized(&interface.name));
            meta.set(&name, interface.ip.as_str());
        }
        meta.set_list("tags", &self.tag_separator, &instance.tags.items);
        for pair in &instance.metadata.items {
            meta.set_some(&format!("metadata_{}", sanitized(&pair.key)), pair.value.as_deref());
        }
        meta.set_each("label_", &instance.labels);
        let access = first.access.first().filter(|access| access.kind == "ONE_TO_ONE_NAT");
        meta.set_some("public_ip", access.map(|access| access.ip.as_str()));
        Some(meta.at(address))
    }

    async fn token(&mut self, ask: &dyn Ask) -> Result<String, DiscoveryError> {
        let known = self.token.as_ref().filter(|(_, until)| ask.now_ms() < *until);
        if let Some((token, _)) = known {
            return Ok(token.clone());
        }
        let fetched: Token = ask_json(ask, token_request(ask).await?).await?;
        let until = ask.now_ms() + fetched.seconds * 1000 - RENEW_BEFORE_MS;
        self.token = Some((fetched.token.clone(), until));
        Ok(fetched.token)
    }
}

/// How a token is asked for.
async fn token_request(ask: &dyn Ask) -> Result<Request<bytes::Bytes>, DiscoveryError> {
    let Some((path, text)) = key_file(ask).await? else {
        let host = ask.variable("GCE_METADATA_HOST").unwrap_or_else(|| "169.254.169.254".into());
        let url =
            format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
        return with_secret(get(&with_query(&url, [("scopes", SCOPE)]))?, FLAVOR, "Google");
    };
    let wrong = |what: &str| DiscoveryError::Setting(format!("{path}: {what}"));
    let file: KeyFile = serde_json::from_str(&text).map_err(|e| wrong(&e.to_string()))?;
    let url = if file.token_uri.is_empty() { TOKENS } else { &file.token_uri };
    match file.kind.as_str() {
        "service_account" => {
            let now = ask.now_ms() / 1000;
            let header = json!({ "alg": "RS256", "typ": "JWT", "kid": file.private_key_id });
            let claims = json!({
                "iss": file.client_email, "scope": SCOPE, "aud": url, "iat": now, "exp": now + 3600
            });
            let signed = sign::token(&header, &claims, &file.private_key);
            let signed = signed.map_err(|e| wrong(&format!("private_key {e}")))?;
            post_form(url, &[("grant_type", JWT_BEARER), ("assertion", &signed)])
        }
        "authorized_user" => post_form(
            url,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", &file.client_id),
                ("client_secret", &file.client_secret),
                ("refresh_token", &file.refresh_token),
            ],
        ),
        other => Err(wrong(&format!(
            "credentials of type {other:?} are not supported, use service_account or authorized_user"
        ))),
    }
}

/// The file of credentials and its text, if there is one.
async fn key_file(ask: &dyn Ask) -> Result<Option<(String, String)>, DiscoveryError> {
    if let Some(path) = ask.variable("GOOGLE_APPLICATION_CREDENTIALS") {
        let text = ask.file(&path).await?;
        return Ok(Some((path, text)));
    }
    let home = ask.variable("HOME").unwrap_or_default();
    let path = format!("{home}/.config/gcloud/application_default_credentials.json");
    // It need not be there.
    Ok(ask.file(&path).await.ok().map(|text| (path, text)))
}

refresh_by!(Gce, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const KEY: &str = include_str!("../../../testdata/discovery/rsa.key");
    const FIRST: &str = r#"{"items": [{"id": "4321", "name": "web", "zone": "https://z/eu-a", "status": "RUNNING", "machineType": "https://m/n1", "labels": {"a-b": "c"},
      "networkInterfaces": [{"name": "nic0", "network": "n", "subnetwork": "s", "networkIP": "10.0.0.1", "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "natIP": "34.0.0.1"}]}, {"name": "nic1", "networkIP": "10.1.0.1"}],
      "tags": {"items": ["x", "y"]}, "metadata": {"items": [{"key": "k.1", "value": "v"}, {"key": "bare"}]}}, {"id": "1"}], "nextPageToken": "p/2"}"#;
    const SECOND: &str = r#"{"items": [{"id": "2", "networkInterfaces": [{"name": "nic0", "networkIP": "10.0.0.2"}]}]}"#;
    const TOKEN: &str = r#"{"access_token": "tok", "expires_in": 3599, "token_type": "Bearer"}"#;

    fn gce() -> Gce {
        Gce {
            project: "p".into(),
            zone: "eu-a".into(),
            filter: "name=web".into(),
            port: 80,
            tag_separator: ",".into(),
            token: None,
        }
    }

    fn answers() -> Recorded {
        Recorded::new(&[
            ("pageToken=p%2F2", 200, SECOND),
            ("/instances", 200, FIRST),
            ("/token", 200, TOKEN),
        ])
    }

    #[test]
    fn instances_on_two_pages() {
        let (ask, mut gce) = (answers(), gce());
        assert_eq!(
            shown(&refresh(&mut gce, &ask).unwrap()),
            r#"GCE_p_eu-a {}
  {"__address__": "10.0.0.1:80", "__meta_gce_instance_id": "4321", "__meta_gce_instance_name": "web", "__meta_gce_instance_status": "RUNNING", "__meta_gce_interface_ipv4_nic0": "10.0.0.1", "__meta_gce_interface_ipv4_nic1": "10.1.0.1", "__meta_gce_label_a_b": "c", "__meta_gce_machine_type": "https://m/n1", "__meta_gce_metadata_k_1": "v", "__meta_gce_network": "n", "__meta_gce_private_ip": "10.0.0.1", "__meta_gce_project": "p", "__meta_gce_public_ip": "34.0.0.1", "__meta_gce_subnetwork": "s", "__meta_gce_tags": ",x,y,", "__meta_gce_zone": "https://z/eu-a"}
  {"__address__": "10.0.0.2:80", "__meta_gce_instance_id": "2", "__meta_gce_interface_ipv4_nic0": "10.0.0.2", "__meta_gce_private_ip": "10.0.0.2", "__meta_gce_project": "p"}
"#
        );
        assert_eq!(ask.asked.borrow()[0].headers()["metadata-flavor"], "Google");
        assert_eq!(ask.asked.borrow()[1].headers()["authorization"], "Bearer tok");
        assert_eq!(
            ask.urls()[1],
            "https://compute.googleapis.com/compute/v1/projects/p/zones/eu-a/instances?filter=name%3Dweb"
        );
        refresh(&mut gce, &ask).unwrap();
        assert_eq!(ask.urls().len(), 5, "the token is kept");
        assert!(refresh(&mut gce, &Recorded::new(&[("/instances", 401, "")])).is_err());
        refresh(&mut gce, &ask).unwrap();
        assert_eq!(ask.urls().len(), 8, "and fetched anew after a failure");
    }

    #[test]
    fn files_of_credentials() {
        let account = serde_json::json!({ "type": "service_account", "client_email": "a@b", "private_key": KEY, "private_key_id": "k" });
        let with =
            |text: &str| answers().with(&[("GOOGLE_APPLICATION_CREDENTIALS", "/k"), ("/k", text)]);
        let ask = with(&account.to_string());
        refresh(&mut gce(), &ask).unwrap();
        assert_eq!(ask.urls()[0], TOKENS);
        assert!(ask.bodies()[0].starts_with("grant_type=urn%3Aietf"), "{:?}", ask.bodies());
        let ask = with(
            r#"{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}"#,
        );
        refresh(&mut gce(), &ask).unwrap();
        assert_eq!(
            ask.bodies()[0],
            "grant_type=refresh%5Ftoken&client_id=i&client_secret=s&refresh_token=r"
        );
        for (bad, expected) in [
            (
                r#"{"type": "external_account"}"#,
                r#"/k: credentials of type "external_account" are not supported"#,
            ),
            (
                r#"{"type": "service_account", "private_key": "hunter2"}"#,
                "/k: private_key is not an RSA key in PEM",
            ),
            ("{", "/k: EOF"),
        ] {
            let error = refresh(&mut gce(), &with(bad)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
