//! Every bound of the storage engine on one page, with the relations between them checked at compile time.
//!
//! At a bound the sender is told (a refusal by name, or [`crate::error::Error::Overloaded`]); nothing grows past it.

use std::time::Duration;

/// Samples in one open chunk before it is sealed. 120 is what Prometheus takes: half an hour at 15 s.
pub const CHUNK_SAMPLES_MAX: u16 = 120;

/// Time from the first to the last sample of one chunk, in ms.
pub const CHUNK_RANGE_MS_MAX: i64 = 2 * 60 * 60 * 1000;

/// Largest encoded chunk, in bytes: 120 XOR samples at their worst take 2.3 KiB, other encodings may take more.
pub const CHUNK_BYTES_MAX: usize = (1 << 20) - 1;

/// Canonical encoding of one series' labels, in bytes.
pub const SERIES_LABELS_BYTES_MAX: usize = 64 << 10;

/// Bytes of any one column of an [`crate::append::AppendBatch`].
pub const BATCH_BYTES_MAX: usize = 1 << 30;

/// Active series of one shard unless the options say otherwise.
pub const SHARD_SERIES_MAX: u32 = 20_000_000;

/// Exemplars that a shard keeps unless it is told otherwise; as many as a Prometheus in all.
pub const SHARD_EXEMPLARS_MAX: usize = 100_000;

/// Bytes of the encoded labels of one exemplar; OpenMetrics allows 128 characters.
pub const EXEMPLAR_LABELS_BYTES_MAX: usize = 1 << 10;

/// The number after the highest that a series of a shard can have. Numbers are not given twice.
pub const SERIES_NUMBER_END: u32 = 1 << 30;

/// How far ahead of the wall clock a sample may be, in ms; Prometheus' bound.
pub const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;

/// How much older than the newest sample of its shard a sample may be that comes after newer ones of its series, in ms, unless
/// the configuration says otherwise.
pub const OUT_OF_ORDER_WINDOW_MS: i64 = 60 * 60 * 1000;

/// Bytes of samples that came after newer ones of their series and wait in a shard's memory for a block; more are refused.
pub const OUT_OF_ORDER_BYTES_MAX: usize = 256 << 20;

/// Sealed chunks of a shard, 24 bytes of memory each, past which a block is cut although late samples might still come for it: these are refused.
pub const HEAD_CHUNKS_MAX: u64 = 8 << 20;

/// Metric families of one shard whose metadata is kept.
pub const METADATA_FAMILIES_MAX: usize = 100_000;

/// Help text of one metric family, in bytes; the rest is cut off.
pub const METADATA_HELP_BYTES_MAX: usize = 4 << 10;

/// Name or unit of one metric family, in bytes; longer ones are not kept.
pub const METADATA_NAME_BYTES_MAX: usize = 1 << 10;

/// Literals that a regular expression may stand for and still be looked up one by one.
pub const REGEX_LITERALS_MAX: usize = 250;

/// Shards of one data directory.
pub const SHARDS_MAX: u32 = 1024;

/// Length of one segment of the write-ahead log, in bytes.
pub const WAL_SEGMENT_BYTES: u64 = 32 << 20;

/// Largest record of the write-ahead log, in bytes; what is larger is split by who writes it.
pub const WAL_RECORD_BYTES_MAX: usize = 4 << 20;

/// Bytes of records that one shard's log holds in memory before it refuses more.
pub const WAL_BUFFERED_BYTES_MAX: usize = 16 << 20;

/// Bytes that the log collects for one write, unless a single record is larger.
pub const WAL_RUN_BYTES: usize = 256 << 10;

/// Retired segments that one log keeps to use again.
pub const WAL_SPARES_MAX: usize = 2;

/// Segments in a row that may fail to become durable before the log gives up.
pub const WAL_FAILURES_MAX: u32 = 4;

/// Damaged places that one replay describes; the others are counted.
pub const WAL_DAMAGE_REPORTS_MAX: usize = 100;

const _: () = assert!(WAL_RECORD_BYTES_MAX as u64 * 4 <= WAL_SEGMENT_BYTES);
const _: () = assert!(WAL_RECORD_BYTES_MAX <= WAL_BUFFERED_BYTES_MAX);
const _: () = assert!(WAL_RUN_BYTES <= WAL_RECORD_BYTES_MAX);

const _: () = assert!(CHUNK_SAMPLES_MAX as usize * 19 + 32 <= CHUNK_BYTES_MAX);
const _: () = assert!(CHUNK_RANGE_MS_MAX <= u32::MAX as i64);
const _: () = assert!(SHARD_SERIES_MAX < SERIES_NUMBER_END);
const _: () = assert!(SERIES_LABELS_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < u32::MAX as usize);

/// Calls to other cores that one core awaits at the same time.
pub const CALLS_IN_FLIGHT_MAX: usize = 4096;

/// Messages waiting in the inbox of one core.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// Bytes of one chunk file; offsets in it are u32.
pub const CHUNK_FILE_BYTES_MAX: u64 = 512 << 20;

/// Bytes of chunks that are written to a chunk file at once.
pub const CHUNK_BATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes of chunk files that a shard keeps in memory after reading.
pub const CHUNK_CACHE_BYTES_MAX: u64 = 32 << 20;

/// Chunk files that a shard keeps open for reading.
pub const CHUNK_FILES_OPEN_MAX: usize = 64;

const _: () = assert!(CHUNK_FILE_BYTES_MAX < u32::MAX as u64);
const _: () = assert!(CHUNK_BATCH_BYTES_MAX + CHUNK_BYTES_MAX < CHUNK_FILE_BYTES_MAX as usize);

/// Bytes of one frame of a checkpoint, header included.
pub const CHECKPOINT_FRAME_BYTES_MAX: usize = 4 << 20;

/// Bytes of series that make a frame of a checkpoint full; the last series and chunk may exceed it.
pub const CHECKPOINT_SLICE_BYTES: usize = 256 << 10;

const _: () = assert!(
    CHECKPOINT_SLICE_BYTES + SERIES_LABELS_BYTES_MAX + 2 * (CHUNK_SAMPLES_MAX as usize * 19 + 64)
        < CHECKPOINT_FRAME_BYTES_MAX
);

/// Bytes of sealed chunks that wait in a shard's memory for the disk; past it appends are refused.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Bytes of sealed chunks that all shards of a data directory keep in memory together: those that a block takes from there are never written
/// to a chunk file.
pub const SPILL_BYTES: usize = 64 << 20;

/// Bytes of sealed chunks that are worth a write of their own, however many shards there are.
pub const SPILL_BYTES_MIN: usize = 512 << 10;

/// Bytes of sealed chunks past which a shard writes them, however few shards there are.
pub const SPILL_BYTES_MAX: usize = 32 << 20;

/// Samples that a shard takes between two ticks, about a second apart, up to which what it spills is encoded anew: at 60 ns
/// each, a sixth of a core.
pub const QUIET_SAMPLES_MAX: u64 = 3_000_000;

/// Chunks of a chunk file that are held at once while it is written anew.
pub const RECODE_CHUNKS: usize = 1_024;

/// A checkpoint is due after a cut if it forgot one in so many series.
pub const CHECKPOINT_FORGOTTEN_ONE_IN: usize = 8;

/// How much older than the newest sample of its shard the last sample of a series is when its open chunk is sealed, in ms.
pub const IDLE_MS: i64 = 60 * 60 * 1000;

/// Series that one tick examines for being idle.
pub const IDLE_SERIES_PER_TICK: u32 = 16_384;

/// Encoded bytes of one record of samples, past which a batch is split: some ten thousand samples, or 1 ms of work.
pub const APPEND_RECORD_BYTES: usize = 64 << 10;

/// Samples of one series in one record; more are split.
pub const ENTRY_SAMPLES_MAX: usize = 32 << 10;

/// WAL segments at which a checkpoint is due, unless the last one was larger than half of them.
pub const CHECKPOINT_SEGMENTS_MIN: u64 = 8;

/// Samples of the log that chunk files hold as well, at which fewer segments do: some tenths of a second of replay.
pub const CHECKPOINT_SPILLED_SAMPLES: u64 = 8 << 20;

/// These segments.
pub const CHECKPOINT_SPILLED_SEGMENTS_MIN: u64 = 1;

const _: () =
    assert!(SPILL_BYTES_MIN < SPILL_BYTES_MAX && 2 * SPILL_BYTES_MAX <= BACKLOG_BYTES_MAX);
// A sample takes at most 10 bytes for its time and 9 for its value.
const _: () = assert!(
    APPEND_RECORD_BYTES + SERIES_LABELS_BYTES_MAX + ENTRY_SAMPLES_MAX * 19 + 32
        <= WAL_RECORD_BYTES_MAX
);
const _: () = assert!(APPEND_RECORD_BYTES + SERIES_LABELS_BYTES_MAX < WAL_RECORD_BYTES_MAX);

/// Bytes of histograms and start timestamps that a shard keeps in memory; past it appends are refused.
pub const DETAILS_BYTES_MAX: usize = 1 << 30;

/// Damaged places of the chunk files of a shard that answers of queries name; all are logged.
pub const DAMAGE_WARNINGS_MAX: usize = 8;

/// Bytes that one write of a block carries, whole pages.
pub const BLOCK_WRITE_BYTES: usize = 1 << 20;

/// Pages of a block that one read carries.
pub const BLOCK_READ_PAGES_MAX: u32 = 16;

/// Bytes of pages of blocks that a shard keeps in memory after reading.
pub const BLOCK_CACHE_BYTES_MAX: u64 = 64 << 20;

/// Bytes of pages that one who goes through a whole block keeps: the index page and the chunk pages that were read ahead.
pub const BLOCK_CURSOR_BYTES_MAX: u64 = 4 << 20;

/// Bytes of postings that the writer of a block holds before they go to a file for a while.
pub const BLOCK_POSTINGS_BYTES_MAX: usize = 16 << 20;

/// Samples of one chunk of a block that was cut from the head: two hours at 15 s.
pub const CUT_CHUNK_SAMPLES_MAX: usize = 480;

/// Samples of one chunk of a block that was compacted.
pub const COMPACTED_CHUNK_SAMPLES_MAX: usize = 1920;

/// Bytes of chunks that are held at once while a block is cut from the head.
pub const CUT_BATCH_BYTES_MAX: usize = 16 << 20;

/// Series that one synchronous step of a cut goes through.
pub const CUT_SLICE_SERIES: u32 = 4096;

/// Bytes between two chunks of a block that are read along rather than read apart.
pub const BLOCK_READ_GAP_BYTES_MAX: u64 = 64 << 10;

/// Series that one synchronous step of a selection goes through: some tenths of a millisecond where each is a cache miss.
pub const SELECT_SLICE_SERIES: usize = 2048;

/// Time that the largest block spans, in ms.
pub const BLOCK_RANGE_MS_MAX: i64 = 31 * 24 * 60 * 60 * 1000;

/// Part of a block that may be deleted and still take room: past it the block is written anew without waiting for a compaction.
pub const TOMBSTONES_SHARE_MAX: f64 = 0.05;

/// How long a compaction that failed waits before it is tried again.
pub const COMPACT_RETRY_AFTER: Duration = Duration::from_mins(1);

/// New shards whose blocks are written at once while a data directory is made one of another number of shards.
pub const RESHARD_WRITERS_MAX: usize = 16;

/// Length of a segment of the log of a new shard meanwhile, in bytes.
pub const RESHARD_SEGMENT_BYTES: u64 = 8 << 20;

/// Samples that one shard hands over to another at once.
pub const HAND_OVER_SAMPLES: usize = 10_000;

/// Bytes of a file that are copied at once.
pub const COPY_BYTES: usize = 1 << 20;

/// Minutes with late samples that a shard remembers for those who remember answers.
pub const CHANGES_MAX: usize = 1_024;

/// Jobs, metrics or values of one cardinality limit whose new series a shard counts by hour and day; later ones are not.
pub const CARDINALITY_WINDOWS_MAX: usize = 16 << 10;

/// Offenders against one cardinality limit that a shard remembers.
pub const CARDINALITY_OFFENDERS_MAX: usize = 256;
