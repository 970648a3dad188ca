//! The queries of one core: those under way, what those before took, and a log of all of them.
//!
//! A query is listed by a guard that its handler holds. A client that hangs up drops the handler, and the guard with it: what is
//! listed as under way is under way. Past queries are summed by their text and the length of their range, for as many texts as
//! [`PAST_QUERIES_MAX`] says; the one asked for longest ago makes room. The log is one line of JSON a query, in Prometheus' form.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::Serialize;
use serde_json::json;
use tidemark_core::runtime::{clock, unblock};
use tidemark_query::value::QueryStats;

use crate::limits::{PAST_QUERIES_MAX, QUERY_LOG_BYTES_MAX, QUERY_SHOWN_BYTES_MAX};
use crate::time::Rfc3339;

/// What was asked, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The text of the query, cut to what is shown of it.
    pub(crate) query: String,
    /// The first moment, in ms.
    pub(crate) start_ms: i64,
    /// The last moment, in ms.
    pub(crate) end_ms: i64,
    /// Distance of the moments, in ms; 0 for an instant query.
    pub(crate) step_ms: i64,
    /// The path that was asked.
    pub(crate) path: &'static str,
    /// How.
    pub(crate) method: String,
    /// By whom.
    pub(crate) client: Option<SocketAddr>,
}

/// A query under way.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    /// Unique among the queries of its core.
    pub(crate) number: u64,
    /// What.
    pub(crate) asked: Asked,
    /// Since when.
    pub(crate) began: clock::Instant,
}

/// What the queries of one text and range took.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Past {
    /// The text.
    pub(crate) query: String,
    /// From the first to the last moment, in whole seconds.
    pub(crate) range_seconds: i64,
    /// How many.
    pub(crate) count: u64,
    /// All of them together.
    pub(crate) seconds: f64,
    /// When the last one ended, in ms.
    pub(crate) last_ms: i64,
}

/// The queries of a core.
#[derive(Default)]
pub(crate) struct Queries {
    next: Cell<u64>,
    active: RefCell<BTreeMap<u64, Active>>,
    past: RefCell<HashMap<(String, i64), Past>>,
    /// Lines that are not written yet.
    log: RefCell<Vec<u8>>,
    /// Whether there is a log.
    logs: Cell<bool>,
}

/// Lists a query as under way until it is dropped.
pub(crate) struct Running {
    queries: Rc<Queries>,
    number: u64,
    ended: bool,
}

impl Asked {
    /// Cuts a text to what is shown of it.
    pub(crate) fn shown(query: &str) -> String {
        query[..query.floor_char_boundary(QUERY_SHOWN_BYTES_MAX)].to_owned()
    }
}

impl Queries {
    /// Lists a query.
    pub(crate) fn begin(self: &Rc<Self>, asked: Asked) -> Running {
        let number = self.next.replace(self.next.get() + 1);
        let active = Active { number, asked, began: clock::Instant::now() };
        self.active.borrow_mut().insert(number, active);
        Running { queries: Rc::clone(self), number, ended: false }
    }

    /// Those under way.
    pub(crate) fn active(&self) -> Vec<Active> {
        self.active.borrow().values().cloned().collect()
    }

    /// What those before took.
    pub(crate) fn past(&self) -> Vec<Past> {
        self.past.borrow().values().cloned().collect()
    }

    fn finish(&self, number: u64, stats: Option<&QueryStats>, error: Option<&str>) {
        let Some(active) = self.active.borrow_mut().remove(&number) else { return };
        let seconds = active.began.elapsed().as_secs_f64();
        self.remember(&active.asked, seconds);
        if self.logs.get() {
            let line = log_line(&active.asked, seconds, stats, error);
            let mut log = self.log.borrow_mut();
            // A disk that does not keep up costs lines, not memory.
            if log.len() + line.len() <= QUERY_LOG_BYTES_MAX {
                log.extend_from_slice(line.as_bytes());
            }
        }
    }

    fn remember(&self, asked: &Asked, seconds: f64) {
        let range_seconds = (asked.end_ms - asked.start_ms) / 1000;
        let key = (asked.query.clone(), range_seconds);
        let mut past = self.past.borrow_mut();
        if past.len() >= PAST_QUERIES_MAX && !past.contains_key(&key) {
            let oldest = past.iter().min_by_key(|(_, past)| past.last_ms);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                past.remove(&oldest);
            }
        }
        let query = asked.query.clone();
        let one = past.entry(key).or_insert(Past {
            query,
            range_seconds,
            count: 0,
            seconds: 0.0,
            last_ms: 0,
        });
        one.count += 1;
        one.seconds += seconds;
        one.last_ms = clock::now_ms();
    }

    /// Writes what was logged since the last call to `path`; without a path nothing is logged.
    pub(crate) async fn write_log(&self, path: &str) {
        self.logs.set(!path.is_empty());
        let lines = self.log.take();
        if path.is_empty() || lines.is_empty() {
            return;
        }
        let path = path.to_owned();
        let written = unblock(move || {
            let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
            file.write_all(&lines)
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "the query log cannot be written, lines are lost");
        }
    }
}

impl Running {
    /// The query has an answer, or an error.
    pub(crate) fn end(mut self, stats: Option<&QueryStats>, error: Option<&str>) {
        self.ended = true;
        self.queries.finish(self.number, stats, error);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.queries.finish(self.number, None, Some("the client went away"));
        }
    }
}

/// One line of the log.
fn log_line(
    asked: &Asked,
    seconds: f64,
    stats: Option<&QueryStats>,
    error: Option<&str>,
) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        params: serde_json::Value,
        stats: serde_json::Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        ts: String,
        #[serde(rename = "httpRequest")]
        http_request: serde_json::Value,
    }
    let default = QueryStats::default();
    let samples = stats.unwrap_or(&default);
    let t = samples.timings;
    let line = Line {
        params: json!({
            "query": asked.query,
            "start": Rfc3339(asked.start_ms).to_string(),
            "end": Rfc3339(asked.end_ms).to_string(),
            "step": asked.step_ms / 1000,
        }),
        stats: json!({
            "timings": {
                "evalTotalTime": t.preparation_seconds + t.evaluation_seconds + t.sort_seconds,
                "queryPreparationTime": t.preparation_seconds,
                "innerEvalTime": t.evaluation_seconds,
                "resultSortTime": t.sort_seconds,
                "execQueueTime": t.queue_seconds,
                "execTotalTime": seconds,
            },
            "samples": {
                "totalQueryableSamples": samples.samples_total,
                "peakSamples": samples.samples_peak,
            },
        }),
        error,
        ts: Rfc3339(clock::now_ms()).to_string(),
        http_request: json!({
            "clientIP": asked.client.map(|client| client.ip().to_string()).unwrap_or_default(),
            "method": asked.method,
            "path": asked.path,
        }),
    };
    // Numbers, texts and maps of them: there is nothing that JSON cannot say.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use tidemark_core::runtime::sim;

    use super::*;

    fn asked(query: &str) -> Asked {
        Asked {
            query: Asked::shown(query),
            start_ms: 0,
            end_ms: 60_000,
            step_ms: 1_000,
            path: "/api/v1/query_range",
            method: "GET".to_owned(),
            client: "127.0.0.1:9".parse().ok(),
        }
    }

    #[test]
    fn a_query_is_listed_while_it_is_under_way() {
        sim::run(1, async {
            let queries = Rc::new(Queries::default());
            let (first, second) = (queries.begin(asked("a")), queries.begin(asked("b")));
            let texts = || queries.active().into_iter().map(|a| a.asked.query).collect::<Vec<_>>();
            assert_eq!(texts(), ["a", "b"]);
            first.end(None, None);
            assert_eq!(texts(), ["b"]);
            drop(second);
            assert!(texts().is_empty());
            queries.begin(asked("a")).end(None, Some("no"));
            let mut past = queries.past();
            past.sort_by_key(|past| past.count);
            assert_eq!(
                (past[1].query.as_str(), past[1].count, past[1].range_seconds),
                ("a", 2, 60)
            );
        });
    }

    #[test]
    fn past_queries_are_bounded() {
        sim::run(1, async {
            let queries = Rc::new(Queries::default());
            for i in 0..PAST_QUERIES_MAX + 10 {
                queries.begin(asked(&i.to_string())).end(None, None);
            }
            assert_eq!(queries.past().len(), PAST_QUERIES_MAX);
            let long = Asked::shown(&"é".repeat(QUERY_SHOWN_BYTES_MAX));
            assert!(long.len() <= QUERY_SHOWN_BYTES_MAX);
        });
    }

    #[test]
    fn the_log_has_prometheus_form() {
        sim::run(1, async {
            let line = log_line(&asked("up{a=\"b\"}"), 1.5, None, None);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["params"]["query"], "up{a=\"b\"}");
            assert_eq!(line["params"]["end"], "1970-01-01T00:01:00.000Z");
            assert_eq!(line["stats"]["timings"]["execTotalTime"], 1.5);
            assert_eq!(line["httpRequest"]["clientIP"], "127.0.0.1");
        });
    }
}
