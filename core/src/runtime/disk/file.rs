//! An open file, real or simulated.

use std::path::Path;
use std::rc::Rc;

use super::buffer::{BLOCK_BYTES, Buffer, ReadBuffer};
use super::error::{DiskError, Operation, Result};
use super::real::{self, RealFile};
use crate::runtime::sim::SimFile;

/// An open file. Clones are the same open file; it is closed when the last of them is dropped.
#[derive(Clone)]
pub struct File(Kind);

#[derive(Clone)]
enum Kind {
    Real(Rc<RealFile>),
    Sim(SimFile),
}

impl File {
    pub(super) fn real(file: RealFile) -> Self {
        File(Kind::Real(Rc::new(file)))
    }

    pub(super) fn simulated(file: SimFile) -> Self {
        File(Kind::Sim(file))
    }

    /// The path it was opened by; a later rename does not change it.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kind::Real(file) => file.path(),
            Kind::Sim(file) => file.path(),
        }
    }

    /// A buffer of `len` zeros, to be changed in place and written.
    pub fn alloc(&self, len: usize) -> Buffer {
        let capacity = super::whole_blocks(len.max(1));
        let mut buffer = match &self.0 {
            Kind::Real(_) => Buffer::direct(real::allocate(capacity)),
            Kind::Sim(_) => Buffer::heap(capacity),
        };
        buffer.resize(len);
        buffer
    }

    /// Writes the whole buffer at `position`, a multiple of [`BLOCK_BYTES`], after padding it with zeros to whole
    /// blocks. On an error the file may hold part of it, but is no longer than before.
    pub async fn write_at(&self, buffer: &mut Buffer, position: u64) -> Result<()> {
        if !position.is_multiple_of(BLOCK_BYTES as u64) {
            let what = format!("the position of a write is not a multiple of {BLOCK_BYTES}");
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
            return Err(DiskError::at(Operation::Write, self.path(), position, error));
        }
        buffer.seal();
        match &self.0 {
            Kind::Real(file) => file.write_at(buffer, position).await,
            Kind::Sim(file) => file.write_at(buffer, position).await,
        }
    }

    /// Reads `len` bytes at `position`, fewer at the end of the file, none past it.
    pub async fn read_at(&self, position: u64, len: usize) -> Result<ReadBuffer> {
        match &self.0 {
            Kind::Real(file) => file.read_at(position, len).await,
            Kind::Sim(file) => file.read_at(position, len).await,
        }
    }

    /// Makes every completed write durable, and the length. After an error what was written since the last
    /// success may be lost even when a later call succeeds: write it again elsewhere.
    pub async fn sync_data(&self) -> Result<()> {
        match &self.0 {
            Kind::Real(file) => file.sync_data().await,
            Kind::Sim(file) => file.sync_data().await,
        }
    }

    /// Makes the file at least `len` bytes long, new bytes zero, with room reserved on the disk.
    pub async fn preallocate(&self, len: u64) -> Result<()> {
        match &self.0 {
            Kind::Real(file) => file.preallocate(len).await,
            Kind::Sim(file) => file.preallocate(len).await,
        }
    }

    /// Sets the length; new bytes are zero.
    pub async fn truncate(&self, len: u64) -> Result<()> {
        match &self.0 {
            Kind::Real(file) => file.truncate(len).await,
            Kind::Sim(file) => file.truncate(len).await,
        }
    }

    /// The length in bytes.
    pub async fn len(&self) -> Result<u64> {
        match &self.0 {
            Kind::Real(file) => file.len(),
            Kind::Sim(file) => file.len().await,
        }
    }

    /// Closes it and reports what the system says, unless other clones are still in use.
    pub async fn close(self) -> Result<()> {
        match self.0 {
            Kind::Real(file) => match Rc::try_unwrap(file) {
                Ok(file) => file.close().await,
                Err(_) => Ok(()),
            },
            Kind::Sim(_) => Ok(()),
        }
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({})", self.path().display())
    }
}
