//! The results of a whole run: several tables, the machine, and the versions of what was compared.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use serde_json::{Value, json};

use crate::report::{Report, machine};

/// One measurement of every system.
pub struct Table {
    /// What it shows.
    pub title: &'static str,
    /// Its rows, and the command that measures them alone.
    pub report: Report,
    /// Systems that failed, and how.
    pub failures: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Everything that one run measured.
pub struct Results {
    command: String,
    machine: Value,
    versions: Vec<String>,
    /// What has been measured so far.
    pub tables: Vec<Table>,
    /// Titles of what was not measured because the time was up.
    pub left_out: Vec<&'static str>,
}

impl Results {
    /// Nothing measured yet, on this machine, by this command line.
    pub fn new(command: String, versions: Vec<String>) -> Self {
        Self { command, machine: machine(), versions, tables: Vec::new(), left_out: Vec::new() }
    }

    /// Everything as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Measurements\n\n`{}`\n\n", self.command);
        for (what, value) in self.machine.as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "* {}: {value}", what.replace('_', " "));
        }
        for version in &self.versions {
            let _ = writeln!(text, "* {version}");
        }
        for table in &self.tables {
            let (command, took) = (&table.report.command, table.took.as_secs());
            let _ = write!(text, "\n## {}\n\n`{command}`, {took} s\n\n", table.title);
            text.push_str(&table.report.table());
            for failure in &table.failures {
                let _ = write!(text, "\nFailed: {failure}\n");
            }
        }
        for title in &self.left_out {
            let _ = write!(text, "\n## {title}\n\nLeft out for want of time.\n");
        }
        text
    }

    /// Everything as JSON.
    pub fn json(&self) -> Value {
        let table = |table: &Table| {
            json!({
                "title": table.title,
                "command": table.report.command,
                "took_s": table.took.as_secs_f64(),
                "failures": table.failures,
                "rows": table.report.json_rows(),
            })
        };
        json!({
            "command": self.command,
            "machine": self.machine,
            "versions": self.versions,
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "left_out": self.left_out,
        })
    }

    /// Writes both forms: `path` with `.md` and with `.json` added.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let with = |extension: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(extension);
            name
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(with(".md"), self.markdown())?;
        fs::write(with(".json"), format!("{:#}\n", self.json()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{figure, name};

    #[test]
    fn both_forms_hold_what_was_measured_and_what_was_not() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let mut results = Results::new("bench all".into(), vec!["a: version 1".into()]);
        let rows = vec![vec![("system", name("a")), ("lost", figure(0.0, 0))]];
        results.tables.push(Table {
            title: "The first",
            report: Report { command: "bench one".into(), rows },
            failures: vec!["b: it ended".into()],
            took: Duration::from_secs(3),
        });
        results.left_out.push("The second");
        results.write(&scratch.path().join("new/2026-01-01-x")).expect("room");
        let read = |name: &str| fs::read_to_string(scratch.path().join(name)).expect("written");
        let text = read("new/2026-01-01-x.md");
        for part in ["## The first", "`bench one`, 3 s", "| a ", "Failed: b", "## The second"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json: Value = serde_json::from_str(&read("new/2026-01-01-x.json")).expect("JSON");
        assert_eq!(json["tables"][0]["rows"][0]["lost"], 0.0);
        assert_eq!(json["left_out"][0], "The second");
    }
}
