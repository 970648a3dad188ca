//! How to get at an API server: as configured, by a kubeconfig file, or from inside a pod.
//!
//! All three come to a base URL and the configuration of an HTTP client. A kubeconfig's users may have a token, a
//! certificate or a password; those that run a program or need a plug-in are refused with a sentence that says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::config::discovery::KubernetesSdConfig;
use crate::config::http_client::{Authorization, BasicAuth, HttpClientConfig};
use crate::config::scalars::{Secret, Url};

/// What the kubelet puts into every pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The way to an API server.
#[derive(Debug, PartialEq)]
pub(super) struct Access {
    /// Where the API begins.
    pub(super) base: String,
    /// How to ask there.
    pub(super) http: HttpClientConfig,
    /// The namespaces to look into; one empty name is all.
    pub(super) namespaces: Vec<String>,
}

/// The way that a configuration names; reads files.
pub(super) fn of(config: &KubernetesSdConfig) -> Result<Access, String> {
    let mut namespaces = config.namespaces.names.clone();
    let (base, http) = if !config.kubeconfig_file.is_empty() {
        let text = read(&config.kubeconfig_file)?;
        from_kubeconfig(&text).map_err(|e| format!("{}: {e}", config.kubeconfig_file))?
    } else if let Some(server) = &config.api_server {
        (server.reveal().to_owned(), config.http.clone())
    } else {
        if config.namespaces.own_namespace {
            let own = read(&format!("{SERVICE_ACCOUNT}/namespace"))
                .map_err(|e| format!("could not determine the pod's namespace: {e}"))?;
            namespaces.push(own.trim().to_owned());
        }
        in_cluster(|name| std::env::var(name).ok())?
    };
    if namespaces.is_empty() {
        namespaces.push(String::new());
    }
    Ok(Access { base: base.trim_end_matches('/').to_owned(), http, namespaces })
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn in_cluster(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(String, HttpClientConfig), String> {
    let missing = || {
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
            .to_owned()
    };
    let host = variable("KUBERNETES_SERVICE_HOST").ok_or_else(missing)?;
    let port = variable("KUBERNETES_SERVICE_PORT").ok_or_else(missing)?;
    let mut http = HttpClientConfig::default();
    http.tls_config.ca_file = format!("{SERVICE_ACCOUNT}/ca.crt");
    http.authorization = Some(Authorization {
        credentials_file: format!("{SERVICE_ACCOUNT}/token"),
        ..Authorization::default()
    });
    Ok((format!("https://{}", tidemark_ingest::discovery::host_port(&host, port)), http))
}

/// A kubeconfig file, as far as it is read.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: KubeContext,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KubeContext {
    cluster: String,
    user: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: KubeCluster,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct KubeCluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    insecure_skip_tls_verify: bool,
    tls_server_name: String,
    proxy_url: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: KubeUser,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct KubeUser {
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

fn from_kubeconfig(text: &str) -> Result<(String, HttpClientConfig), String> {
    let file: Kubeconfig =
        serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())?;
    let context = file.contexts.iter().find(|context| context.name == file.current_context);
    let context = context.ok_or(format!("context {:?} does not exist", file.current_context))?;
    let (cluster, user) = (&context.context.cluster, &context.context.user);
    let named = file.clusters.iter().find(|named| named.name == *cluster);
    let cluster = &named.ok_or(format!("cluster {cluster:?} does not exist"))?.cluster;
    let named = file.users.iter().find(|named| named.name == *user);
    let nobody = KubeUser::default();
    let user = named.map_or(&nobody, |named| &named.user);
    let mut http = HttpClientConfig::default();
    http.tls_config.ca_file.clone_from(&cluster.certificate_authority);
    http.tls_config.ca =
        decoded("certificate-authority-data", &cluster.certificate_authority_data)?;
    http.tls_config.insecure_skip_verify = cluster.insecure_skip_tls_verify;
    http.tls_config.server_name.clone_from(&cluster.tls_server_name);
    if !cluster.proxy_url.is_empty() {
        http.proxy.proxy_url = Some(Url::parse(&cluster.proxy_url)?);
    }
    identify(user, &mut http)?;
    Ok((cluster.server.clone(), http))
}

fn identify(user: &KubeUser, http: &mut HttpClientConfig) -> Result<(), String> {
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Err(
            "users that run a program (exec) or need a plug-in (auth-provider) are not supported; use a token or a certificate"
                .to_owned(),
        );
    }
    http.tls_config.cert_file.clone_from(&user.client_certificate);
    http.tls_config.cert = decoded("client-certificate-data", &user.client_certificate_data)?;
    http.tls_config.key_file.clone_from(&user.client_key);
    http.tls_config.key = Secret::new(decoded("client-key-data", &user.client_key_data)?);
    if !user.token.is_empty() || !user.token_file.is_empty() {
        http.authorization = Some(Authorization {
            credentials: Secret::new(user.token.clone()),
            credentials_file: user.token_file.clone(),
            ..Authorization::default()
        });
    } else if !user.username.is_empty() {
        http.basic_auth = Some(BasicAuth {
            username: user.username.clone(),
            password: Secret::new(user.password.clone()),
            ..BasicAuth::default()
        });
    }
    Ok(())
}

fn decoded(field: &str, base64: &str) -> Result<String, String> {
    let bad = |e: String| format!("{field}: {e}");
    let bytes = STANDARD.decode(base64.trim()).map_err(|e| bad(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| bad(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- {name: c, context: {cluster: k, user: u, namespace: n}}\n\
        clusters:\n- {name: k, cluster: {server: 'https://h:6443', certificate-authority-data: cGVt, tls-server-name: s}}\n";

    #[test]
    fn kubeconfig_files() {
        let with =
            |user: &str| from_kubeconfig(&format!("{FILE}users:\n- {{name: u, user: {user}}}\n"));
        let (base, http) = with("{token: t}").unwrap();
        assert_eq!(base, "https://h:6443");
        assert_eq!(
            (http.tls_config.ca.as_str(), http.tls_config.server_name.as_str()),
            ("pem", "s")
        );
        assert_eq!(http.authorization.unwrap().credentials.reveal(), "t");
        let (_, http) = with("{client-certificate: c.pem, client-key-data: a2V5}").unwrap();
        assert_eq!(
            (http.tls_config.cert_file.as_str(), http.tls_config.key.reveal()),
            ("c.pem", "key")
        );
        let (_, http) = with("{username: me, password: x}").unwrap();
        assert_eq!(http.basic_auth.unwrap().password.reveal(), "x");
        for (user, expected) in [
            ("{exec: {command: aws}}", "not supported"),
            ("{client-key-data: '%'}", "client-key-data"),
        ] {
            let error = with(user).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = from_kubeconfig("current-context: x").unwrap_err();
        assert_eq!(error, "context \"x\" does not exist");
    }

    #[test]
    fn inside_a_pod() {
        let variable =
            |name: &str| Some(if name.ends_with("HOST") { "fd00::1" } else { "443" }.to_owned());
        let (base, http) = in_cluster(variable).unwrap();
        assert_eq!(base, "https://[fd00::1]:443");
        assert!(http.tls_config.ca_file.ends_with("/ca.crt"));
        assert!(http.authorization.unwrap().credentials_file.ends_with("/token"));
        assert!(in_cluster(|_| None).is_err());
    }
}
