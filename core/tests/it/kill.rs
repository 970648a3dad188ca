//! kill -9 of a process that appends to a shard on the real disk, many times.
//!
//! The test starts its own binary anew as the victim: [`victim`] appends in a loop and prints, after each acknowledgement, how far
//! it has come. When the pipe has shown some progress the process is killed at a random moment, and the next one, before
//! it goes on, checks that all that was printed is there.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tidemark_core::append::AppendBatch;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::disk::Disk;
use tidemark_core::runtime::executors;
use tidemark_core::runtime::sim::Random;
use tidemark_core::runtime::{sleep, spawn};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::wal::WalOptions;

use crate::shard::seeds;

/// Names the data directory to a process that is to be a victim.
const DIRECTORY: &str = "TIDEMARK_TEST_VICTIM_DIRECTORY";

/// How many samples were acknowledged to the victims before.
const ACKNOWLEDGED: &str = "TIDEMARK_TEST_VICTIM_ACKNOWLEDGED";

/// Series that every batch touches.
const SERIES: u64 = 20;

/// Time of the first sample; the others follow by the second.
const START_MS: i64 = 1_700_000_000_000;

#[test]
#[expect(clippy::disallowed_methods, reason = "the thread of the test is no core")]
fn kill_9_in_the_middle_of_appends() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return victim(directory.into());
    }
    let base = tempfile::tempdir().expect("a directory for temporary files");
    let directory = base.path().canonicalize().expect("it exists");
    let (mut acknowledged, mut random) = (0, Random::new(1));
    for _ in seeds(6) {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "kill::kill_9_in_the_middle_of_appends", "--nocapture"])
            .env(DIRECTORY, &directory)
            .env(ACKNOWLEDGED, acknowledged.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let killed_at = acknowledged + 20 + random.below(80);
        for line in lines.map_while(Result::ok) {
            let Some(number) = line.strip_prefix("acknowledged ") else { continue };
            acknowledged = number.parse().expect("a whole line");
            if acknowledged == killed_at {
                std::thread::sleep(Duration::from_micros(random.below(3_000)));
                child.kill().expect("it runs");
            }
        }
        let status = child.wait().expect("it has ended");
        assert!(acknowledged >= killed_at, "the victim ended by itself: {status}");
    }
}

/// Checks what the victims before have left, then appends until it is killed.
fn victim(directory: PathBuf) {
    let acknowledged = std::env::var(ACKNOWLEDGED).ok().and_then(|text| text.parse().ok());
    let acknowledged: u64 = acknowledged.expect("given with the directory");
    let options = executors::Options { cores: 1, pin: false, ..executors::Options::default() };
    let probe_dir = directory.clone();
    let body = move |_| {
        let directory = directory.clone();
        async move {
            let wal = WalOptions { segment_bytes: 256 << 10, ..WalOptions::default() };
            let options = ShardOptions { wal, ..ShardOptions::default() };
            let directory = directory.join("shard-0000");
            let shard = Shard::open(Disk::real(), &directory, options).await.expect("it opens");
            let found = check(&shard, acknowledged).await;
            append_for_ever(shard, found).await;
        }
    };
    executors::run(&options, &probe_dir, body).expect("the executor runs until it is killed");
}

/// All batches below `acknowledged` are there; how many there are.
async fn check(shard: &Shard, acknowledged: u64) -> u64 {
    let matchers = [Matcher::equal("__name__", "victim")];
    let selection = shard.select(&matchers, TimeRange::ALL).await.expect("the shard is open");
    let mut longest = 0;
    for i in 0..selection.len() {
        let mut columns = SampleColumns::new();
        selection.read(i, TimeRange::ALL, &mut columns).await.expect("readable");
        for (n, (t, v)) in columns.timestamps.iter().zip(&columns.values).enumerate() {
            assert_eq!(
                (*t, *v),
                (START_MS + n as i64 * 1_000, n as f64),
                "no gap, nothing foreign"
            );
        }
        assert!(columns.len() as u64 >= acknowledged, "{} of {acknowledged}", columns.len());
        longest = longest.max(columns.len() as u64);
    }
    assert!(selection.len() as u64 == SERIES || acknowledged == 0);
    longest
}

async fn append_for_ever(shard: Rc<Shard>, from: u64) {
    let ticking = shard.clone();
    spawn(async move {
        loop {
            sleep(Duration::from_millis(5)).await;
            ticking.tick().await.expect("a disk with room");
        }
    })
    .detach();
    for n in from.. {
        let mut batch = AppendBatch::new();
        for series in 0..SERIES {
            let series = series.to_string();
            let labels = Labels::from_pairs([("__name__", "victim"), ("series", &series)]);
            batch.push_series(labels.fingerprint(), labels.encoded());
            batch.push_sample(START_MS + n as i64 * 1_000, n as f64);
        }
        let outcome = shard.append(batch).await.expect("a disk with room");
        assert_eq!(outcome.refused_total(), 0, "{:?}", outcome.first_refusal);
        // A broken pipe means that the test is over.
        if writeln!(std::io::stdout(), "acknowledged {}", n + 1).is_err() {
            return;
        }
    }
}
