//! `remote_write` and `remote_read`: other stores to send samples to and to ask.

use std::collections::BTreeMap;

use super::http_client::{HttpClientConfig, is_reserved};
use super::relabel::RelabelConfig;
use super::scalars::{Duration, Secret, Url};
use super::section::{Checked, ensure, fault, one_of, section};

section! {
    /// A store to send to.
    RemoteWriteConfig {
        url: Option<Url>,
        remote_timeout: Duration = Duration::from_secs(30),
        headers: BTreeMap<String, String>,
        write_relabel_configs: Vec<RelabelConfig>,
        name: String,
        send_exemplars: bool,
        send_native_histograms: bool,
        round_robin_dns: bool,
        protobuf_message: String = "prometheus.WriteRequest".to_owned(),
        failed_request_logging: bool,
        queue_config: QueueConfig,
        metadata_config: MetadataConfig,
        sigv4: Option<SigV4Config>,
        azuread: Option<AzureAdConfig>,
        google_iam: Option<GoogleIamConfig>,
    }
    inline { http: HttpClientConfig = HttpClientConfig { enable_http2: false, ..Default::default() } }
    check = Self::complete
}

section! {
    /// How sending is parallelised and retried.
    QueueConfig {
        capacity: i64 = 10_000,
        max_shards: i64 = 50,
        min_shards: i64 = 1,
        max_samples_per_send: i64 = 2_000,
        batch_send_deadline: Duration = Duration::from_secs(5),
        min_backoff: Duration = Duration::from_millis(30),
        max_backoff: Duration = Duration::from_secs(5),
        retry_on_http_429: bool,
        sample_age_limit: Duration,
    }
    check = Self::positive
}

section! {
    /// Sending of types and helps.
    MetadataConfig {
        send: bool = true,
        send_interval: Duration = Duration::from_secs(60),
        max_samples_per_send: i64 = 2_000,
    }
}

section! {
    /// AWS' request signatures.
    SigV4Config {
        region: String,
        access_key: String,
        secret_key: Secret,
        profile: String,
        role_arn: String,
        external_id: String,
        use_fips_sts_endpoint: bool,
        service_name: String,
    }
    check = Self::both_keys
}

section! {
    /// Azure's identities.
    AzureAdConfig {
        managed_identity: Option<AzureManagedIdentity>,
        workload_identity: Option<AzureWorkloadIdentity>,
        oauth: Option<AzureOAuth>,
        sdk: Option<AzureSdk>,
        certificate: Option<AzureCertificate>,
        cloud: String = "AzurePublic".to_owned(),
        scope: String,
    }
    check = Self::one_identity
}

section! {
    /// The identity of the machine.
    AzureManagedIdentity { client_id: String }
}

section! {
    /// The identity of a Kubernetes workload.
    AzureWorkloadIdentity { client_id: String, tenant_id: String, token_file_path: String }
}

section! {
    /// An application with a secret.
    AzureOAuth { client_id: String, client_secret: Secret, tenant_id: String }
}

section! {
    /// What the environment says.
    AzureSdk { tenant_id: String }
}

section! {
    /// An application with a certificate.
    AzureCertificate {
        client_id: String,
        tenant_id: String,
        certificate_path: String,
        certificate_key_path: String,
        certificate_password: Secret,
        send_certificate_chain: bool,
    }
}

section! {
    /// Google's identities.
    GoogleIamConfig { credentials_file: String }
}

section! {
    /// A store to ask.
    RemoteReadConfig {
        url: Option<Url>,
        remote_timeout: Duration = Duration::from_secs(60),
        chunked_read_limit: u64 = 50_000_000,
        headers: BTreeMap<String, String>,
        read_recent: bool,
        name: String,
        required_matchers: BTreeMap<String, String>,
        filter_external_labels: bool = true,
    }
    inline { http: HttpClientConfig }
    check = Self::complete
}

/// A custom header may not be one that the request sets itself.
pub(crate) fn check_headers(headers: &BTreeMap<String, String>) -> Checked {
    match headers.keys().find(|name| is_reserved(name)) {
        Some(name) if name.eq_ignore_ascii_case("authorization") => Err(fault(
            "headers",
            "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter",
        )),
        Some(name) => {
            Err(fault("headers", format!("{name} is a reserved header. It must not be changed")))
        }
        None => Ok(()),
    }
}

impl RemoteWriteConfig {
    fn complete(&mut self) -> Checked {
        ensure(self.url.is_some(), "url", || "url for remote_write is empty".to_owned())?;
        check_headers(&self.headers)?;
        one_of(
            "protobuf_message",
            &self.protobuf_message,
            &["prometheus.WriteRequest", "io.prometheus.write.v2.Request"],
        )?;
        let identities = [
            ("basic_auth", self.http.basic_auth.is_some()),
            ("authorization", self.http.authorization.is_some()),
            ("oauth2", self.http.oauth2.is_some()),
            ("sigv4", self.sigv4.is_some()),
            ("azuread", self.azuread.is_some()),
            ("google_iam", self.google_iam.is_some()),
        ];
        let given: Vec<_> = identities.iter().filter(|(_, given)| *given).collect();
        match given[..] {
            [_, (second, _), ..] => Err(fault(
                second,
                "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured",
            )),
            _ => Ok(()),
        }
    }
}

impl RemoteReadConfig {
    fn complete(&mut self) -> Checked {
        ensure(self.url.is_some(), "url", || "url for remote_read is empty".to_owned())?;
        check_headers(&self.headers)
    }
}

impl QueueConfig {
    fn positive(&mut self) -> Checked {
        for (field, value) in [
            ("max_shards", self.max_shards),
            ("min_shards", self.min_shards),
            ("max_samples_per_send", self.max_samples_per_send),
            ("capacity", self.capacity),
        ] {
            ensure(value > 0, field, || format!("remote write queue {field} must be positive"))?;
        }
        ensure(self.min_shards <= self.max_shards, "min_shards", || {
            "remote write queue min_shards must not be greater than max_shards".to_owned()
        })?;
        ensure(self.min_backoff <= self.max_backoff, "max_backoff", || {
            "remote write queue max_backoff must not be less than min_backoff".to_owned()
        })
    }
}

impl SigV4Config {
    fn both_keys(&mut self) -> Checked {
        ensure(self.access_key.is_empty() == self.secret_key.is_empty(), "access_key", || {
            "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config"
                .to_owned()
        })
    }
}

impl AzureAdConfig {
    fn one_identity(&mut self) -> Checked {
        one_of("cloud", &self.cloud, &["AzurePublic", "AzureGovernment", "AzureChina"])?;
        let given = [
            self.managed_identity.is_some(),
            self.workload_identity.is_some(),
            self.oauth.is_some(),
            self.sdk.is_some(),
            self.certificate.is_some(),
        ];
        match given.iter().filter(|g| **g).count() {
            1 => Ok(()),
            0 => Err(fault(
                "cloud",
                "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth, Azure Certificate or Azure SDK in the Azure AD config",
            )),
            _ => Err(fault(
                "cloud",
                "cannot provide multiple authentication methods in the Azure AD config",
            )),
        }
    }
}
