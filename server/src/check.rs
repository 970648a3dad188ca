//! `tidemark check`: what is wrong with a file, before a server starts on it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::Check;
use crate::config;

/// Checks every file, prints what was found, and fails if one is bad.
pub(crate) fn run(check: Check) -> ExitCode {
    let good = match check {
        Check::Config { files } => each(files, config_file),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all are good; every one is looked at.
fn each(files: Vec<PathBuf>, check: fn(&Path) -> Result<String, String>) -> bool {
    let mut good = true;
    for file in files {
        match check(&file) {
            Ok(found) => println!("{}: good{found}", file.display()),
            Err(message) => {
                eprintln!("{message}");
                good = false;
            }
        }
    }
    good
}

fn config_file(file: &Path) -> Result<String, String> {
    let config = config::load_file(file).map_err(|e| e.to_string())?;
    let jobs = config.scrape_configs.len();
    let mut notes = String::new();
    for line in config::idle::idle(&config) {
        notes.push_str("\n  note: ");
        notes.push_str(&line);
    }
    Ok(format!(", {jobs} scrape {}{notes}", if jobs == 1 { "job" } else { "jobs" }))
}
