//! One executor pinned to each core, from start to stop.
//!
//! [`run`] starts a thread per core, makes the executor there, enters the runtime's context, and calls `start`. It returns when
//! every core has returned. A core that fails makes the others stop, and the first failure is what `run` returns; glommio's own
//! pool reports success when an executor could not even be made, so every thread's result is looked at here.

use super::context::{self, Context};
use super::stop::{self, ReloadSignal, StopSignal, Stopper};
use super::task::{PREEMPT_EVERY, Queue, spawn_into};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
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
    /// How long the cores may take to finish once the process stops.
    pub stop_within: Duration,
}

impl Default for Options {
    /// One executor for every processor this process may use, pinned.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Options { cores, pin: true, stop_within: Duration::from_secs(30) }
    }
}

/// Why the executors did not run to a clean end.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A thread could not be started.
    #[error("cannot start the thread of core {core}: {source}")]
    Thread {
        /// Which.
        core: usize,
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
}

impl CoreContext {
    /// A context outside [`run`]: for the simulation and for tests, where all "cores" share a thread.
    pub fn standalone(core: usize, cores: usize) -> Self {
        CoreContext::new(core, cores, &Stopper::new(cores, || ()))
    }

    fn new(core: usize, cores: usize, stopper: &Stopper) -> Self {
        let (stop, reload) = stop::listen(stopper, core);
        CoreContext { core, cores, stop, reload }
    }
}

/// What the threads tell the one that waits for them.
enum Event {
    Stopping,
    Ended { core: usize, outcome: Result<(), RuntimeError> },
}

/// Runs `start` on each core and returns when all have returned. `probe_dir` lies on the file system of the data.
pub fn run<F, Fut>(options: &Options, probe_dir: &Path, start: F) -> Result<(), RuntimeError>
where
    F: Fn(CoreContext) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _ = probe_dir;
    let (events, inbox) = mpsc::channel();
    let on_stop = events.clone();
    let stopper = Stopper::new(options.cores, move || drop(on_stop.send(Event::Stopping)));
    let processors = if options.pin { allowed_processors() } else { Vec::new() };
    let mut running = Vec::with_capacity(options.cores);
    let mut first_failure = None;
    for core in 0..options.cores {
        let processor = (processors.len() >= options.cores).then(|| processors[core]);
        let cores = options.cores;
        let (start, events, orders) = (start.clone(), events.clone(), stopper.clone());
        let body = move || {
            let outcome = run_core(core, cores, processor, &orders, start);
            drop(events.send(Event::Ended { core, outcome }));
        };
        match thread::Builder::new().name(format!("core-{core}")).spawn(body) {
            Ok(_) => running.push(core),
            Err(source) => {
                first_failure = Some(RuntimeError::Thread { core, source });
                stopper.stop();
                break;
            }
        }
    }
    let ended = wait_for_all(&inbox, running, &stopper, options.stop_within);
    first_failure.map_or(ended, Err)
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

/// The whole life of one executor, on its own thread.
fn run_core<F, Fut>(
    core: usize,
    cores: usize,
    processor: Option<usize>,
    stopper: &Stopper,
    start: F,
) -> Result<(), RuntimeError>
where
    F: Fn(CoreContext) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let body = || -> Result<(), RuntimeError> {
        let executor = make_executor()
            .map_err(|error| RuntimeError::Executor { core, reason: error.to_string() })?;
        if let Some(processor) = processor {
            // After the executor was made, so that its blocking threads may run elsewhere.
            pin_to(processor)
                .map_err(|error| RuntimeError::Executor { core, reason: error.to_string() })?;
        }
        executor.run(async {
            let _entered = context::enter(Context::Real(Rc::new(Queue::create_all())));
            let context = CoreContext::new(core, cores, stopper);
            spawn_into(Queue::Control, start(context)).await;
        });
        Ok(())
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        Err(RuntimeError::Panicked { core, reason: panic_message(panic.as_ref()).to_owned() })
    })
}

fn make_executor() -> Result<LocalExecutor, glommio::GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_EVERY)
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
    use super::super::{sleep, spawn, timeout, unblock, yield_if_needed};
    use super::*;
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn options(cores: usize) -> Options {
        Options { cores, pin: false, stop_within: Duration::from_secs(5) }
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
}
