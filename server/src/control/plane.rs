//! The control thread's main task: which discoverers run, what they found, and when the cores are told.
//!
//! Jobs that ask for the same share one discoverer. What changes is gathered and told together: at once after a quiet time,
//! and then in steps that grow to [`TELL_EVERY_MAX`], however busy a directory is.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tidemark_core::runtime::clock;
use tidemark_core::runtime::mailbox::external::{Receiver, Sender};
use tidemark_ingest::scrape::Work;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::mechanisms::{Context, Wanted};
use super::provider::{Feed, Provider, ProviderId, Update};
use super::stats::Stats;
use super::{Changes, Command, Found};
use crate::limits::CONTROL_UPDATES_MAX;
use crate::settings::Settings;

/// Shortest time between two messages to the cores.
const TELL_EVERY_MIN: Duration = Duration::from_millis(100);

/// Longest time that a change waits.
const TELL_EVERY_MAX: Duration = Duration::from_secs(5);

/// Runs until it is told to stop, or nobody is left who could.
pub(super) async fn run(commands: Receiver<Command>, cores: Vec<Sender<Changes>>) {
    let (sender, mut updates) = mpsc::channel(CONTROL_UPDATES_MAX);
    let mut plane = Plane::new(sender, cores);
    loop {
        let due = plane.due();
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Configure(settings)) => plane.configure(&settings),
                Some(Command::Report(answer)) => drop(answer.send(plane.stats.exposition())),
                Some(Command::Stop) | None => return,
            },
            Some((id, update)) = updates.recv() => plane.take(id, update),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => plane.tell(),
        }
    }
}

struct Plane {
    sender: mpsc::Sender<(ProviderId, Update)>,
    cores: Vec<Sender<Changes>>,
    stats: Rc<Stats>,
    providers: Vec<Provider>,
    /// Each job's discoverers, in the order of the configuration.
    jobs: BTreeMap<String, Vec<ProviderId>>,
    next_id: ProviderId,
    /// Jobs of which the cores do not know everything.
    untold: BTreeSet<String>,
    last_told: Option<Instant>,
    pause: Duration,
}

impl Plane {
    fn new(sender: mpsc::Sender<(ProviderId, Update)>, cores: Vec<Sender<Changes>>) -> Self {
        Plane {
            sender,
            cores,
            stats: Rc::default(),
            providers: Vec::new(),
            jobs: BTreeMap::new(),
            next_id: 0,
            untold: BTreeSet::new(),
            last_told: None,
            pause: TELL_EVERY_MIN,
        }
    }

    /// Keeps the discoverers that are still wanted, ends the others, starts the new ones.
    fn configure(&mut self, settings: &Settings) {
        let mut old = std::mem::take(&mut self.providers);
        let mut failed = 0;
        let mut jobs = BTreeMap::new();
        for job in &settings.config.scrape_configs {
            let wanted = Wanted::all(&job.discovery);
            if wanted.is_empty() {
                continue;
            }
            let mut ids = Vec::with_capacity(wanted.len());
            for wanted in wanted {
                match self.provider(wanted, &mut old, &job.job_name) {
                    Ok(id) => ids.push(id),
                    Err(error) => {
                        failed += 1;
                        tracing::error!(job = job.job_name, %error, "a discoverer cannot be made");
                    }
                }
            }
            jobs.insert(job.job_name.clone(), ids);
        }
        let before = std::mem::replace(&mut self.jobs, jobs);
        self.stats.configured(self.jobs.keys(), failed);
        self.untold.extend(before.into_keys().chain(self.jobs.keys().cloned()));
        // The pause is for discoverers that change too often, not for people.
        self.pause = TELL_EVERY_MIN;
    }

    /// The discoverer of `wanted`: one that runs already, or a new one.
    fn provider(
        &mut self,
        wanted: Wanted,
        old: &mut Vec<Provider>,
        job: &str,
    ) -> Result<ProviderId, String> {
        if let Some(running) = self.providers.iter().find(|p| p.wanted == wanted) {
            return Ok(running.id);
        }
        if let Some(at) = old.iter().position(|p| p.wanted == wanted) {
            self.providers.push(old.swap_remove(at));
        } else {
            let id = self.next_id;
            let context = Context {
                feed: Feed { id, sender: self.sender.clone() },
                stats: Rc::clone(&self.stats),
                mechanism: wanted.name(),
                job: job.to_owned(),
            };
            let task = wanted.start(context)?;
            self.next_id += 1;
            self.providers.push(Provider::new(id, wanted, task));
        }
        Ok(self.providers.last().expect("one was pushed").id)
    }

    fn take(&mut self, id: ProviderId, update: Update) {
        self.stats.updates_received.add(1);
        let Some(provider) = self.providers.iter_mut().find(|p| p.id == id) else { return };
        if provider.take(update) {
            let concerned = self.jobs.iter().filter(|(_, ids)| ids.contains(&id));
            self.untold.extend(concerned.map(|(job, _)| job.clone()));
        }
    }

    /// When the cores are to be told; never if they know everything.
    fn due(&self) -> Option<Instant> {
        if self.untold.is_empty() {
            return None;
        }
        Some(self.last_told.map_or_else(Instant::now, |told| told + self.pause))
    }

    fn tell(&mut self) {
        let quiet = self.last_told.is_none_or(|told| told.elapsed() > 2 * TELL_EVERY_MAX);
        self.pause = if quiet { TELL_EVERY_MIN } else { (self.pause * 2).min(TELL_EVERY_MAX) };
        self.last_told = Some(Instant::now());
        let found: Changes = self.untold.iter().map(|job| self.found(job)).collect();
        let mut full = false;
        for core in &self.cores {
            // A core that is gone needs no targets; one that has no room gets everything the next time.
            full |= matches!(
                core.try_send(Changes::clone(&found)),
                Err(tidemark_core::runtime::mailbox::TrySendError::Full(_))
            );
        }
        if full {
            self.stats.updates_delayed.add(1);
            return;
        }
        self.stats.updates_sent.add(1);
        for found in &*found {
            let targets = found.groups.iter().map(|group| group.targets.len() as u64).sum();
            self.stats.told(&found.job, targets, clock::now_ms());
        }
        self.untold.clear();
    }

    fn found(&self, job: &str) -> Found {
        let ids = self.jobs.get(job).map_or(&[][..], Vec::as_slice);
        let providers = ids.iter().filter_map(|id| self.providers.iter().find(|p| p.id == *id));
        let groups = providers.flat_map(Provider::groups).collect();
        Found { job: job.to_owned(), groups, work: Work::default() }
    }
}
