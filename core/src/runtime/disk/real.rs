//! The real disk: direct I/O on glommio's ring.
//!
//! Known weaknesses of glommio 0.9 that this file works round:
//! * `DmaFile::create` opens for writing only, so [`RealFile::open`] goes by `OpenOptions`;
//! * `file_size` asks by path, which a rename makes wrong: [`RealFile::len`] asks by descriptor;
//! * `read_at` with an odd position returns bytes past the end of a short read: only `read_at_aligned` is used;
//! * on a full disk a write or a reservation may succeed in part and leave the file longer: it is cut back;
//! * `DmaStreamWriter` panics on a full disk: not used.
//!
//! What the ring cannot do (directories, links, free space, locks) runs on the pool of blocking threads.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glommio::GlommioError;
use glommio::io::{Directory, DmaBuffer, DmaFile, OpenOptions, ReadResult};

use super::buffer::{BLOCK_BYTES, Buffer, ReadBuffer};
use super::error::{DiskError, Operation, Result};
use super::{Entry, Open, Space};
use crate::runtime::unblock;

/// Memory for direct I/O of the executor of this thread.
pub(super) fn allocate(capacity: usize) -> DmaBuffer {
    glommio::allocate_dma_buffer(capacity)
}

fn into_io(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::EnhancedIoError { source, .. } | GlommioError::IoError(source) => source,
        other => io::Error::other(other.to_string()),
    }
}

/// Runs `f` on the blocking pool and names the operation in its error.
async fn blocking<T: Send + 'static>(
    operation: Operation,
    path: &Path,
    f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let owned = path.to_owned();
    unblock(move || f(&owned)).await.map_err(|e| DiskError::new(operation, path, e))
}

pub(super) async fn create_dir_all(path: &Path) -> Result<()> {
    blocking(Operation::CreateDirectory, path, |path| {
        let missing: Vec<PathBuf> =
            path.ancestors().take_while(|p| !p.exists()).map(Path::to_owned).collect();
        std::fs::create_dir_all(path)?;
        for parent in missing.iter().filter_map(|p| p.parent()) {
            std::fs::File::open(parent)?.sync_all()?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn list(path: &Path) -> Result<Vec<Entry>> {
    blocking(Operation::List, path, |path| {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            if let Ok(name) = entry.file_name().into_string() {
                let is_dir = metadata.is_dir();
                entries.push(Entry { name, len: if is_dir { 0 } else { metadata.len() }, is_dir });
            }
        }
        Ok(entries)
    })
    .await
}

pub(super) async fn rename(from: &Path, to: &Path) -> Result<()> {
    let outcome = glommio::io::rename(from, to).await;
    outcome.map_err(|e| DiskError::new(Operation::Rename, from, into_io(e)))
}

pub(super) async fn remove(path: &Path) -> Result<()> {
    let outcome = glommio::io::remove(path).await;
    outcome.map_err(|e| DiskError::new(Operation::Remove, path, into_io(e)))
}

pub(super) async fn remove_dir_all(path: &Path) -> Result<()> {
    blocking(Operation::RemoveDirectory, path, |path| std::fs::remove_dir_all(path)).await
}

pub(super) async fn hard_link(existing: &Path, new: &Path) -> Result<()> {
    let existing = existing.to_owned();
    blocking(Operation::HardLink, new, move |new| std::fs::hard_link(existing, new)).await
}

pub(super) async fn sync_dir(path: &Path) -> Result<()> {
    let error = |e| DiskError::new(Operation::SyncDirectory, path, into_io(e));
    let directory = Directory::open(path).await.map_err(error)?;
    directory.sync().await.map_err(error)?;
    directory.close().await.map_err(error)
}

pub(super) async fn free_space(path: &Path) -> Result<Space> {
    blocking(Operation::FreeSpace, path, |path| {
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: both pointers are valid for the call, and the path ends with a zero byte.
        if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has filled the structure.
        let answer = unsafe { answer.assume_init() };
        let unit = answer.f_frsize;
        Ok(Space { free: answer.f_bavail * unit, total: answer.f_blocks * unit })
    })
    .await
}

pub(super) async fn lock(path: &Path) -> Result<std::fs::File> {
    blocking(Operation::Lock, path, |path| {
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.try_lock()?;
        Ok(file)
    })
    .await
}

/// An open file on glommio's ring.
pub(super) struct RealFile {
    file: DmaFile,
    path: PathBuf,
    /// Writes under way: while there are several, none may cut the file back.
    writing: Cell<u32>,
}

impl RealFile {
    pub(super) async fn open(path: &Path, how: Open) -> Result<RealFile> {
        let outcome = OpenOptions::new()
            .read(true)
            .write(how != Open::Read)
            .create(how == Open::Create)
            .mode(0o644)
            .dma_open(path)
            .await;
        let file = outcome.map_err(|e| DiskError::new(Operation::Open, path, into_io(e)))?;
        Ok(RealFile { file, path: path.to_owned(), writing: Cell::new(0) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, operation: Operation) -> impl Fn(GlommioError<()>) -> DiskError + '_ {
        move |e| DiskError::new(operation, &self.path, into_io(e))
    }

    pub(super) async fn write_at(&self, buffer: &Buffer, position: u64) -> Result<()> {
        let memory = buffer.share().ok_or(io::ErrorKind::InvalidInput).map_err(|kind| {
            let error = io::Error::new(kind, "a simulated buffer on the real disk");
            DiskError::at(Operation::Write, &self.path, position, error)
        })?;
        let len_before = self.len()?;
        self.writing.set(self.writing.get() + 1);
        let outcome = self.file.write_rc_at(memory, position).await.map_err(into_io);
        self.writing.set(self.writing.get() - 1);
        let error = match outcome {
            Ok(written) if written == buffer.len() => return Ok(()),
            // The kernel writes less than it was asked only when the disk is full.
            Ok(_) => io::Error::from_raw_os_error(libc::ENOSPC),
            Err(error) => error,
        };
        self.cut_back(len_before).await?;
        Err(DiskError::at(Operation::Write, &self.path, position, error))
    }

    pub(super) async fn read_at(&self, position: u64, len: usize) -> Result<ReadBuffer> {
        let available = usize::try_from(self.len()?.saturating_sub(position)).unwrap_or(usize::MAX);
        let len = len.min(available);
        if len == 0 {
            return Ok(ReadBuffer::direct(ReadResult::default()));
        }
        let before = (position % BLOCK_BYTES as u64) as usize;
        let span = super::whole_blocks(before + len);
        let at = |e| DiskError::at(Operation::Read, &self.path, position, e);
        let outcome = self.file.read_at_aligned(position - before as u64, span).await;
        let result = outcome.map_err(|e| at(into_io(e)))?;
        // The end was known, so less is an answer from a damaged device or a file cut short meanwhile.
        ReadResult::slice(&result, before, len)
            .map(ReadBuffer::direct)
            .ok_or_else(|| at(io::ErrorKind::UnexpectedEof.into()))
    }

    pub(super) async fn sync_data(&self) -> Result<()> {
        self.file.fdatasync().await.map_err(self.error(Operation::Sync))
    }

    pub(super) async fn preallocate(&self, len: u64) -> Result<()> {
        let len_before = self.len()?;
        if len <= len_before {
            return Ok(());
        }
        match self.file.pre_allocate(len, false).await.map_err(into_io) {
            Ok(()) => Ok(()),
            // Some file systems cannot reserve; there the length alone must do.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => self.truncate(len).await,
            Err(e) => {
                self.cut_back(len_before).await?;
                Err(DiskError::new(Operation::Preallocate, &self.path, e))
            }
        }
    }

    /// Gives back what an operation that failed half-way has added to the file.
    async fn cut_back(&self, len_before: u64) -> Result<()> {
        if self.writing.get() == 0 && self.len()? > len_before {
            self.truncate(len_before).await?;
        }
        Ok(())
    }

    pub(super) async fn truncate(&self, len: u64) -> Result<()> {
        self.file.truncate(len).await.map_err(self.error(Operation::Truncate))
    }

    pub(super) fn len(&self) -> Result<u64> {
        let mut answer = std::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the descriptor is open as long as `self.file`, and the pointer is valid for the call.
        if unsafe { libc::fstat(self.file.as_raw_fd(), answer.as_mut_ptr()) } != 0 {
            let error = io::Error::last_os_error();
            return Err(DiskError::new(Operation::Length, &self.path, error));
        }
        // SAFETY: the call succeeded, so it has filled the structure.
        Ok(unsafe { answer.assume_init() }.st_size as u64)
    }

    pub(super) async fn close(self) -> Result<()> {
        let RealFile { file, path, .. } = self;
        file.close().await.map_err(|e| DiskError::new(Operation::Close, &path, into_io(e)))
    }
}
