//! Runs PromQL test scripts: `promqltest PATH...`, files or directories of `*.test`.
//!
//! Prints a line a file and the total; the first differences of what failed go to standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidemark_query::promqltest::run_file;

/// Failures of a file that are shown.
const SHOWN: usize = 10;

fn scripts(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    files
}

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        eprintln!("usage: promqltest PATH...");
        return ExitCode::from(2);
    }
    let (mut passed, mut failed) = (0, 0);
    for file in paths.iter().flat_map(|path| scripts(path)) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match run_file(&file, 3) {
            Ok(report) => {
                println!("{name}: {} passed, {} failed", report.passed, report.failed());
                eprint!("{}", report.first_differences(SHOWN));
                passed += report.passed;
                failed += report.failed();
            }
            Err(error) => {
                println!("{name}: 0 passed, 1 failed");
                eprintln!("    {error}");
                failed += 1;
            }
        }
    }
    println!("TOTAL: {passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
