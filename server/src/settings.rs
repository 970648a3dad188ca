//! One loaded configuration, ready for every core: what it says, the jobs it makes, and its text for display.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidemark_ingest::scrape::Job;

use crate::config::{self, Config, ConfigError};
use crate::jobs::{self, Clients};

/// Where a `node_exporter` would answer.
const NODE_EXPORTER: &str = "127.0.0.1:9100";

/// How long it may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// Built in: this server, listening there, and a `node_exporter` where one answers.
    BuiltIn(SocketAddr),
}

/// See the module. The same for all cores, so behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What the file says, checked.
    pub(crate) config: Config,
    /// The same as YAML, secrets hidden.
    pub(crate) yaml: String,
    /// What to scrape.
    pub(crate) jobs: Vec<Arc<Job>>,
}

impl Settings {
    /// Reads, checks and prepares; blocks on files. Warns of what is read but not acted on.
    pub(crate) fn load(source: &Source) -> Result<Arc<Self>, ConfigError> {
        let (name, config) = match source {
            Source::File(path) => (path.to_string_lossy().into_owned(), config::load_file(path)?),
            Source::BuiltIn(listen) => {
                let name = "built-in configuration".to_owned();
                let text = built_in(*listen, answers(NODE_EXPORTER));
                let config = config::load_text(&name, &text, Path::new(""))?;
                (name, config)
            }
        };
        let whole = |message| ConfigError { file: name.clone(), place: None, message };
        let jobs = jobs::jobs(&config).map_err(whole)?;
        Clients::of(&config).map_err(whole)?;
        for line in config::idle::idle(&config) {
            tracing::warn!(file = name, "{line}");
        }
        let jobs = jobs.into_iter().map(Arc::new).collect();
        Ok(Arc::new(Settings { yaml: config.to_yaml(), config, jobs }))
    }
}

fn answers(address: &str) -> bool {
    let address = address.parse().expect("a literal address");
    std::net::TcpStream::connect_timeout(&address, PROBE_TIMEOUT).is_ok()
}

fn built_in(listen: SocketAddr, node_exporter: bool) -> String {
    let own = if listen.ip().is_unspecified() {
        format!("localhost:{}", listen.port())
    } else {
        listen.to_string()
    };
    let job = |name: &str, target: &str| {
        format!("- job_name: {name}\n  static_configs:\n  - targets: ['{target}']\n")
    };
    let node = if node_exporter { job("node", NODE_EXPORTER) } else { String::new() };
    format!("global:\n  scrape_interval: 15s\nscrape_configs:\n{}{node}", job("tidemark", &own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_configuration_is_a_good_one() {
        let own = "0.0.0.0:9090".parse().unwrap();
        for (node, names) in [(true, &["tidemark", "node"][..]), (false, &["tidemark"])] {
            let config = config::load_text("x", &built_in(own, node), Path::new("")).unwrap();
            let found: Vec<_> = config.scrape_configs.iter().map(|j| j.job_name.as_str()).collect();
            assert_eq!(found, names);
            assert_eq!(
                config.scrape_configs[0].discovery.static_configs[0].targets,
                ["localhost:9090"]
            );
        }
        assert!(Settings::load(&Source::BuiltIn(own)).is_ok());
    }
}
