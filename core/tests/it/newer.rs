//! A data directory that a newer version has written to is refused, whichever of its files says so: by name, with the version found and
//! the newest one that can be read. The file stays as it was.

use std::path::{Path, PathBuf};

use crc32c::{crc32c, crc32c_append};
use tidemark_core::append::AppendBatch;
use tidemark_core::error::{Error, Result};
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::Matcher;
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::ShardOptions;
use tidemark_core::shards::{Shards, mesh};
use tidemark_core::wal::WalOptions;

const DATA: &str = "/data";

const MINUTE_MS: i64 = 60 * 1000;

/// A version, or a kind of record, that does not exist yet.
const NEWER: u8 = 99;

const BLOCK_BYTES: usize = 4 << 10;
const PAGE_BYTES: usize = 64 << 10;

/// One kind of file: the begin and the end of its path in a data directory, and how its version is changed.
type Row = (&'static str, &'static str, fn(&Path, &mut [u8]));

/// Everything that has a version.
const FILES: [Row; 10] = [
    ("manifest", "", version_in_whole),
    ("shard-0000/catalog", "", version_in_whole),
    ("shard-0000/blocks/", "/tombstones", version_in_whole),
    ("shard-0000/blocks/", "/index", version_in_last_page),
    ("shard-0000/blocks/", "/chunks", version_in_last_page),
    ("shard-0000/chunks/", "", |_, file| version_in_header(file, 16)),
    ("shard-0000/checkpoint", "", |_, file| version_in_header(file, 12)),
    ("shard-0000/wal/", ".wal", |_, file| version_in_segment(file)),
    ("shard-0000/checkpoint", "", |_, file| kind_in_checkpoint(file)),
    ("shard-0000/wal/", ".wal", |_, file| kind_in_log(file)),
];

fn put(file: &mut [u8], at: usize, word: u32) {
    file[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*file[at..].first_chunk().expect("inside the file"))
}

/// The checksum of all of it stands at the end.
fn version_in_whole(_: &Path, file: &mut [u8]) {
    put(file, 8, u32::from(NEWER));
    let end = file.len() - 4;
    let crc = crc32c(&file[..end]);
    put(file, end, crc);
}

/// The checksum of the header stands at `crc_at`, behind it.
fn version_in_header(file: &mut [u8], crc_at: usize) {
    put(file, 8, u32::from(NEWER));
    let crc = crc32c(&file[..crc_at]);
    put(file, crc_at, crc);
}

fn version_in_segment(file: &mut [u8]) {
    version_in_header(file, 48);
    file.copy_within(0..52, BLOCK_BYTES / 2);
}

/// The last page of a file of a block ends with the version and the checksum.
fn version_in_last_page(path: &Path, file: &mut [u8]) {
    let part = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let block: u32 = part(path.parent().expect("a block")).parse().expect("a number");
    let page = (file.len() - 1) / PAGE_BYTES;
    let end = file.len() - 4;
    put(file, end - 4, u32::from(NEWER));
    let place = [block, u32::from(part(path) == "index"), page as u32];
    let seed = place.iter().fold(0, |crc, word| crc32c_append(crc, &word.to_le_bytes()));
    let crc = crc32c_append(seed, &file[page * PAGE_BYTES..end]);
    put(file, end, crc);
}

fn kind_in_checkpoint(file: &mut [u8]) {
    let frame = &mut file[BLOCK_BYTES..];
    put(frame, 12, u32::from(NEWER));
    let payload_bytes = word(frame, 4) as usize;
    let crc = crc32c_append(crc32c(&frame[..16]), &frame[20..20 + payload_bytes]);
    put(frame, 16, crc);
}

fn kind_in_log(file: &mut [u8]) {
    let seed = word(file, 48);
    let frame = &mut file[BLOCK_BYTES..];
    frame[12] = NEWER;
    let end = 16 + word(frame, 4) as usize;
    let crc = crc32c_append(seed, &frame[4..end]);
    put(frame, 0, crc);
}

async fn open(disk: &SimDisk) -> Result<Shards> {
    let wal = WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() };
    let options = ShardOptions { wal, ..ShardOptions::default() };
    let shards = Shards::join(0, mesh(1));
    shards.open(&disk.disk(), Path::new(DATA), 1, &options).await?;
    Ok(shards)
}

async fn append(shards: &Shards, minute: i64) {
    for series in 0..4_u32 {
        let labels = Labels::from_pairs([("__name__", "m"), ("n", &series.to_string())]);
        let mut batch = AppendBatch::new();
        batch.push_series(labels.fingerprint(), labels.encoded());
        batch.push_sample(minute * MINUTE_MS, f64::from(series));
        let done = shards.append(vec![(0, batch)]).await.expect("a sound disk");
        assert_eq!(done.appended, 1);
    }
}

/// A data directory with a file of every kind, and a log that is to be replayed.
fn data_directory() -> SimDisk {
    let disk = SimDisk::new(1);
    sim::run(1, async {
        let shards = open(&disk).await.expect("an empty disk");
        for minute in 0..300 {
            append(&shards, minute).await;
            for shard in shards.mine() {
                shard.tick().await.expect("a sound disk");
                shard.maintain().await.expect("a sound disk");
            }
        }
        let range = TimeRange::new(MINUTE_MS, 2 * MINUTE_MS);
        for shard in shards.mine() {
            shard.delete_series(&[Matcher::equal("n", "3")], range).await.expect("a sound disk");
        }
        shards.close().await.expect("a sound disk");
        let shards = open(&disk).await.expect("what was closed can be opened");
        append(&shards, 300).await;
    });
    disk.kill()
}

fn files(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = disk.files();
    files.retain(|(_, content)| !content.is_empty());
    files
}

#[test]
fn every_kind_of_file_says_that_it_is_newer() {
    let sound = data_directory();
    for (begin, end, change) in FILES {
        let disk = sound.kill();
        let found = files(&disk).into_iter().rev().find(|(path, _)| {
            let name = path.strip_prefix(DATA).expect("a file of it").to_string_lossy();
            name.starts_with(begin) && name.ends_with(end)
        });
        let (path, mut content) = found.unwrap_or_else(|| panic!("there is no {begin}*{end}"));
        change(&path, &mut content);
        disk.put_file(&path, &content);
        let error = sim::run(1, async { open(&disk).await.err() });
        let error = error.unwrap_or_else(|| panic!("{} was opened", path.display()));
        assert!(
            matches!(error, Error::NewerFormat { .. } | Error::NewerRecord { .. }),
            "{}: {error}",
            path.display()
        );
        let text = error.to_string();
        let of = if begin.ends_with("wal/") { path.parent().expect("a directory") } else { &path };
        assert!(text.contains(&of.display().to_string()), "{text}");
        assert!(text.contains("99 is newer than "), "{text}");
        let after = files(&disk).into_iter().find(|(other, _)| *other == path);
        assert_eq!(after.map(|(_, after)| after), Some(content), "{} was changed", path.display());
    }
    sim::run(1, async { open(&sound.kill()).await.expect("nothing of it is newer") });
}
