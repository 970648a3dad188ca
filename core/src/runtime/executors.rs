//! One executor pinned to each core, from start to stop.
//!
//! [`run`] starts a thread per core, makes the executor there, enters the runtime's context, and calls `start`. It returns when
//! every core has returned. A core that fails makes the others stop, and the first failure is what `run` returns; glommio's own
//! pool reports success when an executor could not even be made, so every thread's result is looked at here.

use super::context::{self, Context, Queues};
use super::preflight::{self, PreflightError};
use super::probe;
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

/// Threads of each executor for what blocks (name resolution, hard links).
const BLOCKING_THREADS: usize = 2;

/// How the executors are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many.
    pub cores: usize,
    /// Whether each is pinned to a processor of its own (when there are enough).
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
            silence_max: Duration::from_secs(20),
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
    let processors = if options.pin { allowed_processors() } else { Vec::new() };
    let mut running = Vec::with_capacity(options.cores);
    let mut first_failure = None;
    for core in 0..options.cores {
        let seat = Seat {
            core,
            processor: (processors.len() >= options.cores).then(|| processors[core]),
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
                pin_to(processor).map_err(|error| failed(error.to_string()))?;
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

/// The processors this process may run on, by number; empty when the system does not say.
fn allowed_processors() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid, empty set, and the call writes no more than the size given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: every number asked for lies below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Keeps the calling thread on `processor`.
fn pin_to(processor: usize) -> io::Result<()> {
    // SAFETY: as above; `processor` came out of such a set and so lies below CPU_SETSIZE.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::{self, external};
    use super::super::net::{TcpListener, TcpStream};
    use super::super::{sleep, spawn, timeout, unblock, yield_if_needed, yield_now};
    use super::*;
    use futures_util::{AsyncReadExt, AsyncWriteExt, FutureExt};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    fn options(cores: usize) -> Options {
        let stop_within = Duration::from_secs(5);
        Options { cores, pin: false, stop_within, ..Options::default() }
    }

    fn on_cores<F, Fut>(cores: usize, start: F) -> Result<(), RuntimeError>
    where
        F: Fn(CoreContext) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let dir = tempfile::tempdir().unwrap();
        run(&options(cores), dir.path(), start)
    }

    #[test]
    fn every_core_runs_and_messages_cross() {
        let mesh = mailbox::mesh::<u64>(2, 16);
        on_cores(2, move |ctx| {
            let mesh = mesh.clone();
            async move {
                let (peers, mut inbox) = mesh.join(ctx.core);
                let other = 1 - ctx.core;
                let sender = spawn(async move {
                    for n in 0..1000 {
                        peers.send(other, n).await.unwrap();
                        yield_if_needed().await;
                    }
                });
                for n in 0..1000 {
                    assert_eq!(inbox.recv().await, Some((other, n)));
                }
                sender.await;
            }
        })
        .unwrap();
    }

    #[test]
    fn sockets_sleep_timeout_and_blocking_calls() {
        on_cores(1, |_| async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
            let addr = listener.local_addr();
            let echo = spawn(async move {
                let mut stream = listener.accept().await.unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
                stream.close().await.unwrap();
            });
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(b"half closed").await.unwrap();
            stream.shutdown_write().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "half closed");
            echo.await;

            let never = std::future::pending::<()>();
            assert!(timeout(Duration::from_millis(2), never).await.is_err());
            assert_eq!(timeout(Duration::from_secs(5), async { 7 }).await, Ok(7));
            assert_eq!(unblock(|| 6 * 7).await, 42);
        })
        .unwrap();
    }

    #[test]
    fn stop_reaches_every_core() {
        let stopped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&stopped);
        on_cores(2, move |ctx| {
            let count = Arc::clone(&count);
            async move {
                if ctx.core == 0 {
                    sleep(Duration::from_millis(5)).await;
                    ctx.stop.stopper().stop();
                }
                ctx.stop.wait().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .unwrap();
        assert_eq!(stopped.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_panic_stops_the_others_and_is_reported() {
        let error = on_cores(2, |ctx| async move {
            assert!(ctx.core != 1, "on purpose");
            ctx.stop.wait().await;
        })
        .unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Panicked { core: 1, reason } if reason == "on purpose"),
            "{error}"
        );
    }

    #[test]
    fn a_core_that_does_not_finish_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { stop_within: Duration::from_millis(20), ..options(1) };
        let error = run(&options, dir.path(), |ctx| async move {
            ctx.stop.stopper().stop();
            sleep(Duration::from_millis(200)).await;
        })
        .unwrap_err();
        assert!(matches!(&error, RuntimeError::StopDeadline { cores, .. } if cores == &[0]));
    }

    #[test]
    fn a_foreign_thread_talks_to_a_core() {
        let (question, questions) = external::channel::<u32>(4);
        let (answer, answers) = external::channel::<u32>(4);
        let thread = thread::spawn(move || {
            for n in 0..100 {
                question.send_blocking(n).unwrap();
                assert_eq!(answers.recv_blocking(), Some(n + 1));
            }
        });
        on_cores(1, move |_| {
            let (questions, answer) = (questions.clone(), answer.clone());
            async move {
                for _ in 0..100 {
                    answer.send(questions.recv().await.unwrap() + 1).await.unwrap();
                }
            }
        })
        .unwrap();
        thread.join().unwrap();
    }

    /// Without the shield both halves panic: glommio counts the wakers of a task in sixteen bits.
    #[test]
    fn one_task_waits_in_forty_thousand_places() {
        const PLACES: u32 = 40_000;
        on_cores(1, |_| async {
            let (senders, answers): (Vec<_>, Vec<_>) =
                (0..PLACES).map(|_| external::oneshot::channel::<u32>()).unzip();
            let waiting = spawn(async move {
                // `join_all` polls many futures through wakers of its own; a plain loop does not.
                let mut answers: Vec<_> = answers.into_iter().map(Some).collect();
                let mut sum = 0;
                std::future::poll_fn(move |cx| {
                    for slot in &mut answers {
                        if let Some(Poll::Ready(answer)) = slot.as_mut().map(|a| a.poll_unpin(cx)) {
                            sum += u64::from(answer.unwrap());
                            *slot = None;
                        }
                    }
                    let done = answers.iter().all(Option::is_none);
                    if done { Poll::Ready(sum) } else { Poll::Pending }
                })
                .await
            });
            yield_now().await;
            // All wakes come from another thread while this one is blocked.
            let answer = move || senders.into_iter().for_each(|sender| sender.send(1).unwrap());
            thread::spawn(answer).join().unwrap();
            assert_eq!(waiting.await, u64::from(PLACES));
        })
        .unwrap();
    }

    #[test]
    fn tasks_left_over_are_dropped_with_their_executor() {
        on_cores(1, |_| async {
            let busy = spawn(async {
                let _inner = spawn(std::future::pending::<()>());
                loop {
                    yield_now().await;
                }
            });
            busy.detach();
            yield_now().await;
        })
        .unwrap();
    }

    #[test]
    fn an_idle_core_sleeps() {
        on_cores(1, |ctx| async move {
            sleep(Duration::from_millis(150)).await;
            let before = thread_time();
            sleep(Duration::from_millis(400)).await;
            let used = thread_time().saturating_sub(before);
            assert!(used < Duration::from_millis(12), "{used:?} of 400 ms");
            assert_eq!(ctx.stats().rescues, 0);
        })
        .unwrap();
    }

    /// Processor time of the calling thread.
    fn thread_time() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes the structure given.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
