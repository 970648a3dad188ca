//! kill -9 under load, again and again: every acknowledged sample is there afterwards.
//!
//! Writers send batches of their own series and note how far they were acknowledged. A batch that was not is sent again after the
//! restart, as a real sender does, so in the end the samples form a whole without a hole.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use tidemark_bench::http::Client;

use crate::harness::{Tidemark, api, now_ms, vector_at};
use crate::remote_write::{encode, post, series};

const KILLS: u64 = 10;
const WRITERS: usize = 3;
/// Series of each writer.
const SERIES: usize = 20;
/// Samples of each series in a request.
const BATCH: i64 = 5;
/// Between two samples of a series.
const STEP_MS: i64 = 100;

/// One sender and how far it came.
struct Writer {
    id: usize,
    first_ms: i64,
    /// Steps that were acknowledged, for all its series.
    acknowledged: i64,
}

impl Writer {
    fn value(series: usize, step: i64) -> f64 {
        step as f64 * 1.25 + series as f64
    }

    /// Sends until the server is gone.
    fn send(&mut self, url: &str) {
        let mut client = Client::new(url).expect("a loopback address");
        loop {
            let batch = (0..SERIES).map(|n| {
                let steps = self.acknowledged..self.acknowledged + BATCH;
                let samples: Vec<_> = steps
                    .map(|step| (self.first_ms + step * STEP_MS, Self::value(n, step)))
                    .collect();
                let (writer, n) = (self.id.to_string(), n.to_string());
                series(&[("__name__", "written"), ("series", &n), ("writer", &writer)], &samples)
            });
            match post(&mut client, &encode(batch.collect())) {
                Ok(response) if response.is_success() => self.acknowledged += BATCH,
                Ok(response) => {
                    panic!("writer {}: {}: {}", self.id, response.status, response.text())
                }
                Err(_) => return,
            }
        }
    }
}

#[test]
fn ten_kills_lose_nothing_that_was_acknowledged() {
    let mut tidemark = Tidemark::start("");
    let first_ms = now_ms() - 3_600_000;
    let mut writers: Vec<_> =
        (0..WRITERS).map(|id| Writer { id, first_ms, acknowledged: 0 }).collect();
    for kill in 0..KILLS {
        let url = tidemark.url().to_owned();
        let server = &mut tidemark.server;
        thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.send(&url));
            }
            // Each time at another moment of the server's work.
            thread::sleep(Duration::from_millis(150 + kill * 37 % 250));
            server.kill();
        });
        tidemark.start_again();
        for writer in &writers {
            let end_ms = first_ms + writer.acknowledged * STEP_MS - 1;
            let query = format!("count_over_time(written{{writer=\"{}\"}}[2h])", writer.id);
            let found = vector_at(tidemark.url(), &query, end_ms);
            let whole =
                found.len() == SERIES && found.values().all(|n| *n == writer.acknowledged as f64);
            assert!(
                whole,
                "kill {kill}: {} steps were acknowledged: {found:?}",
                writer.acknowledged
            );
        }
    }
    for writer in &writers {
        assert!(
            writer.acknowledged > KILLS as i64 * BATCH,
            "the load was too small to say anything"
        );
        check_values(tidemark.url(), writer);
    }
}

/// Reads every sample of a writer back and compares it.
fn check_values(url: &str, writer: &Writer) {
    let end_ms = writer.first_ms + writer.acknowledged * STEP_MS;
    let time = format!("{}", end_ms as f64 / 1e3);
    let query = format!("written{{writer=\"{}\"}}[2h]", writer.id);
    let matrix = api(url, "/api/v1/query", &[("query", &query), ("time", &time)]);
    let all = matrix["result"].as_array().expect("a matrix");
    assert_eq!(all.len(), SERIES);
    for one in all {
        let n: usize =
            one["metric"]["series"].as_str().and_then(|n| n.parse().ok()).expect("a label");
        let samples: BTreeMap<i64, f64> = one["values"]
            .as_array()
            .expect("samples")
            .iter()
            .map(|pair| {
                let ms = (pair[0].as_f64().expect("a time") * 1e3).round() as i64;
                (ms, pair[1].as_str().expect("a value").parse().expect("a number"))
            })
            .collect();
        for step in 0..writer.acknowledged {
            let found = samples.get(&(writer.first_ms + step * STEP_MS));
            assert_eq!(found, Some(&Writer::value(n, step)), "series {n}, step {step}");
        }
    }
}
