//! What a disk must do, asked of the real one and of the simulated one alike; then what only the simulated one can show.

use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::*;
use crate::runtime::{executors, sim};

type Case = fn(Disk, PathBuf) -> LocalBoxFuture<'static, ()>;

/// The suite: every case gets a disk and an empty directory on it.
const SUITE: [(&str, Case); 9] = [
    ("content", |disk, dir| content(disk, dir).boxed_local()),
    ("lengths", |disk, dir| lengths(disk, dir).boxed_local()),
    ("overwriting", |disk, dir| overwriting(disk, dir).boxed_local()),
    ("concurrency", |disk, dir| concurrency(disk, dir).boxed_local()),
    ("names", |disk, dir| names(disk, dir).boxed_local()),
    ("directories", |disk, dir| directories(disk, dir).boxed_local()),
    ("atomic writes", |disk, dir| atomic_writes(disk, dir).boxed_local()),
    ("locks", |disk, dir| locks(disk, dir).boxed_local()),
    ("errors", |disk, dir| errors(disk, dir).boxed_local()),
];

#[test]
fn the_real_disk_passes() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().canonicalize().unwrap();
    let options = executors::Options { cores: 1, pin: false, ..executors::Options::default() };
    let probe_dir = path.clone();
    let body = move |_| {
        let path = path.clone();
        suite(Disk::real(), path)
    };
    executors::run(&options, &probe_dir, body).unwrap();
}

#[test]
fn the_simulated_disk_passes() {
    for seed in 0..20 {
        sim::run(seed, suite(SimDisk::new(seed).disk(), "/data".into()));
    }
}

async fn suite(disk: Disk, base: PathBuf) {
    for (name, case) in SUITE {
        let dir = base.join(name.replace(' ', "-"));
        disk.create_dir_all(&dir).await.unwrap();
        case(disk.clone(), dir).await;
    }
}

/// Bytes that differ from place to place.
fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 251 + i) as u8 ^ salt).collect()
}

async fn write(disk: &Disk, file: &File, bytes: &[u8], position: usize) {
    let mut buffer = disk.buffer(bytes.len());
    buffer.extend_from_slice(bytes);
    file.write_at(&mut buffer, position as u64).await.unwrap();
}

async fn content(disk: Disk, dir: PathBuf) {
    let file = disk.open(&dir.join("a"), Open::Create).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
    assert!(file.read_at(0, 10).await.unwrap().is_empty());
    let bytes = pattern(3 * BLOCK_BYTES, 0);
    write(&disk, &file, &bytes, 0).await;
    for (position, len) in [(0, 12_288), (0, 1), (1, 1), (511, 2), (4_095, 4_098), (12_287, 1)] {
        let found = file.read_at(position as u64, len).await.unwrap();
        assert_eq!(*found, bytes[position..position + len], "{len} bytes at {position}");
    }
    assert_eq!(*file.read_at(12_000, 1_000).await.unwrap(), bytes[12_000..], "short at the end");
    assert!(file.read_at(12_288, 1).await.unwrap().is_empty());
    assert!(file.read_at(1 << 40, 1).await.unwrap().is_empty());
    file.sync_data().await.unwrap();
    file.close().await.unwrap();
    assert_eq!(disk.read_all(&dir.join("a")).await.unwrap(), bytes);
}

async fn lengths(disk: Disk, dir: PathBuf) {
    let file = disk.open(&dir.join("a"), Open::Create).await.unwrap();
    write(&disk, &file, b"short", 0).await;
    assert_eq!(file.len().await.unwrap(), 4096, "padded to whole blocks");
    file.truncate(700).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 700);
    assert_eq!(file.read_at(600, 200).await.unwrap().len(), 100, "no byte past the end");
    file.truncate(5).await.unwrap();
    assert_eq!(*file.read_at(0, 100).await.unwrap(), *b"short");
    file.truncate(8).await.unwrap();
    assert_eq!(*file.read_at(0, 100).await.unwrap(), *b"short\0\0\0", "new bytes are zero");
    file.preallocate(100_000).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 100_000);
    file.preallocate(10).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 100_000, "it never shrinks");
    assert_eq!(*file.read_at(0, 6).await.unwrap(), *b"short\0", "and keeps what was there");
    assert!(file.read_at(50_000, 100).await.unwrap().iter().all(|&b| b == 0));
}

async fn overwriting(disk: Disk, dir: PathBuf) {
    let file = disk.open(&dir.join("a"), Open::Create).await.unwrap();
    let clone = file.clone();
    let mut expected = pattern(4 * BLOCK_BYTES, 1);
    write(&disk, &file, &expected, 0).await;
    let patch = pattern(BLOCK_BYTES, 2);
    write(&disk, &clone, &patch, BLOCK_BYTES).await;
    expected[BLOCK_BYTES..2 * BLOCK_BYTES].copy_from_slice(&patch);
    assert_eq!(*file.read_at(0, expected.len()).await.unwrap(), *expected);
    write(&disk, &file, &patch, 6 * BLOCK_BYTES).await;
    let gap = file.read_at(4 * BLOCK_BYTES as u64, 2 * BLOCK_BYTES).await.unwrap();
    assert!(gap.iter().all(|&b| b == 0), "a gap reads as zeros");
    drop(file);
    assert_eq!(clone.len().await.unwrap(), 7 * BLOCK_BYTES as u64, "open as long as a clone is");
}

async fn concurrency(disk: Disk, dir: PathBuf) {
    let file = disk.open(&dir.join("a"), Open::Create).await.unwrap();
    let writes = (0..16_usize).map(|i| {
        let (disk, file) = (disk.clone(), file.clone());
        async move { write(&disk, &file, &pattern(8192, i as u8), i * 8192).await }
    });
    futures_util::future::join_all(writes).await;
    let reads = (0..16_usize).map(|i| {
        let file = file.clone();
        async move {
            let found = file.read_at(i as u64 * 8192, 8192).await.unwrap();
            assert_eq!(*found, *pattern(8192, i as u8));
        }
    });
    futures_util::future::join_all(reads).await;
}

async fn listed(disk: &Disk, dir: &Path) -> Vec<(String, u64)> {
    let entries = disk.list(dir).await.unwrap();
    entries.into_iter().map(|entry| (entry.name, entry.len)).collect()
}

async fn names(disk: Disk, dir: PathBuf) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    disk.write_atomic(&a, b"first").await.unwrap();
    disk.write_atomic(&b, b"second!").await.unwrap();
    let open = disk.open(&a, Open::Write).await.unwrap();
    disk.hard_link(&a, &dir.join("c")).await.unwrap();
    disk.rename(&a, &b).await.unwrap();
    disk.sync_dir(&dir).await.unwrap();
    assert_eq!(listed(&disk, &dir).await, [("b".to_owned(), 5), ("c".to_owned(), 5)]);
    assert_eq!(disk.read_all(&b).await.unwrap(), b"first");
    assert_eq!(open.len().await.unwrap(), 5, "an open file survives the renaming");
    disk.remove(&b).await.unwrap();
    disk.remove(&dir.join("c")).await.unwrap();
    assert!(listed(&disk, &dir).await.is_empty());
    assert_eq!(*open.read_at(0, 9).await.unwrap(), *b"first", "and the removal");
}

async fn directories(disk: Disk, dir: PathBuf) {
    let deep = dir.join("x/y/z");
    disk.create_dir_all(&deep).await.unwrap();
    disk.create_dir_all(&deep).await.unwrap();
    disk.write_atomic(&deep.join("f"), b"1").await.unwrap();
    disk.rename(&dir.join("x/y"), &dir.join("w")).await.unwrap();
    assert_eq!(disk.read_all(&dir.join("w/z/f")).await.unwrap(), b"1");
    assert!(disk.open(&deep.join("f"), Open::Read).await.unwrap_err().is_not_found());
    let entries = disk.list(&dir).await.unwrap();
    let names: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_dir)).collect();
    assert_eq!(names, [("w", true), ("x", true)]);
    disk.remove_dir_all(&dir.join("w")).await.unwrap();
    assert_eq!(disk.list(&dir).await.unwrap().len(), 1);
    let space = disk.free_space(&dir).await.unwrap();
    assert!(space.free > 0 && space.free <= space.total);
}

async fn atomic_writes(disk: Disk, dir: PathBuf) {
    let path = dir.join("a");
    for len in [10_000, 0, 1, 4096, 3] {
        disk.write_atomic(&path, &pattern(len, 3)).await.unwrap();
        assert_eq!(disk.read_all(&path).await.unwrap(), pattern(len, 3));
    }
    assert_eq!(disk.list(&dir).await.unwrap().len(), 1, "nothing is left beside it");
}

async fn locks(disk: Disk, dir: PathBuf) {
    let path = dir.join("lock");
    let held = disk.lock(&path).await.unwrap();
    let refused = disk.lock(&path).await.map(drop).unwrap_err();
    assert_eq!(refused.io().kind(), std::io::ErrorKind::WouldBlock, "{refused}");
    drop(held);
    disk.lock(&path).await.unwrap();
}

async fn errors(disk: Disk, dir: PathBuf) {
    let missing = dir.join("missing");
    for how in [Open::Read, Open::Write] {
        let error = disk.open(&missing, how).await.unwrap_err();
        assert!(error.is_not_found() && error.path() == missing, "{error}");
    }
    assert!(disk.open(&missing.join("a"), Open::Create).await.unwrap_err().is_not_found());
    assert!(disk.remove(&missing).await.unwrap_err().is_not_found());
    assert!(disk.rename(&missing, &dir.join("b")).await.unwrap_err().is_not_found());
    assert!(disk.list(&missing).await.unwrap_err().is_not_found());
    assert!(disk.sync_dir(&missing).await.unwrap_err().is_not_found());
    disk.write_atomic(&dir.join("a"), b"x").await.unwrap();
    disk.write_atomic(&dir.join("b"), b"x").await.unwrap();
    assert!(disk.hard_link(&dir.join("a"), &dir.join("b")).await.is_err(), "the name is taken");
    let file = disk.open(&dir.join("a"), Open::Read).await.unwrap();
    let error = file.write_at(&mut file.alloc(1), 0).await.unwrap_err();
    assert_eq!(error.operation(), Operation::Write);
    let file = disk.open(&dir.join("a"), Open::Write).await.unwrap();
    let error = file.write_at(&mut file.alloc(1), 512).await.unwrap_err();
    assert_eq!((error.io().kind(), error.offset()), (std::io::ErrorKind::InvalidInput, Some(512)));
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
    let (mut names_lost, mut torn) = (0, 0);
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        let survivor = sim::run(seed, async {
            let disk = sim.disk();
            let dir = Path::new("/data");
            disk.create_dir_all(dir).await.unwrap();
            let file = disk.open(&dir.join("a"), Open::Create).await.unwrap();
            write(&disk, &file, &[1; 8192], 0).await;
            file.sync_data().await.unwrap();
            disk.sync_dir(dir).await.unwrap();
            write(&disk, &file, &[2; 4096], 4096).await;
            disk.open(&dir.join("b"), Open::Create).await.unwrap();
            let survivor = sim.crash();
            assert!(file.len().await.is_err(), "the old disk is dead");
            survivor
        });
        let files = survivor.files();
        let (_, a) = files.iter().find(|(path, _)| path.ends_with("a")).unwrap();
        assert!(a[..4096].iter().all(|&b| b == 1), "seed {seed}");
        let sectors: Vec<_> = a[4096..].chunks(512).map(|sector| sector[0]).collect();
        assert!(a[4096..].chunks(512).all(|s| s.iter().all(|b| *b == s[0])), "seed {seed}");
        torn += usize::from(sectors.contains(&1) && sectors.contains(&2));
        names_lost += usize::from(files.len() == 1);
    }
    assert!(torn > 20 && names_lost > 20, "{torn} torn, {names_lost} names lost");
}

#[test]
fn a_kill_loses_nothing_that_was_written() {
    for seed in 0..20 {
        let sim = SimDisk::new(seed);
        sim::run(seed, async {
            let disk = sim.disk();
            let file = disk.open(Path::new("/a"), Open::Create).await.unwrap();
            write(&disk, &file, &[7; 4096], 0).await;
            let _lock = disk.lock(Path::new("/lock")).await.unwrap();
            let survivor = sim.kill().disk();
            assert_eq!(survivor.read_all(Path::new("/a")).await.unwrap(), [7; 4096]);
            survivor.lock(Path::new("/lock")).await.unwrap();
        });
    }
}

#[test]
fn an_atomic_write_survives_a_crash_at_any_operation() {
    for seed in 0..20 {
        for at in 0.. {
            let sim = SimDisk::new(seed);
            let (done, survivor) = sim::run(seed, async {
                let path = Path::new("/data/a");
                let disk = sim.disk();
                disk.create_dir_all(Path::new("/data")).await.unwrap();
                disk.write_atomic(path, b"old").await.unwrap();
                sim.crash_after(at);
                let done = disk.write_atomic(path, b"brand new").await.is_ok();
                (done, sim.crash())
            });
            let files = survivor.files();
            let (_, found) = files.iter().find(|(path, _)| path.ends_with("a")).unwrap();
            let whole = found == b"old" || found == b"brand new";
            assert!(whole && (!done || found == b"brand new"), "seed {seed}, operation {at}");
            if done {
                assert!(at > 5, "it takes several operations");
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_growth_and_recovers() {
    let sim = SimDisk::new(1);
    sim::run(1, async {
        let disk = sim.disk();
        let file = disk.open(Path::new("/a"), Open::Create).await.unwrap();
        write(&disk, &file, &[1; 4096], 0).await;
        sim.fail_no_space_after(0);
        write(&disk, &file, &[2; 4096], 0).await;
        let error = file.write_at(&mut file.alloc(8192), 0).await.unwrap_err();
        assert!(error.is_no_space());
        assert_eq!(file.len().await.unwrap(), 4096);
        assert!(file.preallocate(8192).await.unwrap_err().is_no_space());
        assert!(disk.open(Path::new("/b"), Open::Create).await.unwrap_err().is_no_space());
        assert_eq!(disk.free_space(Path::new("/")).await.unwrap().free, 0);
        sim.make_room();
        write(&disk, &file, &[3; 8192], 0).await;
    });
}

#[test]
fn a_failed_sync_loses_data_that_a_later_sync_does_not_bring_back() {
    let mut lost = 0;
    for seed in 0..50 {
        let sim = SimDisk::new(seed);
        sim::run(seed, async {
            let disk = sim.disk();
            let file = disk.open(Path::new("/a"), Open::Create).await.unwrap();
            disk.sync_dir(Path::new("/")).await.unwrap();
            write(&disk, &file, &[1; 4096], 0).await;
            sim.fail_sync_after(0);
            file.sync_data().await.unwrap_err();
            file.sync_data().await.unwrap();
            assert_eq!(*file.read_at(0, 4096).await.unwrap(), [1; 4096], "still seen");
        });
        let (_, left) = &sim.crash().files()[0];
        lost += usize::from(left[..] != [1; 4096]);
    }
    assert!(lost > 40);
}

#[test]
fn a_flipped_bit_is_seen_at_once_and_after_a_crash() {
    let sim = SimDisk::new(9);
    sim::run(9, sim.disk().write_atomic(Path::new("/a"), b"\x00\x00")).unwrap();
    sim.flip_bit(Path::new("/a"), 9);
    assert_eq!(sim.files()[0].1, b"\x00\x02");
    assert_eq!(sim.crash().files()[0].1, b"\x00\x02");
}
