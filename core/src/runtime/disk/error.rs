//! What can go wrong with a file: which operation, on which path, at which offset, and what the system said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The operations of [`Disk`](super::Disk) and [`File`](super::File), as an error names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Make a directory and its parents.
    CreateDirectory,
    /// Read a directory.
    List,
    /// Open or create a file.
    Open,
    /// Rename a file or directory.
    Rename,
    /// Remove a file.
    Remove,
    /// Remove a directory with all that is in it.
    RemoveDirectory,
    /// Make a second name for a file.
    HardLink,
    /// Make the names in a directory durable.
    SyncDirectory,
    /// Ask for free and total bytes.
    FreeSpace,
    /// Take the lock of a data directory.
    Lock,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Make a file's content durable.
    Sync,
    /// Reserve space for a file.
    Preallocate,
    /// Set a file's length.
    Truncate,
    /// Ask for a file's length.
    Length,
    /// Close a file.
    Close,
}

impl Operation {
    /// The verb in an error message.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::CreateDirectory => "create directory",
            Operation::List => "list directory",
            Operation::Open => "open",
            Operation::Rename => "rename",
            Operation::Remove => "remove",
            Operation::RemoveDirectory => "remove directory",
            Operation::HardLink => "link",
            Operation::SyncDirectory => "sync directory",
            Operation::FreeSpace => "ask for the free space of",
            Operation::Lock => "lock",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Preallocate => "reserve space for",
            Operation::Truncate => "truncate",
            Operation::Length => "ask for the length of",
            Operation::Close => "close",
        }
    }
}

/// A failed operation on the disk.
#[derive(Debug)]
pub struct DiskError {
    operation: Operation,
    path: PathBuf,
    offset: Option<u64>,
    source: io::Error,
}

/// What every function of this module returns.
pub type Result<T> = std::result::Result<T, DiskError>;

impl DiskError {
    /// `operation` on `path` failed with `source`.
    pub fn new(operation: Operation, path: &Path, source: io::Error) -> Self {
        DiskError { operation, path: path.to_owned(), offset: None, source }
    }

    /// The same, at a byte offset of the file.
    pub fn at(operation: Operation, path: &Path, offset: u64, source: io::Error) -> Self {
        DiskError { operation, path: path.to_owned(), offset: Some(offset), source }
    }

    /// What was tried.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The file or directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The offset in the file, where there is one.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// What the system said.
    pub fn io(&self) -> &io::Error {
        &self.source
    }

    /// Whether the disk or the quota is full: the operation can be tried again when there is room.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether there is no such file or directory.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.operation.as_str(), self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_what_where_and_why() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        let error = DiskError::at(Operation::Write, Path::new("/data/wal/7.wal"), 4096, full);
        assert!(error.is_no_space() && !error.is_not_found());
        let expected =
            "cannot write /data/wal/7.wal at offset 4096: No space left on device (os error 28)";
        assert_eq!(error.to_string(), expected);
    }
}
