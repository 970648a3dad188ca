//! The real components around the server: where they are, and how they are started.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidemark_bench::process::{Server, free_port};

use crate::harness::SOON;

/// The path of an installed program; fails with what to do where there is none.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not installed: scripts/test installs it, or apt install {name}")
    })
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("server lies in the workspace")
}

/// A component that runs, with its scratch directory.
pub(crate) struct Component {
    pub(crate) server: Server,
    _directory: TempDir,
}

impl Component {
    fn start(command: &mut Command, port: u16, directory: TempDir, ready: &str) -> Self {
        let log = directory.path().join("log");
        let mut server = Server::start(command, port, &log).expect("the component starts");
        server.wait_ready(ready, SOON).expect("the component becomes ready");
        Self { server, _directory: directory }
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// `host:port`, as in a target list.
    pub(crate) fn address(&self) -> &str {
        self.server.url.trim_start_matches("http://")
    }
}

fn scratch() -> (TempDir, u16) {
    (tempfile::tempdir().expect("a scratch directory"), free_port().expect("a free port"))
}

/// A Prometheus with this configuration.
pub(crate) fn prometheus(config: &str) -> Component {
    prometheus_with(config, &[])
}

/// The same with more arguments.
pub(crate) fn prometheus_with(config: &str, arguments: &[&str]) -> Component {
    let (directory, port) = scratch();
    let data = directory.path().join("data");
    prometheus_on(config, arguments, &data, directory, port)
}

/// One that serves what is in a data directory, and scrapes nothing.
pub(crate) fn prometheus_at(data: &Path, arguments: &[&str]) -> Component {
    let (directory, port) = scratch();
    prometheus_on("", arguments, data, directory, port)
}

fn prometheus_on(
    config: &str,
    arguments: &[&str],
    data: &Path,
    directory: TempDir,
    port: u16,
) -> Component {
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, config).expect("the configuration is written");
    let mut command = Command::new(program("prometheus"));
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.args(arguments);
    Component::start(&mut command, port, directory, "/-/ready")
}

/// A `node_exporter`.
pub(crate) fn node_exporter() -> Component {
    let (directory, port) = scratch();
    let mut command = Command::new(program("prometheus-node-exporter"));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Component::start(&mut command, port, directory, "/metrics")
}

/// The Python that the tests use.
pub(crate) fn interpreter() -> PathBuf {
    let python = repository().join(".venv/bin/python");
    assert!(
        python.is_file(),
        "there is no .venv with Flask, prometheus-client and pyarrow: scripts/test makes it"
    );
    python
}

/// A script that serves metrics on the port it is told.
pub(crate) fn python(script: &str) -> Component {
    let (directory, port) = scratch();
    let mut command = Command::new(interpreter());
    command.args(["-c", script, &port.to_string()]);
    Component::start(&mut command, port, directory, "/metrics")
}

/// A script of Node.js beside the tests that serves on the port it is told, ready once `ready` is answered.
pub(crate) fn node(script: &str, ready: &str) -> Component {
    let modules = repository().join(".node/node_modules");
    assert!(modules.is_dir(), "there is no .node with prom-client: scripts/test makes it");
    let (directory, port) = scratch();
    let mut command = Command::new(program("node"));
    command.arg(repository().join("server/tests/it").join(script)).arg(port.to_string());
    command.env("NODE_PATH", modules);
    Component::start(&mut command, port, directory, ready)
}

/// The example application of `docs/examples/flask-app`, with visitors.
pub(crate) fn flask_app() -> Component {
    let (directory, port) = scratch();
    let mut command = Command::new(interpreter());
    command.arg(repository().join("docs/examples/flask-app/app.py"));
    command.args(["--port", &port.to_string(), "--visitors", "30"]);
    Component::start(&mut command, port, directory, "/metrics")
}
