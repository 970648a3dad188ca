//! Opening and closing all shards together.
//!
//! Core 0 takes the lock of the data directory and reads the manifest, then tells the others. Each core opens its own
//! shards, replaying their logs side by side, and tells all others; the directory is open when every core has said so.
//! Closing works the same way in reverse: no core closes its shards before every core has ended its requests.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_util::future::{join_all, try_join_all};

use super::Shards;
use super::manifest::Manifest;
use crate::error::{Error, Result};
use crate::runtime::disk::{Disk, Lock};
use crate::runtime::mailbox::local::Notify;
use crate::shard::{Shard, ShardOptions};

const LOCK_FILE: &str = "lock";

/// How far the cores have come together.
pub(super) struct Stage {
    cores: usize,
    manifest: RefCell<Option<Result<Manifest, String>>>,
    opened: Cell<usize>,
    failed: RefCell<Option<String>>,
    closing: Cell<usize>,
    closed: Cell<usize>,
    changed: Notify,
    /// Held by core 0 while the process lives.
    lock: RefCell<Option<Lock>>,
}

impl Stage {
    pub(super) fn new(cores: usize) -> Self {
        Stage {
            cores,
            manifest: RefCell::default(),
            opened: Cell::new(0),
            failed: RefCell::default(),
            closing: Cell::new(0),
            closed: Cell::new(0),
            changed: Notify::new(),
            lock: RefCell::default(),
        }
    }

    pub(super) fn set_open(&self, shards: u32) {
        self.manifest.replace(Some(Ok(Manifest { shards, generation: 0 })));
        self.opened.set(self.cores);
    }

    pub(super) fn shards(&self) -> u32 {
        match &*self.manifest.borrow() {
            Some(Ok(manifest)) => manifest.shards,
            _ => 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.get() == self.cores && self.closing.get() == 0 && self.failed.borrow().is_none()
    }

    pub(super) fn why_not_open(&self) -> Error {
        match self.closing.get() {
            0 => Error::Overloaded { what: "replaying the write-ahead log" },
            _ => Error::Closing,
        }
    }

    /// Waits until `done` says yes; it is asked again after every change.
    async fn until<T>(&self, mut done: impl FnMut(&Stage) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(value) = done(self) {
                return value;
            }
            changed.await;
        }
    }

    fn learn(&self, manifest: Result<Manifest, String>) {
        self.manifest.replace(Some(manifest));
        self.changed.notify_all();
    }

    fn count_opened(&self, outcome: Result<(), String>) {
        if let Err(reason) = outcome {
            self.failed.borrow_mut().get_or_insert(reason);
        }
        self.opened.set(self.opened.get() + 1);
        self.changed.notify_all();
    }

    fn count_closing(&self) {
        self.closing.set(self.closing.get() + 1);
        self.changed.notify_all();
    }

    fn count_closed(&self) {
        self.closed.set(self.closed.get() + 1);
        self.changed.notify_all();
    }
}

impl Shards {
    /// Opens this core's shards of `data_dir`; every core calls it. Returns when all shards on all cores are open.
    ///
    /// A new directory is made with `shards` shards; an existing one keeps its number.
    ///
    /// # Errors
    /// The failure of this core, or [`Error::Peer`] with that of another.
    pub async fn open(
        &self,
        disk: &Disk,
        data_dir: &Path,
        shards: u32,
        options: &ShardOptions,
    ) -> Result<()> {
        let opened = self.open_mine(disk, data_dir, shards, options).await;
        let outcome = opened.as_ref().copied().map_err(ToString::to_string);
        self.tell_all(move |stage| stage.count_opened(outcome.clone())).await;
        opened?;
        let stage = &self.0.stage;
        stage.until(|stage| (stage.opened.get() == stage.cores).then_some(())).await;
        let failed = stage.failed.borrow().clone();
        failed.map_or(Ok(()), |reason| Err(Error::Peer { reason }))
    }

    async fn open_mine(
        &self,
        disk: &Disk,
        data_dir: &Path,
        shards: u32,
        options: &ShardOptions,
    ) -> Result<()> {
        let manifest = if self.core() == 0 {
            self.lead(disk, data_dir, shards).await?
        } else {
            let learned = self.0.stage.until(|stage| stage.manifest.borrow().clone()).await;
            learned.map_err(|reason| Error::Peer { reason })?
        };
        let numbers = (0..manifest.shards).filter(|&shard| self.core_of(shard) == self.core());
        let opens = numbers.map(|shard| {
            let dir: PathBuf = manifest.shard_dir(data_dir, shard);
            let options = ShardOptions { shards: manifest.shards, ..options.clone() };
            async move { Shard::open(disk.clone(), &dir, options).await }
        });
        let mine: Vec<Rc<Shard>> = try_join_all(opens).await?;
        self.0.mine.replace(mine);
        Ok(())
    }

    /// Core 0's part: lock and manifest, told to the others.
    async fn lead(&self, disk: &Disk, data_dir: &Path, shards: u32) -> Result<Manifest> {
        let manifest = self.lock_and_read(disk, data_dir, shards).await;
        let told = manifest.as_ref().map(|manifest| *manifest).map_err(ToString::to_string);
        self.tell_all(move |stage| stage.learn(told.clone())).await;
        manifest
    }

    async fn lock_and_read(&self, disk: &Disk, data_dir: &Path, shards: u32) -> Result<Manifest> {
        disk.create_dir_all(data_dir).await?;
        self.0.stage.lock.replace(Some(lock(disk, data_dir).await?));
        let manifest = Manifest::open(disk, data_dir, shards).await?;
        manifest.remove_leftovers(disk, data_dir).await?;
        Ok(manifest)
    }

    /// Waits until every core has called it, then closes this core's shards; core 0 then waits for the others and
    /// gives up the lock. What is called meanwhile answers [`Error::Closing`].
    pub async fn close(&self) -> Result<()> {
        let stage = &self.0.stage;
        self.tell_all(Stage::count_closing).await;
        stage.until(|stage| (stage.closing.get() == stage.cores).then_some(())).await;
        let mine = self.0.mine.take();
        let closed = join_all(mine.iter().map(|shard| shard.close())).await.into_iter().collect();
        self.0.calls.tell(0, |there| there.0.stage.count_closed()).await;
        if self.core() == 0 {
            stage.until(|stage| (stage.closed.get() == stage.cores).then_some(())).await;
            stage.lock.take();
        }
        closed
    }

    /// Lets every core know something; a core that is gone needs not know.
    async fn tell_all(&self, tell: impl Fn(&Stage) + Clone + Send + 'static) {
        for core in 0..self.cores() {
            let tell = tell.clone();
            self.0.calls.tell(core, move |there| tell(&there.0.stage)).await;
        }
    }
}

/// Takes the lock of a data directory, so that no other process touches it.
///
/// # Errors
/// [`Error::InUse`] when another has it.
pub async fn lock(disk: &Disk, data_dir: &Path) -> Result<Lock> {
    disk.lock(&data_dir.join(LOCK_FILE)).await.map_err(|error| match error.io().kind() {
        std::io::ErrorKind::WouldBlock => Error::InUse { directory: data_dir.to_owned() },
        _ => error.into(),
    })
}
