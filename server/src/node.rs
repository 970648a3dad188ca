//! One core's stack: its shards, its listener, its part of the targets, its counters; from start to a clean stop.
//!
//! ```text
//! start:  bind --> answer "not ready" --> open shards --> scrape, tick, answer everything
//! stop:   scrape no more --> accept no more --> finish requests --> close shards (checkpoint, sync)
//! ```
//!
//! A node never leaves its core. What one core wants of another ([`Node::on_every_core`]) is a function sent there by message.
//! Core 0 alone loads configurations and hands them to all.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::StatusCode;
use tidemark_core::append::{AppendBatch, AppendOutcome};
use tidemark_core::error::Error as StorageError;
use tidemark_core::model::tenant::Tenant;
use tidemark_core::retention::Retention;
use tidemark_core::runtime::disk::Disk;
use tidemark_core::runtime::executors::{CoreContext, Stats as RuntimeStats};
use tidemark_core::runtime::mailbox::Mesh;
use tidemark_core::runtime::mailbox::local::{Notify, Semaphore};
use tidemark_core::runtime::net::TcpListener;
use tidemark_core::runtime::{Queue, Task, clock, sleep, spawn_into, unblock};
use tidemark_core::shard::{ReplayProgress, Shard, ShardOptions};
use tidemark_core::shards::{Message, Shards};
use tidemark_core::wal::{SyncMode, WalOptions};
use tidemark_ingest::known::KnownSeries;
use tidemark_ingest::scrape::{Append, Applied, Scraper, ScraperOptions};
use tidemark_query::engine::{Engine, EngineOptions};
use tidemark_query::parser::ParserOptions;

use crate::cli::{Feature, ServeFlags, WalSync};
use crate::config::Config;
use crate::control::Door;
use crate::failures::FailureLogs;
use crate::http::answer::Answer;
use crate::http::body::BodyBudget;
use crate::http::handlers::write::Spare;
use crate::http::listener::{self, ListenerCounters, ListenerOptions};
use crate::http::routes;
use crate::http::seats::Seats;
use crate::jobs::CurrentClients;
use crate::limits::{
    BACKLOG, EXEMPLARS_MAX, KNOWN_SERIES_UNUSED_MAX, MAINTAIN_EVERY, QUERY_LOG_EVERY, TICK_EVERY,
    WAL_SYNC_INTERVAL,
};
use crate::memory::Watermark;
use crate::metrics::counters::Counters;
use crate::queries::Queries;
use crate::settings::{Settings, Source};

/// How the last load of a configuration went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Whether it is in force.
    pub(crate) succeeded: bool,
    /// When.
    pub(crate) time_ms: i64,
}

/// What a node is made of, the same for every core.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The flags.
    pub(crate) flags: Arc<ServeFlags>,
    /// Where the configuration comes from.
    pub(crate) source: Source,
    /// The configuration that is loaded first.
    pub(crate) settings: Arc<Settings>,
    /// Where every core listens.
    pub(crate) listen: SocketAddr,
    /// The data directory, absolute.
    pub(crate) data_dir: PathBuf,
    /// Cores to run on.
    pub(crate) cores: usize,
    /// Shards of a new data directory.
    pub(crate) shards: u32,
    /// How far opening storage has come.
    pub(crate) progress: Arc<ReplayProgress>,
    /// How late a sample may come, as configured; all cores follow it.
    pub(crate) out_of_order_window_ms: Arc<AtomicI64>,
}

impl Plan {
    fn shard_options(&self) -> ShardOptions {
        let sync = match self.flags.wal_sync {
            WalSync::Commit => SyncMode::Commit,
            WalSync::Interval => SyncMode::Interval(WAL_SYNC_INTERVAL),
            WalSync::Off => SyncMode::Off,
        };
        let wal = WalOptions { sync, ..WalOptions::default() };
        let exemplars = self.settings.config.storage.exemplars.as_ref();
        let exemplars = exemplars.map_or(EXEMPLARS_MAX, |e| e.max_exemplars.max(0) as usize);
        let exemplars_max = exemplars.div_ceil(self.shards as usize);
        ShardOptions {
            wal,
            exemplars_max,
            progress: Arc::clone(&self.progress),
            out_of_order_window_ms: Arc::clone(&self.out_of_order_window_ms),
            cardinality: self.flags.limits().into(),
            ..ShardOptions::default()
        }
    }
}

/// Everything on one core.
pub(crate) struct Node {
    /// All cores.
    pub(crate) cores: usize,
    /// The flags.
    pub(crate) flags: Arc<ServeFlags>,
    /// What this core counts.
    pub(crate) counters: Counters,
    /// What its listener counts.
    pub(crate) connections: Rc<ListenerCounters>,
    /// What bodies may hold.
    pub(crate) bodies: BodyBudget,
    /// Memory of finished remote writes.
    pub(crate) spare: Spare,
    /// When new series are shed.
    pub(crate) memory: Watermark,
    /// The series that remote-write senders of this core have sent before.
    pub(crate) known: RefCell<KnownSeries>,
    /// The queries of this core: lists and log.
    pub(crate) queries: Rc<Queries>,
    /// The queries that may run at the same time.
    pub(crate) query_turns: Semaphore,
    /// When the process started.
    pub(crate) started_ms: i64,
    /// How far opening storage has come, on all cores.
    pub(crate) progress: Arc<ReplayProgress>,
    out_of_order_window_ms: Arc<AtomicI64>,
    /// The way to the control thread.
    pub(crate) control: Door,
    ctx: CoreContext,
    source: Source,
    settings: RefCell<Arc<Settings>>,
    load: Cell<Load>,
    /// Told of every load.
    pub(crate) load_changed: Notify,
    /// Those who may listen to notifications.
    pub(crate) listeners: Semaphore,
    store: OnceCell<Store>,
}

/// What is there once storage is open.
struct Store {
    shards: Shards,
    /// Made anew with every configuration, which sets the step of subqueries.
    engine: RefCell<Option<Engine>>,
    scraper: Scraper,
    clients: Rc<CurrentClients>,
}

thread_local! {
    /// The node of this core, for what other cores send here.
    static HERE: RefCell<Option<Rc<Node>>> = const { RefCell::new(None) };
}

/// Runs one core until the process stops. An error stops the others too.
pub(crate) async fn run(
    ctx: CoreContext,
    plan: Plan,
    (mesh, seats): (Mesh<Message>, Seats),
    control: Door,
) -> Result<(), String> {
    let listener = TcpListener::bind(plan.listen, BACKLOG)
        .map_err(|e| format!("cannot listen on {}: {e}", plan.listen))?;
    let node = Node::new(ctx, &plan, control);
    HERE.set(Some(Rc::clone(&node)));
    let serving = spawn_into(Queue::Ingest, node.serve(listener, seats));
    let shards = Shards::join(node.ctx.core, mesh);
    let lived = live(&node, &plan, &shards, serving).await;
    HERE.set(None);
    lived
}

async fn live(
    node: &Rc<Node>,
    plan: &Plan,
    shards: &Shards,
    serving: Task<()>,
) -> Result<(), String> {
    let (disk, options) = (Disk::real(), plan.shard_options());
    let opened = shards.open(&disk, &plan.data_dir, plan.shards, &options).await;
    opened.map_err(|e| format!("cannot open storage in {}: {e}", plan.data_dir.display()))?;
    node.begin(shards.clone()).await?;
    if node.ctx.core == 0 {
        node.control.configure(node.settings()).await;
    }
    let background = [
        spawn_into(Queue::Control, follow(Rc::clone(node))),
        spawn_into(Queue::Background, tick(Rc::clone(node))),
        spawn_into(Queue::Background, maintain(Rc::clone(node))),
        spawn_into(Queue::Control, reload(Rc::clone(node))),
        spawn_into(Queue::Background, log_queries(Rc::clone(node))),
    ];
    node.ctx.stop.wait().await;
    node.scraper().stop().await;
    serving.await;
    drop(background);
    node.queries.write_log(&node.settings().config.global.query_log_file).await;
    shards.close().await.map_err(|e| format!("cannot close storage: {e}"))
}

/// Lets every shard of this core do what is due, about once a second.
async fn tick(node: Rc<Node>) {
    let mut known_since = clock::Instant::now();
    loop {
        sleep(TICK_EVERY).await;
        if known_since.elapsed() >= KNOWN_SERIES_UNUSED_MAX {
            known_since = clock::Instant::now();
            node.known.borrow_mut().forget_unused();
        }
        if let Some(shedding) = node.memory.look() {
            node.shed_new_series(shedding);
        }
        for shard in node.local_shards() {
            if let Err(error) = shard.tick().await {
                tracing::error!(%error, shard = %shard.dir().display(), "background work failed, and is tried again");
            }
        }
    }
}

/// Takes over what discovery finds.
async fn follow(node: Rc<Node>) {
    let changes = node.control.changes(node.ctx.core);
    while let Some(found) = changes.recv().await {
        for found in &*found {
            let applied =
                node.scraper().discovered(&found.job, Arc::clone(&found.groups), &found.work);
            node.note(&applied.await);
        }
    }
}

/// Lets every shard of this core do what takes long, one after the other.
async fn maintain(node: Rc<Node>) {
    loop {
        sleep(MAINTAIN_EVERY).await;
        for shard in node.local_shards() {
            if let Err(error) = shard.maintain().await {
                tracing::error!(%error, shard = %shard.dir().display(), "maintenance failed, and is tried again");
            }
        }
    }
}

/// Writes the query log as it grows.
async fn log_queries(node: Rc<Node>) {
    loop {
        let file = node.settings().config.global.query_log_file.clone();
        node.queries.write_log(&file).await;
        sleep(QUERY_LOG_EVERY).await;
    }
}

/// Loads the configuration anew when the process is told to. All cores hear it; core 0 acts.
async fn reload(node: Rc<Node>) {
    loop {
        node.ctx.reload.next().await;
        if node.ctx.core == 0 {
            // It was logged; whoever sent the signal cannot be answered.
            drop(node.reload_everywhere().await);
        }
    }
}

impl Node {
    fn new(ctx: CoreContext, plan: &Plan, control: Door) -> Rc<Self> {
        let now_ms = clock::now_ms();
        Rc::new(Node {
            cores: ctx.cores,
            flags: Arc::clone(&plan.flags),
            counters: Counters::default(),
            connections: Rc::default(),
            bodies: BodyBudget::new(),
            spare: Spare::default(),
            memory: Watermark::of_percent(plan.flags.memory_watermark),
            known: RefCell::default(),
            queries: Rc::default(),
            query_turns: Semaphore::new(
                plan.flags.query_max_concurrency.div_ceil(ctx.cores).max(1),
            ),
            started_ms: now_ms,
            progress: Arc::clone(&plan.progress),
            out_of_order_window_ms: Arc::clone(&plan.out_of_order_window_ms),
            source: plan.source.clone(),
            settings: RefCell::new(Arc::clone(&plan.settings)),
            load: Cell::new(Load { succeeded: true, time_ms: now_ms }),
            load_changed: Notify::new(),
            listeners: Semaphore::new(plan.flags.max_notifications_subscribers.div_ceil(ctx.cores)),
            store: OnceCell::new(),
            control,
            ctx,
        })
    }

    fn serve(
        self: &Rc<Self>,
        listener: TcpListener,
        seats: Seats,
    ) -> impl Future<Output = ()> + use<> {
        let options = ListenerOptions {
            connections_max: self.flags.max_connections.div_ceil(self.cores),
            idle_max: self.flags.read_timeout.as_std(),
        };
        let node = Rc::clone(self);
        let respond = move |request, busy| routes::respond(Rc::clone(&node), request, busy);
        listener::serve(
            listener,
            seats.join(self.ctx.core),
            options,
            self.ctx.stop.clone(),
            Rc::clone(&self.connections),
            respond,
        )
    }

    /// Storage is open: scrape and answer.
    async fn begin(&self, shards: Shards) -> Result<(), String> {
        let clients = Rc::new(CurrentClients::default());
        let options = ScraperOptions {
            core: self.ctx.core,
            cores: self.cores,
            offset_seed: offset_seed(),
            start_timestamps: self.flags.has(Feature::StStorage),
            tenants: self.flags.tenancy,
        };
        let storage = Rc::new(Storage(shards.clone()));
        let scraper = Scraper::new(
            options,
            Rc::clone(&clients) as Rc<_>,
            storage,
            Rc::new(FailureLogs::default()),
        );
        let store = Store { shards, engine: RefCell::default(), scraper, clients };
        assert!(self.store.set(store).is_ok(), "a node begins once");
        let settings = Arc::clone(&self.settings.borrow());
        self.apply(settings).await
    }

    /// Whether storage is open on this core, which it is on all at about the same time.
    pub(crate) fn is_ready(&self) -> bool {
        self.store.get().is_some()
    }

    fn store(&self) -> &Store {
        self.store.get().expect("routes ask only once the node is ready")
    }

    /// The door to all shards.
    pub(crate) fn shards(&self) -> &Shards {
        &self.store().shards
    }

    /// The door to all shards, as the tenant sees them who asks, if tenants are told apart.
    pub(crate) fn shards_of(&self, tenant: Option<&Tenant>) -> Shards {
        tenant.map_or_else(|| self.shards().clone(), |tenant| self.shards().seen_by(tenant))
    }

    /// Bytes that queries hold, and bytes of the answers that this core keeps.
    pub(crate) fn query_memory(&self) -> (u64, u64) {
        self.store().engine.borrow().as_ref().map(Engine::memory).unwrap_or_default()
    }

    /// What answers PromQL.
    pub(crate) fn engine(&self) -> Engine {
        self.store()
            .engine
            .borrow()
            .clone()
            .expect("a configuration is in force once the node is ready")
    }

    /// This core.
    pub(crate) fn core(&self) -> usize {
        self.ctx.core
    }

    /// The shards of this core.
    pub(crate) fn local_shards(&self) -> Vec<Rc<Shard>> {
        self.shards().mine()
    }

    /// What the executor of this core has counted.
    pub(crate) fn runtime_stats(&self) -> RuntimeStats {
        self.ctx.stats()
    }

    /// Stops the process.
    pub(crate) fn stop(&self) {
        self.ctx.stop.stopper().stop();
    }

    /// What scrapes the targets of this core.
    pub(crate) fn scraper(&self) -> &Scraper {
        &self.store().scraper
    }

    /// The configuration in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// How the last load went.
    pub(crate) fn load(&self) -> Load {
        self.load.get()
    }

    fn note_load(&self, load: Load) {
        self.load.set(load);
        self.load_changed.notify_all();
    }

    /// Ready once the process stops.
    pub(crate) async fn stopping(&self) {
        self.ctx.stop.wait().await;
    }

    fn engine_options(&self, config: &Config) -> EngineOptions {
        EngineOptions {
            lookback_ms: self.flags.query_lookback_delta.as_millis(),
            samples_max: self.flags.query_max_samples,
            bytes_max: self.flags.query_max_memory,
            cache_bytes: self.flags.query_cache_size,
            timeout: self.flags.query_timeout.as_std(),
            subquery_step_ms: config.global.evaluation_interval.as_millis(),
            parser: ParserOptions {
                experimental_functions: self.flags.has(Feature::PromqlExperimentalFunctions),
                extended_range_selectors: self.flags.has(Feature::PromqlExtendedRangeSelectors),
                fill_modifiers: self.flags.has(Feature::PromqlBinopFillModifiers),
                ..ParserOptions::default()
            },
            delayed_name_removal: self.flags.has(Feature::PromqlDelayedNameRemoval),
            ..EngineOptions::default()
        }
    }

    /// Puts a configuration in force on this core.
    async fn apply(&self, settings: Arc<Settings>) -> Result<(), String> {
        let store = self.store();
        store.clients.follow(&settings.config)?;
        let engine = Engine::new(store.shards.clone(), self.engine_options(&settings.config));
        *store.engine.borrow_mut() = Some(engine);
        let retention = retention(&self.flags, &settings.config);
        for shard in self.local_shards() {
            shard.set_retention(retention);
        }
        let window_ms = settings.config.storage.tsdb.out_of_order_window_ms();
        self.out_of_order_window_ms.store(window_ms, Ordering::Relaxed);
        *self.settings.borrow_mut() = Arc::clone(&settings);
        self.note(&store.scraper.apply(&settings.jobs).await);
        Ok(())
    }

    /// Refuses new series in the shards of this core, or no more.
    fn shed_new_series(&self, shedding: bool) {
        let bytes = self.memory.bytes();
        if shedding {
            tracing::warn!(
                watermark_bytes = bytes,
                "memory is short: new series are refused, existing ones keep flowing"
            );
        } else {
            tracing::info!(watermark_bytes = bytes, "memory is enough again: new series are taken");
        }
        for shard in self.local_shards() {
            shard.shed_new_series(shedding);
        }
    }

    /// Says which targets cannot be; once, since it is the same on every core.
    fn note(&self, applied: &Applied) {
        if self.ctx.core == 0 {
            for failure in &applied.failures {
                tracing::warn!("target left out: {failure}");
            }
        }
    }

    /// Loads the configuration on core 0 and puts it in force on every core; one that is bad changes nothing.
    pub(crate) async fn reload_everywhere(&self) -> Result<(), String> {
        let source = self.source.clone();
        let loaded = unblock(move || Settings::load(&source)).await.map_err(|e| e.to_string());
        let time_ms = clock::now_ms();
        let result = match loaded {
            Ok(settings) => self.put_in_force(settings, time_ms).await,
            Err(message) => {
                let load = Load { succeeded: false, time_ms: self.load.get().time_ms };
                drop(self.on_every_core(move |node| node.note_load(load)).await);
                Err(message)
            }
        };
        match &result {
            Ok(()) => {
                self.counters.reloads.add(1);
                tracing::info!("configuration loaded");
            }
            Err(error) => {
                self.counters.failed_reloads.add(1);
                tracing::error!(%error, "configuration not loaded, the one in force stays");
            }
        }
        result
    }

    async fn put_in_force(&self, settings: Arc<Settings>, time_ms: i64) -> Result<(), String> {
        let new = Arc::clone(&settings);
        let applied = self.do_on_every_core(move |node| {
            let new = Arc::clone(&new);
            async move {
                node.note_load(Load { succeeded: true, time_ms });
                node.apply(new).await
            }
        });
        applied.await.map_err(|e| e.0)?.into_iter().collect::<Result<(), _>>()?;
        // After the jobs: what is found for a job that a core does not know yet is lost.
        self.control.configure(settings).await;
        Ok(())
    }

    /// Runs `f` with the node of every core; the results in the order of cores.
    pub(crate) async fn on_every_core<T: Send + 'static>(
        &self,
        f: impl Fn(&Node) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>, CoreGone> {
        self.do_on_every_core(move |node| std::future::ready(f(&node))).await
    }

    /// As [`Node::on_every_core`], for what takes its time.
    pub(crate) async fn do_on_every_core<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        f: impl Fn(Rc<Node>) -> F + Send + Sync + 'static,
    ) -> Result<Vec<T>, CoreGone> {
        let run = move |_: Shards| {
            let here = HERE.with_borrow(Clone::clone).filter(|node| node.is_ready());
            let running = here.map(&f);
            async move {
                match running {
                    Some(running) => Some(running.await),
                    None => None,
                }
            }
            .boxed_local()
        };
        let results = self.shards().on_every_core(Queue::Control, run).await;
        let results = results.map_err(|e| CoreGone(e.to_string()))?;
        let all: Option<Vec<T>> = results.into_iter().collect();
        all.ok_or_else(|| CoreGone("a core is starting or stopping".to_owned()))
    }
}

/// A core does not answer any more: the process stops.
#[derive(Debug)]
pub(crate) struct CoreGone(String);

impl CoreGone {
    /// As an answer.
    pub(crate) fn answer(&self) -> Answer {
        Answer::api_error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &self.0).retry_after(1)
    }
}

/// What is kept: as the configuration says, and where it is silent, as the flags do.
pub(crate) fn retention(flags: &ServeFlags, config: &Config) -> Retention {
    let told = &config.storage.tsdb.retention;
    let time = if told.time.is_zero() { flags.retention_time } else { told.time };
    let size = if told.size.0 == 0 { flags.retention_size } else { told.size };
    let percent = if told.percentage == 0.0 { flags.retention_percentage } else { told.percentage };
    Retention {
        time_ms: Some(time.as_millis()),
        bytes: (size.0 > 0).then_some(size.0),
        percent: (percent > 0.0).then_some(percent),
    }
}

/// The shards as ingest sees them.
struct Storage(Shards);

impl Append for Storage {
    fn shard_count(&self) -> u32 {
        self.0.count()
    }

    fn append(
        &self,
        batches: Vec<(u32, AppendBatch)>,
    ) -> LocalBoxFuture<'_, Result<AppendOutcome, StorageError>> {
        self.0.append(batches).boxed_local()
    }
}

/// Two servers with the same targets scrape them at different instants; one server always at the same.
fn offset_seed() -> u64 {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    tidemark_core::model::labels::Fingerprint::of(hostname.as_bytes()).0 as u64
}
