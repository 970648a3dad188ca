//! A few stored series on two shards of a simulated disk, for tests that need something to ask about.

use std::path::Path;
use std::rc::Rc;

use tidemark_core::append::AppendBatch;
use tidemark_core::model::labels::Labels;
use tidemark_core::model::metadata::{Metadata, MetricType};
use tidemark_core::runtime::sim::{self, SimDisk};
use tidemark_core::shard::{Shard, ShardOptions};
use tidemark_core::shards::Shards;
use tidemark_core::wal::WalOptions;

/// Each series has a sample of value 1 at second 1.
const SERIES: [&[(&str, &str)]; 4] = [
    &[("__name__", "up"), ("job", "api"), ("instance", "a<b>")],
    &[("__name__", "up"), ("job", "api"), ("instance", "c")],
    &[("__name__", "up"), ("job", "db\n\"1\"")],
    &[("__name__", "requests_total"), ("job", "api"), ("http.code", "200")],
];

/// Runs `test` on these series.
pub(crate) fn with_series<Fut: Future<Output = ()>>(test: impl FnOnce(Shards) -> Fut) {
    sim::run(1, async {
        let disk = SimDisk::new(1).disk();
        let wal = WalOptions {
            segment_bytes: 1 << 20,
            buffered_bytes_max: 1 << 20,
            ..WalOptions::default()
        };
        let options = ShardOptions { wal, ..ShardOptions::default() };
        let mut mine: Vec<Rc<Shard>> = Vec::new();
        for name in ["/data/0", "/data/1"] {
            mine.push(
                Shard::open(disk.clone(), Path::new(name), options.clone())
                    .await
                    .expect("a new shard opens"),
            );
        }
        let shards = Shards::local(mine);
        for pairs in SERIES {
            let labels = Labels::from_pairs(pairs.iter().copied());
            let mut batch = AppendBatch::new();
            batch.push_series(labels.fingerprint(), labels.encoded());
            batch.push_sample(1_000, 1.0);
            let metadata = Metadata {
                kind: MetricType::Gauge,
                help: "What & why".to_owned(),
                unit: String::new(),
            };
            batch.push_metadata(labels.metric_name(), metadata);
            let owner = shards.owner(labels.fingerprint());
            shards.append(vec![(owner, batch)]).await.expect("samples are taken");
        }
        test(shards).await;
    });
}
