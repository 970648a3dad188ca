//! `all`: every table of the targets, each with every system in one run; kept as Markdown and as JSON.
//!
//! A profile is a table of command lines, parsed as if they had been typed. The results are written anew after each, so that an
//! interrupted run keeps what it has; a system that fails is named under its table and the others go on.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Parser, ValueEnum};

use super::{Measurement, note};
use crate::report::{Report, medians};
use crate::results::{Results, Table};
use crate::systems::Choice;

/// One table of the results: its title, and what measures it in each profile.
struct Step {
    title: &'static str,
    full: &'static str,
    quick: &'static str,
    small: &'static str,
}

/// Every table, what matters most first: a run whose time is up leaves out the last.
const STEPS: &[Step] = &[
    Step {
        title: "Queries over a day, and what the day takes on disk",
        full: "query --disk --runs 3",
        quick: "query --disk --passes 3 --settle-seconds 20",
        small: "query --disk --series 400 --hours 1 --passes 1 --settle-seconds 0",
    },
    Step {
        title: "Ingest by remote write",
        full: "ingest --per-series 1,10,100 --runs 3",
        quick: "ingest --per-series 1,10,100 --seconds 3 --runs 3",
        small: "ingest --per-series 1,10,100 --series 400 --seconds 1",
    },
    Step {
        title: "Many series, six scrapes: memory and restart",
        full: "scale --runs 3",
        quick: "scale",
        small: "scale --series 2000",
    },
    Step {
        title: "kill -9 at full ingest, then idle",
        full: "restart --runs 3",
        quick: "restart --seconds 5 --idle-seconds 5",
        small: "restart --series 400 --seconds 1 --settle-seconds 0 --idle-seconds 1",
    },
    Step {
        title: "A steady stream of samples beside queries without pause",
        full: "mixed --runs 3",
        quick: "mixed --seconds 20",
        small: "mixed --series 400 --rate 2000 --history-minutes 20 --seconds 1 --settle-seconds 0",
    },
    Step {
        title: "Ten thousand targets, a million series, every 15 s",
        full: "scrape --runs 3",
        quick: "scrape --intervals 3",
        small: "scrape --targets 20 --series 2000 --interval-seconds 1",
    },
    Step {
        title: "One counter for 70 minutes: memory, disk, the sum of all rates over an hour",
        full: "scale --metric node_cpu_seconds_total --fill-minutes 65",
        quick: "scale --metric node_cpu_seconds_total --fill-minutes 65 --series 250000",
        small: "scale --metric node_cpu_seconds_total --fill-minutes 10 --series 500",
    },
];

/// How much is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// The scale of the targets, medians of three runs; some hours.
    Full,
    /// The same scale where that is soon done, fewer repetitions; about 25 minutes.
    Quick,
    /// Every measurement on next to nothing: shows that they work, in a minute.
    Small,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Systems to compare, each as NAME or NAME=PROGRAM.
    #[arg(long, value_delimiter = ',', default_value = "tidemark,prometheus,victoria-metrics")]
    start: Vec<Choice>,
    /// How much is measured.
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Runs of each measurement in place of the profile's; each figure is their median.
    #[arg(long)]
    runs: Option<usize>,
    /// Begin no further measurement after so many minutes.
    #[arg(long)]
    minutes_max: Option<u64>,
    /// Where scratch data directories are made; on the disk that is to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// Write the results to this path with .md and with .json, after each table.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Print JSON instead of Markdown.
    #[arg(long)]
    json: bool,
}

/// A command line of a profile.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    measurement: Measurement,
}

pub(super) fn run(options: &Options, command: String) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let versions = options.start.iter().map(Choice::version).collect();
    let mut results = Results::new(command, versions);
    let minutes_max = options.minutes_max.map_or(Duration::MAX, Duration::from_mins);
    for step in STEPS {
        if began.elapsed() >= minutes_max {
            note(&format!("left out for want of time: {}", step.title));
            results.left_out.push(step.title);
            continue;
        }
        note(&format!("== {} (at {:.0?})", step.title, began.elapsed()));
        results.tables.push(measure(options, step)?);
        if let Some(out) = &options.out {
            results.write(out)?;
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&results.json())?);
    } else {
        print!("{}", results.markdown());
    }
    Ok(())
}

fn measure(options: &Options, step: &Step) -> Result<Table, Box<dyn Error>> {
    let line = match options.profile {
        Profile::Full => step.full,
        Profile::Quick => step.quick,
        Profile::Small => step.small,
    };
    let systems: Vec<_> = options.start.iter().map(ToString::to_string).collect();
    let words = line.split(' ').map(str::to_owned);
    let words = words.chain(["--start".to_owned(), systems.join(",")]);
    let mut measurement = Line::try_parse_from(words)?.measurement;
    let common = measurement.common_mut();
    common.start.clone_from(&options.start);
    common.scratch.clone_from(&options.scratch);
    common.runs = options.runs.unwrap_or(common.runs);
    let common = common.clone();

    let began = Instant::now();
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..common.runs.max(1) {
        for (system, name) in common.systems().zip(&systems) {
            match measurement.run(&system) {
                Ok(measured) => rows.extend(measured),
                Err(error) => {
                    note(&format!("{name}: {error}"));
                    failures.push(format!("{name}: {error}"));
                }
            }
        }
    }
    let command = format!("tidemark-bench {line} --start {}", systems.join(","));
    let report = Report { command, rows: medians(rows) };
    Ok(Table { title: step.title, report, failures, took: began.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_made_of_valid_commands() {
        for line in STEPS.iter().flat_map(|step| [step.full, step.quick, step.small]) {
            let words = line.split(' ').chain(["--start", "tidemark"]);
            assert!(Line::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
