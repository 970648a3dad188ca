//! All shards of a data directory, as one core sees them: the only door from one core to another core's shards.
//!
//! Shard `s` lives on core `s % cores`. Whatever concerns several shards is one message to each core that owns any of
//! them: [`Shards::append`] carries samples to their owners, [`Shards::scatter`] ships a function to all shards and gathers
//! the results. What concerns a core as a whole goes by [`Shards::on_core`].
//!
//! A handle belongs to its core's thread and is cheap to clone.

mod call;
mod manifest;
mod open;
mod reshard;
mod restore;
mod snapshot;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all, try_join_all};

use crate::append::{AppendBatch, AppendOutcome};
use crate::error::{Error, Result};
use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::model::labels::Fingerprint;
use crate::model::tenant::Tenant;
use crate::runtime::mailbox::{self, Mesh};
use crate::runtime::{Queue, spawn_into};
use crate::shard::Shard;

use call::Calls;
pub use call::Message;
pub use manifest::{Manifest, shard_dirs};
use open::Stage;
pub use open::lock;
pub use reshard::{Resharded, reshard};
pub use restore::{Restored, restore};

/// The shards of a data directory, from one core, as everybody sees them or as one tenant does.
#[derive(Clone)]
pub struct Shards(Rc<Inner>, Option<Tenant>);

struct Inner {
    calls: Calls,
    stage: Stage,
    /// This core's shards in ascending order; empty until they are open.
    mine: RefCell<Vec<Rc<Shard>>>,
}

/// The mesh that connects `cores` cores: made before they start, cloned into each for [`Shards::join`].
pub fn mesh(cores: usize) -> Mesh<Message> {
    mailbox::mesh(cores, MAILBOX_MESSAGES_MAX)
}

impl Shards {
    /// Takes this core's place in the mesh and begins to serve calls; the shards are opened by [`Shards::open`].
    pub fn join(core: usize, mesh: Mesh<Message>) -> Shards {
        let (peers, inbox) = mesh.join(core);
        let stage = Stage::new(peers.cores());
        let inner = Inner { calls: Calls::new(peers), stage, mine: RefCell::default() };
        let shards = Shards(Rc::new(inner), None);
        spawn_into(Queue::Control, call::serve(shards.clone(), inbox)).detach();
        shards
    }

    /// Open shards that all live on this thread, in the order of their numbers: for tests and simulation.
    pub fn local(mine: Vec<Rc<Shard>>) -> Shards {
        let shards = Shards::join(0, mesh(1));
        shards.0.stage.set_open(mine.len() as u32);
        shards.0.mine.replace(mine);
        shards
    }

    /// The same shards as `tenant` sees them: whatever [`Shards::scatter`] runs finds only what is its.
    pub fn seen_by(&self, tenant: &Tenant) -> Self {
        Shards(Rc::clone(&self.0), Some(tenant.clone()))
    }

    /// Who looks, if it is one tenant.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.1.as_ref()
    }

    /// This core.
    pub fn core(&self) -> usize {
        self.0.calls.core()
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.0.calls.cores()
    }

    /// How many shards there are; 0 until [`Shards::open`] has read the manifest.
    pub fn count(&self) -> u32 {
        self.0.stage.shards()
    }

    /// Whether every shard on every core is open and takes appends and selects.
    pub fn is_open(&self) -> bool {
        self.0.stage.is_open()
    }

    /// The shard that owns a series.
    pub fn owner(&self, fingerprint: Fingerprint) -> u32 {
        fingerprint.owner(self.count())
    }

    /// The shards of this core, in ascending order of their numbers.
    pub fn mine(&self) -> Vec<Rc<Shard>> {
        self.0.mine.borrow().clone()
    }

    /// Appends each batch to its shard, one message for each core. All of it is durable (as far as the WAL's sync mode
    /// goes) when it returns.
    ///
    /// # Errors
    /// The first failure of any shard. Others may have stored their batches; to send everything again is safe, since
    /// a sample that is there already with the same value is accepted.
    pub async fn append(&self, batches: Vec<(u32, AppendBatch)>) -> Result<AppendOutcome> {
        self.check_open()?;
        let mut by_core: Vec<Vec<(u32, AppendBatch)>> = Vec::new();
        by_core.resize_with(self.cores(), Vec::new);
        for (shard, batch) in batches {
            by_core[self.core_of(shard)].push((shard, batch));
        }
        let sends = by_core.into_iter().enumerate().filter(|(_, batches)| !batches.is_empty()).map(
            |(core, batches)| {
                if core == self.core() {
                    self.append_here(batches).left_future()
                } else {
                    let ship = move |there: Shards| {
                        async move { there.append_here(batches).await }.boxed_local()
                    };
                    self.0.calls.call(core, Queue::Ingest, ship).map(Result::flatten).right_future()
                }
            },
        );
        Ok(merged(try_join_all(sends).await?))
    }

    async fn append_here(&self, batches: Vec<(u32, AppendBatch)>) -> Result<AppendOutcome> {
        let appends = batches.into_iter().map(|(shard, batch)| {
            let shard = self.shard_here(shard);
            async move { shard?.append(batch).await }
        });
        Ok(merged(try_join_all(appends).await?))
    }

    /// Runs `function` on every shard in `queue` of its core; the results in the order of the shards' numbers.
    ///
    /// Dropping the future cancels what still runs.
    pub async fn scatter<T: Send + 'static>(
        &self,
        queue: Queue,
        function: impl Fn(Rc<Shard>) -> LocalBoxFuture<'static, T> + Send + Sync + 'static,
    ) -> Result<Vec<T>> {
        self.check_open()?;
        let function = Arc::new(function);
        let tenant = self.1.clone();
        let by_core = self
            .on_every_core(queue, move |there| {
                let seen = |shard: Rc<Shard>| match &tenant {
                    Some(tenant) => Rc::new(shard.seen_by(tenant)),
                    None => shard,
                };
                let runs: Vec<_> =
                    there.mine().into_iter().map(|shard| function(seen(shard))).collect();
                join_all(runs).boxed_local()
            })
            .await?;
        let mut by_core: Vec<_> = by_core.into_iter().map(Vec::into_iter).collect();
        let results = (0..self.count()).map(|shard| by_core[self.core_of(shard)].next());
        Ok(results.map(|result| result.expect("one result for each shard of a core")).collect())
    }

    /// Runs `function` on every core in `queue`; the results in the order of the cores.
    pub async fn on_every_core<T: Send + 'static>(
        &self,
        queue: Queue,
        function: impl Fn(Shards) -> LocalBoxFuture<'static, T> + Send + Sync + 'static,
    ) -> Result<Vec<T>> {
        let function = Arc::new(function);
        try_join_all((0..self.cores()).map(|core| {
            let function = Arc::clone(&function);
            self.on_core(core, queue, move |there| function(there))
        }))
        .await
    }

    /// Runs `function` in `queue` of `core`, with that core's handle.
    pub async fn on_core<T: Send + 'static>(
        &self,
        core: usize,
        queue: Queue,
        function: impl FnOnce(Shards) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> Result<T> {
        if core == self.core() {
            return Ok(spawn_into(queue, function(self.clone())).await);
        }
        self.0.calls.call(core, queue, function).await
    }

    fn calls(&self) -> &Calls {
        &self.0.calls
    }

    fn core_of(&self, shard: u32) -> usize {
        shard as usize % self.cores()
    }

    fn shard_here(&self, shard: u32) -> Result<Rc<Shard>> {
        let mine = self.0.mine.borrow();
        mine.get(shard as usize / self.cores()).cloned().ok_or(Error::Closing)
    }

    fn check_open(&self) -> Result<()> {
        if self.is_open() { Ok(()) } else { Err(self.0.stage.why_not_open()) }
    }
}

fn merged(outcomes: Vec<AppendOutcome>) -> AppendOutcome {
    outcomes.into_iter().fold(AppendOutcome::default(), |mut all, one| {
        all.merge(one);
        all
    })
}

#[cfg(test)]
mod tests;
