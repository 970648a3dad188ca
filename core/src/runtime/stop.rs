//! Stop and reload: said once on any thread, heard on every core.
//!
//! [`Stopper`] sets a flag and wakes one relay task per core; the relay wakes whoever waits there. Nothing is stopped by force:
//! the code on each core hears [`StopSignal`], stops accepting, finishes what it holds and returns.

use super::mailbox::local::Notify;
use super::task::{Queue, spawn_into};
use futures_util::task::AtomicWaker;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

/// What all threads of a process share.
struct Orders {
    stopping: AtomicBool,
    reloads: AtomicU64,
    relays: Box<[AtomicWaker]>,
    /// Told the first time somebody says stop.
    on_stop: Box<dyn Fn() + Send + Sync>,
}

/// Stops or reloads the whole process, from any thread.
#[derive(Clone)]
pub struct Stopper(Arc<Orders>);

impl Stopper {
    pub(super) fn new(cores: usize, on_stop: impl Fn() + Send + Sync + 'static) -> Self {
        Stopper(Arc::new(Orders {
            stopping: AtomicBool::new(false),
            reloads: AtomicU64::new(0),
            relays: (0..cores).map(|_| AtomicWaker::new()).collect(),
            on_stop: Box::new(on_stop),
        }))
    }

    /// Asks every core to finish.
    pub fn stop(&self) {
        if !self.0.stopping.swap(true, Ordering::AcqRel) {
            (self.0.on_stop)();
        }
        self.0.relays.iter().for_each(AtomicWaker::wake);
    }

    /// Asks for the configuration to be read anew.
    pub fn reload(&self) {
        self.0.reloads.fetch_add(1, Ordering::AcqRel);
        self.0.relays.iter().for_each(AtomicWaker::wake);
    }

    /// Whether [`stop`](Stopper::stop) was called.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }
}

/// One core's ear.
struct Ear {
    stopper: Stopper,
    changed: Notify,
}

/// Tells the tasks of a core that the process stops.
#[derive(Clone)]
pub struct StopSignal(Rc<Ear>);

impl StopSignal {
    /// Ready once the process stops.
    pub async fn wait(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.is_stopping() {
                return;
            }
            changed.await;
        }
    }

    /// Whether the process stops.
    pub fn is_stopping(&self) -> bool {
        self.0.stopper.is_stopping()
    }

    /// The handle that stops the process from anywhere.
    pub fn stopper(&self) -> Stopper {
        self.0.stopper.clone()
    }
}

/// Tells the tasks of a core to read the configuration anew.
pub struct ReloadSignal {
    ear: Rc<Ear>,
    seen: Cell<u64>,
}

impl Clone for ReloadSignal {
    fn clone(&self) -> Self {
        ReloadSignal { ear: Rc::clone(&self.ear), seen: self.seen.clone() }
    }
}

impl ReloadSignal {
    /// Ready once a reload was asked for since the last call (several become one).
    pub async fn next(&self) {
        loop {
            let changed = self.ear.changed.notified();
            let reloads = self.ear.stopper.0.reloads.load(Ordering::Acquire);
            if self.seen.replace(reloads) != reloads {
                return;
            }
            changed.await;
        }
    }
}

/// Starts the relay of `core` on its executor.
pub(super) fn listen(stopper: &Stopper, core: usize) -> (StopSignal, ReloadSignal) {
    let ear = Rc::new(Ear { stopper: stopper.clone(), changed: Notify::new() });
    let seen = Cell::new(stopper.0.reloads.load(Ordering::Acquire));
    spawn_into(Queue::Control, relay(Rc::clone(&ear), core)).detach();
    (StopSignal(Rc::clone(&ear)), ReloadSignal { ear, seen })
}

/// Passes every order on to the tasks of this core, until the process stops.
async fn relay(ear: Rc<Ear>, core: usize) {
    let orders = Arc::clone(&ear.stopper.0);
    poll_fn(|cx| {
        orders.relays[core].register(cx.waker());
        ear.changed.notify_all();
        if orders.stopping.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::super::executors::CoreContext;
    use super::super::{mailbox, sim, sleep, spawn};
    use std::time::Duration;

    #[test]
    fn cores_of_the_simulation_talk_and_stop_like_real_ones() {
        for seed in 0..20 {
            sim::run(seed, async {
                let mesh = mailbox::mesh::<usize>(3, 2);
                let ctx = CoreContext::standalone(0, 3);
                let tasks = (0..3).map(|core| {
                    let (peers, mut inbox) = mesh.clone().join(core);
                    let stop = ctx.stop.clone();
                    spawn(async move {
                        let sender = spawn(async move {
                            for n in 0..10 {
                                peers.send((core + 1) % 3, n).await.unwrap();
                            }
                        });
                        for n in 0..10 {
                            assert_eq!(inbox.recv().await, Some(((core + 2) % 3, n)));
                        }
                        sender.await;
                        stop.wait().await;
                    })
                });
                let tasks: Vec<_> = tasks.collect();
                sleep(Duration::from_secs(1)).await;
                assert!(!ctx.stop.is_stopping());
                ctx.stop.stopper().stop();
                for task in tasks {
                    task.await;
                }
                assert!(ctx.stop.is_stopping());
            });
        }
    }

    #[test]
    fn several_reloads_become_one() {
        sim::run(1, async {
            let ctx = CoreContext::standalone(0, 1);
            let stopper = ctx.stop.stopper();
            stopper.reload();
            stopper.reload();
            ctx.reload.next().await;
            let again = super::super::timeout(Duration::from_secs(1), ctx.reload.next()).await;
            assert!(again.is_err());
            stopper.reload();
            ctx.reload.next().await;
        });
    }
}
