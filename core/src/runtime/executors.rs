//! One executor pinned to each core, from start to stop.
//!
//! [`run`] starts a thread per core, makes the executor there, enters the runtime's context, and calls `start`. It returns when
//! every core has returned. A core that fails makes the others stop, and the first failure is what `run` returns; glommio's own
//! pool reports success when an executor could not even be made, so every thread's result is looked at here.

use super::context::{self, Context, Queues};
use super::preflight::{self, PreflightError};
use super::probe;
use super::processors;
use super::sentinel::{self, Pulses, Watcher};
use super::shield;
use super::signals;
use super::stop::{self, ReloadSignal, StopSignal, Stopper};
use super::task::{PREEMPT_EVERY, Queue, spawn_into};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use std::any::Any;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Memory an executor registers with the kernel for its I/O buffers. The default of glommio, 30 times as much, does not fit
/// into the memory that an unprivileged process may lock.
const IO_MEMORY_BYTES: usize = 1 << 20;

/// Entries of each ring of an executor. The kernel finds what is to be cancelled in a hash table that it makes once, with a bucket
/// for each 16 of these (at most 256). The executor cancels a timer in every round of its loop, and the whole bucket is searched
/// for it: with the default of 128 and thousands of idle connections, each of which waits in the table, that is what a core does most.
const RING_ENTRIES: usize = 4 << 10;

/// Threads of each executor for what blocks (name resolution, hard links).
const BLOCKING_THREADS: usize = 2;

/// How the executors are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many.
    pub cores: usize,
    /// Whether each is pinned to a processor of its own. Only done when every processor this process may use gets one: with fewer
    /// cores, or a share of the machine, the kernel knows better where there is room.
    pub pin: bool,
    /// How long a task that offers to yield can keep the core.
    pub preempt_every: Duration,
    /// How long the cores may take to finish once the process stops.
    pub stop_within: Duration,
    /// Whether TERM, INT and HUP are listened to.
    pub signals: bool,
    /// Whether the sentinel watches the executors. Off only to show what happens then.
    pub sentinel: bool,
    /// How long a core may give no answer before the sentinel aborts the process.
    pub silence_max: Duration,
}

impl Default for Options {
    /// One executor for every processor this process may use, pinned, watched, without signals.
    fn default() -> Self {
        Options {
            cores: thread::available_parallelism().map_or(1, usize::from),
            pin: true,
            preempt_every: PREEMPT_EVERY,
            stop_within: Duration::from_secs(30),
            signals: false,
            sentinel: true,
            silence_max: Duration::from_secs(30),
        }
    }
}

/// Why the executors did not run to a clean end.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The system lacks what executors need.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// A thread could not be started.
    #[error("cannot start the thread of {what}: {source}")]
    Thread {
        /// What it is for.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The trial file that every executor opens first could not be written or opened.
    #[error("cannot write and open a trial file in {dir}: {source}", dir = dir.display())]
    Probe {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An executor could not be made.
    #[error("cannot make the executor of core {core}: {reason}")]
    Executor {
        /// Which.
        core: usize,
        /// Why, in glommio's words.
        reason: String,
    },
    /// A task panicked.
    #[error("core {core} panicked: {reason}")]
    Panicked {
        /// Which.
        core: usize,
        /// The panic's message.
        reason: String,
    },
    /// Some cores did not finish in time after a stop.
    #[error("cores {cores:?} did not finish within {within:?} of the stop")]
    StopDeadline {
        /// Which.
        cores: Vec<usize>,
        /// [`Options::stop_within`].
        within: Duration,
    },
}

/// What the code of one core is given.
#[derive(Clone)]
pub struct CoreContext {
    /// This core, from 0.
    pub core: usize,
    /// How many there are.
    pub cores: usize,
    /// Says when the process stops.
    pub stop: StopSignal,
    /// Says when the configuration is to be read anew.
    pub reload: ReloadSignal,
    pulses: Pulses,
}

impl CoreContext {
    /// A context outside [`run`]: for the simulation and for tests, where all "cores" share a thread.
    pub fn standalone(core: usize, cores: usize) -> Self {
        CoreContext::new(core, &Stopper::new(cores, || ()), Pulses::new(cores))
    }

    fn new(core: usize, stopper: &Stopper, pulses: Pulses) -> Self {
        let (stop, reload) = stop::listen(stopper, core);
        CoreContext { core, cores: pulses.cores(), stop, reload, pulses }
    }

    /// What this core's executor has counted since it began.
    pub fn stats(&self) -> Stats {
        let counts = self.pulses.counts(self.core);
        Stats {
            rescues: counts.rescues,
            long_polls: counts.long_polls,
            worked: context::queues().map(|queues| queues.worked()).unwrap_or_default(),
        }
    }
}

/// Counters of one executor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times the sentinel had to wake an executor that slept although tasks could run.
    pub rescues: u64,
    /// Times a task kept the core so long that the sentinel's tick was overdue.
    pub long_polls: u64,
    /// Time the tasks of each queue have run; the order is that of [`Queue::ALL`]. Zero in the simulation.
    pub worked: [Duration; Queue::COUNT],
}

/// What the threads tell the one that waits for them.
enum Event {
    Stopping,
    Ended { core: usize, outcome: Result<(), RuntimeError> },
}

/// Runs `start` on each core and returns when all have returned. `probe_dir` lies on the file system of the data and is made
/// when it does not exist.
pub fn run<F, Fut>(options: &Options, probe_dir: &Path, start: F) -> Result<(), RuntimeError>
where
    F: Fn(CoreContext) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    preflight::check()?;
    let (events, inbox) = mpsc::channel();
    let on_stop = events.clone();
    let stopper = Stopper::new(options.cores, move || drop(on_stop.send(Event::Stopping)));
    let pulses = Pulses::new(options.cores);
    let listener = options.signals.then(|| signals::Listener::start(stopper.clone()));
    let _listener = listener.transpose().map_err(|source| thread_error("signals", source))?;
    let watcher = options.sentinel.then(|| Watcher::start(pulses.clone(), options.silence_max));
    let watcher = watcher.transpose().map_err(|source| thread_error("the sentinel", source))?;
    let processors = if options.pin { processors::allowed() } else { Vec::new() };
    let mut running = Vec::with_capacity(options.cores);
    let mut first_failure = None;
    for core in 0..options.cores {
        let seat = Seat {
            core,
            processor: (processors.len() == options.cores).then(|| processors[core]),
            preempt_every: options.preempt_every,
            probe_dir: probe_dir.to_owned(),
            stopper: stopper.clone(),
            pulses: pulses.clone(),
            watcher: watcher.as_ref().map(Watcher::thread),
        };
        let (start, events) = (start.clone(), events.clone());
        let body = move || {
            let outcome = seat.run(start);
            drop(events.send(Event::Ended { core, outcome }));
        };
        match thread::Builder::new().name(format!("core-{core}")).spawn(body) {
            Ok(_) => running.push(core),
            Err(source) => {
                first_failure = Some(thread_error(&format!("core {core}"), source));
                stopper.stop();
                break;
            }
        }
    }
    let ended = wait_for_all(&inbox, running, &stopper, options.stop_within);
    first_failure.map_or(ended, Err)
}

fn thread_error(what: &str, source: io::Error) -> RuntimeError {
    RuntimeError::Thread { what: what.to_owned(), source }
}

/// Collects the result of every core; the first failure stops the rest.
fn wait_for_all(
    inbox: &mpsc::Receiver<Event>,
    mut running: Vec<usize>,
    stopper: &Stopper,
    within: Duration,
) -> Result<(), RuntimeError> {
    let mut deadline: Option<Instant> = None;
    let mut result = Ok(());
    while !running.is_empty() {
        let event = match deadline {
            None => inbox.recv().expect("the threads hold senders while they run"),
            Some(deadline) => {
                match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(event) => event,
                    Err(_) => {
                        return result
                            .and(Err(RuntimeError::StopDeadline { cores: running, within }));
                    }
                }
            }
        };
        match event {
            Event::Stopping => deadline = Some(Instant::now() + within),
            Event::Ended { core, outcome } => {
                running.retain(|&other| other != core);
                if outcome.is_err() {
                    stopper.stop();
                }
                result = result.and(outcome);
            }
        }
    }
    result
}

/// What one executor's thread needs to know.
struct Seat {
    core: usize,
    processor: Option<usize>,
    preempt_every: Duration,
    probe_dir: PathBuf,
    stopper: Stopper,
    pulses: Pulses,
    watcher: Option<Thread>,
}

impl Seat {
    /// The whole life of one executor, on its own thread.
    fn run<F, Fut>(self, start: F) -> Result<(), RuntimeError>
    where
        F: Fn(CoreContext) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let core = self.core;
        let failed = |reason: String| RuntimeError::Executor { core, reason };
        let life = || {
            let executor =
                make_executor(self.preempt_every).map_err(|error| failed(error.to_string()))?;
            let executor = ManuallyDrop::new(executor);
            if let Some(processor) = self.processor {
                // After the executor was made, so that its blocking threads may run elsewhere.
                processors::pin(processor).map_err(|error| failed(error.to_string()))?;
            }
            let armed = self.watcher.is_some().then(|| sentinel::arm(&self.pulses, core));
            let result = executor.run(self.live(start));
            drop(armed);
            // Not after a panic: dropping an executor in the middle of a task panics again, which aborts.
            drop(ManuallyDrop::into_inner(executor));
            result
        };
        catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|panic| {
            Err(RuntimeError::Panicked { core, reason: panic_message(panic.as_ref()).to_owned() })
        })
    }

    /// The first task of the executor: sets the stage, then runs `start` in the control queue.
    async fn live<F, Fut>(&self, start: F) -> Result<(), RuntimeError>
    where
        F: Fn(CoreContext) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let _entered = context::enter(Context::Real(Rc::new(Queues::create())));
        if let Some(watcher) = &self.watcher {
            let tick = sentinel::tick(self.pulses.clone(), self.core, watcher.clone());
            spawn_into(Queue::Control, tick).detach();
        }
        probe::run(&self.probe_dir, self.core)
            .await
            .map_err(|source| RuntimeError::Probe { dir: self.probe_dir.clone(), source })?;
        let context = CoreContext::new(self.core, &self.stopper, self.pulses.clone());
        spawn_into(Queue::Control, start(context)).await;
        shield::end_all().await;
        Ok(())
    }
}

fn make_executor(preempt_every: Duration) -> Result<LocalExecutor, glommio::GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_ENTRIES)
        .preempt_timer(preempt_every)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
        .make()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests;
