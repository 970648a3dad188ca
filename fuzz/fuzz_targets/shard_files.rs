//! Any file of a shard may hold anything behind a checksum that is right: the shard opens or says why not, and is read without a panic.
//!
//! The input chooses a file of a shard with blocks, chunk files, a checkpoint, tombstones and a log, and changes some of its bytes.
//! Checksums are then made to fit, or nothing behind them would be reached.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run shard_files -- -max_total_time=300
//! ```

#![no_main]

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

use crc32c::{crc32c, crc32c_append};
use libfuzzer_sys::fuzz_target;
use tidemark_core::append::AppendBatch;
use tidemark_core::model::columns::SampleColumns;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::matcher::{MatchOp, Matcher};
use tidemark_core::model::time::TimeRange;
use tidemark_core::runtime::disk::Disk;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::wal::WalOptions;

const PAGE_BYTES: usize = 64 << 10;
const BLOCK_BYTES: usize = 4 << 10;

async fn open(disk: Disk) -> tidemark_core::error::Result<Rc<Shard>> {
    let wal = WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() };
    let options = ShardOptions { wal, ..ShardOptions::default() };
    Shard::open(disk, Path::new("/shard"), options).await
}

/// The files of a shard of every kind.
fn files() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = SimDisk::new(1);
        sim::run(1, async {
            let shard = open(disk.disk()).await.expect("an empty disk");
            for minute in 0..300 {
                let mut batch = AppendBatch::new();
                for series in 0..8 {
                    let n = series.to_string();
                    let labels = Labels::from_pairs([("__name__", "m"), ("n", &n)]);
                    batch.push_series(labels.fingerprint(), labels.encoded());
                    batch.push_sample(minute * 60_000, (minute * series) as f64 / 10.0);
                }
                shard.append(batch).await.expect("room");
                shard.tick().await.expect("room");
                shard.maintain().await.expect("room");
            }
            let some = [Matcher::equal("n", "3")];
            let range = TimeRange::new(60_000, 120_000);
            shard.delete_series(&some, range).await.expect("room");
            shard.close().await.expect("room");
        });
        let mut files = disk.files();
        files.retain(|(_, content)| !content.is_empty());
        files
    })
}

/// Makes the checksums of a file fit what it holds.
fn reseal(path: &Path, content: &mut [u8]) {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let number = |path: Option<&Path>| {
        path?.file_name()?.to_str()?.parse::<u32>().ok()
    };
    let put = |content: &mut [u8], at: usize, crc: u32| {
        if let Some(place) = content.get_mut(at..at + 4) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    };
    match &*name {
        "index" | "chunks" => {
            let block = number(path.parent()).unwrap_or(0);
            let kind = u32::from(name == "index");
            for (page, bytes) in (0_u32..).zip(content.chunks_mut(PAGE_BYTES)) {
                let Some(at) = bytes.len().checked_sub(4) else { continue };
                let seed = [block, kind, page]
                    .iter()
                    .fold(0, |crc, word| crc32c_append(crc, &word.to_le_bytes()));
                let crc = crc32c_append(seed, &bytes[..at]);
                put(bytes, at, crc);
            }
        }
        "catalog" | "tombstones" => {
            if let Some(at) = content.len().checked_sub(4) {
                let crc = crc32c(&content[..at]);
                put(content, at, crc);
            }
        }
        "checkpoint" => reseal_frames(content),
        _ => {}
    }
}

/// The frames of a checkpoint, as far as their lengths lead.
fn reseal_frames(content: &mut [u8]) {
    let mut at = BLOCK_BYTES;
    while let Some(head) = content.get(at..at + 20) {
        let bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some(payload) = content.get(at + 20..).and_then(|rest| rest.get(..bytes)) else { break };
        let crc = crc32c_append(crc32c(&head[..16]), payload);
        content[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
        at += (20 + bytes).next_multiple_of(BLOCK_BYTES);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[file, high, low, cut], patch)) = bytes.split_first_chunk() else { return };
    let files = files();
    let victim = usize::from(file) % files.len();
    let disk = SimDisk::new(1);
    for (i, (path, content)) in files.iter().enumerate() {
        let mut content = content.clone();
        if i == victim {
            // Most of a file is at its begin or at its end: half of the places are counted from there.
            let place = usize::from(u16::from_be_bytes([high & 0x7f, low])) % content.len();
            let place = if high & 0x80 == 0 { place } else { content.len() - 1 - place };
            let end = content.len().min(place + patch.len());
            content[place..end].copy_from_slice(&patch[..end - place]);
            if cut > 250 {
                content.truncate(place);
            }
            reseal(path, &mut content);
        }
        disk.put_file(path, &content);
    }
    sim::run(1, async {
        let Ok(shard) = open(disk.disk()).await else { return };
        let any = Matcher::new(MatchOp::Regex, "n", ".+").expect("it is valid");
        for matchers in [&[][..], &[any], &[Matcher::equal("n", "3")]] {
            let Ok(selection) = shard.select(matchers, TimeRange::ALL).await else { return };
            let mut columns = SampleColumns::new();
            for i in 0..selection.len() {
                columns.clear();
                let _ = selection.labels(i);
                let _ = selection.read(i, TimeRange::ALL, &mut columns).await;
            }
        }
        let _ = shard.tick().await;
        let _ = shard.maintain().await;
        let _ = shard.close().await;
    });
});
