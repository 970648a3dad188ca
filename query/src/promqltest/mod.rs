//! The test-script language of PromQL, and a runner for it.
//!
//! A script loads series, evaluates expressions at given times, and says what must come out:
//!
//! ```text
//! load 5m
//!     http_requests_total{job="api"} 0+10x10
//!
//! eval instant at 50m rate(http_requests_total[50m])
//!     {job="api"} 0.03333333333333333
//! ```
//!
//! It is the language of Prometheus' own acceptance tests, so that those run against this engine too. [`script`] reads a
//! script, [`series`] the notation of series, [`run`] drives the engine on shards on the simulated disk, [`compare`]
//! judges.

pub mod classic;
pub mod compare;
pub mod histogram_text;
pub mod run;
pub mod script;
pub mod series;

use std::fmt::Write as _;
use std::path::Path;

/// What became of the evaluations of one script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Evaluations that gave what was expected.
    pub passed: usize,
    /// What was wrong with each of the others.
    pub failures: Vec<String>,
}

impl Report {
    /// How many failed.
    pub fn failed(&self) -> usize {
        self.failures.len()
    }

    /// The first differences, indented.
    pub fn first_differences(&self, count: usize) -> String {
        let mut text = String::new();
        for failure in self.failures.iter().take(count) {
            let _ = writeln!(text, "    {}", failure.replace('\n', "\n      "));
        }
        text
    }
}

/// Runs a script file on `shards` shards. The error says why it could not be read or run.
pub fn run_file(path: &Path, shards: u32) -> Result<Report, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    run_script(&text, shards)
}

/// Runs a script on `shards` shards.
pub fn run_script(text: &str, shards: u32) -> Result<Report, String> {
    let commands = script::parse(text)?;
    Ok(tidemark_core::runtime::sim::run(1, run::run(commands, shards)))
}
