//! Blocks on a real disk: cut from the head, read with it, deleted from, linked into a snapshot, looked at by `tidemark tsdb`.

use std::path::Path;
use std::process::Command;

use crate::harness::{Tidemark, api, binary, eventually, now_ms, value};
use crate::remote_write::{series, write};

const SERIES: usize = 30;
const MINUTES: i64 = 9 * 60;

/// Nine hours of some series, up to now, hour by hour.
fn load(tidemark: &Tidemark) {
    let end_ms = now_ms() / 60_000 * 60_000;
    let mut client = tidemark.server.client();
    for hour in 0..MINUTES / 60 {
        let samples: Vec<_> = (hour * 60..hour * 60 + 60)
            .map(|minute| (end_ms - (MINUTES - 1 - minute) * 60_000, minute as f64))
            .collect();
        let one = |n: usize| series(&[("__name__", "kept"), ("n", &n.to_string())], &samples);
        write(&mut client, (0..SERIES).map(one).collect());
    }
}

/// What `tidemark tsdb` prints.
fn tsdb(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(binary()).arg("tsdb").args(arguments).arg(directory).output();
    let output = output.expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn blocks_are_cut_read_deleted_from_and_linked() {
    let mut tidemark = Tidemark::start_with("", &["--web.enable-admin-api", "--storage.shards=2"]);
    load(&tidemark);
    let metric = |name: &str| {
        let text = tidemark.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    eventually("both shards cut what they can", || {
        (metric("prometheus_tsdb_head_truncations_total ") >= 6.0).then_some(())
    });
    let count = |url: &str| value(url, "sum(count_over_time(kept[10h]))");
    let all = SERIES as i64 * MINUTES;
    assert_eq!(count(tidemark.url()), Some(all as f64));
    assert_eq!(value(tidemark.url(), "sum(sum_over_time(kept{n='7'}[10h]))"), Some(145_530.0));

    let post =
        |path: &str| tidemark.server.client().request("POST", path, &[], &[]).expect("an answer");
    let taken = post("/api/v1/admin/tsdb/snapshot");
    assert!(taken.is_success(), "{}", taken.text());
    let taken: serde_json::Value = serde_json::from_str(&taken.text()).expect("JSON");
    let name = taken["data"]["name"].as_str().expect("a name").to_owned();
    let deleted = post("/api/v1/admin/tsdb/delete_series?match[]=kept{n=~'1.'}");
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let left = (SERIES as i64 - 10) * MINUTES;
    assert_eq!(count(tidemark.url()), Some(left as f64));
    assert_eq!(post("/api/v1/admin/tsdb/clean_tombstones").status, 204);
    assert_eq!(count(tidemark.url()), Some(left as f64));
    assert_eq!(post("/api/v1/admin/tsdb/delete_series").status, 400);
    let values = api(tidemark.url(), "/api/v1/label/n/values", &[]);
    assert!(values.as_array().expect("a list").len() >= 20, "{values}");

    assert!(tidemark.server.stop().expect("it ends").success());
    let data = tidemark.config().parent().expect("a directory").join("data");
    assert!(tsdb(&["list"], &data).lines().count() >= 3);
    assert!(tsdb(&["verify"], &data).contains(" 0 are damaged"));
    assert!(tsdb(&["analyze"], &data).contains("kept"));
    assert_eq!(tsdb(&["dump", "--match=kept"], &data).lines().count() as i64, left);
    let snapshot = data.join("snapshots").join(name);
    assert_eq!(tsdb(&["dump", "--match=kept"], &snapshot).lines().count() as i64, all);
    tidemark.start_again_with(&[]);
    assert_eq!(count(tidemark.url()), Some(left as f64));
    let refused = post_to(&tidemark, "/api/v1/admin/tsdb/snapshot");
    assert_eq!(refused, 503, "the admin API is off unless it is asked for");
}

fn post_to(tidemark: &Tidemark, path: &str) -> u16 {
    tidemark.server.client().request("POST", path, &[], &[]).expect("an answer").status
}
