//! What can go wrong in the log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::runtime::disk::DiskError;

/// Why a record is not in the log, or not durable. Cheap to clone: one failed write fails many commits.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// As much waits to be written as may; the same record will pass a little later.
    #[error("the write-ahead log falls behind: {bytes} bytes wait to be written; send again later")]
    Full {
        /// How many bytes wait.
        bytes: usize,
    },
    /// One record is larger than the log takes; split it.
    #[error("a record of {bytes} bytes is larger than the {bytes_max} bytes the log takes")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The disk refused. When it is full, the same commit passes as soon as there is room.
    #[error("the write-ahead log cannot be written: {0}")]
    Disk(#[source] Arc<DiskError>),
    /// Several segments in a row could not be made durable. Nothing more is accepted.
    #[error(
        "the write-ahead log is out of service since its disk failed {failures} times in a row, last with: {last}; \
         replace the disk and start again"
    )]
    OutOfService {
        /// How many segments failed.
        failures: u32,
        /// What the last of them met with.
        last: Arc<DiskError>,
    },
    /// The core that owns the log stops.
    #[error("the write-ahead log is closing")]
    Stopped,
}

impl WalError {
    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, WalError::Disk(error) if error.is_no_space())
    }

    /// Whether the same call may pass later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, WalError::Full { .. } | WalError::Disk(_))
    }
}

impl From<DiskError> for WalError {
    fn from(error: DiskError) -> Self {
        WalError::Disk(Arc::new(error))
    }
}

/// A place in the log that is not what was written. What stands around it was read all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Damage { path, offset, expected, found } = self;
        write!(
            f,
            "{} is damaged at byte {offset}: expected {expected}, found {found}",
            path.display()
        )
    }
}
