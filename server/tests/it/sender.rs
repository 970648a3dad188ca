//! A real Prometheus that scrapes real targets and remote-writes all of it here: no retry, nothing lost, equal answers.
//!
//! `TIDEMARK_SENDER_SECONDS` makes the run as long as wanted; `docs/TESTING.md` has the command for ten minutes.

use std::time::Duration;

use crate::components::{flask_app, node_exporter, prometheus};
use crate::harness::{Tidemark, assert_same, eventually, now_ms, value, vector_at};

const SECONDS: u64 = 20;

#[test]
fn prometheus_remote_writes_for_a_while_without_a_retry() {
    let seconds = std::env::var("TIDEMARK_SENDER_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let (node, shop) = (node_exporter(), flask_app());
    let tidemark = Tidemark::start("");
    crate::comparison::warm(&shop);
    let sender = prometheus(&format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         remote_write: [{{url: '{}/api/v1/write', queue_config: {{batch_send_deadline: 500ms}}}}]\n\
         scrape_configs:\n\
         - {{job_name: node, static_configs: [{{targets: ['{}']}}]}}\n\
         - {{job_name: shop, static_configs: [{{targets: ['{}']}}]}}\n",
        tidemark.url(),
        node.address(),
        shop.address(),
    ));
    std::thread::sleep(Duration::from_secs(seconds));

    // Its own counters, scraped from its own page.
    let metrics = sender.server.client().get("/metrics").expect("its metrics").text();
    let counter = |name: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    assert!(counter("prometheus_remote_storage_samples_total") > 5_000.0, "{metrics}");
    for failure in ["retried_total", "failed_total", "dropped_total"] {
        let name = format!("prometheus_remote_storage_samples_{failure}");
        assert_eq!(counter(&name), 0.0, "{name} after {seconds} s");
    }

    // A time that has been sent whole: the queries of a dashboard must give the same on both sides.
    let time_ms = now_ms() - 1_000;
    eventually("what was sent is visible", || {
        (value(tidemark.url(), "max(timestamp(up))")? * 1e3 > time_ms as f64 + 1_500.0)
            .then_some(())
    });
    for expression in crate::comparison::QUERIES {
        let ours = vector_at(tidemark.url(), expression, time_ms);
        assert!(!ours.is_empty(), "{expression} gives nothing");
        assert_same(expression, &ours, &vector_at(sender.url(), expression, time_ms));
    }
    for name in ["up", "http_requests_total", "node_cpu_seconds_total", "scrape_samples_scraped"] {
        let count = format!("count_over_time({name}[1h])");
        let theirs = vector_at(sender.url(), &count, time_ms);
        assert_same(&count, &vector_at(tidemark.url(), &count, time_ms), &theirs);
    }
}
