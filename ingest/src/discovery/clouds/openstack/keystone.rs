//! OpenStack's login (Identity API v3): a password or an application credential for a token and the catalogue of services.

use serde_json::{Value, json};

use super::super::super::ask::{Ask, DiscoveryError, answer, ask_ok, post_json, read_json};

/// As whom; without an identity endpoint what the environment says (`OS_AUTH_URL` and so on).
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// Where Keystone is.
    pub identity_endpoint: String,
    /// The user by name.
    pub username: String,
    /// The user by id.
    pub userid: String,
    /// The user's password.
    pub password: String,
    /// The project by name.
    pub project_name: String,
    /// The project by id.
    pub project_id: String,
    /// The domain of user and project by name.
    pub domain_name: String,
    /// The domain of user and project by id.
    pub domain_id: String,
    /// An application credential by name, which needs the user.
    pub credential_name: String,
    /// An application credential by id.
    pub credential_id: String,
    /// Its secret.
    pub credential_secret: String,
}

/// What a login gives.
pub(super) struct Session {
    pub(super) token: String,
    catalog: Vec<Service>,
}

answer! {
    /// The answer to a login.
    Answer { token: Token = "token", }
}

answer! {
    /// What the token is good for.
    Token { catalog: Vec<Service> = "catalog", }
}

answer! {
    /// A service and where it is.
    Service { kind: String = "type", endpoints: Vec<Endpoint> = "endpoints", }
}

answer! {
    /// Where a service is for somebody.
    Endpoint { interface: String = "interface", region: String = "region", region_id: String = "region_id", url: String = "url", }
}

impl Login {
    /// Logs in.
    pub(super) async fn session(&self, ask: &dyn Ask) -> Result<Session, DiscoveryError> {
        let login =
            if self.identity_endpoint.is_empty() { &Login::of_environment(ask)? } else { self };
        let base = login.identity_endpoint.trim_end_matches('/');
        let version = if base.ends_with("/v3") { "" } else { "/v3" };
        let url = format!("{base}{version}/auth/tokens");
        let response = ask_ok(ask, post_json(&url, &login.body())?).await?;
        let wrong =
            |reason: &str| DiscoveryError::Answer { url: url.clone(), reason: reason.to_owned() };
        let token = response.headers().get("x-subject-token").and_then(|token| token.to_str().ok());
        let token = token.ok_or_else(|| wrong("the answer has no token"))?.to_owned();
        let answer: Answer = read_json(response.body(), &mut 0).map_err(|e| wrong(&e))?;
        Ok(Session { token, catalog: answer.token.catalog })
    }

    fn of_environment(ask: &dyn Ask) -> Result<Self, DiscoveryError> {
        let first =
            |names: &[&str]| names.iter().find_map(|name| ask.variable(name)).unwrap_or_default();
        let login = Login {
            identity_endpoint: first(&["OS_AUTH_URL"]),
            username: first(&["OS_USERNAME"]),
            userid: first(&["OS_USERID"]),
            password: first(&["OS_PASSWORD"]),
            project_name: first(&["OS_PROJECT_NAME", "OS_TENANT_NAME"]),
            project_id: first(&["OS_PROJECT_ID", "OS_TENANT_ID"]),
            domain_name: first(&["OS_DOMAIN_NAME"]),
            domain_id: first(&["OS_DOMAIN_ID"]),
            credential_name: first(&["OS_APPLICATION_CREDENTIAL_NAME"]),
            credential_id: first(&["OS_APPLICATION_CREDENTIAL_ID"]),
            credential_secret: first(&["OS_APPLICATION_CREDENTIAL_SECRET"]),
        };
        if login.identity_endpoint.is_empty() {
            let wrong = "neither identity_endpoint nor OS_AUTH_URL of the environment is set";
            return Err(DiscoveryError::Setting(wrong.to_owned()));
        }
        Ok(login)
    }

    /// The question of a login.
    fn body(&self) -> Value {
        let mut auth = json!({ "identity": self.identity() });
        if self.credential_secret.is_empty()
            && let Some(scope) = self.scope()
        {
            auth["scope"] = scope;
        }
        json!({ "auth": auth })
    }

    fn identity(&self) -> Value {
        if self.credential_secret.is_empty() {
            let mut user = self.user();
            user["password"] = json!(self.password);
            return json!({ "methods": ["password"], "password": { "user": user } });
        }
        let credential = if self.credential_id.is_empty() {
            json!({ "name": self.credential_name, "secret": self.credential_secret, "user": self.user() })
        } else {
            json!({ "id": self.credential_id, "secret": self.credential_secret })
        };
        json!({ "methods": ["application_credential"], "application_credential": credential })
    }

    fn user(&self) -> Value {
        if self.userid.is_empty() {
            json!({ "name": self.username, "domain": self.domain() })
        } else {
            json!({ "id": self.userid })
        }
    }

    fn domain(&self) -> Value {
        if self.domain_id.is_empty() {
            json!({ "name": self.domain_name })
        } else {
            json!({ "id": self.domain_id })
        }
    }

    /// What the token is to be good for; without a project what the user has by default.
    fn scope(&self) -> Option<Value> {
        if !self.project_id.is_empty() {
            return Some(json!({ "project": { "id": self.project_id } }));
        }
        let named = !self.project_name.is_empty();
        named.then(|| json!({ "project": { "name": self.project_name, "domain": self.domain() } }))
    }
}

impl Session {
    /// Where a service is, without a slash at the end.
    pub(super) fn endpoint(
        &self,
        service: &str,
        region: &str,
        interface: &str,
    ) -> Result<&str, DiscoveryError> {
        let endpoints =
            self.catalog.iter().filter(|one| one.kind == service).flat_map(|one| &one.endpoints);
        let here = |one: &&Endpoint| {
            one.interface == interface && (one.region == region || one.region_id == region)
        };
        let found = endpoints.into_iter().find(here).map(|one| one.url.trim_end_matches('/'));
        found.ok_or_else(|| {
            DiscoveryError::Setting(format!(
                "OpenStack has no {interface} endpoint of {service} in region {region:?}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::ask::recorded::Recorded;
    use super::*;

    #[test]
    fn each_way_to_log_in() {
        let by_id = Login {
            userid: "u".into(),
            password: "x".into(),
            project_id: "p".into(),
            ..Login::default()
        };
        assert_eq!(
            by_id.body().to_string(),
            r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"u","password":"x"}}},"scope":{"project":{"id":"p"}}}}"#
        );
        let credential =
            Login { credential_id: "c".into(), credential_secret: "s".into(), ..Login::default() };
        assert_eq!(
            credential.body().to_string(),
            r#"{"auth":{"identity":{"application_credential":{"id":"c","secret":"s"},"methods":["application_credential"]}}}"#
        );
        let named = Login {
            credential_name: "c".into(),
            credential_secret: "s".into(),
            username: "me".into(),
            domain_id: "d".into(),
            ..Login::default()
        };
        assert!(named.body().to_string().contains(r#""user":{"domain":{"id":"d"},"name":"me"}"#));
        let ask = Recorded::new(&[]).with(&[
            ("OS_AUTH_URL", "http://k"),
            ("OS_USERNAME", "me"),
            ("OS_TENANT_NAME", "t"),
        ]);
        let login = Login::of_environment(&ask).unwrap();
        assert_eq!(
            (login.identity_endpoint.as_str(), login.project_name.as_str()),
            ("http://k", "t")
        );
        assert!(Login::of_environment(&Recorded::default()).is_err());
    }
}
