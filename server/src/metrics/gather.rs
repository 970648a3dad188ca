//! One report from every core, added up and written.

use std::collections::BTreeMap;

use tidemark_core::append::RefusalKind;
use tidemark_core::runtime::executors::Stats as RuntimeStats;
use tidemark_core::shard::ShardStats;
use tidemark_ingest::scrape::ScrapeStats;
use tidemark_ingest::scrape::status::Health;

use super::counters::Snapshot;
use super::exposition::{Exposition, Kind};
use super::process;
use crate::memory::{allocator_parts, resident_bytes};
use crate::node::{CoreGone, Node};

/// What one core has to say.
struct Report {
    counters: Snapshot,
    connections: [u64; 4],
    scrapes: ScrapeStats,
    /// Targets up, down and not scraped yet.
    targets: [u64; 3],
    runtime: RuntimeStats,
    shards: Vec<ShardStats>,
    /// Memory of the core that no shard holds, by part.
    memory: [(&'static str, u64); 3],
}

impl Report {
    fn of(node: &Node) -> Self {
        let connections = &node.connections;
        let mut targets = [0; 3];
        for target in node.scraper().targets() {
            let at = match target.health {
                Health::Up => 0,
                Health::Down => 1,
                Health::Unknown => 2,
            };
            targets[at] += 1;
        }
        let (queries, result_cache) = node.query_memory();
        Report {
            memory: [
                ("known_series", node.known.borrow().byte_len() as u64),
                ("queries", queries),
                ("result_cache", result_cache),
            ],
            counters: node.counters.snapshot(),
            connections: [
                connections.open.get(),
                connections.accepted.get(),
                connections.swept.get(),
                connections.evicted.get(),
            ],
            scrapes: node.scraper().stats(),
            targets,
            runtime: node.runtime_stats(),
            shards: node.local_shards().iter().map(|shard| shard.stats()).collect(),
        }
    }
}

/// All metrics of this server.
pub(crate) async fn exposition(node: &Node) -> Result<Exposition, CoreGone> {
    let reports = node.on_every_core(Report::of).await?;
    let mut text = Exposition::default();
    text.family(
        "tidemark_build_info",
        Kind::Gauge,
        "The version that runs, as a label of the value 1.",
    );
    text.sample("tidemark_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    process::write(&mut text);
    runtime(&mut text, &reports);
    let mut all = Snapshot::default();
    for report in &reports {
        all.merge(&report.counters);
    }
    all.write(&mut text);
    connections(&mut text, &reports);
    scrapes(&mut text, &reports);
    let shards: Vec<&ShardStats> = reports.iter().flat_map(|report| &report.shards).collect();
    storage(&mut text, &shards);
    memory(&mut text, &reports);
    text.single(
        "tidemark_memory_shedding",
        Kind::Gauge,
        "Whether new series are refused because memory is short.",
        u8::from(node.memory.is_shedding()),
    );
    let load = node.load();
    text.single(
        "tidemark_config_last_reload_successful",
        Kind::Gauge,
        "Whether the last configuration that was to be loaded is in force.",
        u8::from(load.succeeded),
    );
    text.single(
        "tidemark_config_last_reload_success_timestamp_seconds",
        Kind::Gauge,
        "When the configuration in force was loaded.",
        load.time_ms as f64 / 1000.0,
    );
    text.append(node.control.report().await);
    Ok(text)
}

/// A counter of each executor.
type RuntimeRow = (&'static str, &'static str, fn(&RuntimeStats) -> u64);

fn runtime(text: &mut Exposition, reports: &[Report]) {
    text.single("tidemark_cores", Kind::Gauge, "Cores that this server runs on.", reports.len());
    let counters: [RuntimeRow; 2] = [
        (
            "tidemark_runtime_rescues_total",
            "Times an executor slept although tasks could run, and was woken from outside.",
            |stats| stats.rescues,
        ),
        (
            "tidemark_runtime_long_polls_total",
            "Times a task kept its core for so long that other tasks were late.",
            |stats| stats.long_polls,
        ),
    ];
    for (name, help, value) in counters {
        text.family(name, Kind::Counter, help);
        for (core, report) in reports.iter().enumerate() {
            text.sample(name, &[("core", &core.to_string())], value(&report.runtime));
        }
    }
}

fn connections(text: &mut Exposition, reports: &[Report]) {
    let sum = |i: usize| reports.iter().map(|report| report.connections[i]).sum::<u64>();
    text.single("tidemark_http_connections", Kind::Gauge, "Connections that are open.", sum(0));
    text.single(
        "tidemark_http_connections_accepted_total",
        Kind::Counter,
        "Connections accepted.",
        sum(1),
    );
    let ended = "tidemark_http_connections_ended_total";
    text.family(
        ended,
        Kind::Counter,
        "Connections that the server ended: slow or idle for too long, or to make room.",
    );
    text.sample(ended, &[("reason", "deadline")], sum(2));
    text.sample(ended, &[("reason", "room")], sum(3));
}

fn scrapes(text: &mut Exposition, reports: &[Report]) {
    let targets = "tidemark_scrape_targets";
    text.family(targets, Kind::Gauge, "Targets by how their last scrape went.");
    for (i, health) in ["up", "down", "unknown"].iter().enumerate() {
        let sum: u64 = reports.iter().map(|report| report.targets[i]).sum();
        text.sample(targets, &[("health", health)], sum);
    }
    let mut all = ScrapeStats::default();
    for report in reports {
        all.merge(&report.scrapes);
    }
    for (name, help, value) in [
        ("tidemark_scrapes_total", "Scrapes made.", all.scrapes),
        ("tidemark_scrapes_failed_total", "Scrapes that failed.", all.scrapes_failed),
        (
            "tidemark_scrapes_exceeded_body_size_limit_total",
            "Scrapes that failed because the body was too large.",
            all.body_size_exceeded,
        ),
        (
            "tidemark_scrapes_exceeded_sample_limit_total",
            "Scrapes that failed because there were too many samples.",
            all.sample_limit_exceeded,
        ),
        (
            "tidemark_scrapes_exceeded_label_limits_total",
            "Scrapes that failed because of a limit on labels.",
            all.label_limits_exceeded,
        ),
        (
            "tidemark_scrapes_exceeded_native_bucket_limit_total",
            "Scrapes that failed because a native histogram had too many buckets.",
            all.histogram_limit_exceeded,
        ),
        (
            "tidemark_scrape_samples_scraped_total",
            "Samples in all scraped bodies.",
            all.samples_scraped,
        ),
        (
            "tidemark_scrape_samples_duplicate_total",
            "Samples of a series that had one in the same scrape already.",
            all.samples_duplicate,
        ),
        (
            "tidemark_scrape_samples_refused_total",
            "Scraped samples that storage refused.",
            all.samples_refused,
        ),
        (
            "tidemark_scrape_appends_failed_total",
            "Scrapes that storage did not take at all.",
            all.appends_failed,
        ),
    ] {
        text.single(name, Kind::Counter, help, value);
    }
}

/// A family whose value is a sum over shards.
type ShardRow = (&'static str, Kind, &'static str, fn(&ShardStats) -> u64);

const SHARD_ROWS: &[ShardRow] = &[
    ("tidemark_head_series", Kind::Gauge, "Series in the heads.", |s| s.series),
    ("tidemark_head_series_created_total", Kind::Counter, "Series begun.", |s| s.series_created),
    (
        "prometheus_tsdb_head_series_removed_total",
        Kind::Counter,
        "Series that the heads forgot, since blocks hold all they had.",
        |s| s.series_removed,
    ),
    ("prometheus_tsdb_blocks_loaded", Kind::Gauge, "Blocks that are read.", |s| s.blocks),
    ("prometheus_tsdb_storage_blocks_bytes", Kind::Gauge, "Bytes of the blocks.", |s| {
        s.block_bytes
    }),
    ("tidemark_block_samples", Kind::Gauge, "Samples of the blocks.", |s| s.block_samples),
    ("prometheus_tsdb_head_truncations_total", Kind::Counter, "Blocks cut from the heads.", |s| {
        s.cuts
    }),
    (
        "prometheus_tsdb_compactions_total",
        Kind::Counter,
        "Blocks compacted into larger ones.",
        |s| s.compactions,
    ),
    ("prometheus_tsdb_compactions_failed_total", Kind::Counter, "Compactions that failed.", |s| {
        s.compactions_failed
    }),
    (
        "tidemark_blocks_retired_total",
        Kind::Counter,
        "Blocks that were too old or too many.",
        |s| s.blocks_retired,
    ),
    (
        "tidemark_blocks_damaged_total",
        Kind::Counter,
        "Blocks, and catalogs of blocks, that were found damaged and put aside or made again.",
        |s| s.blocks_damaged,
    ),
    (
        "tidemark_chunks_damaged_total",
        Kind::Counter,
        "Chunks that were found damaged when a block was cut, and left out of it.",
        |s| s.chunks_damaged,
    ),
    ("tidemark_block_cache_bytes", Kind::Gauge, "Bytes of pages of blocks kept in memory.", |s| {
        s.block_cache.bytes
    }),
    ("tidemark_block_cache_hits_total", Kind::Counter, "Pages of blocks found in memory.", |s| {
        s.block_cache.hits
    }),
    ("tidemark_block_cache_misses_total", Kind::Counter, "Pages of blocks read from disk.", |s| {
        s.block_cache.misses
    }),
    ("tidemark_head_samples_appended_total", Kind::Counter, "Samples stored.", |s| {
        s.samples_appended
    }),
    (
        "tidemark_head_samples_out_of_order_total",
        Kind::Counter,
        "Samples stored that came after newer ones of their series.",
        |s| s.samples_out_of_order,
    ),
    (
        "tidemark_head_samples_duplicate_total",
        Kind::Counter,
        "Samples that were stored already.",
        |s| s.samples_duplicate,
    ),
    ("tidemark_head_chunks", Kind::Gauge, "Chunks that take samples.", |s| s.chunks_open),
    ("tidemark_head_chunks_created_total", Kind::Counter, "Chunks begun.", |s| s.chunks_created),
    ("tidemark_sealed_chunks", Kind::Gauge, "Sealed chunks, in memory and in chunk files.", |s| {
        s.chunks_sealed
    }),
    (
        "tidemark_backlog_chunks",
        Kind::Gauge,
        "Sealed chunks that wait to be written to a chunk file.",
        |s| s.backlog_chunks,
    ),
    ("tidemark_backlog_bytes", Kind::Gauge, "Bytes of these chunks.", |s| s.backlog_bytes),
    ("tidemark_chunk_files_bytes", Kind::Gauge, "Bytes of the chunk files.", |s| {
        s.chunk_file_bytes
    }),
    ("tidemark_checkpoint_bytes", Kind::Gauge, "Bytes of the newest checkpoints.", |s| {
        s.checkpoint_bytes
    }),
    ("tidemark_checkpoints_total", Kind::Counter, "Checkpoints written.", |s| s.checkpoints),
    ("tidemark_head_symbols", Kind::Gauge, "Distinct label names and values.", |s| s.symbols),
    ("tidemark_wal_records_total", Kind::Counter, "Records written to the log.", |s| s.wal.records),
    (
        "tidemark_wal_flushes_total",
        Kind::Counter,
        "Writes to the log, each of everything that waited.",
        |s| s.wal.flushes,
    ),
    ("tidemark_wal_failures_total", Kind::Counter, "Writes to the log that failed.", |s| {
        s.wal.failures
    }),
    ("tidemark_wal_syncs_total", Kind::Counter, "Times the log was made durable.", |s| s.wal.syncs),
    ("tidemark_wal_written_bytes_total", Kind::Counter, "Bytes written to the log.", |s| {
        s.wal.written_bytes
    }),
    ("tidemark_wal_segments", Kind::Gauge, "Segments of the log that hold records.", |s| {
        s.wal.segments as u64
    }),
    ("tidemark_wal_bytes", Kind::Gauge, "Bytes of the log's segments.", |s| s.wal_bytes),
    (
        "tidemark_wal_replayed_records",
        Kind::Gauge,
        "Records read from the log at the start.",
        |s| s.replayed_records,
    ),
    (
        "tidemark_wal_damages",
        Kind::Gauge,
        "Damaged places that were found in the log at the start.",
        |s| s.wal_damage,
    ),
];

/// Memory by part, and what remains of all that the process holds.
fn memory(text: &mut Exposition, reports: &[Report]) {
    let name = "tidemark_memory_bytes";
    text.family(
        name,
        Kind::Gauge,
        "Memory by what it is for; what remains of the process's is other.",
    );
    let mut parts: BTreeMap<&str, u64> = BTreeMap::new();
    for report in reports {
        let of_shards = report.shards.iter().flat_map(|shard| shard.memory.parts());
        for (part, bytes) in of_shards.chain(report.memory) {
            *parts.entry(part).or_default() += bytes;
        }
    }
    parts.extend(allocator_parts());
    let told: u64 = parts.values().sum();
    let other = resident_bytes().unwrap_or(0).saturating_sub(told);
    for (part, bytes) in parts.into_iter().chain([("other", other)]) {
        text.sample(name, &[("part", part)], bytes);
    }
}

fn storage(text: &mut Exposition, shards: &[&ShardStats]) {
    text.single(
        "tidemark_shards",
        Kind::Gauge,
        "Shards that the data is dealt out to.",
        shards.len(),
    );
    for (name, kind, help, value) in SHARD_ROWS {
        text.single(name, *kind, help, shards.iter().map(|shard| value(shard)).sum::<u64>());
    }
    let refused = "tidemark_head_samples_refused_total";
    text.family(refused, Kind::Counter, "Samples that storage refused, by reason.");
    for kind in RefusalKind::all() {
        let sum: u64 = shards.iter().map(|shard| shard.samples_refused[kind as usize]).sum();
        text.sample(refused, &[("reason", kind.as_str())], sum);
    }
}
