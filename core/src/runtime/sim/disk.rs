//! The simulated disk: an [`Image`] behind operations that take time, are counted, and fail on demand.
//!
//! Every operation takes a random virtual time before and after its effect, so that operations under way at the same
//! time overtake each other. A run without faults counts the operations of a scenario; runs that crash at each of them
//! follow.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::image::Image;
use super::random::Random;
use crate::runtime::disk::{
    Buffer, Disk, DiskError, Entry, Open, Operation, ReadBuffer, Result, Space,
};
use crate::runtime::sleep;

/// Longest virtual time before and after the effect of an operation, in ns.
const LATENCY_NS_MAX: u64 = 200_000;

/// What the simulated file system says of its size.
const TOTAL_BYTES: u64 = 1 << 40;

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

struct State {
    image: Image,
    random: Random,
    operations: u64,
    crashed: bool,
    faults: Faults,
    locks: BTreeSet<PathBuf>,
}

/// Faults to come, each by the number of operations before it.
#[derive(Default)]
struct Faults {
    crash: Option<u64>,
    no_space: Option<u64>,
    sync: Option<u64>,
    input_output: Option<u64>,
    every_sync: bool,
}

/// What an operation asks of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// It fails when the disk is full.
    Space,
}

impl SimDisk {
    /// An empty disk whose chances follow from `seed`.
    pub fn new(seed: u64) -> Self {
        SimDisk::with_image(Image::new(), Random::new(seed))
    }

    fn with_image(image: Image, random: Random) -> Self {
        SimDisk(Rc::new(RefCell::new(State {
            image,
            random,
            operations: 0,
            crashed: false,
            faults: Faults::default(),
            locks: BTreeSet::new(),
        })))
    }

    /// The disk as the code under test knows it.
    pub fn disk(&self) -> Disk {
        Disk::simulated(self.clone())
    }

    /// How many operations it has performed.
    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Lets `operations` more succeed; the next is half done or not done at all, and it and all after it fail.
    pub fn crash_after(&self, operations: u64) {
        let mut state = self.0.borrow_mut();
        state.faults.crash = Some(state.operations + operations);
    }

    /// Lets `operations` more succeed; then the disk is full until [`SimDisk::make_room`].
    pub fn fail_no_space_after(&self, operations: u64) {
        let mut state = self.0.borrow_mut();
        state.faults.no_space = Some(state.operations + operations);
    }

    /// The disk is no longer full.
    pub fn make_room(&self) {
        self.0.borrow_mut().faults.no_space = None;
    }

    /// The first [`File::sync_data`](crate::runtime::disk::File::sync_data) after `operations` more fails with EIO, and
    /// of what it should have made durable some is lost for good. Later ones succeed.
    pub fn fail_sync_after(&self, operations: u64) {
        let mut state = self.0.borrow_mut();
        state.faults.sync = Some(state.operations + operations);
    }

    /// Lets `operations` more succeed; the next, whatever it is, fails with EIO and has no effect. Later ones succeed.
    pub fn fail_operation_after(&self, operations: u64) {
        let mut state = self.0.borrow_mut();
        state.faults.input_output = Some(state.operations + operations);
    }

    /// Lets every sync of a file fail from now on.
    pub fn fail_every_sync(&self) {
        self.0.borrow_mut().faults.every_sync = true;
    }

    /// Puts a file on the disk, durably, with its directories.
    ///
    /// # Panics
    /// When its path is relative or leads through a file.
    pub fn put_file(&self, path: &Path, content: &[u8]) {
        let mut guard = self.0.borrow_mut();
        let State { image, random, .. } = &mut *guard;
        let directory = path.parent().expect("the path of a file has a directory");
        image.create_dir_all(directory).expect("its directories are directories");
        let inode = image.open(path, true).expect("it is not a directory");
        image.set_len(inode, 0);
        image.write(inode, 0, content);
        image.sync(inode, random);
        image.sync_dir(directory).expect("it was made above");
    }

    /// Flips a bit of a file.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn flip_bit(&self, path: &Path, bit: u64) {
        self.0.borrow_mut().image.flip_bit(path, bit).expect("the file to damage exists");
    }

    /// Path and content of every file, as programs see them.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.0.borrow();
        state.image.files().map(|(path, content)| (path.to_owned(), content.to_vec())).collect()
    }

    /// What a power loss at this moment leaves: the durable image and any part of what was not synced. This disk, and
    /// every file open on it, is dead from now on.
    pub fn crash(&self) -> SimDisk {
        self.after(Image::crash)
    }

    /// What the death of the process at this moment leaves: all that was written. This disk, and every file open on it,
    /// is dead from now on.
    pub fn kill(&self) -> SimDisk {
        self.after(|image, _| image)
    }

    fn after(&self, end: impl FnOnce(Image, &mut Random) -> Image) -> SimDisk {
        let mut state = self.0.borrow_mut();
        state.crashed = true;
        let mut random = state.random.fork();
        let image = end(state.image.clone(), &mut random);
        SimDisk::with_image(image, random)
    }

    async fn wait(&self) {
        let ns = self.0.borrow_mut().random.below(LATENCY_NS_MAX);
        sleep(Duration::from_nanos(ns)).await;
    }

    /// Performs an operation: waits, counts it, lets it fail if its time has come, has its effect, waits.
    async fn perform<T>(
        &self,
        need: Need,
        effect: impl FnOnce(&mut Image, &mut Random) -> io::Result<T>,
    ) -> io::Result<T> {
        self.wait().await;
        let outcome = self.0.borrow_mut().step(need, effect);
        self.wait().await;
        if self.0.borrow().crashed {
            return Err(crashed());
        }
        outcome
    }

    async fn on_path<T>(
        &self,
        operation: Operation,
        path: &Path,
        need: Need,
        effect: impl FnOnce(&mut Image) -> io::Result<T>,
    ) -> Result<T> {
        let outcome = self.perform(need, |image, _| effect(image)).await;
        outcome.map_err(|e| DiskError::new(operation, path, e))
    }

    pub(in crate::runtime) async fn create_dir_all(&self, path: &Path) -> Result<()> {
        let effect = |image: &mut Image| image.create_dir_all(path);
        self.on_path(Operation::CreateDirectory, path, Need::Space, effect).await
    }

    pub(in crate::runtime) async fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        self.on_path(Operation::List, path, Need::Nothing, |image| image.list(path)).await
    }

    pub(in crate::runtime) async fn open(&self, path: &Path, how: Open) -> Result<SimFile> {
        let create = how == Open::Create;
        let makes = create && !self.0.borrow().image.exists(path);
        let need = if makes { Need::Space } else { Need::Nothing };
        let effect = |image: &mut Image| image.open(path, create);
        let inode = self.on_path(Operation::Open, path, need, effect).await?;
        Ok(SimFile { disk: self.clone(), path: path.into(), inode, writable: how != Open::Read })
    }

    pub(in crate::runtime) async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let effect = |image: &mut Image| image.rename(from, to);
        self.on_path(Operation::Rename, from, Need::Nothing, effect).await
    }

    pub(in crate::runtime) async fn remove(&self, path: &Path) -> Result<()> {
        self.on_path(Operation::Remove, path, Need::Nothing, |image| image.remove(path)).await
    }

    pub(in crate::runtime) async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        let effect = |image: &mut Image| image.remove_dir_all(path);
        self.on_path(Operation::RemoveDirectory, path, Need::Nothing, effect).await
    }

    pub(in crate::runtime) async fn hard_link(&self, existing: &Path, new: &Path) -> Result<()> {
        let effect = |image: &mut Image| image.hard_link(existing, new);
        self.on_path(Operation::HardLink, new, Need::Space, effect).await
    }

    pub(in crate::runtime) async fn sync_dir(&self, path: &Path) -> Result<()> {
        let effect = |image: &mut Image| image.sync_dir(path);
        self.on_path(Operation::SyncDirectory, path, Need::Nothing, effect).await
    }

    pub(in crate::runtime) async fn free_space(&self, path: &Path) -> Result<Space> {
        let full = self.0.borrow().is_full();
        let free = if full { 0 } else { TOTAL_BYTES / 2 };
        let space = Space { free, total: TOTAL_BYTES };
        self.on_path(Operation::FreeSpace, path, Need::Nothing, |_| Ok(space)).await
    }

    pub(in crate::runtime) async fn lock(&self, path: &Path) -> Result<SimLock> {
        let effect = |image: &mut Image| image.open(path, true);
        self.on_path(Operation::Lock, path, Need::Nothing, effect).await?;
        if !self.0.borrow_mut().locks.insert(path.to_owned()) {
            return Err(DiskError::new(Operation::Lock, path, io::ErrorKind::WouldBlock.into()));
        }
        Ok(SimLock { disk: self.clone(), path: path.to_owned() })
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.faults.no_space.is_some_and(|at| self.operations >= at)
    }

    fn step<T>(
        &mut self,
        need: Need,
        effect: impl FnOnce(&mut Image, &mut Random) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.crashed {
            return Err(crashed());
        }
        if self.faults.crash == Some(self.operations) {
            self.crashed = true;
            if self.random.chance(50) {
                // Its outcome is nobody's business any more.
                let _ = effect(&mut self.image, &mut self.random);
            }
            return Err(crashed());
        }
        let full = self.is_full();
        let fails = self.faults.input_output.take_if(|at| self.operations >= *at).is_some();
        self.operations += 1;
        if fails {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if need == Need::Space && full {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        effect(&mut self.image, &mut self.random)
    }
}

fn crashed() -> io::Error {
    io::Error::other("the simulated disk has crashed")
}

/// An open file of a [`SimDisk`]. Clones are the same open file.
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    path: Rc<Path>,
    inode: u64,
    writable: bool,
}

impl SimFile {
    pub(in crate::runtime) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, operation: Operation) -> impl FnOnce(io::Error) -> DiskError {
        let path = Rc::clone(&self.path);
        move |e| DiskError::new(operation, &path, e)
    }

    /// Whether a change up to `end` needs room that the file does not have yet.
    fn need(&self, end: u64) -> Need {
        let len = self.disk.0.borrow().image.len(self.inode);
        if end > len { Need::Space } else { Need::Nothing }
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    }

    pub(in crate::runtime) async fn write_at(&self, buffer: &Buffer, position: u64) -> Result<()> {
        let at = |e| DiskError::at(Operation::Write, &self.path, position, e);
        self.check_writable().map_err(at)?;
        let need = self.need(position + buffer.len() as u64);
        let effect = |image: &mut Image, _: &mut Random| {
            image.write(self.inode, position, buffer);
            Ok(())
        };
        let outcome = self.disk.perform(need, effect).await;
        if outcome.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::StorageFull) {
            self.write_part(buffer, position);
        }
        outcome.map_err(at)
    }

    /// What a write leaves when the disk is full: any part of what lay inside the file.
    fn write_part(&self, buffer: &[u8], position: u64) {
        let mut guard = self.disk.0.borrow_mut();
        let state = &mut *guard;
        let room = state.image.len(self.inode).saturating_sub(position).min(buffer.len() as u64);
        if room > 0 {
            let part = state.random.below(room + 1) as usize;
            state.image.write(self.inode, position, &buffer[..part]);
        }
    }

    pub(in crate::runtime) async fn read_at(
        &self,
        position: u64,
        len: usize,
    ) -> Result<ReadBuffer> {
        let effect = |image: &mut Image, _: &mut Random| Ok(image.read(self.inode, position, len));
        let outcome = self.disk.perform(Need::Nothing, effect).await;
        let bytes = outcome.map_err(|e| DiskError::at(Operation::Read, &self.path, position, e))?;
        Ok(ReadBuffer::heap(bytes))
    }

    pub(in crate::runtime) async fn sync_data(&self) -> Result<()> {
        let fails = {
            let mut state = self.disk.0.borrow_mut();
            let operations = state.operations;
            let due = state.faults.sync.take_if(|at| operations >= *at).is_some();
            due || state.faults.every_sync
        };
        let effect = |image: &mut Image, random: &mut Random| {
            if fails {
                image.fail_sync(self.inode, random);
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            image.sync(self.inode, random);
            Ok(())
        };
        let outcome = self.disk.perform(Need::Nothing, effect).await;
        outcome.map_err(self.error(Operation::Sync))
    }

    pub(in crate::runtime) async fn preallocate(&self, len: u64) -> Result<()> {
        self.check_writable().map_err(self.error(Operation::Preallocate))?;
        let effect = |image: &mut Image, _: &mut Random| {
            if len > image.len(self.inode) {
                image.set_len(self.inode, len);
            }
            Ok(())
        };
        let outcome = self.disk.perform(self.need(len), effect).await;
        outcome.map_err(self.error(Operation::Preallocate))
    }

    pub(in crate::runtime) async fn truncate(&self, len: u64) -> Result<()> {
        self.check_writable().map_err(self.error(Operation::Truncate))?;
        let effect = |image: &mut Image, _: &mut Random| {
            image.set_len(self.inode, len);
            Ok(())
        };
        let outcome = self.disk.perform(Need::Nothing, effect).await;
        outcome.map_err(self.error(Operation::Truncate))
    }

    pub(in crate::runtime) async fn len(&self) -> Result<u64> {
        let effect = |image: &mut Image, _: &mut Random| Ok(image.len(self.inode));
        let outcome = self.disk.perform(Need::Nothing, effect).await;
        outcome.map_err(self.error(Operation::Length))
    }
}

/// The lock of a simulated data directory.
pub struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.0.borrow_mut().locks.remove(&self.path);
    }
}
