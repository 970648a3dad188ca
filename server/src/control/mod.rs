//! The control plane: one thread beside the cores, for whatever talks to the outside through libraries that need tokio.
//!
//! ```text
//!            Configure, Report, Stop                        what was found, by job
//!   core 0 ---------------------------> control thread ---------------------------> every core's scraper
//!            one bounded channel          one task for        a bounded channel each
//!                                         each discoverer
//! ```
//!
//! Today that is discovery: [`mechanisms`] has a row for every `*_sd_config` and makes a task of it ([`refreshed`] for those that
//! only ask now and then), each feeds the [`plane`] with target groups,
//! and the plane tells the cores what changed, at most every few seconds. A reload restarts only the discoverers whose
//! configuration is another one. A discoverer that fails keeps what it found before, says so once in the log, and counts in
//! `prometheus_sd_*`. The thread owns everything here; nothing is shared with a core but messages.

mod clouds;
mod consul;
mod dns;
mod file;
mod http;
mod kubernetes;
mod mechanisms;
mod plane;
mod provider;
mod refresh;
mod refreshed;
mod stats;
mod zookeeper;

use std::sync::Arc;
use std::thread::JoinHandle;

use tidemark_core::runtime::mailbox::external::{Receiver, Sender, channel, oneshot};
use tidemark_ingest::scrape::{Discovered, Work};

use crate::limits::{CONTROL_COMMANDS_MAX, CONTROL_UPDATES_MAX};
use crate::metrics::exposition::Exposition;
use crate::settings::Settings;

/// What a core asks of the control thread.
pub(crate) enum Command {
    /// Discover what this configuration asks for, and nothing else.
    Configure(Arc<Settings>),
    /// Write the counters.
    Report(oneshot::Sender<Exposition>),
    /// End.
    Stop,
}

/// What was found for one job, all of it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The job's name.
    pub(crate) job: String,
    /// The groups of all its discoverers.
    pub(crate) groups: Discovered,
    /// What the cores have made of them.
    pub(crate) work: Work,
}

/// What changed since the last message.
pub(crate) type Changes = Arc<[Found]>;

/// The cores' end.
#[derive(Clone)]
pub(crate) struct Door {
    commands: Sender<Command>,
    changes: Arc<[Receiver<Changes>]>,
}

impl Door {
    /// Puts a configuration in force.
    pub(crate) async fn configure(&self, settings: Arc<Settings>) {
        // The thread is gone only if the process stops.
        let _ = self.commands.send(Command::Configure(settings)).await;
    }

    /// The counters; none if the thread is gone.
    pub(crate) async fn report(&self) -> Exposition {
        let (sender, receiver) = oneshot::channel();
        match self.commands.send(Command::Report(sender)).await {
            Ok(()) => receiver.await.unwrap_or_default(),
            Err(_) => Exposition::default(),
        }
    }

    /// What `core` is to be told.
    pub(crate) fn changes(&self, core: usize) -> Receiver<Changes> {
        self.changes[core].clone()
    }
}

/// The thread.
pub(crate) struct Control {
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

/// Starts the thread for so many cores.
pub(crate) fn start(cores: usize) -> std::io::Result<(Door, Control)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (commands, inbox) = channel(CONTROL_COMMANDS_MAX);
    let (outboxes, changes): (Vec<_>, Vec<_>) =
        (0..cores).map(|_| channel(CONTROL_UPDATES_MAX)).unzip();
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, plane::run(inbox, outboxes));
        // Tasks end where they wait; a file that is just being read is not waited for.
        drop(local);
        runtime.shutdown_background();
    })?;
    let door = Door { commands: commands.clone(), changes: changes.into() };
    Ok((door, Control { commands, thread }))
}

impl Control {
    /// Ends the thread; blocks until it has.
    pub(crate) fn stop(self) {
        // An error says that it has ended already.
        let _ = self.commands.send_blocking(Command::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}
