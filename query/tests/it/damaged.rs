//! A query over damaged storage answers from the rest of it, and says so.

use std::path::Path;

use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_core::wal::WalOptions;
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};
use tidemark_query::value::Value;

const MINUTE_MS: i64 = 60_000;
const MINUTES: i64 = 360;

#[test]
fn what_is_missing_is_a_warning() {
    sim::run(1, async {
        let disk = SimDisk::new(1);
        let wal = WalOptions { segment_bytes: 1 << 20, ..WalOptions::default() };
        let options = ShardOptions { wal, ..ShardOptions::default() };
        let shard = Shard::open(disk.disk(), Path::new("/shard"), options).await.unwrap();
        let labels = Labels::from_pairs([("__name__", "m")]);
        let mut batch = AppendBatch::new();
        batch.push_series(labels.fingerprint(), labels.encoded());
        for minute in 0..MINUTES {
            batch.push_sample(minute * MINUTE_MS, 1.0);
        }
        shard.append(batch).await.unwrap();
        shard.tick().await.unwrap();
        // The oldest windows go to blocks.
        shard.maintain().await.unwrap();
        assert!(shard.stats().blocks > 0);
        let engine = Engine::new(Shards::local(vec![shard]), EngineOptions::default());
        let is_chunks =
            |path: &&Path| path.to_string_lossy().contains("/blocks/") && path.ends_with("chunks");
        let files = disk.files();
        let oldest = files.iter().map(|(path, _)| path.as_path()).filter(is_chunks).min();
        disk.flip_bit(oldest.expect("a block has chunks"), 40);
        let time_ms = (MINUTES - 1) * MINUTE_MS;
        // The first finds the damage, the second meets a block that was put aside.
        for query in ["count_over_time(m[6h] @ end())", "m[6h]"] {
            let answer = engine.instant(query, time_ms, &QueryOptions::default()).await.unwrap();
            assert_eq!(answer.warnings.len(), 1, "{query}");
            let left = match &answer.value {
                Value::Vector(samples) => format!("{:?}", samples[0].value),
                Value::Matrix(series) => format!("Float({}.0)", series[0].floats.len()),
                other => panic!("{other:?}"),
            };
            assert_eq!(left, "Float(240.0)", "{query}");
            let warning = &answer.warnings[0];
            assert!(warning.starts_with("samples are missing: block "), "{warning}");
        }
    });
}
