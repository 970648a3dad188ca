//! Every bound of this crate, and how they hang together.

use std::time::Duration;

/// Connections that wait in the kernel until a core accepts them.
pub(crate) const BACKLOG: u32 = 1024;

/// Connections on their way to one core from others that accepted them; more are served where they are.
pub(crate) const SOCKETS_LEFT_MAX: usize = 1024;

/// Largest head of a request (line and headers), in bytes; past it the answer is 431.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Most headers of a request or an answer.
pub(crate) const HEADERS_MAX: usize = 128;

/// From the first byte of a request to the end of its head.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause inside a request's body.
pub(crate) const BODY_STALL_MAX: Duration = Duration::from_secs(30);

/// Longest time that a client may take no byte of an answer.
pub(crate) const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// How often deadlines of connections are looked at.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Largest body of a form, in bytes; expressions are long, but not that long.
pub(crate) const FORM_BYTES_MAX: usize = 10 << 20;

/// Largest body of a remote write request as it is sent, in bytes.
pub(crate) const WRITE_BYTES_MAX: usize = 32 << 20;

/// Bodies in memory at the same time, in bytes a core; past it the sender is told to come again.
pub(crate) const BODIES_BYTES_MAX: usize = 256 << 20;

/// Answers at least so long are compressed for those who ask.
pub(crate) const COMPRESSED_BYTES_MIN: usize = 1 << 10;

/// Compressed at a stretch before other tasks get their turn, in bytes.
pub(crate) const COMPRESSED_STEP_BYTES: usize = 32 << 10;

/// Pieces of a long answer that are made and not sent yet.
pub(crate) const PIECES_WAITING: usize = 2;

/// Level of zstd: about as fast as copying, and smaller than gzip at its fastest.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// How often shards do what is due in the background.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(1);

/// How often a core forgets the remote-write series that were not sent since the last time.
pub(crate) const KNOWN_SERIES_UNUSED_MAX: Duration = Duration::from_hours(1);

/// How often shards look whether what takes long is due.
pub(crate) const MAINTAIN_EVERY: Duration = Duration::from_secs(5);

/// How often the address is tried that another process has, and the pause between: three seconds.
pub(crate) const ADDRESS_ATTEMPTS: u32 = 30;
/// The pause between two of them.
pub(crate) const ADDRESS_PAUSE: Duration = Duration::from_millis(100);

/// How often the log is made durable with `--wal.sync=interval`.
pub(crate) const WAL_SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// What a stopping server waits for requests under way.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Read from or written to a socket at a time, in bytes.
pub(crate) const SOCKET_BYTES: usize = 64 << 10;

/// Redirects that a fetch follows.
pub(crate) const REDIRECTS_MAX: usize = 10;

/// A connection to a target that was idle for longer is not used again.
pub(crate) const CLIENT_IDLE_MAX: Duration = Duration::from_mins(5);

/// Idle connections that one job keeps on one core; Prometheus' bound for a job.
pub(crate) const CLIENT_IDLE_CONNECTIONS_MAX: usize = 20_000;

/// How often a job that has as many looks which of them are of no use any more.
pub(crate) const CLIENT_SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Commands that wait for the control thread.
pub(crate) const CONTROL_COMMANDS_MAX: usize = 16;

/// Updates of discoverers that wait for the control thread, and messages of it that wait for one core.
pub(crate) const CONTROL_UPDATES_MAX: usize = 64;

/// Longest answer to a discoverer, and longest file of targets, in bytes.
pub(crate) const CONTROL_ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longest file of credentials that a discoverer reads, in bytes.
pub(crate) const CONTROL_SMALL_FILE_BYTES_MAX: usize = 1 << 20;

/// Longest event of a watch, in bytes; Kubernetes keeps objects of up to 1.5 MiB.
pub(crate) const CONTROL_LINE_BYTES_MAX: usize = 16 << 20;

/// Most objects that one `kubernetes_sd_config` keeps.
pub(crate) const CONTROL_OBJECTS_MAX: usize = 1_000_000;

/// Most files of one `file_sd_config`.
pub(crate) const CONTROL_FILES_MAX: usize = 10_000;

/// Longest answer of a token server, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 1 << 20;

/// How long a token server may take.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines about failed scrapes that wait to be written, in bytes a core; past it they are dropped.
pub(crate) const FAILURE_LINES_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(HEAD_BYTES_MAX < FORM_BYTES_MAX);
const _: () = assert!(WRITE_BYTES_MAX <= BODIES_BYTES_MAX);
const _: () = assert!(FORM_BYTES_MAX <= BODIES_BYTES_MAX);
const _: () = assert!(COMPRESSED_BYTES_MIN < COMPRESSED_STEP_BYTES);
const _: () = assert!(SWEEP_EVERY.as_millis() < HEAD_TIMEOUT.as_millis());

/// Exemplars that are kept if the configuration does not say, over all shards; as many as Prometheus keeps.
pub(crate) const EXEMPLARS_MAX: usize = 100_000;

/// Texts of past queries that a core remembers.
pub(crate) const PAST_QUERIES_MAX: usize = 1_000;

/// Bytes of a query's text that lists and the log show.
pub(crate) const QUERY_SHOWN_BYTES_MAX: usize = 4 << 10;

/// Bytes of the query log that may wait for the disk on one core.
pub(crate) const QUERY_LOG_BYTES_MAX: usize = 4 << 20;

/// How often the query log is written.
pub(crate) const QUERY_LOG_EVERY: Duration = Duration::from_millis(500);
