//! What a loop shares with others: memory and doors with all loops of its core, orders and results with its pool.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tidemark_core::model::tenant::Tenant;
use tidemark_core::model::time::TimestampMs;
use tidemark_core::runtime::mailbox::local::Notify;
use tidemark_core::runtime::{self, Task};

use super::error::ScrapeError;
use super::families::Families;
use super::fetch::{Append, FailureLog, Fetch};
use super::intake::Scratch;
use super::job::Job;
use super::loop_::Runner;
use super::pool::ScraperOptions;
use super::room::Room;
use super::stats::ScrapeStats;
use super::status::Health;
use super::target::Target;
use crate::limits::{SCRATCH_BYTES_KEPT_MAX, SCRATCHES_KEPT_MAX};

/// What all loops of a core share.
pub(super) struct Context {
    pub(super) fetch: Rc<dyn Fetch>,
    pub(super) append: Rc<dyn Append>,
    pub(super) failures: Rc<dyn FailureLog>,
    pub(super) options: ScraperOptions,
    pub(super) room: Room,
    pub(super) stats: RefCell<ScrapeStats>,
    scratches: RefCell<Vec<Scratch>>,
}

impl Context {
    pub(super) fn new(
        fetch: Rc<dyn Fetch>,
        append: Rc<dyn Append>,
        failures: Rc<dyn FailureLog>,
        options: ScraperOptions,
    ) -> Self {
        let (stats, room) = (RefCell::default(), Room::default());
        Context { fetch, append, failures, options, room, stats, scratches: RefCell::default() }
    }

    /// Whose the series of a target are, if tenants are told apart.
    pub(super) fn tenant_of<'a>(&self, target: &'a Target) -> Option<&'a Tenant> {
        self.options.tenants.then_some(&target.tenant)
    }

    pub(super) fn take_scratch(&self) -> Scratch {
        self.scratches.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut scratch: Scratch) {
        scratch.rows.clear();
        let mut kept = self.scratches.borrow_mut();
        if kept.len() < SCRATCHES_KEPT_MAX && scratch.capacity_bytes() <= SCRATCH_BYTES_KEPT_MAX {
            kept.push(scratch);
        }
    }
}

/// What a loop is to do; may be replaced while it runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) job: Arc<Job>,
    pub(super) target: Arc<Target>,
    /// Why the target must not be scraped, though it is there.
    pub(super) forced_error: Option<ScrapeError>,
}

impl Settings {
    /// Whether a line that was seen under `other` still means the same series.
    pub(super) fn reads_lines_like(&self, other: &Settings) -> bool {
        let (a, b) = (&*self.job, &*other.job);
        a.honor_labels == b.honor_labels
            && a.legacy_names == b.legacy_names
            && a.metric_relabel_rules == b.metric_relabel_rules
            && a.limits == b.limits
            && a.histograms == b.histograms
            && self.target.labels == other.target.labels
            && self.target.tenant == other.target.tenant
    }
}

/// What a loop has been told about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Scrape.
    Run,
    /// The target is gone: end its series unless it comes back.
    Retire,
    /// The process stops: end at once.
    Stop,
}

/// How the last scrape went.
#[derive(Clone, Debug, Default)]
pub(super) struct LastScrape {
    pub(super) health: Health,
    pub(super) error: String,
    pub(super) time_ms: Option<TimestampMs>,
    pub(super) duration_seconds: f64,
}

/// What a loop and the pool that started it share.
pub(super) struct Shared {
    pub(super) settings: RefCell<Rc<Settings>>,
    pub(super) order: Cell<Order>,
    pub(super) changed: Notify,
    pub(super) last: RefCell<LastScrape>,
    pub(super) families: RefCell<Families>,
    pub(super) finished: Cell<bool>,
}

/// The pool's hold on a running loop. Dropping it cancels the loop.
pub(super) struct Handle {
    shared: Rc<Shared>,
    task: Task<()>,
}

impl Handle {
    /// Starts a loop in the queue of ingestion.
    pub(super) fn start(context: Rc<Context>, settings: Settings) -> Self {
        let shared = Rc::new(Shared {
            settings: RefCell::new(Rc::new(settings)),
            order: Cell::new(Order::Run),
            changed: Notify::new(),
            last: RefCell::default(),
            families: RefCell::default(),
            finished: Cell::new(false),
        });
        let runner = Runner::new(context, Rc::clone(&shared));
        Handle { shared, task: runtime::spawn_into(runtime::Queue::Ingest, runner.run()) }
    }

    /// Replaces the settings if they differ, and takes back [`Handle::retire`].
    pub(super) fn update(&self, settings: Settings) {
        let revived = self.shared.order.replace(Order::Run) != Order::Run;
        if revived || **self.shared.settings.borrow() != settings {
            *self.shared.settings.borrow_mut() = Rc::new(settings);
            self.shared.changed.notify_all();
        }
    }

    /// The target is gone.
    pub(super) fn retire(&self) {
        self.order(Order::Retire);
    }

    /// The process stops. Ready when the loop has ended.
    pub(super) async fn stop(self) {
        self.order(Order::Stop);
        self.task.await;
    }

    /// Whether the loop has come to its end.
    pub(super) fn is_finished(&self) -> bool {
        self.shared.finished.get()
    }

    pub(super) fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.shared.settings.borrow())
    }

    pub(super) fn last(&self) -> LastScrape {
        self.shared.last.borrow().clone()
    }

    pub(super) fn families(&self) -> &RefCell<Families> {
        &self.shared.families
    }

    fn order(&self, order: Order) {
        self.shared.order.set(order);
        self.shared.changed.notify_all();
    }
}
