//! Ends a sleep that should never have begun.
//!
//! glommio's loop can go to sleep with tasks ready to run: if a completion without a waiter (its own preemption timer, or the
//! wake of another thread) arrives after the loop looked for completions and before it ran the first task, it takes that for
//! "preempted, nothing done", drains the completion and parks. Nothing then ends the sleep but another wake from outside, which
//! may never come. No task on the same core can guard against it, since it is one of those that do not run. Hence two parts:
//!
//! * on each executor a *tick* task that writes the time of its next tick to its [`Pulse`], then sleeps until then: 1 ms while
//!   the core works, stretching to 10 ms while little happens and 50 ms while nothing does (0.25 % of a core);
//! * one *watcher* thread for the process. A tick that is overdue by [`SLACK`] while the thread sleeps is a lost wake: the
//!   watcher sends the thread a signal whose handler does nothing, and the interrupted sleep ends. Each counts as a *rescue*.
//!
//! ```text
//!   core 0: tick ──answer_by──▶ Pulse ◀──looks── watcher ──looks──▶ Pulse ◀──answer_by── tick :core 1
//!      ▲──────────────────── signal, when overdue and asleep ──┘
//! ```
//!
//! A signal needs nothing of the executor, so that it also rescues one that falls asleep before it ran its very first task. One
//! that arrives just before the sleep begins is lost; the watcher sends another [`SLACK`] later.
//!
//! An executor that gives no answer at all for [`Options::silence_max`](super::executors::Options) has a task that blocks or
//! loops: the watcher prints that thread's stack and aborts, so that the supervisor restarts the process and the log replays.

use super::clock;
use super::interrupt::{self, is_asleep, print_stack_of};
use super::time::sleep;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Time between ticks of a busy core.
const TICK_MIN: Duration = Duration::from_millis(1);
/// The longest time between ticks of a core on which any task ran since the last one.
const TICK_ACTIVE: Duration = Duration::from_millis(10);
/// The longest time between ticks of an idle core.
const TICK_MAX: Duration = Duration::from_millis(50);
/// How late a tick may be before the watcher looks at the thread.
const SLACK: Duration = Duration::from_millis(5);
/// A core that works more than one part in so many ticks at the shortest interval.
const BUSY_PART: u32 = 4;
/// The silence after which the log says so for the first time.
const SILENCE_WORTH_A_WARNING: Duration = Duration::from_secs(1);

/// No tick is due: the executor has not begun or has ended.
const NEVER: u64 = u64::MAX;

/// What one executor shows to the watcher.
struct Pulse {
    /// When the next tick is due, on [`clock::real_ns`].
    answer_by_ns: AtomicU64,
    /// The kernel's number of the thread.
    thread_id: AtomicI32,
    rescues: AtomicU64,
    long_polls: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse {
            answer_by_ns: AtomicU64::new(NEVER),
            thread_id: AtomicI32::new(0),
            rescues: AtomicU64::new(0),
            long_polls: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// The next tick is due after `interval`.
    fn expect_in(&self, interval: Duration) {
        let answer_by_ns = clock::real_ns() + interval.as_nanos() as u64;
        self.answer_by_ns.store(answer_by_ns, Ordering::Release);
    }
}

/// What the sentinel saw of one core since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Sleeps ended from outside.
    pub(super) rescues: u64,
    /// Ticks that were late because a task kept the core.
    pub(super) long_polls: u64,
}

/// The pulses of all cores; shared by the cores and the watcher.
#[derive(Clone)]
pub(super) struct Pulses(Arc<[Pulse]>);

impl Pulses {
    pub(super) fn new(cores: usize) -> Self {
        Pulses((0..cores).map(|_| Pulse::default()).collect())
    }

    pub(super) fn cores(&self) -> usize {
        self.0.len()
    }

    pub(super) fn counts(&self, core: usize) -> Counts {
        let pulse = &self.0[core];
        Counts {
            rescues: pulse.rescues.load(Ordering::Relaxed),
            long_polls: pulse.long_polls.load(Ordering::Relaxed),
        }
    }
}

/// The watcher thread; dropping it ends the thread.
pub(super) struct Watcher {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches `pulses`, and aborts the process when one is silent for `silence_max`.
    pub(super) fn start(pulses: Pulses, silence_max: Duration) -> io::Result<Self> {
        interrupt::prepare()?;
        let ended = Arc::new(AtomicBool::new(false));
        let watch = Watch { pulses, silence_max, ended: Arc::clone(&ended) };
        let thread = thread::Builder::new().name("sentinel".into()).spawn(move || watch.run())?;
        Ok(Watcher { ended, thread: Some(thread) })
    }

    /// The thread, for [`tick`] to wake when a core becomes busy.
    pub(super) fn thread(&self) -> Thread {
        self.thread.as_ref().expect("taken only in drop").thread().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It never panics; were it to, the process is ending anyway.
            drop(thread.join());
        }
    }
}

/// Says that the calling thread is about to run the executor of `core`, and to expect ticks from here on.
pub(super) fn arm(pulses: &Pulses, core: usize) -> Armed {
    let pulse = &pulses.0[core];
    // SAFETY: the call has no preconditions.
    pulse.thread_id.store(unsafe { libc::gettid() }, Ordering::Relaxed);
    let armed = Armed { pulses: pulses.clone(), core };
    pulse.expect_in(TICK_MIN);
    armed
}

/// A thread the watcher expects ticks from, until this is dropped.
pub(super) struct Armed {
    pulses: Pulses,
    core: usize,
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.pulses.0[self.core].answer_by_ns.store(NEVER, Ordering::SeqCst);
    }
}

/// The tick task of `core`. Runs for ever, on its executor.
pub(super) async fn tick(pulses: Pulses, core: usize, watcher: Thread) {
    let pulse = &pulses.0[core];
    let mut pace = Pace { interval: TICK_MIN, seen: Work::so_far(pulse) };
    loop {
        pulse.expect_in(pace.interval);
        sleep(pace.interval).await;
        if pace.next(Work::so_far(pulse)) {
            // The watcher sleeps as long as the longest interval it saw.
            watcher.unpark();
        }
    }
}

/// What an executor has done since it began.
#[derive(Clone, Copy, Default)]
struct Work {
    /// How long its tasks have run.
    time: Duration,
    /// How many times it ran one, the tick task included.
    runs: u64,
    rescues: u64,
}

impl Work {
    /// Of the executor of this thread.
    fn so_far(pulse: &Pulse) -> Self {
        let stats = glommio::executor().executor_stats();
        Work {
            time: stats.executor_runtime(),
            runs: stats.tasks_executed(),
            rescues: pulse.rescues.load(Ordering::Relaxed),
        }
    }
}

/// How long to sleep until the next tick.
struct Pace {
    interval: Duration,
    seen: Work,
}

impl Pace {
    /// Adapts to what was done since the last tick; whether the interval became shorter.
    fn next(&mut self, work: Work) -> bool {
        let before = std::mem::replace(self, Pace { seen: work, ..*self });
        let busy = work.time.saturating_sub(before.seen.time) * BUSY_PART > before.interval;
        let longer = before.interval * 2;
        self.interval = if busy || work.rescues != before.seen.rescues {
            TICK_MIN
        } else if work.runs > before.seen.runs + 1 {
            longer.min(TICK_ACTIVE)
        } else {
            longer.min(TICK_MAX)
        };
        self.interval < before.interval
    }
}

/// The watcher's side.
struct Watch {
    pulses: Pulses,
    silence_max: Duration,
    ended: Arc<AtomicBool>,
}

/// What the watcher remembers of a core that does not answer.
#[derive(Clone, Copy, Default)]
struct Silence {
    /// The tick that is missing.
    answer_by_ns: u64,
    /// How long the watcher itself has looked at it. Not the time since the tick was due: when the whole process was stopped
    /// (a debugger, a suspended machine) that time is not the executor's.
    watched: Duration,
    /// How much of it was added by the last look.
    looked: Duration,
    is_new: bool,
}

impl Silence {
    /// Takes note that the tick due at `answer_by_ns` was missing for another `looked`.
    fn hear(&mut self, answer_by_ns: u64, looked: Duration) {
        let is_new = self.answer_by_ns != answer_by_ns;
        let before = if is_new { Duration::ZERO } else { self.watched };
        *self = Silence { answer_by_ns, watched: before + looked, looked, is_new };
    }

    /// Whether it grew over `limit` at the last look.
    fn passes(&self, limit: Duration) -> bool {
        self.watched >= limit && self.watched < limit + self.looked
    }
}

impl Watch {
    fn run(self) {
        let mut silences = vec![Silence::default(); self.pulses.0.len()];
        let mut now_ns = clock::real_ns();
        while !self.ended.load(Ordering::Acquire) {
            let before_ns = std::mem::replace(&mut now_ns, clock::real_ns());
            // However long this thread itself was kept from looking, it counts as one look.
            let looked = Duration::from_nanos(now_ns.saturating_sub(before_ns)).min(SLACK);
            let mut pause = TICK_MAX;
            for (core, silence) in silences.iter_mut().enumerate() {
                let pulse = &self.pulses.0[core];
                let answer_by_ns = pulse.answer_by_ns.load(Ordering::Acquire);
                if let Some(left) = time_left(answer_by_ns, now_ns) {
                    pause = pause.min(left.max(SLACK));
                } else {
                    pause = SLACK;
                    silence.hear(answer_by_ns, looked);
                    self.look_after(core, pulse, silence);
                }
            }
            thread::park_timeout(pause);
        }
    }

    /// A tick is overdue: was a wake lost, or does a task keep the core?
    fn look_after(&self, core: usize, pulse: &Pulse, silence: &Silence) {
        let thread_id = pulse.thread_id.load(Ordering::Relaxed);
        let asleep = is_asleep(thread_id);
        if asleep {
            interrupt::send(thread_id);
        }
        if silence.is_new {
            let count = if asleep { &pulse.rescues } else { &pulse.long_polls };
            count.fetch_add(1, Ordering::Relaxed);
        }
        if silence.passes(SILENCE_WORTH_A_WARNING) {
            tracing::warn!(core, "a task has kept its core for a second: nothing else runs there");
        }
        if silence.passes(self.silence_max) {
            tracing::error!(core, silent_for = ?silence.watched, "the core does not answer: aborting");
            print_stack_of(thread_id);
            std::process::abort();
        }
    }
}

/// `None` when a tick is overdue by more than the slack; otherwise the time left until it would be.
fn time_left(answer_by_ns: u64, now_ns: u64) -> Option<Duration> {
    let overdue_at = answer_by_ns.saturating_add(SLACK.as_nanos() as u64);
    (now_ns < overdue_at).then(|| Duration::from_nanos(overdue_at - now_ns))
}

#[cfg(test)]
mod tests {
    use super::super::child;
    use super::super::executors::{self, CoreContext, Options};
    use super::super::{Queue, spawn_into, yield_now};
    use super::*;
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::Instant;

    /// Runs a task of 300 turns on an executor that is preempted so soon that often not even one task has run by then: the
    /// condition under which glommio goes to sleep with tasks ready. With the usual half millisecond this takes a loaded machine and some
    /// minutes; with 10 us it happens within the first turns. Returns the rescues counted, or nothing when the work was not done
    /// within `patience`: then the executor sleeps on in a thread left behind.
    fn work(dir: &Path, sentinel: bool, preempt_us: u64, patience: Duration) -> Option<u64> {
        let (done, outcome) = mpsc::channel();
        let preempt_every = Duration::from_micros(preempt_us);
        let options = Options { cores: 1, sentinel, preempt_every, ..Options::default() };
        let dir = dir.to_owned();
        thread::spawn(move || {
            let start = move |ctx: CoreContext| {
                let done = done.clone();
                async move {
                    spawn_into(Queue::Query, turns()).await;
                    done.send(ctx.stats().rescues).ok();
                }
            };
            executors::run(&options, &dir, start).unwrap();
        });
        outcome.recv_timeout(patience).ok()
    }

    async fn turns() {
        for _ in 0..300 {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(20) {}
            yield_now().await;
        }
    }

    #[test]
    fn an_executor_asleep_with_work_is_woken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(work(dir.path(), true, 10, Duration::from_secs(30)).is_some());
    }

    #[test]
    fn without_the_sentinel_it_sleeps_on() {
        let dir = tempfile::tempdir().unwrap();
        let patience = Duration::from_millis(400);
        let sleeps_on = |preempt_us| work(dir.path(), false, preempt_us, patience).is_none();
        assert!(
            [10, 5, 2, 1].into_iter().any(sleeps_on),
            "glommio's loop no longer sleeps with tasks ready: is the sentinel still needed?"
        );
    }

    #[test]
    fn a_core_that_never_answers_aborts_the_process() {
        if child::is("deaf core") {
            let dir = tempfile::tempdir().unwrap();
            let silence_max = Duration::from_millis(200);
            let options = Options { cores: 1, silence_max, ..Options::default() };
            let block = |_| async {
                thread::sleep(Duration::from_mins(1));
            };
            executors::run(&options, dir.path(), block).unwrap();
        } else {
            let name = "runtime::sentinel::tests::a_core_that_never_answers_aborts_the_process";
            let output = child::run("deaf core", name);
            assert!(!output.status.success());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("stack of the thread that does not answer"), "{stderr}");
            assert!(stderr.contains("a_core_that_never_answers"), "{stderr}");
        }
    }

    #[test]
    fn the_pace_follows_the_work() {
        let mut work = Work::default();
        let mut pace = Pace { interval: TICK_MIN, seen: work };
        let mut after = |time, runs, rescues| {
            work.time += time;
            work.runs += runs;
            work.rescues += rescues;
            let shorter = pace.next(work);
            (pace.interval, shorter)
        };
        for _ in 0..10 {
            assert!(!after(Duration::ZERO, 1, 0).1);
        }
        assert_eq!(after(Duration::ZERO, 1, 0), (TICK_MAX, false), "only the tick itself ran");
        assert_eq!(after(TICK_MAX / 10, 2, 0), (TICK_ACTIVE, true), "a little work");
        assert_eq!(after(TICK_ACTIVE / 2, 2, 0), (TICK_MIN, true), "much work");
        assert_eq!(after(Duration::ZERO, 2, 0), (TICK_MIN * 2, false));
        assert_eq!(after(Duration::ZERO, 2, 1), (TICK_MIN, true), "a rescue");
    }
}
