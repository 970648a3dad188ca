//! A Tidemark server under test, and what tests ask of it or of a Prometheus beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use tidemark_bench::http::{Response, path};
use tidemark_bench::process::{Server, free_port};

/// How long anything that should happen soon may take on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A label set and its value, as an instant vector has them.
pub(crate) type Vector = BTreeMap<BTreeMap<String, String>, f64>;

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tidemark"))
}

/// A running server with a scratch directory.
pub(crate) struct Tidemark {
    pub(crate) server: Server,
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Tidemark {
    /// Starts with this configuration and waits until it is ready.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(config: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let port = free_port().expect("a free port");
        std::fs::write(directory.path().join("config.yml"), config)
            .expect("the configuration is written");
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let server = launch(directory.path(), port, &arguments);
        let mut tidemark = Self { server, directory, port, arguments };
        tidemark.wait_ready();
        tidemark
    }

    /// Starts again on the same data, after the process ended.
    pub(crate) fn start_again(&mut self) {
        self.server = launch(self.directory.path(), self.port, &self.arguments);
        self.wait_ready();
    }

    /// The same with other arguments.
    pub(crate) fn start_again_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.start_again();
    }

    fn wait_ready(&mut self) {
        self.server.wait_ready("/-/ready", SOON).expect("the server becomes ready");
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// GET of a path.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.server.client().get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The one target of a job, as `/api/v1/targets` shows it.
    pub(crate) fn target(&self, job: &str) -> Value {
        let targets = api(self.url(), "/api/v1/targets", &[]);
        let active = targets["activeTargets"].as_array().cloned().unwrap_or_default();
        active.into_iter().find(|target| target["labels"]["job"] == job).unwrap_or_default()
    }
}

/// The arguments that every server under test gets.
pub(crate) fn serve_arguments(directory: &Path, port: u16) -> Vec<String> {
    vec![
        "serve".to_owned(),
        format!("--config.file={}", directory.join("config.yml").display()),
        format!("--storage.path={}", directory.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--web.enable-lifecycle".to_owned(),
    ]
}

fn launch(directory: &Path, port: u16, arguments: &[String]) -> Server {
    let mut command = Command::new(binary());
    command.args(serve_arguments(directory, port)).args(arguments);
    Server::start(&mut command, port, &directory.join("log")).expect("the binary starts")
}

/// The `data` of a successful API answer.
pub(crate) fn api(url: &str, call: &str, parameters: &[(&str, &str)]) -> Value {
    try_api(url, call, parameters)
        .unwrap_or_else(|error| panic!("{url}{call} {parameters:?}: {error}"))
}

/// The same, or what the server said instead.
pub(crate) fn try_api(url: &str, call: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
    let mut client = tidemark_bench::http::Client::new(url).map_err(|error| error.to_string())?;
    let response = client.get(&path(call, parameters)).map_err(|error| error.to_string())?;
    let mut answer: Value = serde_json::from_slice(&response.body)
        .map_err(|error| format!("{error}: {}", response.text()))?;
    if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(response.text()) }
}

/// The instant vector of an expression at a time in milliseconds.
pub(crate) fn vector_at(url: &str, expression: &str, time_ms: i64) -> Vector {
    let time = format!("{}.{:03}", time_ms / 1_000, time_ms % 1_000);
    vector_of(&api(url, "/api/v1/query", &[("query", expression), ("time", &time)]))
}

/// The instant vector of an expression now.
pub(crate) fn vector(url: &str, expression: &str) -> Vector {
    vector_of(&api(url, "/api/v1/query", &[("query", expression)]))
}

/// The value of an expression that gives one sample now, if it gives one.
pub(crate) fn value(url: &str, expression: &str) -> Option<f64> {
    vector(url, expression).into_values().next()
}

fn vector_of(data: &Value) -> Vector {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let samples = data["result"].as_array().expect("a vector").iter();
    samples
        .map(|sample| {
            let metric = sample["metric"].as_object().expect("labels");
            let labels = metric.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            (labels, text(&sample["value"][1]).parse().expect("a number"))
        })
        .collect()
}

/// Fails unless both have the same label sets with the same values, but for the last digits of a sum in another order.
pub(crate) fn assert_same(title: &str, ours: &Vector, theirs: &Vector) {
    let close = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
    };
    let same = ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| a.0 == b.0 && close(*a.1, *b.1));
    assert!(same, "{title}\n  ours:   {ours:?}\n  theirs: {theirs:?}");
}

/// Waits until `look` gives something; fails with `what` after [`SOON`].
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(SOON, what, look)
}

/// Waits until `look` gives something; fails with `what` after `limit`.
pub(crate) fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}
