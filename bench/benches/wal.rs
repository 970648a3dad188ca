//! Commits of the write-ahead log on the real disk: time and CPU each, by record size and number of committers.
//!
//! `cargo bench -p tidemark-bench --bench wal`; the log lies in the directory for temporary files, so set `TMPDIR` to choose
//! the disk. CPU counts all threads of the process, the kernel's I/O workers included.

// Criterion's macro makes functions without documentation, and criterion measures wall-clock time itself.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_bench::process::Usage;
use tidemark_core::runtime::disk::Disk;
use tidemark_core::runtime::{executors, spawn};
use tidemark_core::wal::{Put, Wal, WalOptions};

/// Commits over which the CPU time is taken; its clock has steps of 10 ms.
const CPU_COMMITS: u64 = 5_000;

/// Record bytes and tasks that commit at the same time.
const CASES: [(usize, u64); 5] = [(200, 1), (200, 64), (4 << 10, 1), (64 << 10, 8), (256 << 10, 1)];

/// Runs `commits` commits of `record_bytes` each by `committers` tasks on one core; how long they took.
fn run(directory: &Path, record_bytes: usize, committers: u64, commits: u64) -> Duration {
    let took_ns = Arc::new(AtomicU64::new(0));
    let (result, wal_directory) = (Arc::clone(&took_ns), directory.join("wal"));
    let options = executors::Options { cores: 1, ..executors::Options::default() };
    let body = move |_| {
        let (result, directory) = (Arc::clone(&result), wal_directory.clone());
        async move {
            let took = commit_all(directory, record_bytes, committers, commits).await;
            result.store(took.as_nanos() as u64, Ordering::Relaxed);
        }
    };
    executors::run(&options, directory, body).expect("the executor runs");
    Duration::from_nanos(took_ns.load(Ordering::Relaxed))
}

async fn commit_all(
    directory: PathBuf,
    record_bytes: usize,
    committers: u64,
    commits: u64,
) -> Duration {
    let options = WalOptions::default();
    let (wal, _) = Wal::open(Disk::real(), &directory, options, |_, _, _| Ok(()))
        .await
        .expect("a log in an empty or well-kept directory");
    // As in a server that runs for a while: the segments written to are recycled ones.
    let boundary = wal.cut().await.expect("room for a segment");
    wal.retire(boundary).await.expect("the directory can be changed");
    let began = Instant::now();
    let tasks: Vec<_> = (0..committers)
        .map(|n| {
            let wal = wal.clone();
            let mine = commits / committers + u64::from(n < commits % committers);
            spawn(async move {
                let record = vec![n as u8; record_bytes];
                for _ in 0..mine {
                    let position = wal.buffer(1, |out| out.put(&record)).expect("room");
                    wal.commit(position).await.expect("a disk with room");
                    if wal.stats().segments > 1 {
                        let next = wal.next();
                        wal.retire(next).await.expect("the directory can be changed");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    began.elapsed()
}

fn wal(criterion: &mut Criterion) {
    let base = tempfile::tempdir().expect("a directory for temporary files");
    let directory = base.path().canonicalize().expect("it exists");
    let mut group = criterion.benchmark_group("wal");
    for (record_bytes, committers) in CASES {
        let name = format!("{record_bytes}-bytes-{committers}-committers");
        group.throughput(Throughput::Elements(1));
        group.bench_function(&name, |bencher| {
            bencher.iter_custom(|commits| run(&directory, record_bytes, committers, commits));
        });
        let usage = || Usage::of(process::id()).expect("/proc is there");
        let before = usage();
        let took = run(&directory, record_bytes, committers, CPU_COMMITS);
        let after = usage();
        let each = |seconds: f64| seconds * 1e6 / CPU_COMMITS as f64;
        println!(
            "{name}: {:.0} commits/s, {:.1} us of CPU each, {} bytes written each",
            CPU_COMMITS as f64 / took.as_secs_f64(),
            each(after.cpu_s - before.cpu_s),
            (after.written_bytes - before.written_bytes) / CPU_COMMITS,
        );
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = wal
}
criterion_main!(benches);
