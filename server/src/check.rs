//! `tidemark check`: what is wrong with a file, before a server starts on it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidemark_alerting::rules::{duplicates, load_rules};
use tidemark_query::parser::ParserOptions;

use crate::cli::Check;
use crate::config;

/// Checks every file, prints what was found, and fails if one is bad.
pub(crate) fn run(check: Check) -> ExitCode {
    let good = match check {
        Check::Config { files } => each(&files, config_file),
        Check::Rules { files } => each(&files, rule_file),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all are good; every one is looked at.
fn each(files: &[PathBuf], check: fn(&Path) -> Result<String, String>) -> bool {
    let mut good = true;
    for file in files {
        match check(file) {
            Ok(found) => println!("{}: good, {found}", file.display()),
            Err(message) => {
                eprintln!("{message}");
                good = false;
            }
        }
    }
    good
}

/// A configuration and the rule files that it names.
fn config_file(file: &Path) -> Result<String, String> {
    let config = config::load_file(file).map_err(|e| e.to_string())?;
    let mut found = plural(config.scrape_configs.len(), "scrape job");
    for line in config::idle::idle(&config) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(found, "\n  note: {line}");
    }
    let rules = config.rule_files.iter().flat_map(|pattern| config::load::matching_files(pattern));
    for path in rules {
        let _ = write!(found, "\n  {}: good, {}", path.display(), rule_file(&path)?);
    }
    Ok(found)
}

fn rule_file(file: &Path) -> Result<String, String> {
    let rules = load_rules(file, ParserOptions::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let mut found = plural(rules.rule_count(), "rule");
    for (name, labels) in duplicates(&rules) {
        let _ =
            write!(found, "\n  note: {name:?} with labels {labels:?} stands there more than once");
    }
    Ok(found)
}

fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
