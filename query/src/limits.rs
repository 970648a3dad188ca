//! Every bound of this crate, with the reasons and the relations between them.

/// How deep expressions may nest in the text (parentheses, calls, signs, powers): the parser recurses once a level.
/// A level takes up to 8 KiB of stack in a debug build, so all of them fit twice into a thread's 2 MiB.
pub const NESTING_MAX: usize = 128;

/// How high a syntax tree may be. Left-associative chains (`a or b or ...`) grow high without nesting; whoever walks the
/// tree recurses once a level. Evaluation takes most: 2 to 3 KiB of stack a level in a release build, measured, so that the
/// highest tree takes half of a core's 2 MiB. (A debug build takes five times as much.)
pub const TREE_HEIGHT_MAX: usize = 400;

/// How many operators the duration expressions of a query may hold together.
pub const DURATION_OPERATORS_MAX: usize = 500;

const _: () = assert!(NESTING_MAX < TREE_HEIGHT_MAX, "what nests must fit into the tree");

/// Windows from this length on, in ms, can hold whole chunks of blocks: their figures are looked at before they are decoded.
pub const WIDE_RANGE_MS_MIN: i64 = 4 * 60 * 60 * 1000;

/// Longest value, in bytes, that `label_replace` and `label_join` make of a label. Nested in each other they multiply it each time;
/// a query of a megabyte may write each of its letters into one.
pub const MADE_LABEL_BYTES_MAX: usize = 4 << 20;

/// From so many rows on a shard picks those of `topk` and its kin, while more are read.
pub const PICK_ROWS_MIN: usize = 512;

/// Longest query whose parts are compared with each other: each part is written out for it.
pub const REPEATS_QUERY_BYTES_MAX: usize = 16 << 10;

/// How many steps a range query may have, whoever asks. The API allows its clients fewer.
pub const QUERY_STEPS_MAX: i64 = 1_000_000;

/// Most bytes of a remote-read request, decompressed.
pub const READ_REQUEST_BYTES_MAX: usize = 32 << 20;

/// Samples of a chunk that remote read makes, as many as Prometheus' own chunks have.
pub const READ_CHUNK_SAMPLES_MAX: usize = 120;

/// Bytes of chunks after which a series goes on in another frame.
pub const READ_FRAME_BYTES_MAX: usize = 1 << 20;

/// Columns of so many bytes are held against a query's memory before they are made, on all shards at once; smaller ones are counted
/// when they are there.
pub const AHEAD_BYTES_MIN: usize = 1 << 20;

/// Bytes that a query may hold at once, unless the server is set otherwise: columns, labels and groups.
pub const QUERY_BYTES_MAX: u64 = 1 << 30;

/// Bytes of answers that a core keeps for range queries that repeat, unless the server is set otherwise.
pub const CACHE_BYTES: usize = 64 << 20;

/// Queries of which a core knows that they were asked, whether it kept an answer or not.
pub const CACHED_ANSWERS_MAX: usize = 1_024;

/// An answer larger than one of so many parts of the cache is not kept.
pub const CACHED_ANSWER_SHARE: usize = 4;

/// Bytes of an answer that are made at a time: what is held of its text, and what the core does between two looks at others.
pub const PIECE_BYTES: usize = 64 << 10;

/// Answers of so many samples are written on all cores.
pub const SPREAD_SAMPLES_MIN: usize = 16 << 10;

/// Parts of an answer that each core is given ahead of what is sent: one that it writes, and one that waits for it.
pub const PARTS_AHEAD: usize = 2;

/// Results of a search unless `limit` says otherwise.
pub const SEARCH_RESULTS: usize = 100;

/// Results in a line of a search's answer unless `batch_size` says otherwise.
pub const SEARCH_BATCH: usize = 100;

/// Most `search[]` of a request: each is tried on every name.
pub const SEARCH_TERMS_MAX: usize = 32;

/// Longest text, in characters, that a search compares; what is longer is only looked for.
pub const SEARCH_TEXT_MAX: usize = 4_096;

/// Values after which a record batch of an answer in columns ends.
pub const ARROW_BATCH_VALUES: usize = 8 << 10;
