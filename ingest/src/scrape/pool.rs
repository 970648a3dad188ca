//! All targets of one core: which loops run, and what changes when the jobs change.
//!
//! Every core is given all jobs, and they make the targets of them together ([`Work`]); each runs those whose hash falls to it. So a
//! target is scraped by one core, the same one after every reload. Jobs change when a configuration is loaded
//! ([`Scraper::apply`]), what was discovered for one of them by itself ([`Scraper::discovered`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tidemark_core::model::labels::Labels;
use tidemark_core::runtime::mailbox::local::Semaphore;

use super::error::ScrapeError;
use super::fetch::{Append, FailureLog, Fetch};
use super::handle::{Context, Handle, Settings};
use super::job::{Discovered, Job, TargetGroup};
use super::stats::ScrapeStats;
use super::status::{DroppedTarget, TargetMetadata, TargetStatus};
use super::target::Target;
use super::work::{Outcome, Work};
use crate::duration;

/// Place of a core among all, and where scrapes lie in the interval.
#[derive(Clone, Copy, Debug)]
pub struct ScraperOptions {
    /// This core.
    pub core: usize,
    /// All cores.
    pub cores: usize,
    /// Moves all offsets, so that two servers with the same targets do not scrape them at the same instant.
    pub offset_seed: u64,
    /// Whether it is stored when counters began to count, where targets say so.
    pub start_timestamps: bool,
    /// Whether series are told apart by tenants.
    pub tenants: bool,
}

/// What [`Scraper::apply`] changed on this core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Loops that were started.
    pub started: usize,
    /// Loops of targets that are gone.
    pub retired: usize,
    /// Targets that could not be made, each with its job and the reason; the same on every core.
    pub failures: Vec<String>,
}

/// Scrapes the targets of one core. `!Send`: it lives and ends on its core.
pub struct Scraper {
    options: ScraperOptions,
    context: Rc<Context>,
    pools: RefCell<BTreeMap<String, Pool>>,
    /// Loops of targets that are gone and may come back.
    retiring: RefCell<HashMap<(String, u64), Handle>>,
    /// Held by whoever changes the pools.
    changing: Semaphore,
    stopped: Cell<bool>,
}

/// The targets of one job.
struct Pool {
    job: Arc<Job>,
    discovered: Discovered,
    loops: HashMap<u64, Handle>,
    dropped: Vec<Arc<Labels>>,
    dropped_count: u64,
}

/// What the groups of a job come to.
#[derive(Default)]
struct Found {
    /// The targets of this core.
    own: BTreeMap<u64, Arc<Target>>,
    /// Those of all cores.
    hashes: HashSet<u64>,
    dropped: Vec<Arc<Labels>>,
    dropped_count: u64,
    failures: Vec<String>,
}

impl Scraper {
    /// Nothing to scrape yet.
    pub fn new(
        options: ScraperOptions,
        fetch: Rc<dyn Fetch>,
        append: Rc<dyn Append>,
        failures: Rc<dyn FailureLog>,
    ) -> Self {
        let context = Rc::new(Context::new(fetch, append, failures, options));
        Scraper {
            options,
            context,
            pools: RefCell::default(),
            retiring: RefCell::default(),
            changing: Semaphore::new(1),
            stopped: Cell::new(false),
        }
    }

    /// Makes `jobs` the jobs to run. A job that is as it was is not touched; of one that changed, loops whose target is
    /// still there go on with the new settings. Gives other tasks their turn however many targets there are; jobs change
    /// one after the other, and who calls again meanwhile waits.
    pub async fn apply(&self, jobs: &[Arc<Job>]) -> Applied {
        let _turn = self.changing.acquire(1).await;
        self.retiring.borrow_mut().retain(|_, handle| !handle.is_finished());
        let mut applied = Applied::default();
        if self.stopped.get() {
            return applied;
        }
        let names: BTreeSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let all = std::mem::take(&mut *self.pools.borrow_mut());
        let (kept, gone) = all.into_iter().partition(|(name, _)| names.contains(name.as_str()));
        *self.pools.borrow_mut() = kept;
        let gone: BTreeMap<String, Pool> = gone;
        for (name, pool) in gone {
            self.retire(&name, pool.loops, &mut applied);
        }
        for job in jobs {
            let discovered = match self.pools.borrow().get(&job.name) {
                Some(pool) if pool.job == *job => continue,
                Some(pool) => Arc::clone(&pool.discovered),
                None => Discovered::default(),
            };
            // What was discovered before is work of nobody else: another core may know of something newer.
            self.rebuild(job, discovered, &Work::default(), &mut applied).await;
        }
        applied
    }

    /// Makes `groups` what was discovered for `job`, beside the targets that are written out; nothing if there is no such job. `work`
    /// is that of all cores that are told of the same.
    pub async fn discovered(&self, job: &str, groups: Discovered, work: &Work) -> Applied {
        let _turn = self.changing.acquire(1).await;
        self.retiring.borrow_mut().retain(|_, handle| !handle.is_finished());
        let mut applied = Applied::default();
        let job = self.pools.borrow().get(job).map(|pool| Arc::clone(&pool.job));
        if let Some(job) = job {
            self.rebuild(&job, groups, work, &mut applied).await;
        }
        applied
    }

    /// Stops all loops; ready when none is left. Series do not end: after a restart they go on.
    pub async fn stop(&self) {
        let _turn = self.changing.acquire(1).await;
        self.stopped.set(true);
        let pools = std::mem::take(&mut *self.pools.borrow_mut());
        let retiring = std::mem::take(&mut *self.retiring.borrow_mut());
        let loops = pools.into_values().flat_map(|pool| pool.loops.into_values());
        let stopping = loops.chain(retiring.into_values()).map(Handle::stop);
        futures_util::future::join_all(stopping).await;
    }

    /// The active targets of this core.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let pools = self.pools.borrow();
        pools.values().flat_map(|pool| pool.loops.values().map(status)).collect()
    }

    /// The dropped targets that are remembered; the same on every core.
    pub fn dropped_targets(&self) -> Vec<DroppedTarget> {
        let of_pool = |pool: &Pool| {
            let dropped = pool.dropped.iter().map(|labels| DroppedTarget {
                discovered_labels: (**labels).clone(),
                scrape_pool: pool.job.name.clone(),
            });
            dropped.collect::<Vec<_>>()
        };
        self.pools.borrow().values().flat_map(of_pool).collect()
    }

    /// How many targets were dropped, by job; the same on every core.
    pub fn dropped_target_counts(&self) -> BTreeMap<String, u64> {
        let pools = self.pools.borrow();
        pools.iter().map(|(name, pool)| (name.clone(), pool.dropped_count)).collect()
    }

    /// The names of all jobs; the same on every core.
    pub fn job_names(&self) -> Vec<String> {
        self.pools.borrow().keys().cloned().collect()
    }

    /// What the targets of this core whose labels pass `wanted` say of their metric families.
    pub fn metadata(&self, wanted: impl Fn(&Labels) -> bool) -> Vec<TargetMetadata> {
        let pools = self.pools.borrow();
        let mut all = Vec::new();
        for handle in pools.values().flat_map(|pool| pool.loops.values()) {
            let target = &handle.settings().target.labels;
            if wanted(target) {
                let families = handle.families().borrow();
                all.extend(families.iter().map(|(metric, metadata)| TargetMetadata {
                    target: target.clone(),
                    metric: metric.to_owned(),
                    metadata: metadata.clone(),
                }));
            }
        }
        all
    }

    /// The counters of this core.
    pub fn stats(&self) -> ScrapeStats {
        *self.context.stats.borrow()
    }

    /// Makes the targets of a job anew and lets the loops follow. Until all targets are known the old ones go on.
    async fn rebuild(
        &self,
        job: &Arc<Job>,
        discovered: Discovered,
        work: &Work,
        applied: &mut Applied,
    ) {
        let found = self.find_targets(job, &discovered, work).await;
        applied.failures.extend(found.failures);
        let number = found.hashes.len() as u64;
        let limit = job.limits.targets;
        let forced_error =
            (limit > 0 && number > limit).then_some(ScrapeError::TargetLimit { number, limit });
        let before = self.pools.borrow_mut().remove(&job.name);
        let mut old = before.map(|pool| pool.loops).unwrap_or_default();
        let mut loops = HashMap::with_capacity(found.own.len());
        for (hash, target) in found.own {
            let settings =
                Settings { job: Arc::clone(job), target, forced_error: forced_error.clone() };
            let known = old.remove(&hash).or_else(|| self.revive(&job.name, hash));
            let handle = if let Some(handle) = known {
                handle.update(settings);
                handle
            } else {
                applied.started += 1;
                Handle::start(Rc::clone(&self.context), settings)
            };
            loops.insert(hash, handle);
        }
        self.retire(&job.name, old, applied);
        let pool = Pool {
            job: Arc::clone(job),
            discovered,
            loops,
            dropped: found.dropped,
            dropped_count: found.dropped_count,
        };
        self.pools.borrow_mut().insert(job.name.clone(), pool);
    }

    /// What all groups of a job come to, with offers to yield.
    async fn find_targets(&self, job: &Arc<Job>, discovered: &Discovered, work: &Work) -> Found {
        let mut found = Found::default();
        let kept = match job.limits.kept_dropped_targets {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let mut take = |group: &TargetGroup, outcome: &Outcome| match outcome {
            Outcome::Target(target) => {
                found.hashes.insert(target.hash);
                if target.hash % self.options.cores as u64 == self.options.core as u64 {
                    found.own.insert(target.hash, Arc::clone(target));
                }
            }
            Outcome::Dropped(labels) => {
                found.dropped_count += 1;
                if found.dropped.len() < kept {
                    found.dropped.push(Arc::clone(labels));
                }
            }
            Outcome::Failed(error, i) => found.failures.push(format!(
                "job {:?}: instance {i} in group {}: {error}",
                job.name, group.source
            )),
        };
        let mut made = job.work.outcomes(job, job.groups.iter(), &mut take).await;
        made += work.outcomes(job, discovered.iter().map(|group| &**group), &mut take).await;
        self.context.stats.borrow_mut().targets_made += made;
        found
    }

    fn revive(&self, job: &str, hash: u64) -> Option<Handle> {
        let handle = self.retiring.borrow_mut().remove(&(job.to_owned(), hash))?;
        (!handle.is_finished()).then_some(handle)
    }

    fn retire(&self, job: &str, loops: HashMap<u64, Handle>, applied: &mut Applied) {
        for (hash, handle) in loops {
            handle.retire();
            applied.retired += 1;
            self.retiring.borrow_mut().insert((job.to_owned(), hash), handle);
        }
    }
}

fn status(handle: &Handle) -> TargetStatus {
    let (settings, last) = (handle.settings(), handle.last());
    let Settings { job, target, .. } = &*settings;
    TargetStatus {
        discovered_labels: target.discovered.clone(),
        labels: target.labels.clone(),
        scrape_pool: job.name.clone(),
        scrape_url: target.scrape_url.clone(),
        global_url: target.scrape_url.clone(),
        last_error: last.error,
        last_scrape: last.time_ms,
        last_scrape_duration: last.duration_seconds,
        health: last.health,
        scrape_interval: duration::format(target.interval),
        scrape_timeout: duration::format(target.timeout),
    }
}
