//! `prometheus.yml`: the whole of Prometheus 3's configuration file, read strictly, checked, and printed again.
//!
//! Three steps, all pure but for reading files:
//! 1. [`load`] reads text into sections ([`mod@section`]); an unknown or doubled field, a wrong type, a contradiction is a
//!    [`ConfigError`] with file, line and column;
//! 2. `Config::resolve` lets jobs inherit from `global` and checks what spans sections (two jobs of one name);
//! 3. [`idle`] names what the file asks for and this version does not do, so that nothing is ignored in silence.
//!
//! What a job means to the scraper is made of it in [`jobs`](crate::jobs), not here.

pub(crate) mod alerting;
pub(crate) mod discovery;
pub(crate) mod global;
pub(crate) mod http_client;
pub(crate) mod idle;
pub(crate) mod load;
mod paths;
pub(crate) mod relabel;
pub(crate) mod remote;
pub(crate) mod scalars;
pub(crate) mod scrape;
pub(crate) mod section;
pub(crate) mod storage;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use load::{ConfigError, load_file, load_text};
use paths::Directory;
use section::section;

section! {
    /// The whole file.
    Config {
        global: global::GlobalConfig,
        runtime: global::RuntimeConfig,
        alerting: alerting::AlertingConfig,
        rule_files: Vec<String>,
        scrape_config_files: Vec<String>,
        scrape_configs: Vec<load::Placed<scrape::ScrapeConfig>>,
        storage: storage::StorageConfig,
        tracing: Option<storage::TracingConfig>,
        remote_write: Vec<load::Placed<remote::RemoteWriteConfig>>,
        remote_read: Vec<load::Placed<remote::RemoteReadConfig>>,
        otlp: storage::OtlpConfig,
    }
}

section! {
    /// A file named by `scrape_config_files`.
    ScrapeConfigFile { scrape_configs: Vec<load::Placed<scrape::ScrapeConfig>> }
}

/// A section as YAML, secrets hidden.
pub(crate) fn yaml(section: &impl serde::Serialize) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(section, options)
        .expect("sections print as plain mappings")
}

impl Config {
    /// The effective configuration as YAML, secrets hidden.
    pub(crate) fn to_yaml(&self) -> String {
        yaml(self)
    }

    /// Joins every relative file name to `dir`.
    fn set_directory(&mut self, dir: &Path) {
        self.global.set_directory(dir);
        for name in self.rule_files.iter_mut().chain(&mut self.scrape_config_files) {
            paths::join(dir, name);
        }
        for alertmanager in &mut self.alerting.alertmanagers {
            alertmanager.http.set_directory(dir);
        }
        for job in &mut self.scrape_configs {
            job.set_directory(dir);
        }
        for remote in &mut self.remote_write {
            remote.http.set_directory(dir);
        }
        for remote in &mut self.remote_read {
            remote.http.set_directory(dir);
        }
        if let Some(tracing) = &mut self.tracing {
            tracing.tls_config.set_directory(dir);
        }
    }
}

impl Directory for scrape::ScrapeConfig {
    fn file_names(&mut self) -> Vec<&mut String> {
        let mut names = self.http.file_names();
        names.push(&mut self.scrape_failure_log_file);
        names.extend(self.discovery.file_names());
        names
    }
}
