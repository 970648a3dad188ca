//! `stackit_sd`: the servers of a STACKIT project.
//!
//! Without a service account's key the HTTP client's configuration says who asks; with one a token is asked for by an
//! assertion that the account's private key signs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::ask::{
    Ask, DiscoveryError, answer, ask_json, get, post_form, refresh_by, with_bearer,
};
use super::super::meta::{Meta, host_port, one_group, sanitized};
use super::super::sign;
use crate::scrape::TargetGroup;

const TOKENS: &str = "https://service-account.api.stackit.cloud/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long an assertion is good for.
const ASSERTION_SECONDS: i64 = 600;

/// How long before its end a token is not used any more.
const RENEW_BEFORE_MS: i64 = 60_000;

/// What is asked for, as whom, and how targets are made of it.
#[derive(Clone, Debug, Default)]
pub struct StackitOptions {
    /// The project.
    pub project: String,
    /// Where the API begins; empty is where the region has it.
    pub endpoint: String,
    /// The region.
    pub region: String,
    /// A service account's key, and the file that has it.
    pub account_key: (String, String),
    /// The private key, if it is not in the account's, and the file that has it.
    pub private_key: (String, String),
    /// A file that says where the private key is.
    pub credentials_file: String,
    /// The port of the targets.
    pub port: u16,
}

/// See the module.
pub struct Stackit {
    options: StackitOptions,
    token: Option<(String, i64)>,
}

answer! {
    /// The servers.
    Servers { items: Vec<Server> = "items", }
}

answer! {
    /// A server; labels may be of any type.
    Server {
        id: String = "id",
        name: String = "name",
        zone: String = "availabilityZone",
        machine_type: String = "machineType",
        status: String = "status",
        power_status: String = "powerStatus",
        labels: BTreeMap<String, Value> = "labels",
        nics: Vec<Nic> = "nics",
    }
}

answer! {
    /// An interface.
    Nic { network: String = "networkName", private: String = "ipv4", public: String = "publicIp", }
}

answer! {
    /// A service account's key.
    AccountKey { credentials: AccountCredentials = "credentials", }
}

answer! {
    /// Who the account is.
    AccountCredentials { kid: String = "kid", iss: String = "iss", sub: String = "sub", aud: String = "aud", private_key: String = "privateKey", }
}

answer! {
    /// A file of credentials.
    CredentialsFile { key: String = "STACKIT_PRIVATE_KEY", key_path: String = "STACKIT_PRIVATE_KEY_PATH", }
}

answer! {
    /// A token.
    Token { token: String = "access_token", seconds: i64 = "expires_in", }
}

impl Stackit {
    /// As told.
    pub fn new(options: StackitOptions) -> Self {
        Stackit { options, token: None }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let own = &self.options;
        let base = match own.endpoint.trim_end_matches('/') {
            "" => format!("https://iaas.api.{}.stackit.cloud", own.region),
            endpoint => endpoint.to_owned(),
        };
        let mut request = get(&format!("{base}/v1/projects/{}/servers?details=true", own.project))?;
        if !own.account_key.0.is_empty() || !own.account_key.1.is_empty() {
            request = with_bearer(request, &self.token(ask).await?)?;
        }
        let servers: Result<Servers, _> = ask_json(ask, request).await;
        let servers = servers.inspect_err(|_| self.token = None)?;
        let targets = servers.items.into_iter().filter_map(|server| self.target(server)).collect();
        Ok(one_group("stackit", targets))
    }

    /// `None` if the server has no address.
    fn target(&self, server: Server) -> Option<BTreeMap<String, String>> {
        let mut meta = Meta::with(
            "__meta_stackit_",
            [
                ("project", self.options.project.clone()),
                ("id", server.id),
                ("name", server.name),
                ("availability_zone", server.zone),
                ("status", server.status),
                ("power_status", server.power_status),
                ("type", server.machine_type),
            ],
        );
        let mut address = None;
        for nic in &server.nics {
            if !nic.public.is_empty() && meta.get("public_ipv4").is_empty() {
                meta.set("public_ipv4", nic.public.as_str());
                address = Some(nic.public.as_str());
            }
            if !nic.private.is_empty() {
                let name = format!("private_ipv4_{}", sanitized(&nic.network));
                meta.set(&name, nic.private.as_str());
                address = address.or(Some(&nic.private));
            }
        }
        let texts =
            server.labels.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
        let texts: BTreeMap<String, String> = texts.collect();
        meta.set_each_present("label", &texts);
        Some(meta.at(host_port(address?, self.options.port)))
    }

    async fn token(&mut self, ask: &dyn Ask) -> Result<String, DiscoveryError> {
        let now_ms = ask.now_ms();
        if let Some((token, until)) = &self.token
            && now_ms < *until
        {
            return Ok(token.clone());
        }
        let wrong = |what: String| DiscoveryError::Setting(format!("service_account_key: {what}"));
        let text = text_or_file(ask, &self.options.account_key).await?;
        let key: AccountKey = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let who = key.credentials;
        let private = self.private_key(ask, &who.private_key).await?;
        let now = now_ms / 1000;
        let id = sign::unique().map_err(|e| wrong(format!("an assertion {e}")))?;
        let claims = json!({
            "iss": who.iss, "sub": who.sub, "aud": who.aud, "jti": id, "iat": now, "exp": now + ASSERTION_SECONDS
        });
        let header = json!({ "alg": "RS512", "typ": "JWT", "kid": who.kid });
        let signed = sign::token(&header, &claims, &private);
        let signed = signed.map_err(|e| wrong(format!("the private key {e}")))?;
        let form = [("grant_type", JWT_BEARER), ("assertion", signed.as_str())];
        let fetched: Token = ask_json(ask, post_form(TOKENS, &form)?).await?;
        self.token =
            Some((fetched.token.clone(), now_ms + fetched.seconds * 1000 - RENEW_BEFORE_MS));
        Ok(fetched.token)
    }

    /// The account's private key: what is configured goes before what is in the account's key.
    async fn private_key(&self, ask: &dyn Ask, own: &str) -> Result<String, DiscoveryError> {
        let configured = text_or_file(ask, &self.options.private_key).await?;
        if !configured.is_empty() || !own.is_empty() || self.options.credentials_file.is_empty() {
            return Ok(if configured.is_empty() { own.to_owned() } else { configured });
        }
        let path = &self.options.credentials_file;
        let text = ask.file(path).await?;
        let file: CredentialsFile = serde_json::from_str(&text)
            .map_err(|e| DiscoveryError::Setting(format!("{path}: {e}")))?;
        text_or_file(ask, &(file.key, file.key_path)).await
    }
}

/// The text, or what the file has; empty if neither is given.
async fn text_or_file(
    ask: &dyn Ask,
    (text, file): &(String, String),
) -> Result<String, DiscoveryError> {
    if text.is_empty() && !file.is_empty() { ask.file(file).await } else { Ok(text.clone()) }
}

refresh_by!(Stackit, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const KEY: &str = include_str!("../../../testdata/discovery/rsa.key");
    const SERVERS: &str = r#"{"items": [{"id": "b4176700", "name": "runcommandtest", "availabilityZone": "eu01-3", "machineType": "g1.1", "status": "ACTIVE", "powerStatus": "RUNNING", "labels": {"provisionSTACKITServerAgent": "true", "stackit-project": "dev", "n": 1},
      "nics": [{"ipv4": "10.0.0.153", "networkName": "default net"}, {"publicIp": "192.0.2.1", "networkName": "x"}]}, {"id": "dry", "nics": null}]}"#;

    #[test]
    fn servers_with_addresses() {
        let options = StackitOptions {
            project: "p".into(),
            region: "eu01".into(),
            port: 80,
            ..StackitOptions::default()
        };
        let ask = Recorded::new(&[(
            "https://iaas.api.eu01.stackit.cloud/v1/projects/p/servers?details=true",
            200,
            SERVERS,
        )]);
        assert_eq!(
            shown(&refresh(&mut Stackit::new(options), &ask).unwrap()),
            r#"stackit {}
  {"__address__": "192.0.2.1:80", "__meta_stackit_availability_zone": "eu01-3", "__meta_stackit_id": "b4176700", "__meta_stackit_label_provisionSTACKITServerAgent": "true", "__meta_stackit_label_stackit_project": "dev", "__meta_stackit_labelpresent_provisionSTACKITServerAgent": "true", "__meta_stackit_labelpresent_stackit_project": "true", "__meta_stackit_name": "runcommandtest", "__meta_stackit_power_status": "RUNNING", "__meta_stackit_private_ipv4_default_net": "10.0.0.153", "__meta_stackit_project": "p", "__meta_stackit_public_ipv4": "192.0.2.1", "__meta_stackit_status": "ACTIVE", "__meta_stackit_type": "g1.1"}
"#
        );
    }

    #[test]
    fn accounts_get_a_token() {
        let account = r#"{"credentials": {"kid": "k", "iss": "i", "sub": "s", "aud": "a"}}"#;
        let options = StackitOptions {
            endpoint: "http://e".into(),
            account_key: (String::new(), "/a".into()),
            credentials_file: "/c".into(),
            ..StackitOptions::default()
        };
        let answers = || {
            Recorded::new(&[
                ("/token", 200, r#"{"access_token": "tok", "expires_in": 3600}"#),
                ("/servers", 200, "{}"),
            ])
        };
        let ask = answers().with(&[
            ("/a", account),
            ("/c", r#"{"STACKIT_PRIVATE_KEY_PATH": "/k"}"#),
            ("/k", KEY),
        ]);
        let mut stackit = Stackit::new(options.clone());
        refresh(&mut stackit, &ask).unwrap();
        refresh(&mut stackit, &ask).unwrap();
        assert_eq!(
            ask.urls(),
            [
                TOKENS,
                "http://e/v1/projects//servers?details=true",
                "http://e/v1/projects//servers?details=true"
            ]
        );
        assert_eq!(ask.asked.borrow()[1].headers()["authorization"], "Bearer tok");
        let bad = StackitOptions { private_key: ("hunter2".into(), String::new()), ..options };
        let error = refresh(&mut Stackit::new(bad), &ask).unwrap_err().to_string();
        assert_eq!(error, "service_account_key: the private key is not an RSA key in PEM");
    }
}
