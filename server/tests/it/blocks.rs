//! Blocks on a real disk: cut from the head, read with it, deleted from, linked into a snapshot, looked at by `tidemark tsdb`.

use std::path::Path;
use std::process::Command;

use tidemark_bench::http::path;

use crate::harness::{Tidemark, api, binary, eventually, now_ms, value, vector_at};
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

/// What `tidemark tsdb` prints; `Err` if it fails.
fn try_tsdb(arguments: &[&str], directory: &Path) -> Result<String, String> {
    let output = Command::new(binary()).arg("tsdb").args(arguments).arg(directory).output();
    let output = output.expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = || format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(all()) }
}

/// What `tidemark tsdb` prints.
fn tsdb(arguments: &[&str], directory: &Path) -> String {
    try_tsdb(arguments, directory).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
}

/// Waits until so many blocks have been cut.
fn wait_for_cuts(tidemark: &Tidemark, cuts: f64) {
    let metric = |name: &str| {
        let text = tidemark.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    eventually("the shards cut what they can", || {
        (metric("prometheus_tsdb_head_truncations_total ") >= cuts).then_some(())
    });
}

#[test]
fn blocks_are_cut_read_deleted_from_and_linked() {
    let mut tidemark = Tidemark::start_with("", &["--web.enable-admin-api", "--storage.shards=2"]);
    load(&tidemark);
    wait_for_cuts(&tidemark, 6.0);
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

#[test]
fn another_number_of_shards_and_a_restored_snapshot_answer_the_same() {
    let mut tidemark = Tidemark::start_with("", &["--web.enable-admin-api", "--storage.shards=2"]);
    load(&tidemark);
    wait_for_cuts(&tidemark, 6.0);
    // At a fixed time, so that nothing leaves the windows meanwhile.
    let time_ms = now_ms();
    let look = |tidemark: &Tidemark| {
        ["count by (n) (kept offset 1m)", "sum by (n) (sum_over_time(kept[10h]))"]
            .map(|expression| vector_at(tidemark.url(), expression, time_ms))
    };
    let before = look(&tidemark);
    assert_eq!((before[0].len(), before[1].len()), (SERIES, SERIES));
    let data = tidemark.config().parent().expect("a directory").join("data");
    let taken = tidemark.server.client().request("POST", "/api/v1/admin/tsdb/snapshot", &[], &[]);
    let taken: serde_json::Value =
        serde_json::from_str(&taken.expect("an answer").text()).expect("JSON");
    let snapshot = data.join("snapshots").join(taken["data"]["name"].as_str().expect("a name"));

    let metrics = tidemark.get("/metrics").text();
    let part = |line: &str| {
        let rest = line.strip_prefix("tidemark_memory_bytes{part=\"")?;
        let (part, bytes) = rest.split_once("\"} ")?;
        Some((part.to_owned(), bytes.parse::<f64>().ok()?))
    };
    let parts: std::collections::BTreeMap<_, _> = metrics.lines().filter_map(part).collect();
    assert!(parts["series"] > 1_000.0 && parts["open_chunks"] > 100.0, "{parts:?}");
    assert!(parts["postings"] > 100.0 && parts["other"] > 1e6, "{parts:?}");

    let refused = try_tsdb(&["reshard", "--shards=3"], &data).expect_err("a server runs on it");
    assert!(refused.contains("in use"), "{refused}");
    assert!(tidemark.server.stop().expect("it ends").success());
    tsdb(&["reshard", "--shards=3"], &data);
    tidemark.start_again();
    assert_eq!(look(&tidemark), before, "after resharding");
    assert!(tidemark.get("/metrics").text().contains("\ntidemark_shards 3\n"));
    let more = series(&[("__name__", "more")], &[(now_ms(), 1.0)]);
    write(&mut tidemark.server.client(), vec![more]);

    assert!(tidemark.server.stop().expect("it ends").success());
    let from = snapshot.to_str().expect("a path");
    let refused = try_tsdb(&["restore", from], &data).expect_err("there is data already");
    assert!(refused.contains("holds data already"), "{refused}");
    let restored = data.with_file_name("restored");
    tsdb(&["restore", from], &restored);
    std::fs::rename(&data, data.with_file_name("before")).expect("it is moved away");
    std::fs::rename(&restored, &data).expect("it takes its place");
    tidemark.start_again();
    assert_eq!(look(&tidemark), before, "after restoring");
    assert!(tidemark.get("/metrics").text().contains("\ntidemark_shards 2\n"));
    assert_eq!(value(tidemark.url(), "more"), None, "it came after the snapshot");
}

#[test]
fn damage_is_told_in_the_answer() {
    let mut tidemark = Tidemark::start_with("", &["--storage.shards=1"]);
    load(&tidemark);
    wait_for_cuts(&tidemark, 3.0);
    assert!(tidemark.server.stop().expect("it ends").success());
    let data = tidemark.config().parent().expect("a directory").join("data");
    let whole = data.with_file_name("whole");
    std::fs::rename(&data, &whole).expect("it is moved away");
    let warnings = |tidemark: &Tidemark, query: &str| {
        let answer = tidemark.get(&path("/api/v1/query", &[("query", query)])).text();
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{answer}");
        answer["warnings"].as_array().cloned().unwrap_or_default()
    };
    // The first is decoded; the second may be told by the figures of chunks, which are whole.
    let (narrow, wide) = ("quantile_over_time(0.5, kept[10h])", "max_over_time(kept[10h])");
    for (file, told_by_figures) in [("chunks", true), ("index", false)] {
        let copied = Command::new("cp").arg("-r").arg(&whole).arg(&data).status();
        assert!(copied.expect("cp starts").success());
        let blocks = data.join("shard-0000/blocks");
        let mut names: Vec<_> = std::fs::read_dir(&blocks)
            .expect("blocks")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        names.sort();
        let damaged = names[0].join(file);
        let mut bytes = std::fs::read(&damaged).expect("readable");
        bytes[9] ^= 4;
        std::fs::write(&damaged, bytes).expect("writable");
        tidemark.start_again();
        assert!(told_by_figures || !warnings(&tidemark, wide).is_empty(), "{file}");
        for _ in 0..2 {
            let said = warnings(&tidemark, narrow);
            let text = said.first().and_then(|text| text.as_str()).unwrap_or_default();
            let name = names[0].file_name().expect("a name").to_string_lossy();
            assert!(text.contains(&*name) && text.contains("missing"), "{file}: {said:?}");
        }
        assert!(tidemark.server.stop().expect("it ends").success());
        std::fs::remove_dir_all(&data).expect("it goes");
    }
}
