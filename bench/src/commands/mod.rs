//! The commands of `tidemark-bench`, and what they share: whom to measure, and how to report.

mod all;
mod disk;
mod ingest;
mod mixed;
mod query;
mod restart;
mod scale;
mod scrape;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};

use crate::dataset::STEP_MS;
use crate::process::Usage;
use crate::report::{Cell, Report, Row, figure};
use crate::systems::{Choice, Target};

type Outcome = Result<Vec<Row>, Box<dyn Error>>;

/// Measures Tidemark, and what it is compared with, side by side in one run.
///
/// Compare CPU time and ratios of one run; wall-clock times of two days on a shared machine say little.
#[derive(Debug, Parser)]
#[command(name = "tidemark-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything below: each table with every system in it, kept as Markdown and as JSON.
    All(all::Options),
    #[command(flatten)]
    One(Measurement),
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Remote write as fast as the server takes it.
    Ingest(ingest::Options),
    /// Dashboards' queries over a loaded data set.
    Query(query::Options),
    /// Queries without pause beside a steady stream of samples.
    Mixed(mixed::Options),
    /// kill -9 under full load: what is lost, and how soon it is ready again.
    Restart(restart::Options),
    /// Bytes on disk for each sample.
    Disk(disk::Options),
    /// A million series: memory, one query over all of them, restarts.
    Scale(scale::Options),
    /// Thousands of targets scraped: CPU, memory, missed intervals, how flat the schedule is.
    Scrape(scrape::Options),
}

/// Whom to measure, and how to report.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Systems to start on free loopback ports with scratch data, each as NAME or NAME=PROGRAM; of tidemark, prometheus
    /// and victoria-metrics.
    #[arg(long, value_delimiter = ',', required_unless_present = "url")]
    start: Vec<Choice>,
    /// A server that runs already, such as <http://127.0.0.1:9090>.
    #[arg(long, conflicts_with = "start")]
    url: Option<String>,
    /// The process of that server, to read its CPU time and memory.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Where scratch data directories are made; on the disk that is to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// Runs of each measurement; each figure is their median.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Print JSON with the machine's description instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command line.
pub fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let mut measurement = match cli.command {
        Command::All(options) => return all::run(&options, command),
        Command::One(measurement) => measurement,
    };
    let common = measurement.common_mut().clone();
    let mut rows = Vec::new();
    for _ in 0..common.runs.max(1) {
        for system in common.systems() {
            rows.extend(measurement.run(&system)?);
        }
    }
    let report = Report { command, rows: crate::report::medians(rows) };
    if common.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

impl Measurement {
    fn run(&self, system: &System<'_>) -> Outcome {
        match self {
            Self::Ingest(options) => ingest::run(options, &mut system.target()?),
            Self::Query(options) => query::run(options, &mut system.target()?),
            Self::Mixed(options) => mixed::run(options, &mut system.target()?),
            Self::Restart(options) => restart::run(options, &mut system.target()?),
            Self::Disk(options) => disk::run(options, &mut system.target()?),
            Self::Scale(options) => scale::run(options, &mut system.target()?),
            Self::Scrape(options) => scrape::run(options, system),
        }
    }

    fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Ingest(options) => &mut options.common,
            Self::Query(options) => &mut options.common,
            Self::Mixed(options) => &mut options.common,
            Self::Restart(options) => &mut options.common,
            Self::Disk(options) => &mut options.common,
            Self::Scale(options) => &mut options.common,
            Self::Scrape(options) => &mut options.common,
        }
    }
}

/// A system whose turn has not come yet.
enum System<'a> {
    Running { url: &'a str, pid: Option<u32> },
    Installed { choice: &'a Choice, scratch: &'a Path },
}

impl System<'_> {
    /// Starts it with the least configuration, or takes the one that runs.
    fn target(&self) -> std::io::Result<Target> {
        match *self {
            Self::Running { url, pid } => Ok(Target::running(url.to_owned(), pid)),
            Self::Installed { choice, scratch } => Target::start(choice, scratch),
        }
    }

    /// Starts it with this configuration.
    fn target_with(&self, config: &str) -> std::io::Result<Target> {
        match *self {
            Self::Running { .. } => Err(std::io::Error::other(
                "it needs --start: the server is to have a configuration",
            )),
            Self::Installed { choice, scratch } => Target::start_with(choice, scratch, config),
        }
    }
}

impl Common {
    /// The systems, each of which starts when its turn comes, so that they do not share the machine.
    fn systems(&self) -> impl Iterator<Item = System<'_>> {
        let running = self.url.iter().map(|url| System::Running { url, pid: self.pid });
        let installed = |choice| System::Installed { choice, scratch: &self.scratch };
        running.chain(self.start.iter().map(installed))
    }
}

/// Progress, beside the results.
fn note(text: &str) {
    eprintln!("{text}");
}

/// A time so far in the past, on a whole step.
fn steps_ago(steps: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    (now / STEP_MS - steps as i64) * STEP_MS
}

/// What the process behind a target used until now; nothing where that cannot be read.
fn usage(target: &Target) -> Option<Usage> {
    Usage::of(target.pid?).ok()
}

/// CPU seconds between two readings, in units of `seconds_per_unit`, for each of `count`.
fn cpu_each(
    before: Option<Usage>,
    after: Option<Usage>,
    seconds_per_unit: f64,
    count: f64,
    decimals: usize,
) -> Cell {
    match (before, after) {
        (Some(before), Some(after)) => {
            figure((after.cpu_s - before.cpu_s) / seconds_per_unit / count, decimals)
        }
        _ => Cell::Unknown,
    }
}

/// The latency below which this share of `sorted` lies, in milliseconds.
fn percentile_ms(sorted: &[Duration], share: f64) -> Cell {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(Cell::Unknown, |latency| figure(latency.as_secs_f64() * 1e3, 2))
}
