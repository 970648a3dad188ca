//! Chunk files on the simulated disk: what comes back after restarts, crashes, damage and errors.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

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
fn a_window_that_is_cut_takes_its_files_along() {
    sim::run(5, async {
        let disk = SimDisk::new(5);
        let (store, _, _) = reopen(&disk).await;
        let at = |window: i64| {
            let start = window * CHUNK_RANGE_MS_MAX;
            SealedChunk { range: TimeRange::new(start, start + 9), ..chunk(7, b"of a window") }
        };
        let mut files = Vec::new();
        for windows in [&[0, 0, 1][..], &[0, 1, 2], &[2]] {
            let chunks: Vec<_> = windows.iter().map(|&window| at(window)).collect();
            files.extend(store.append(&chunks).await.unwrap().iter().map(|place| place.file));
        }
        // What comes late of a window goes along with the one that is written then.
        assert_eq!(files, [0, 0, 1, 1, 1, 2, 2]);
        store.remove_before(CHUNK_RANGE_MS_MAX).await.unwrap();
        let (_, _, found) = reopen(&disk).await;
        assert_eq!(found.len(), 5);
        store.remove_before(2 * CHUNK_RANGE_MS_MAX).await.unwrap();
        let (_, _, found) = reopen(&disk).await;
        assert_eq!(found.len(), 2);
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

/// The bytes of a batch at offset 4096 of file 2, and where its chunks stand.
fn encoded(chunks: &[SealedChunk<'_>]) -> (Vec<u8>, Vec<ChunkLocation>) {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    let put = |piece: &[u8]| bytes.extend_from_slice(piece);
    format::Batch::of(chunks).encode(2, 4096, put, |at| places.push(at));
    (bytes, places)
}

fn decoded(bytes: &[u8]) -> Option<Vec<StoredChunk>> {
    format::directory(bytes, format::batch_header(bytes, 2)?, 2, 4096)
}

#[test]
fn the_format_is_fixed_for_ever() {
    let golden = include_bytes!("../../tests/golden/chunk-batch-v2.bin");
    let (bytes, places) = encoded(&[chunk(7, b"abc"), chunk(8, b"de")]);
    assert_eq!(bytes, golden);
    let found = decoded(golden).unwrap();
    assert_eq!((found[1].series, found[1].location), (8, places[1]));
    let first = include_bytes!("../../tests/golden/chunk-batch-v1.bin");
    let found = decoded(first).unwrap();
    assert_eq!((found[0].series, found[0].range, found[0].samples), (7, TimeRange::new(70, 79), 3));
    assert_eq!(found[0].location, ChunkLocation { file: 2, offset: 4096 + 52, len: 3 });
}

#[test]
fn chunks_that_are_alike_take_two_bytes_of_the_directory() {
    let range = TimeRange::new(1_700_000_000_000, 1_700_001_785_000);
    let of = |series| SealedChunk {
        series,
        encoding: Encoding::Columnar,
        range,
        samples: 120,
        bytes: b"",
    };
    let chunks: Vec<_> = (0..1000).map(of).collect();
    let (bytes, _) = encoded(&chunks);
    assert_eq!(bytes.len(), format::BATCH_HEADER_BYTES + 1 + 1 + 6 + 3 + 1000 * (2 + 4));
}

proptest! {
    #[test]
    fn directories_go_round(drawn in vec((any::<u32>(), any::<i64>(), any::<u32>(), any::<u16>(), any::<bool>()), 1..20)) {
        let of = |&(series, start, span, samples, columnar): &(u32, i64, u32, u16, bool)| SealedChunk {
            series,
            encoding: if columnar { Encoding::Columnar } else { Encoding::Xor },
            range: TimeRange::new(start, start.saturating_add(i64::from(span))),
            samples,
            bytes: &[7; 300][..usize::from(samples) % 300],
        };
        let chunks: Vec<_> = drawn.iter().chain(&drawn).map(of).collect();
        let (bytes, places) = encoded(&chunks);
        let stored = |(chunk, location): (&SealedChunk<'_>, &ChunkLocation)| StoredChunk {
            series: chunk.series,
            encoding: chunk.encoding,
            range: chunk.range,
            samples: chunk.samples,
            location: *location,
        };
        let expected: Vec<_> = chunks.iter().zip(&places).map(stored).collect();
        prop_assert_eq!(decoded(&bytes), Some(expected));
    }

    #[test]
    fn nonsense_is_no_directory(mut bytes in vec(any::<u8>(), 24..200), chunks in 0_u32..100) {
        let directory = (bytes.len() - format::BATCH_HEADER_BYTES) as u32;
        for (i, word) in [0x3243_4854, chunks, bytes.len() as u32, 2, directory].into_iter().enumerate() {
            bytes[4 * i..4 * i + 4].copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), &bytes[24..]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        // Whatever it makes of that, it lies inside.
        for stored in decoded(&bytes).unwrap_or_default() {
            prop_assert!(stored.location.offset as usize + stored.location.len as usize <= 4096 + bytes.len());
        }
    }
}
