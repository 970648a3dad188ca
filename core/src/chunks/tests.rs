//! Chunk files on the simulated disk: what comes back after restarts, crashes, damage and errors.

use std::path::Path;

use super::*;
use crate::chunk::Encoding;
use crate::model::time::TimeRange;
use crate::runtime::sim::{self, SimDisk};

const DIR: &str = "/shard/chunks";

fn chunk(series: u32, bytes: &[u8]) -> SealedChunk<'_> {
    let range = TimeRange::new(i64::from(series) * 10, i64::from(series) * 10 + 9);
    SealedChunk { series, encoding: Encoding::Xor, range, samples: 3, bytes }
}

async fn reopen(disk: &SimDisk) -> (ChunkStore, OpenReport, Vec<StoredChunk>) {
    let mut found = Vec::new();
    let collect = |chunk| {
        found.push(chunk);
        Ok(())
    };
    let (store, report) = ChunkStore::open(disk.disk(), Path::new(DIR), collect).await.unwrap();
    (store, report, found)
}

/// Three batches of two chunks each, written and synced.
async fn six_chunks(disk: &SimDisk) -> Vec<(u32, Vec<u8>)> {
    let (store, _, _) = reopen(disk).await;
    let chunks: Vec<_> =
        (0..6_u32).map(|i| (i, vec![i as u8 + 1; 2000 + 700 * i as usize])).collect();
    for batch in chunks.chunks(2) {
        let sealed: Vec<_> = batch.iter().map(|(series, bytes)| chunk(*series, bytes)).collect();
        store.append(&sealed).await.unwrap();
    }
    chunks
}

async fn contents(store: &ChunkStore, found: &[StoredChunk]) -> Vec<(u32, Vec<u8>)> {
    let mut out = Vec::new();
    for stored in found {
        assert_eq!(stored.range.start_ms, i64::from(stored.series) * 10);
        assert_eq!((stored.samples, stored.encoding), (3, Encoding::Xor));
        out.push((stored.series, store.read(stored.location).await.unwrap()));
    }
    out
}

#[test]
fn chunks_come_back_after_a_restart() {
    sim::run(1, async {
        let disk = SimDisk::new(1);
        let written = six_chunks(&disk).await;
        let disk = disk.kill();
        let (store, report, found) = reopen(&disk).await;
        assert_eq!((report.files, report.chunks), (1, 6));
        assert!(report.torn.is_empty() && report.damaged.is_empty());
        assert_eq!(contents(&store, &found).await, written);
        let places = store.append(&[chunk(9, b"new")]).await.unwrap();
        assert_eq!(places[0].file, 1, "a restart begins a new file");
        assert_eq!(store.read(places[0]).await.unwrap(), b"new");
    });
}

#[test]
fn a_large_append_is_split_into_batches_and_files_stay_addressable() {
    sim::run(2, async {
        let disk = SimDisk::new(2);
        let (store, _, _) = reopen(&disk).await;
        let bytes = vec![7; 900_000];
        let chunks: Vec<_> = (0..12).map(|series| chunk(series, &bytes)).collect();
        let places = store.append(&chunks).await.unwrap();
        assert_eq!(places.len(), 12);
        let (store, _, found) = reopen(&disk).await;
        assert_eq!(found.iter().map(|chunk| chunk.location).collect::<Vec<_>>(), places);
        assert_eq!(contents(&store, &found).await.len(), 12);
    });
}

#[test]
fn a_crash_at_any_operation_keeps_every_stored_chunk() {
    for crash_at in 0.. {
        let ended = sim::run(3, async move {
            let disk = SimDisk::new(1000 + crash_at);
            disk.crash_after(crash_at);
            let mut acknowledged = 0;
            let opened = ChunkStore::open(disk.disk(), Path::new(DIR), |_| Ok(())).await;
            if let Ok((store, _)) = opened {
                for series in 0..4 {
                    let bytes = vec![series as u8; 9000];
                    if store.append(&[chunk(series, &bytes)]).await.is_err() {
                        break;
                    }
                    acknowledged += 1;
                }
            }
            let (store, report, found) = reopen(&disk.crash()).await;
            assert!(report.damaged.is_empty(), "crash at {crash_at}: {:?}", report.damaged);
            assert!(
                found.len() >= acknowledged,
                "crash at {crash_at}: {} of {acknowledged}",
                found.len()
            );
            for (series, bytes) in contents(&store, &found).await {
                assert_eq!(bytes, vec![series as u8; 9000]);
            }
            acknowledged == 4
        });
        if ended {
            return;
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_costs_at_most_its_batch_and_is_named() {
    for byte in (0..20_000_u64).step_by(97) {
        sim::run(4, async move {
            let disk = SimDisk::new(4);
            let written = six_chunks(&disk).await;
            let path = Path::new(DIR).join(file_name(0));
            disk.flip_bit(&path, byte * 8 + 3);
            let (store, report, found) = reopen(&disk).await;
            let mut told = report.damaged.len() + report.torn.len();
            let mut whole = 0;
            for stored in &found {
                match store.read(stored.location).await {
                    Ok(bytes) => {
                        whole += 1;
                        assert_eq!(*bytes, *written[stored.series as usize].1);
                    }
                    Err(error) => {
                        told += 1;
                        assert!(error.to_string().contains("00000000.chunks"), "{error}");
                    }
                }
            }
            assert!(whole >= 4, "byte {byte}: {whole} of 6 left");
            assert!(whole == 6 || told > 0, "byte {byte}: damage went unnoticed");
        });
    }
}

#[test]
fn a_full_disk_is_an_error_and_later_appends_succeed() {
    sim::run(5, async {
        let disk = SimDisk::new(5);
        let (store, _, _) = reopen(&disk).await;
        store.append(&[chunk(1, b"one")]).await.unwrap();
        disk.fail_no_space_after(0);
        assert!(store.append(&[chunk(2, b"two")]).await.is_err());
        disk.make_room();
        store.append(&[chunk(3, b"three")]).await.unwrap();
        let (store, report, found) = reopen(&disk).await;
        assert!(report.damaged.is_empty());
        let series: Vec<_> =
            contents(&store, &found).await.into_iter().map(|(series, _)| series).collect();
        assert_eq!(series, [1, 3]);
    });
}

#[test]
fn the_format_is_fixed_for_ever() {
    let mut bytes = Vec::new();
    let mut places = Vec::new();
    let chunks = [chunk(7, b"abc")];
    format::encode_batch(
        &chunks,
        2,
        4096,
        |piece| bytes.extend_from_slice(piece),
        |at| places.push(at),
    );
    let golden = include_bytes!("../../tests/golden/chunk-batch-v1.bin");
    assert_eq!(bytes, golden);
    let header = format::batch_header(golden, 2).unwrap();
    let found = format::directory(golden, header, 2, 4096).unwrap();
    assert_eq!((found[0].series, found[0].location), (7, places[0]));
    assert_eq!(found[0].location, ChunkLocation { file: 2, offset: 4096 + 52, len: 3 });
}
