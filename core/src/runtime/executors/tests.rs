//! The executors as the code above sees them: real ones, a few milliseconds each.

use super::super::mailbox::{self, external};
use super::super::net::{TcpListener, TcpStream};
use super::super::{sleep, spawn, timeout, unblock, yield_if_needed, yield_now};
use super::*;
use futures_util::{AsyncReadExt, AsyncWriteExt, FutureExt};
use std::cell::Cell;
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

/// Without `shield::end_all` the process aborts: a task that is dropped with its queue cancels one in a queue not dropped yet.
#[test]
fn tasks_left_over_are_dropped_with_their_executor() {
    let held = Arc::new(());
    let shared = Arc::clone(&held);
    on_cores(1, move |_| {
        let held = Arc::clone(&shared);
        async move {
            for queue in Queue::ALL {
                let held = Arc::clone(&held);
                let busy = spawn_into(queue, async move {
                    let _waiting = Queue::ALL.map(|other| {
                        let held = Arc::clone(&held);
                        spawn_into(other, async move {
                            std::future::pending::<()>().await;
                            drop(held);
                        })
                    });
                    loop {
                        yield_now().await;
                    }
                });
                busy.detach();
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

/// What is counted is work, so that a busy machine changes nothing: a step of a query is 100 us at least, and a sleep of 1 ms lets
/// about twenty of them pass. With glommio's own preemption timer of 100 ms it would be a thousand.
#[test]
fn ingestion_moves_while_queries_saturate_the_core() {
    const TURNS: u64 = 20;
    on_cores(1, |_| async {
        let steps = Rc::new(Cell::new(0_u64));
        let storm: Vec<_> = (0..4)
            .map(|_| {
                let steps = Rc::clone(&steps);
                spawn_into(Queue::Query, async move {
                    loop {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(100) {}
                        steps.set(steps.get() + 1);
                        yield_if_needed().await;
                    }
                })
            })
            .collect();
        let turns = spawn_into(Queue::Ingest, async {
            for _ in 0..TURNS {
                sleep(Duration::from_millis(1)).await;
            }
        });
        turns.await;
        drop(storm);
        let each = steps.get() / TURNS;
        assert!(each < 200, "{each} steps of queries between two turns of ingestion");
    })
    .unwrap();
}

#[test]
fn an_idle_core_sleeps() {
    on_cores(1, |_| async {
        sleep(Duration::from_millis(150)).await;
        let before = thread_time();
        sleep(Duration::from_millis(400)).await;
        let used = thread_time().saturating_sub(before);
        assert!(used < Duration::from_millis(12), "{used:?} of 400 ms");
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
