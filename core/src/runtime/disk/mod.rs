//! Files: direct I/O through `io_uring`, or a simulated disk that can crash. One API, chosen when a [`Disk`] is made.
//!
//! Nothing here is buffered by the operating system, so what [`File::sync_data`] has returned for survives power loss,
//! and names (created, renamed, removed) survive it once [`Disk::sync_dir`] has returned for their directory. Without
//! that call either may be lost, in any combination: the simulated disk does just that.
//!
//! All paths are absolute. Writes start at, and are padded to, multiples of [`BLOCK_BYTES`]; reads may have any
//! position and length. A `Disk` and its `File`s belong to the core that made them.

mod buffer;
mod error;
mod file;
mod real;
#[cfg(test)]
mod tests;
mod window;

use std::path::Path;

pub use buffer::{BLOCK_BYTES, Buffer, ReadBuffer, whole_blocks};
pub use error::{DiskError, Operation, Result};
pub use file::File;
pub use window::Window;

use super::sim::SimDisk;

/// A way to reach files. Cheap to clone.
#[derive(Clone)]
pub struct Disk(Kind);

#[derive(Clone)]
enum Kind {
    Real,
    Sim(SimDisk),
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// To read and write; made when it does not exist, kept as it is when it does.
    Create,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last component of the path. A name that is not UTF-8 is none of ours and is left out of listings.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes an unprivileged process can still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Holds the lock of a data directory until it is dropped or the process ends.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] LockKind);

#[expect(dead_code, reason = "held for its drop")]
enum LockKind {
    Real(std::fs::File),
    Sim(super::sim::SimLock),
}

impl Disk {
    /// The disk of this machine; to be used on a core's executor.
    pub fn real() -> Self {
        Disk(Kind::Real)
    }

    pub(super) fn simulated(disk: SimDisk) -> Self {
        Disk(Kind::Sim(disk))
    }

    /// An empty buffer for at least `capacity` bytes, rounded up to whole blocks.
    pub fn buffer(&self, capacity: usize) -> Buffer {
        let capacity = whole_blocks(capacity.max(1));
        match &self.0 {
            Kind::Real => Buffer::direct(real::allocate(capacity)),
            Kind::Sim(_) => Buffer::heap(capacity),
        }
    }

    /// Makes a directory and its parents; the names are durable when this returns. An existing one is fine.
    pub async fn create_dir_all(&self, path: &Path) -> Result<()> {
        match &self.0 {
            Kind::Real => real::create_dir_all(path).await,
            Kind::Sim(disk) => disk.create_dir_all(path).await,
        }
    }

    /// The names in a directory, sorted.
    pub async fn list(&self, directory: &Path) -> Result<Vec<Entry>> {
        let mut entries = match &self.0 {
            Kind::Real => real::list(directory).await?,
            Kind::Sim(disk) => disk.list(directory).await?,
        };
        entries.sort_unstable();
        Ok(entries)
    }

    /// Opens a file.
    pub async fn open(&self, path: &Path, how: Open) -> Result<File> {
        match &self.0 {
            Kind::Real => Ok(File::real(real::RealFile::open(path, how).await?)),
            Kind::Sim(disk) => Ok(File::simulated(disk.open(path, how).await?)),
        }
    }

    /// Renames, in place of a file that has the new name; durable after [`Disk::sync_dir`] of both directories.
    pub async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match &self.0 {
            Kind::Real => real::rename(from, to).await,
            Kind::Sim(disk) => disk.rename(from, to).await,
        }
    }

    /// Removes a file; durable after [`Disk::sync_dir`].
    pub async fn remove(&self, path: &Path) -> Result<()> {
        match &self.0 {
            Kind::Real => real::remove(path).await,
            Kind::Sim(disk) => disk.remove(path).await,
        }
    }

    /// Removes a directory with all that is in it; durable after [`Disk::sync_dir`] of its parent.
    pub async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        match &self.0 {
            Kind::Real => real::remove_dir_all(path).await,
            Kind::Sim(disk) => disk.remove_dir_all(path).await,
        }
    }

    /// Gives a file a second name, which must be free; durable after [`Disk::sync_dir`].
    pub async fn hard_link(&self, existing: &Path, new: &Path) -> Result<()> {
        match &self.0 {
            Kind::Real => real::hard_link(existing, new).await,
            Kind::Sim(disk) => disk.hard_link(existing, new).await,
        }
    }

    /// Makes the names in a directory durable: what was created, renamed, linked and removed there.
    pub async fn sync_dir(&self, directory: &Path) -> Result<()> {
        match &self.0 {
            Kind::Real => real::sync_dir(directory).await,
            Kind::Sim(disk) => disk.sync_dir(directory).await,
        }
    }

    /// The whole of a small file.
    pub async fn read_all(&self, path: &Path) -> Result<Vec<u8>> {
        let file = self.open(path, Open::Read).await?;
        let len = file.len().await?;
        let bytes = file.read_at(0, len as usize).await?.to_vec();
        file.close().await?;
        Ok(bytes)
    }

    /// Puts `bytes` in place of a small file, or makes it. Durable when this returns; after a crash the file has
    /// either the old or the new content. Leaves a `.tmp` beside it when it fails half-way, which the next call reuses.
    pub async fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let (temporary, directory) =
            (path.with_file_name(name), path.parent().unwrap_or(Path::new("/")));
        let file = self.open(&temporary, Open::Create).await?;
        file.truncate(0).await?;
        let mut buffer = self.buffer(bytes.len());
        buffer.extend_from_slice(bytes);
        file.write_at(&mut buffer, 0).await?;
        file.truncate(bytes.len() as u64).await?;
        file.sync_data().await?;
        file.close().await?;
        self.rename(&temporary, path).await?;
        self.sync_dir(directory).await
    }

    /// Free and total bytes of the file system that holds `directory`.
    pub async fn free_space(&self, directory: &Path) -> Result<Space> {
        match &self.0 {
            Kind::Real => real::free_space(directory).await,
            Kind::Sim(disk) => disk.free_space(directory).await,
        }
    }

    /// Takes the lock at `path` (made when missing), or fails at once when another process holds it.
    pub async fn lock(&self, path: &Path) -> Result<Lock> {
        match &self.0 {
            Kind::Real => Ok(Lock(LockKind::Real(real::lock(path).await?))),
            Kind::Sim(disk) => Ok(Lock(LockKind::Sim(disk.lock(path).await?))),
        }
    }
}
