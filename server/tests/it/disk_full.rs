//! A full disk: senders are told, nothing acknowledged is lost, and it goes on when there is room again.
//!
//! The data directory is a small tmpfs in a mount namespace of the server's own, which ends with it; a ballast file in it
//! is what makes room later. Making the namespace takes root or unprivileged user namespaces.

use std::path::PathBuf;
use std::process::Command;

use tidemark_bench::http::Client;
use tidemark_bench::process::{Server, free_port};

use crate::harness::{SOON, binary, eventually, now_ms, serve_arguments, vector_at};
use crate::remote_write::{encode, post, series};

/// Size of the disk, and how much of it the ballast takes, in MiB. One shard, whose WAL is preallocated in pieces of 32 MiB,
/// has room for a few of them at first.
const DISK_MIB: u32 = 224;
const BALLAST_MIB: u32 = 112;

/// Series, and samples of each in a request.
const SERIES: u64 = 200;
const STEPS: i64 = 50;
/// Between two samples of a series.
const STEP_MS: i64 = 10;

/// A server in a mount namespace with a small disk of its own.
struct Cramped {
    server: Server,
    directory: tempfile::TempDir,
}

impl Cramped {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let port = free_port().expect("a free port");
        std::fs::write(directory.path().join("config.yml"), "").expect("written");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("made");
        let script = format!(
            "set -e; mount -t tmpfs -o size={DISK_MIB}m tmpfs {data}; \
             head -c {BALLAST_MIB}M /dev/zero > {data}/ballast; exec \"$0\" \"$@\"",
            data = data.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "--user", "--", "sh", "-c", &script]);
        command.arg(binary()).args(serve_arguments(directory.path(), port));
        command.args(["--cores=1", "--storage.shards=1"]);
        let mut server = Server::start(&mut command, port, &directory.path().join("log"))
            .expect("unshare starts; it is part of util-linux");
        server
            .wait_ready("/-/ready", SOON)
            .expect("the server becomes ready on a small tmpfs of its own");
        Self { server, directory }
    }

    /// The ballast as it is seen from outside the namespace.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.server.pid()));
        let data = self.directory.path().join("data/ballast");
        root.join(data.strip_prefix("/").expect("an absolute path"))
    }
}

#[test]
fn a_full_disk_refuses_politely_and_recovers() {
    let cramped = Cramped::start();
    let url = cramped.server.url.clone();
    let mut client = Client::new(&url).expect("a loopback address");
    let first_ms = now_ms() - 3_600_000;

    // Values without any pattern, so that nothing makes them small.
    let noise = |n: u64| f64::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    let batch = |request: i64| {
        let one = |n: u64| {
            let sample = |step: i64| {
                let at = request * STEPS + step;
                (first_ms + at * STEP_MS, noise(n << 40 | at as u64))
            };
            let samples: Vec<_> = (0..STEPS).map(sample).collect();
            series(&[("__name__", "filling"), ("n", &n.to_string())], &samples)
        };
        encode((0..SERIES).map(one).collect())
    };
    let mut acknowledged = 0;
    let refusal = loop {
        let response =
            post(&mut client, &batch(acknowledged)).expect("an answer, even on a full disk");
        if !response.is_success() {
            break response;
        }
        acknowledged += 1;
        assert!(acknowledged < 20_000, "a disk of {DISK_MIB} MiB is never full");
    };
    assert!(acknowledged > 0, "not even one request found room: {}", refusal.text());
    assert_eq!(refusal.status, 503, "after {acknowledged} requests: {}", refusal.text());
    assert!(refusal.text().to_lowercase().contains("space"), "{}", refusal.text());

    let everything = |acknowledged: i64| {
        let end_ms = first_ms + acknowledged * STEPS * STEP_MS - STEP_MS / 2;
        let found = vector_at(&url, "count_over_time(filling[2h])", end_ms);
        assert_eq!(found.len(), SERIES as usize, "after {acknowledged} requests");
        let expected = (acknowledged * STEPS) as f64;
        let wrong: Vec<_> = found.iter().filter(|(_, count)| **count != expected).collect();
        assert!(
            wrong.is_empty(),
            "{expected} samples each after {acknowledged} requests: {wrong:?}"
        );
    };
    assert!(client.get("/-/healthy").expect("an answer").is_success());
    everything(acknowledged);

    std::fs::remove_file(cramped.ballast()).expect("the ballast can be removed");
    eventually("it takes samples again", || {
        post(&mut client, &batch(acknowledged))
            .ok()
            .filter(tidemark_bench::http::Response::is_success)
    });
    everything(acknowledged + 1);
}
