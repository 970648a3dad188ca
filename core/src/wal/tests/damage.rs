//! Bits that flip, files cut short, missing or replaced; and the bytes that must be readable for ever.

use std::path::PathBuf;

use super::*;
use crate::runtime::sim;

/// A log of two segments, the second of them not full, with its files.
fn two_segments() -> (Payloads, Vec<(PathBuf, Vec<u8>)>) {
    let disk = SimDisk::new(9);
    let options = WalOptions { segment_bytes: 4 * BLOCK_BYTES as u64, ..WalOptions::default() };
    let found = sim::run(9, async {
        let (wal, ..) = open(&disk, options.clone()).await;
        for commit in 0..5_u8 {
            for record in 0..3_u8 {
                wal.buffer(1 + record, |out| out.put(&[commit * 16 + record; 40])).unwrap();
            }
            wal.sync().await.unwrap();
        }
        open(&disk.kill(), options.clone()).await.1
    });
    assert_eq!(found.len(), 15);
    (found, disk.files())
}

/// Every offset in and around what is not padding, and some in the padding.
fn offsets(content: &[u8]) -> impl Iterator<Item = usize> {
    (0..content.len()).filter(|&at| {
        let near = &content[at.saturating_sub(16)..content.len().min(at + 16)];
        at % 61 == 0 || near.iter().any(|byte| *byte != 0)
    })
}

/// What is found when the file at `index` is `content` instead.
fn found_with(
    files: &[(PathBuf, Vec<u8>)],
    index: usize,
    content: &[u8],
) -> (Payloads, ReplayReport) {
    let disk = SimDisk::new(10);
    for (i, (path, original)) in files.iter().enumerate() {
        disk.put_file(path, if i == index { content } else { original });
    }
    sim::run(10, async {
        let (_, found, report) = open(&disk, small()).await;
        (found, report)
    })
}

#[test]
fn a_flipped_bit_anywhere_costs_one_record_and_is_named() {
    let (sent, files) = two_segments();
    for (index, (path, original)) in files.iter().enumerate() {
        for at in offsets(original) {
            let mut content = original.clone();
            content[at] ^= 1 << (at % 8);
            let (found, report) = found_with(&files, index, &content);
            let intact =
                found.iter().all(|(position, payload)| sent.get(position) == Some(payload));
            assert!(intact, "byte {at} of file {index}");
            let lost = sent.len() - found.len();
            if lost == 0 {
                assert_eq!((&report.damage[..], report.records_lost), (&[][..], 0));
                continue;
            }
            let in_last_run = index == 1 && at >= 2 * BLOCK_BYTES;
            if in_last_run {
                // It may as well be a torn write that nobody was told of, or one that never was.
                assert!(lost <= 3 && report.damage_count == 0, "byte {at}: {report:?}");
                continue;
            }
            assert!(lost <= 3, "byte {at} of file {index}: {lost} lost");
            assert_eq!(report.records_lost, lost as u64, "byte {at}: {report:?}");
            let [damage] = &report.damage[..] else { panic!("byte {at}: {report:?}") };
            assert!(damage.path == *path, "{damage}");
            assert!(
                damage.offset <= at as u64 && at as u64 - damage.offset < 200,
                "{at}: {damage}"
            );
        }
    }
}

#[test]
fn a_log_cut_short_anywhere_gives_what_is_left_and_says_so() {
    let (sent, files) = two_segments();
    for (index, (path, original)) in files.iter().enumerate() {
        for len in offsets(original) {
            let (found, report) = found_with(&files, index, &original[..len]);
            let intact =
                found.iter().all(|(position, payload)| sent.get(position) == Some(payload));
            assert!(intact, "{len} bytes of file {index}");
            let named = report.damage.iter().any(|damage| damage.path == *path);
            assert!(named, "{len} bytes of file {index}: {report:?}");
            let from_the_other = if index == 0 { 6 } else { 9 };
            assert!(found.len() >= from_the_other, "{len} bytes of file {index}: {}", found.len());
        }
    }
}

#[test]
fn a_segment_that_is_missing_or_replaced_is_named() {
    let (sent, mut files) = two_segments();
    let first = files[0].1.clone();
    let (found, report) = found_with(&files, 1, &first);
    assert_eq!((found.len(), report.damage_count), (9, 1));
    assert_eq!(report.damage[0].found, "the header of segment 1");
    files[1].0 = Path::new(DIRECTORY).join("00000003.wal");
    files[1].1 = first;
    let (found, report) = found_with(&files, 2, &[]);
    assert!(report.damage[0].path.ends_with("00000002.wal"), "{}", report.damage[0]);
    assert!(found.len() < sent.len());
}

#[test]
fn any_bytes_are_read_without_panic() {
    let mut random = Random::new(11);
    let (_, files) = two_segments();
    for _ in 0..300 {
        let mut content = files[0].1.clone();
        for _ in 0..=random.below(6) {
            let start = random.below(content.len() as u64) as usize;
            let len = random.below(600) as usize;
            content.iter_mut().skip(start).take(len).for_each(|byte| *byte = random.bits() as u8);
        }
        let (found, report) = found_with(&files, 0, &content);
        assert!(found.len() >= 6, "the other segment is readable");
        assert_eq!(report.damage_count, report.damage.len() as u64);
    }
}

/// The bytes of version 1, which must be readable for ever.
const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/wal-v1.bin");

fn golden_records() -> Payloads {
    let payload = |i: u64| (1 + (i % 3) as u8, vec![i as u8; (i * i) as usize]);
    (1_000..1_010).map(|i| (i, payload(i - 1_000))).collect()
}

#[test]
fn version_1_is_written_and_read_as_ever() {
    let header = format::Header {
        id: 7,
        first_sequence: 1_000,
        segment_bytes: 16_384,
        created_ms: 1_767_225_600_000,
    };
    let mut segment = header.encode().to_vec();
    let records: Vec<_> = golden_records().into_iter().collect();
    for run in records.chunks(6) {
        let mut bytes = Vec::new();
        for (_, (kind, payload)) in run {
            let start = bytes.len();
            bytes.resize(start + format::FRAME_HEADER_BYTES, 0);
            bytes.extend_from_slice(payload);
            format::begin_frame(&mut bytes[start..], *kind);
        }
        format::seal_run(&mut bytes, run[0].0, &header, true);
        segment.extend_from_slice(&bytes);
        segment.resize(segment.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    segment.resize(16_384, 0);
    if std::env::var_os("TIDEMARK_WRITE_GOLDEN").is_some() {
        std::fs::write("tests/golden/wal-v1.bin", &segment).unwrap();
    }
    assert!(segment == GOLDEN, "the encoding of version 1 changed");
    let path = Path::new(DIRECTORY).join("00000007.wal");
    let (found, report) = found_with(&[(path, GOLDEN.to_vec())], 0, GOLDEN);
    assert_eq!(found, golden_records());
    assert_eq!((report.damage_count, report.torn_tail, report.bytes), (0, None, 285));
}
