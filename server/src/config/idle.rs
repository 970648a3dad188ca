//! What a configuration asks for that this version reads but does not act on.
//!
//! Each line is logged as a warning once at load, and printed by `tidemark check config`. A row leaves the table when
//! its part is built.

use super::Config;
use super::global::RuntimeConfig;
use super::scrape::ScrapeConfig;
use super::section::Blank;
use super::storage::OtlpConfig;

/// Whether a section asks for it.
type Asks<T> = fn(&T) -> bool;

/// Fields outside the jobs.
const GLOBALLY: &[(&str, Asks<Config>)] = &[
    ("runtime (there is no garbage collector to tune)", |c| c.runtime != RuntimeConfig::default()),
    ("alerting", |c| !c.alerting.is_blank()),
    ("rule_files", |c| !c.rule_files.is_empty()),
    ("remote_write", |c| !c.remote_write.is_empty()),
    ("remote_read", |c| !c.remote_read.is_empty()),
    ("tracing", |c| c.tracing.is_some()),
    ("otlp", |c| c.otlp != OtlpConfig::default()),
    ("storage.tsdb.stale_series_compaction_threshold", |c| {
        c.storage.tsdb.stale_series_compaction_threshold != 0.0
    }),
    ("storage.tsdb.chunk_encoding", |c| !c.storage.tsdb.chunk_encoding.is_blank()),
    ("global.rule_query_offset", |c| !c.global.rule_query_offset.is_zero()),
];

/// Fields of a job.
const PER_JOB: &[(&str, Asks<ScrapeConfig>)] = &[
    ("a secret named by *_ref (there is no secret manager)", |j| j.http.names_references()),
    ("oci_sd_configs with auth: instance_principal", |j| {
        j.discovery.oci_sd_configs.iter().any(|c| c.auth != "api_key")
    }),
    ("oci_sd_configs with a passphrase (their keys must not be encrypted)", |j| {
        let mut configs = j.discovery.oci_sd_configs.iter();
        configs.any(|c| !c.key_passphrase.is_empty() || !c.key_passphrase_file.is_empty())
    }),
];

/// One sentence for each thing that is asked for and not done.
pub(crate) fn idle(config: &Config) -> Vec<String> {
    let mut lines: Vec<String> = GLOBALLY
        .iter()
        .filter(|(_, asks)| asks(config))
        .map(|(field, _)| format!("{field} is read but not acted on by this version"))
        .collect();
    for job in &config.scrape_configs {
        let asked = PER_JOB.iter().filter(|(_, asks)| asks(job));
        let fields: Vec<&str> = asked.map(|(field, _)| *field).collect();
        if !fields.is_empty() {
            lines.push(format!(
                "job {:?}: {} {} read but not acted on by this version",
                job.job_name,
                fields.join(", "),
                if fields.len() == 1 { "is" } else { "are" }
            ));
        }
    }
    lines
}
