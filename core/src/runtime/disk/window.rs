//! A part of a file in memory that moves along as it is asked for: files are read from begin to end in few large reads.

use std::path::Path;

use super::{BLOCK_BYTES, Disk, File, Open, ReadBuffer, Result};

/// A file that is being read, most often from its begin to its end.
pub struct Window {
    file: File,
    len: u64,
    start: u64,
    bytes: ReadBuffer,
    bytes_at_once: usize,
}

impl Window {
    /// Opens a file, of which so many bytes are read at once.
    pub async fn open(disk: &Disk, path: &Path, bytes_at_once: usize) -> Result<Window> {
        let file = disk.open(path, Open::Read).await?;
        let len = file.len().await?;
        let bytes = file.read_at(0, bytes_at_once).await?;
        Ok(Window { file, len, start: 0, bytes, bytes_at_once })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes of the file that are read.
    #[expect(clippy::len_without_is_empty, reason = "a file of no bytes is nothing special")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reads the first `len` bytes of the file at most.
    pub fn limit(&mut self, len: u64) {
        self.len = self.len.min(len);
    }

    /// `len` bytes at `position`; `None` when the file does not have them all.
    pub async fn get(&mut self, position: u64, len: usize) -> Result<Option<&[u8]>> {
        if position.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let held = self.start..self.start + self.bytes.len() as u64;
        if position < held.start || position + len as u64 > held.end {
            self.start = position - position % BLOCK_BYTES as u64;
            let wanted = (position - self.start) as usize + len;
            self.bytes = self.file.read_at(self.start, wanted.max(self.bytes_at_once)).await?;
        }
        let at = (position - self.start) as usize;
        Ok(self.bytes.get(at..at + len))
    }
}
