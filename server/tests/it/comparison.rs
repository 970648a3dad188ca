//! The same targets scraped by Tidemark and by a real Prometheus: the same series, and the same answers.
//!
//! Two servers scrape at different moments, so their samples differ even where both are right. A relay between them and the
//! real targets takes that away: it fetches a target once, notes the time at every sample, and fetches it again only when
//! both have had that frame. Then every answer has to be equal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidemark_bench::http::Client;

use crate::components::{Component, flask_app, node_exporter, prometheus};
use crate::exporter::{Answer, Exporter};
use crate::harness::{Tidemark, api, assert_same, now_ms, value, vector_at, within};

/// What the example application's and `node_exporter`'s dashboards ask.
pub(crate) const QUERIES: &[&str] = &[
    "sum(rate(http_requests_total[5m])) by (method)",
    r#"sum(rate(http_requests_total{status=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) * 100"#,
    "histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket[5m])) by (le, endpoint))",
    "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes",
    r#"100 - (avg by (instance) (irate(node_cpu_seconds_total{mode="idle"}[5m])) * 100)"#,
    "rate(node_disk_written_bytes_total[5m])",
];

/// More that has to be equal, over the same data.
const MORE_QUERIES: &[&str] = &[
    "up",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "count by (job) ({__name__=~\"node_.+\"})",
    "topk(3, sum by (mode) (rate(node_cpu_seconds_total[1m])))",
    "rate(db_query_duration_seconds_sum[5m]) / rate(db_query_duration_seconds_count[5m])",
    "db_connection_pool_size",
    "max_over_time(db_table_size_bytes[1m])",
    "quantile_over_time(0.9, node_load1[1m])",
    "count by (job, __name__) ({__name__!~\"up|scrape_.+\", job=~\".+\"})",
    "histogram_quantile(0.5, rate(http_request_duration_seconds_bucket[1m]))",
    "active_users{tier!~\"free|basic\"} > bool 1",
    "max_over_time(sum(rate(http_requests_total[30s]))[1m:5s])",
    "http_requests_total * on (endpoint, method) group_left () http_request_duration_seconds_count",
    "absent(no_such_metric)",
    "label_replace(node_uname_info, \"system\", \"$1\", \"sysname\", \"(.).*\")",
];

/// A frame of a target, and who has had it.
struct Frame {
    target: Client,
    text: String,
    content_type: String,
    had_by: BTreeSet<String>,
}

impl Frame {
    /// Fetches the target now and dates each of its samples.
    fn renew(&mut self) {
        let response = self.target.get("/metrics").expect("the target answers");
        let time_ms = now_ms();
        let dated = |line: &str| {
            let sample = !line.starts_with('#') && !line.is_empty();
            if sample { format!("{line} {time_ms}\n") } else { format!("{line}\n") }
        };
        self.text = response.text().lines().map(dated).collect();
        response.header("content-type").unwrap_or_default().clone_into(&mut self.content_type);
        self.had_by.clear();
    }
}

/// Relays a target to two scrapers, each of which asks for `/metrics` under a path of its own.
fn relay(target: &Component) -> Exporter {
    let mut frame = Frame {
        target: target.server.client(),
        text: String::new(),
        content_type: String::new(),
        had_by: BTreeSet::new(),
    };
    frame.renew();
    let frame = Arc::new(Mutex::new(frame));
    Exporter::start(move |path| {
        let mut frame = frame.lock().expect("no panic while it was held");
        if frame.had_by.len() == 2 {
            frame.renew();
        }
        frame.had_by.insert(path.to_owned());
        Answer::Body(frame.content_type.clone(), frame.text.clone().into_bytes())
    })
}

/// Waits until the counters of the example application are far from zero, those of its errors too.
///
/// A rate is extended to the left by no more than it takes the counter to come from zero; Prometheus 3, and so Tidemark, looks
/// first whether the window has samples near its edge, Prometheus 2 afterwards. Both are the same for a counter whose first
/// sample is large beside what it gains, and differ in the few that are young.
pub(crate) fn warm(shop: &Component) {
    const QUERIES_MIN: f64 = 40.0;
    const ERRORS_MIN: f64 = 2.0;
    // The visitors are slow where all tests share two cores.
    const LIMIT: Duration = Duration::from_mins(4);
    let mut client = shop.server.client();
    within(LIMIT, "the application has answered enough", || {
        let page = client.get("/metrics").expect("the target answers");
        let text = page.text();
        let least = |wanted: &dyn Fn(&str) -> bool| {
            let values = text.lines().filter(|line| wanted(line));
            let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            values.min_by(f64::total_cmp).unwrap_or(0.0)
        };
        let queries = least(&|line| line.starts_with("db_query_duration_seconds_count"));
        let errors = least(&|line| {
            line.starts_with("http_requests_total") && line.contains("status=\"503\"")
        });
        (queries >= QUERIES_MIN && errors >= ERRORS_MIN).then_some(())
    });
}

fn config(scraper: &str, node: &str, shop: &str) -> String {
    let job = |name: &str, address: &str| {
        format!(
            "- {{job_name: {name}, metrics_path: /{scraper}, static_configs: [{{targets: ['{address}']}}]}}\n"
        )
    };
    format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n{}{}",
        job("node", node),
        job("shop", shop)
    )
}

#[test]
fn the_same_targets_give_the_same_answers_as_prometheus() {
    let (node, shop) = (node_exporter(), flask_app());
    warm(&shop);
    let (node_relay, shop_relay) = (relay(&node), relay(&shop));
    let (node_address, shop_address) = (node_relay.address(), shop_relay.address());
    let tidemark = Tidemark::start(&config("tidemark", node_address, shop_address));
    let prometheus = prometheus(&config("prometheus", node_address, shop_address));

    let both = [tidemark.url(), prometheus.url()];
    // Enough frames for every rate, a subquery's at whole multiples of its step too, and an error among the visitors' requests.
    let ready = r#"count_over_time(http_requests_total{status="503"}[5m]) > 30"#;
    let timestamp = "min(timestamp(node_load1)) or min(timestamp(active_users))";
    within(Duration::from_mins(2), "both have scraped enough", || {
        both.iter().all(|url| value(url, ready).is_some()).then_some(())
    });
    let newest = both.map(|url| value(url, timestamp).expect("a sample"));
    let time_ms = (newest[0].min(newest[1]) * 1e3) as i64 - 2_000;

    for expression in QUERIES.iter().chain(MORE_QUERIES) {
        let [ours, theirs] = both.map(|url| vector_at(url, expression, time_ms));
        assert!(!ours.is_empty(), "{expression} gives nothing");
        assert_same(expression, &ours, &theirs);
    }
    let time = |ms: i64| (ms as f64 / 1e3).to_string();
    let range =
        [("start", time(time_ms - 5_000)), ("end", time(time_ms)), ("step", "1".to_owned())];
    let [ours, theirs] = both.map(|url| {
        let mut parameters = vec![("query", QUERIES[0])];
        parameters.extend(range.iter().map(|(name, value)| (*name, value.as_str())));
        shape(&api(url, "/api/v1/query_range", &parameters))
    });
    assert_eq!(ours, theirs, "the steps of a range query");
    for call in ["/api/v1/labels", "/api/v1/label/__name__/values", "/api/v1/label/job/values"] {
        let [ours, theirs] = both.map(|url| api(url, call, &[]));
        assert_eq!(ours, theirs, "{call}");
    }
    let [ours, theirs] = both.map(|url| {
        let series = api(url, "/api/v1/series", &[("match[]", "{job=\"shop\"}")]);
        series.as_array().expect("a list").iter().map(Value::to_string).collect::<BTreeSet<_>>()
    });
    assert_eq!(ours, theirs, "the series of the example application");
}

/// A range answer's label sets and times, without its values.
fn shape(data: &Value) -> BTreeSet<String> {
    let series = data["result"].as_array().expect("a matrix").iter();
    let times = |one: &Value| -> Vec<Value> {
        one["values"].as_array().expect("values").iter().map(|pair| pair[0].clone()).collect()
    };
    series.map(|one| format!("{} {:?}", one["metric"], times(one))).collect()
}
