//! What can go wrong in the storage engine. Each message says what, where and what to do.

use std::path::PathBuf;

use crate::runtime::disk::DiskError;
use crate::wal::WalError;

/// An error of the storage engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not what was written.
    #[error("{}: damaged at byte {offset}: expected {expected}, found {found}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A file was written by a newer Tidemark.
    #[error(
        "{}: format version {found} is newer than {known}, the newest this binary reads; start the version of tidemark that wrote it",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// A file holds a record that only a newer Tidemark writes.
    #[error(
        "{}: a record of kind {kind} is newer than {known}, the newest kind this binary reads; start the version of tidemark that wrote it",
        path.display()
    )]
    NewerRecord {
        /// The file, or the directory of the log.
        path: PathBuf,
        /// The kind of the record.
        kind: u8,
        /// The newest kind known.
        known: u8,
    },
    /// Another process has the data directory.
    #[error(
        "data directory {} is in use by another process (lock held); stop that process, or use another directory",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// A bound is reached; the same request may pass a little later.
    #[error("overloaded: {what}; send again later")]
    Overloaded {
        /// Which bound.
        what: &'static str,
    },
    /// What is to be written does not fit on the disk.
    #[error(
        "{}: {needed} bytes have to be written, {free} are free; make room, or use another disk",
        directory.display()
    )]
    NoRoom {
        /// Where.
        directory: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// Data lies where other data is to be put.
    #[error(
        "{} holds data already; move it away, or use another directory",
        directory.display()
    )]
    NotEmpty {
        /// Where.
        directory: PathBuf,
    },
    /// The shard stops.
    #[error("the shard is closing; send again when the server is back")]
    Closing,
    /// The operating system refuses an operation on a file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The write-ahead log takes no record, or cannot make one durable.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Another core could not open its shards.
    #[error("another core failed: {reason}")]
    Peer {
        /// What it said.
        reason: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the same request may succeed later without anyone's doing, so that senders should retry (503).
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Overloaded { .. } | Error::Closing => true,
            Error::Wal(error) => error.is_transient(),
            _ => false,
        }
    }
}
