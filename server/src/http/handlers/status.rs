//! `/api/v1/status/...`: what runs here, with which configuration and flags, and how it fares.

use std::rc::Rc;

use http::StatusCode;
use serde_json::json;
use tidemark_core::model::matcher::{MatchOp, Matcher};
use tidemark_core::runtime::{clock, unblock};

use crate::config::scalars::{ByteSize, Duration};
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::metrics::gather;
use crate::node::Node;
use crate::time::Rfc3339;

/// The version of Prometheus' API that is spoken here; dashboards choose their requests by it.
pub(crate) const API_VERSION: &str = "3.14.0";

/// Version and build.
pub(crate) async fn build(_: Rc<Node>, _: Request) -> Answer {
    Answer::data(&json!({
        "version": API_VERSION,
        "revision": concat!("tidemark-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// The effective configuration, secrets hidden.
pub(crate) async fn config(node: Rc<Node>, _: Request) -> Answer {
    Answer::data(&json!({ "yaml": node.settings().yaml }))
}

/// The flags, as given or by default.
pub(crate) async fn flags(node: Rc<Node>, _: Request) -> Answer {
    Answer::data(&node.flags.shown())
}

/// The process.
pub(crate) async fn runtime(node: Rc<Node>, _: Request) -> Answer {
    let hostname = unblock(|| std::fs::read_to_string("/proc/sys/kernel/hostname")).await;
    let cwd = std::env::current_dir().map(|d| d.to_string_lossy().into_owned());
    let load = node.load();
    let each = |node: &Node| node.local_shards().iter().map(|s| s.stats().wal_damage).sum::<u64>();
    let damage: u64 = match node.on_every_core(each).await {
        Ok(counts) => counts.iter().sum(),
        Err(error) => return error.answer(),
    };
    Answer::data(&json!({
        "startTime": Rfc3339(node.started_ms).to_string(),
        "CWD": cwd.unwrap_or_default(),
        "hostname": hostname.unwrap_or_default().trim(),
        "serverTime": Rfc3339(clock::now_ms()).to_string(),
        "reloadConfigSuccess": load.succeeded,
        "lastConfigTime": Rfc3339(load.time_ms).to_string(),
        "corruptionCount": damage,
        "goroutineCount": 0,
        "GOMAXPROCS": node.cores,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": storage_retention(&node),
    }))
}

/// The server's own metrics as JSON, those that `metric_name_pattern` matches.
pub(crate) async fn self_metrics(node: Rc<Node>, request: Request) -> Answer {
    let params = match request.params().await {
        Ok(params) => params,
        Err(error) => return error.answer(),
    };
    let pattern = match params.get("metric_name_pattern") {
        "" => None,
        text => match Matcher::new(MatchOp::Regex, "name", text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let message = format!("invalid metric_name_pattern: {error}");
                return Answer::api_error(StatusCode::BAD_REQUEST, "bad_data", &message);
            }
        },
    };
    let wanted = |name: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
    match gather::exposition(&node).await {
        Ok(all) => Answer::data(&all.messages(wanted)),
        Err(error) => error.answer(),
    }
}

/// How far reading the logs has come; it is over once the server is ready.
pub(crate) async fn wal_replay(node: Rc<Node>, _: Request) -> Answer {
    let progress = &node.progress;
    Answer::data(&json!({ "min": 0, "max": progress.segments(), "current": progress.replayed() }))
}

/// As Prometheus writes it: `15d or 512MiB`.
fn storage_retention(node: &Node) -> String {
    let kept = crate::node::retention(&node.flags, &node.settings().config);
    let time = kept.time_ms.map(|ms| Duration::from_millis(ms.cast_unsigned()).to_string());
    let size = kept.bytes.map(|bytes| ByteSize(bytes).to_string());
    let percent = kept.percent.map(|percent| format!("{percent}%"));
    time.into_iter().chain(size).chain(percent).collect::<Vec<_>>().join(" or ")
}
