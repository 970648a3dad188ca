//! How an HTTP client authenticates, trusts and connects: the fields that Prometheus inlines into scrape jobs,
//! discoverers, remote storage and alertmanagers.

use std::collections::BTreeMap;

use super::paths::Directory;
use super::scalars::{Address, Secret, Url};
use super::section::{Checked, ensure, fault, one_of, section};

section! {
    /// A name and a password, each given here or in a file.
    BasicAuth {
        username: String,
        username_file: String,
        username_ref: String,
        password: Secret,
        password_file: String,
        password_ref: String,
    }
    check = Self::one_of_each
}

section! {
    /// The `Authorization` header.
    Authorization {
        r#type: String = "Bearer".to_owned(),
        credentials: Secret,
        credentials_file: String,
        credentials_ref: String,
    }
    check = Self::complete
}

section! {
    /// Whom to trust, and who we are. A `*_ref` names a secret of a secret manager.
    TlsConfig {
        ca: String,
        cert: String,
        key: Secret,
        ca_file: String,
        cert_file: String,
        key_file: String,
        ca_ref: String,
        cert_ref: String,
        key_ref: String,
        server_name: String,
        insecure_skip_verify: bool,
        min_version: String,
        max_version: String,
    }
    check = Self::consistent
}

section! {
    /// Which proxy.
    ProxyConfig {
        proxy_url: Option<Url>,
        no_proxy: String,
        proxy_from_environment: bool,
        proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    }
    check = Self::consistent
}

section! {
    /// Where a token comes from.
    OAuth2 {
        client_id: String,
        client_secret: Secret,
        client_secret_file: String,
        client_secret_ref: String,
        client_certificate_key_id: String,
        client_certificate_key: Secret,
        client_certificate_key_file: String,
        client_certificate_key_ref: String,
        grant_type: String,
        signature_algorithm: String,
        iss: String,
        audience: String,
        claims: BTreeMap<String, serde_json::Value>,
        scopes: Vec<String>,
        token_url: Address,
        endpoint_params: BTreeMap<String, String>,
        tls_config: TlsConfig,
    }
    inline { proxy: ProxyConfig }
    check = Self::complete
}

section! {
    /// Values of one header, open, secret or from files.
    Header {
        values: Vec<String>,
        secrets: Vec<Secret>,
        files: Vec<String>,
    }
}

section! {
    /// Everything about an HTTP client.
    HttpClientConfig {
        basic_auth: Option<BasicAuth>,
        authorization: Option<Authorization>,
        oauth2: Option<OAuth2>,
        bearer_token: Secret,
        bearer_token_file: String,
        tls_config: TlsConfig,
        follow_redirects: bool = true,
        enable_http2: bool = true,
        http_headers: BTreeMap<String, Header>,
    }
    inline { proxy: ProxyConfig }
    check = Self::one_identity
}

/// Headers that a configuration may not set, since they are set by the request itself.
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Whether a configuration may not set the header.
pub(crate) fn is_reserved(header: &str) -> bool {
    RESERVED_HEADERS.contains(&header.to_ascii_lowercase().as_str())
}

fn at_most_one(given: &[bool], field: &'static str, names: &str) -> Checked {
    ensure(given.iter().filter(|g| **g).count() <= 1, field, || {
        format!("at most one of {names} must be configured")
    })
}

impl BasicAuth {
    fn one_of_each(&mut self) -> Checked {
        at_most_one(
            &[
                !self.username.is_empty(),
                !self.username_file.is_empty(),
                !self.username_ref.is_empty(),
            ],
            "username",
            "basic_auth username, username_file & username_ref",
        )?;
        at_most_one(
            &[
                !self.password.is_empty(),
                !self.password_file.is_empty(),
                !self.password_ref.is_empty(),
            ],
            "password",
            "basic_auth password, password_file & password_ref",
        )
    }
}

impl Authorization {
    fn complete(&mut self) -> Checked {
        at_most_one(
            &[
                !self.credentials.is_empty(),
                !self.credentials_file.is_empty(),
                !self.credentials_ref.is_empty(),
            ],
            "credentials",
            "authorization credentials & credentials_file",
        )?;
        self.r#type = self.r#type.trim().to_owned();
        if self.r#type.is_empty() {
            "Bearer".clone_into(&mut self.r#type);
        }
        ensure(!self.r#type.eq_ignore_ascii_case("basic"), "type", || {
            r#"authorization type cannot be set to "basic", use "basic_auth" instead"#.to_owned()
        })
    }
}

impl TlsConfig {
    fn consistent(&mut self) -> Checked {
        const VERSIONS: [&str; 5] = ["", "TLS10", "TLS11", "TLS12", "TLS13"];
        one_of("min_version", &self.min_version, &VERSIONS)?;
        one_of("max_version", &self.max_version, &VERSIONS)?;
        let ca = [!self.ca.is_empty(), !self.ca_file.is_empty(), !self.ca_ref.is_empty()];
        let cert = [!self.cert.is_empty(), !self.cert_file.is_empty(), !self.cert_ref.is_empty()];
        let key = [!self.key.is_empty(), !self.key_file.is_empty(), !self.key_ref.is_empty()];
        at_most_one(&ca, "ca", "ca, ca_file & ca_ref")?;
        at_most_one(&cert, "cert", "cert, cert_file & cert_ref")?;
        at_most_one(&key, "key", "key, key_file & key_ref")?;
        ensure(cert.contains(&true) == key.contains(&true), "cert_file", || {
            "exactly one of key or key_file and one of cert or cert_file must be configured \
             when a client certificate is used"
                .to_owned()
        })
    }
}

impl ProxyConfig {
    fn consistent(&mut self) -> Checked {
        let (url, environment) = (self.proxy_url.is_some(), self.proxy_from_environment);
        ensure(
            self.proxy_connect_header.is_empty() || url || environment,
            "proxy_connect_header",
            || {
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured"
                    .to_owned()
            },
        )?;
        ensure(!(environment && url), "proxy_from_environment", || {
            "if proxy_from_environment is configured, proxy_url must not be configured".to_owned()
        })?;
        ensure(!environment || self.no_proxy.is_empty(), "no_proxy", || {
            "if proxy_from_environment is configured, no_proxy must not be configured".to_owned()
        })?;
        ensure(url || self.no_proxy.is_empty(), "no_proxy", || {
            "if no_proxy is configured, proxy_url must also be configured".to_owned()
        })
    }
}

impl OAuth2 {
    fn complete(&mut self) -> Checked {
        ensure(!self.client_id.is_empty(), "client_id", || {
            "oauth2 client_id must be configured".to_owned()
        })?;
        ensure(!self.token_url.is_empty(), "token_url", || {
            "oauth2 token_url must be configured".to_owned()
        })?;
        if self.grant_type == "urn:ietf:params:oauth:grant-type:jwt-bearer" {
            one_of(
                "signature_algorithm",
                &self.signature_algorithm,
                &["", "RS256", "RS384", "RS512"],
            )?;
            return at_most_one(
                &[
                    !self.client_certificate_key.is_empty(),
                    !self.client_certificate_key_file.is_empty(),
                    !self.client_certificate_key_ref.is_empty(),
                ],
                "client_certificate_key",
                "oauth2 client_certificate_key, client_certificate_key_file & client_certificate_key_ref",
            );
        }
        at_most_one(
            &[
                !self.client_secret.is_empty(),
                !self.client_secret_file.is_empty(),
                !self.client_secret_ref.is_empty(),
            ],
            "client_secret",
            "oauth2 client_secret, client_secret_file & client_secret_ref",
        )
    }
}

impl HttpClientConfig {
    /// At most one way to authenticate; the old `bearer_token` becomes an authorization.
    fn one_identity(&mut self) -> Checked {
        let token = !self.bearer_token.is_empty();
        let token_file = !self.bearer_token_file.is_empty();
        at_most_one(&[token, token_file], "bearer_token", "bearer_token & bearer_token_file")?;
        let bearer = if token { "bearer_token" } else { "bearer_token_file" };
        if (token || token_file) && self.authorization.is_some() {
            return Err(fault(
                bearer,
                "authorization is not compatible with bearer_token & bearer_token_file",
            ));
        }
        at_most_one(
            &[self.basic_auth.is_some(), self.oauth2.is_some(), token || token_file],
            bearer,
            "basic_auth, oauth2, bearer_token & bearer_token_file",
        )?;
        at_most_one(
            &[self.basic_auth.is_some(), self.oauth2.is_some(), self.authorization.is_some()],
            "authorization",
            "basic_auth, oauth2 & authorization",
        )?;
        if token || token_file {
            self.authorization = Some(Authorization {
                credentials: std::mem::take(&mut self.bearer_token),
                credentials_file: std::mem::take(&mut self.bearer_token_file),
                ..Authorization::default()
            });
        }
        match self.http_headers.keys().find(|name| is_reserved(name)) {
            Some(name) => {
                Err(fault("http_headers", format!("setting header {name:?} is not allowed")))
            }
            None => Ok(()),
        }
    }

    /// Whether anything is named that a secret manager would have to look up.
    pub(crate) fn names_references(&self) -> bool {
        let basic = self.basic_auth.as_ref();
        let oauth2 = self.oauth2.as_ref();
        let mut names = vec![&self.tls_config.ca_ref, &self.tls_config.cert_ref];
        names.push(&self.tls_config.key_ref);
        names.extend(basic.into_iter().flat_map(|b| [&b.username_ref, &b.password_ref]));
        names.extend(self.authorization.as_ref().map(|a| &a.credentials_ref));
        names.extend(oauth2.into_iter().flat_map(|o| {
            [&o.client_secret_ref, &o.client_certificate_key_ref, &o.tls_config.key_ref]
        }));
        names.iter().any(|name| !name.is_empty())
    }

    /// Says whether a way to authenticate is configured.
    pub(crate) fn authenticates(&self) -> bool {
        self.basic_auth.is_some() || self.authorization.is_some() || self.oauth2.is_some()
    }
}

impl Directory for TlsConfig {
    fn file_names(&mut self) -> Vec<&mut String> {
        vec![&mut self.ca_file, &mut self.cert_file, &mut self.key_file]
    }
}

impl Directory for HttpClientConfig {
    fn file_names(&mut self) -> Vec<&mut String> {
        let mut names = self.tls_config.file_names();
        if let Some(basic) = &mut self.basic_auth {
            names.extend([&mut basic.username_file, &mut basic.password_file]);
        }
        if let Some(authorization) = &mut self.authorization {
            names.push(&mut authorization.credentials_file);
        }
        if let Some(oauth2) = &mut self.oauth2 {
            names.extend([&mut oauth2.client_secret_file, &mut oauth2.client_certificate_key_file]);
            names.extend(oauth2.tls_config.file_names());
        }
        names.extend(self.http_headers.values_mut().flat_map(|header| &mut header.files));
        names
    }
}
