//! The systems that can be measured: how each is started on free loopback ports, and where it differs from the others.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Server, free_port};

/// How long a server may take until it is ready, with a large WAL to replay.
const READY_MAX: Duration = Duration::from_mins(10);

/// What is known of one system.
pub struct System {
    /// As it is named on the command line and in tables.
    pub name: &'static str,
    /// Its program, looked for in PATH.
    pub program: &'static str,
    /// Arguments, given a scratch directory and a port.
    arguments: fn(&Path, u16) -> Vec<String>,
    /// Answers 2xx when it is ready.
    pub ready: &'static str,
    /// Directories of its data that hold what is not yet in blocks.
    pub transient: &'static [&'static str],
}

/// Every known system.
pub const SYSTEMS: &[System] = &[
    System {
        name: "tidemark",
        program: "tidemark",
        arguments: |scratch, port| {
            vec![
                "serve".into(),
                format!("--config.file={}", scratch.join("config.yml").display()),
                format!("--storage.path={}", scratch.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--log.level=warn".into(),
            ]
        },
        ready: "/-/ready",
        transient: &["wal"],
    },
    System {
        name: "prometheus",
        program: "prometheus",
        arguments: |scratch, port| {
            vec![
                format!("--config.file={}", scratch.join("config.yml").display()),
                format!("--storage.tsdb.path={}", scratch.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--web.enable-remote-write-receiver".into(),
                "--web.enable-lifecycle".into(),
                "--storage.tsdb.retention.time=90d".into(),
                "--query.max-samples=1000000000".into(),
                "--log.level=warn".into(),
            ]
        },
        ready: "/-/ready",
        transient: &["wal", "chunks_head"],
    },
    System {
        name: "victoria-metrics",
        program: "victoria-metrics",
        arguments: |scratch, port| {
            vec![
                format!("-storageDataPath={}", scratch.join("data").display()),
                format!("-httpListenAddr=127.0.0.1:{port}"),
                format!("-promscrape.config={}", scratch.join("config.yml").display()),
                "-retentionPeriod=90d".into(),
                "-search.latencyOffset=0s".into(),
                "-search.maxUniqueTimeseries=3000000".into(),
                "-search.maxQueryDuration=600s".into(),
                "-loggerLevel=WARN".into(),
            ]
        },
        ready: "/health",
        transient: &[],
    },
];

impl System {
    /// The system of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SYSTEMS.iter().find(|system| system.name == name)
    }

    /// Starts it with its configuration and data under `scratch`, listening on `port`, and waits until it is ready.
    pub fn start(
        &self,
        program: &Path,
        scratch: &Path,
        port: u16,
    ) -> io::Result<(Server, Duration)> {
        let mut command = Command::new(program);
        command.args((self.arguments)(scratch, port)).current_dir(scratch);
        let mut server = Server::start(&mut command, port, &scratch.join("log"))?;
        let ready = server.wait_ready(self.ready, READY_MAX)?;
        Ok((server, ready))
    }
}

/// A system to start, as given by `--start NAME[=PROGRAM]`.
#[derive(Clone, Debug)]
pub struct Choice {
    name: &'static str,
    program: PathBuf,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text.split_once('=').map_or((text, None), |(n, p)| (n, Some(p)));
        let known = || SYSTEMS.iter().map(|system| system.name).collect::<Vec<_>>().join(", ");
        let system = System::named(name).ok_or_else(|| format!("{name} is none of {}", known()))?;
        let program = program.map_or_else(|| beside_us(system.program), PathBuf::from);
        // The program is started in its scratch directory, so a relative path has to be made absolute.
        let program = if program.components().count() > 1 {
            std::path::absolute(program).map_err(|e| e.to_string())?
        } else {
            program
        };
        Ok(Self { name: system.name, program })
    }
}

impl Choice {
    /// The system's name and its version: as its program says, or else the package that it came with.
    pub fn version(&self) -> String {
        let said = |command: &mut Command| -> Option<String> {
            let output = command.output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().find(|line| !line.trim().is_empty()).map(str::to_owned)
        };
        let version = said(Command::new(&self.program).arg("--version"))
            .or_else(|| said(Command::new("dpkg-query").args(["-W", "-f=${Version}", self.name])));
        format!("{}: {}", self.name, version.unwrap_or_else(|| "of no known version".to_owned()))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The program beside this one, where there is one; else its name, for PATH.
fn beside_us(program: &str) -> PathBuf {
    let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(program)));
    own.filter(|path| path.is_file()).unwrap_or_else(|| program.into())
}

/// A system under measurement: one that we started with a scratch directory, or one that runs somewhere.
pub struct Target {
    /// For tables.
    pub name: String,
    /// `http://host:port`.
    pub url: String,
    /// Where its CPU time can be read.
    pub pid: Option<u32>,
    started: Option<Started>,
}

struct Started {
    system: &'static System,
    program: PathBuf,
    port: u16,
    scratch: tempfile::TempDir,
    server: Server,
}

impl Target {
    /// A server that runs already.
    pub fn running(url: String, pid: Option<u32>) -> Self {
        Self { name: url.clone(), url, pid, started: None }
    }

    /// Starts a system with a scratch directory under `parent`; both end with this value.
    pub fn start(choice: &Choice, parent: &Path) -> io::Result<Self> {
        Self::start_with(choice, parent, "global: {scrape_interval: 15s}\n")
    }

    /// The same with a configuration in Prometheus' format.
    pub fn start_with(choice: &Choice, parent: &Path, config: &str) -> io::Result<Self> {
        let system = System::named(choice.name).expect("a choice names a known system");
        let scratch = tempfile::Builder::new().prefix("tidemark-bench-").tempdir_in(parent)?;
        std::fs::write(scratch.path().join("config.yml"), config)?;
        let port = free_port()?;
        let (server, _) = system.start(&choice.program, scratch.path(), port)?;
        let (url, pid) = (server.url.clone(), Some(server.pid()));
        let started = Started { system, program: choice.program.clone(), port, scratch, server };
        Ok(Self { name: choice.name.to_owned(), url, pid, started: Some(started) })
    }

    /// The process, where we started it.
    pub fn server(&mut self) -> Option<&mut Server> {
        self.started.as_mut().map(|started| &mut started.server)
    }

    /// Starts it anew on its data after it ended; says how long it took to be ready.
    pub fn restart(&mut self) -> io::Result<Duration> {
        let started =
            self.started.as_mut().ok_or_else(|| io::Error::other("we did not start it"))?;
        let (server, ready) =
            started.system.start(&started.program, started.scratch.path(), started.port)?;
        self.pid = Some(server.pid());
        started.server = server;
        Ok(ready)
    }

    /// Where its data lies, and which directories of it are transient.
    pub fn data(&self) -> Option<(PathBuf, &'static [&'static str])> {
        let started = self.started.as_ref()?;
        Some((started.scratch.path().join("data"), started.system.transient))
    }
}
