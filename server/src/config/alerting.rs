//! `alerting`: which alertmanagers to notify, and how alerts are relabelled on the way.

use super::discovery::Discovery;
use super::http_client::HttpClientConfig;
use super::relabel::RelabelConfig;
use super::remote::SigV4Config;
use super::scalars::Duration;
use super::section::{Checked, ensure, one_of, section};

section! {
    /// All of it.
    AlertingConfig {
        alert_relabel_configs: Vec<RelabelConfig>,
        alertmanagers: Vec<AlertmanagerConfig>,
    }
}

section! {
    /// One set of alertmanagers.
    AlertmanagerConfig {
        scheme: String = "http".to_owned(),
        path_prefix: String,
        timeout: Duration = Duration::from_secs(10),
        api_version: String = "v2".to_owned(),
        relabel_configs: Vec<RelabelConfig>,
        alert_relabel_configs: Vec<RelabelConfig>,
        sigv4: Option<SigV4Config>,
    }
    inline { http: HttpClientConfig, discovery: Discovery }
    check = Self::complete
}

impl AlertmanagerConfig {
    fn complete(&mut self) -> Checked {
        one_of("api_version", &self.api_version, &["v2"])?;
        ensure(self.sigv4.is_none() || !self.http.authenticates(), "sigv4", || {
            "at most one of basic_auth, authorization, oauth2, & sigv4 must be configured"
                .to_owned()
        })?;
        if self.relabel_configs.is_empty() {
            self.discovery.check_static_targets()?;
        }
        Ok(())
    }
}

impl AlertingConfig {
    /// Every relabelling rule in it.
    pub(crate) fn relabel_rules(&self) -> impl Iterator<Item = &RelabelConfig> {
        let each = self.alertmanagers.iter();
        self.alert_relabel_configs
            .iter()
            .chain(each.flat_map(|a| a.relabel_configs.iter().chain(&a.alert_relabel_configs)))
    }
}
