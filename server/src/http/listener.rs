//! The listener of one core: accepts up to its share of connections, serves each, ends the slow, drains on stop.
//!
//! Every core binds the same address (`SO_REUSEPORT`) and the kernel deals out connections; [`seats`](super::seats) even them out. At
//! the bound the connection that idles longest makes room; if all are busy, new ones wait in the kernel's backlog.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tidemark_core::runtime::clock::Instant;
use tidemark_core::runtime::mailbox::local::{Permit, Semaphore};
use tidemark_core::runtime::net::{TcpListener, TcpStream};
use tidemark_core::runtime::{Queue, StopSignal, sleep, spawn_into, timeout};

use super::answer::Reply;
use super::codec::{Codec, Scratch, scratch};
use super::life::{Busy, Life, Lives};
use super::seats::{Left, Seat, Usher};
use crate::limits::{DRAIN_MAX, HEAD_BYTES_MAX, HEADERS_MAX, SWEEP_EVERY};
use crate::metrics::counters::Counter;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerOptions {
    /// Connections of this core.
    pub(crate) connections_max: usize,
    /// How long a connection may idle.
    pub(crate) idle_max: Duration,
}

/// What listeners count.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounters {
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Connections ended for being slow or idle for too long.
    pub(crate) swept: Counter,
    /// Idle connections ended to make room.
    pub(crate) evicted: Counter,
    /// Connections open now.
    pub(crate) open: Counter,
}

/// Serves until the process stops, then until the last connection ends or the drain's deadline passes.
pub(crate) async fn serve<F, Fut>(
    listener: TcpListener,
    (usher, mut left): (Usher, Left),
    options: ListenerOptions,
    stop: StopSignal,
    counters: Rc<ListenerCounters>,
    respond: F,
) where
    F: Fn(Request<Incoming>, Busy) -> Fut + Clone + 'static,
    Fut: Future<Output = Response<Reply>> + 'static,
{
    let core = Core {
        lives: Rc::default(),
        room: Semaphore::new(options.connections_max.max(1)),
        scratch: scratch(),
        options,
        stop,
        counters,
        usher,
    };
    let sweeping =
        spawn_into(Queue::Control, sweep(Rc::clone(&core.lives), Rc::clone(&core.counters)));
    {
        let taking_over = core.take_over(&mut left, respond.clone());
        let accepting = pin!(join(core.accept(&listener, respond), taking_over));
        select(accepting, pin!(core.stop.wait())).await;
    }
    drop((listener, left));
    core.drain().await;
    drop(sweeping);
}

async fn sweep(lives: Rc<Lives>, counters: Rc<ListenerCounters>) {
    loop {
        sleep(SWEEP_EVERY).await;
        counters.swept.add(lives.sweep());
        counters.open.set(lives.len() as u64);
    }
}

/// What the connections of a core share.
struct Core {
    lives: Rc<Lives>,
    room: Semaphore,
    scratch: Scratch,
    options: ListenerOptions,
    stop: StopSignal,
    counters: Rc<ListenerCounters>,
    usher: Usher,
}

impl Core {
    async fn accept<F, Fut>(&self, listener: &TcpListener, respond: F)
    where
        F: Fn(Request<Incoming>, Busy) -> Fut + Clone + 'static,
        Fut: Future<Output = Response<Reply>> + 'static,
    {
        loop {
            let permit = self.permit().await;
            match listener.accept().await {
                Ok(stream) => {
                    if let Some((stream, seat)) = self.usher.place(stream) {
                        self.start(stream, (permit, seat), respond.clone());
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: the connections that end free some.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves what other cores have left to this one.
    async fn take_over<F, Fut>(&self, left: &mut Left, respond: F)
    where
        F: Fn(Request<Incoming>, Busy) -> Fut + Clone + 'static,
        Fut: Future<Output = Response<Reply>> + 'static,
    {
        while let Some((stream, seat)) = left.next().await {
            let permit = self.permit().await;
            self.start(stream, (permit, seat), respond.clone());
        }
    }

    async fn permit(&self) -> Permit {
        if let Some(permit) = self.room.try_acquire(1) {
            return permit;
        }
        if self.lives.evict_idle() {
            self.counters.evicted.add(1);
        }
        self.room.acquire(1).await
    }

    fn start<F, Fut>(&self, stream: TcpStream, held: (Permit, Seat), respond: F)
    where
        F: Fn(Request<Incoming>, Busy) -> Fut + 'static,
        Fut: Future<Output = Response<Reply>> + 'static,
    {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection went away at once");
            return;
        }
        let life = Life::new(self.options.idle_max, stream.peer_addr().ok());
        self.lives.insert(&life);
        self.counters.accepted.add(1);
        self.counters.open.set(self.lives.len() as u64);
        let codec = Codec::watched(stream, Rc::clone(&self.scratch), Rc::clone(&life));
        let (lives, stop) = (Rc::clone(&self.lives), self.stop.clone());
        spawn_into(Queue::Ingest, async move {
            connection(codec, &life, stop, respond).await;
            lives.remove(&life);
            drop(held);
        })
        .detach();
    }

    /// Waits for connections to end by themselves, then ends the rest.
    async fn drain(&self) {
        let deadline = Instant::now() + DRAIN_MAX;
        while self.lives.len() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        if self.lives.len() > 0 {
            tracing::warn!(connections = self.lives.len(), "requests did not end in time");
        }
    }
}

async fn connection<F, Fut>(codec: Codec<TcpStream>, life: &Rc<Life>, stop: StopSignal, respond: F)
where
    F: Fn(Request<Incoming>, Busy) -> Fut + 'static,
    Fut: Future<Output = Response<Reply>> + 'static,
{
    let service = service_fn(|request| {
        let response = respond(request, life.busy());
        async { Ok::<_, Infallible>(response.await) }
    });
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(codec, service);
    let mut serving = pin!(serving);
    let ends = pin!(async {
        match select(pin!(stop.wait()), pin!(life.ended())).await {
            Either::Left(_) => true,
            Either::Right(_) => false,
        }
    });
    match select(serving.as_mut(), ends).await {
        Either::Left((Err(error), _)) => tracing::debug!(%error, "connection broke"),
        Either::Right((true, _)) => {
            serving.as_mut().graceful_shutdown();
            drop(timeout(DRAIN_MAX, serving).await);
        }
        Either::Left((Ok(()), _)) | Either::Right((false, _)) => {}
    }
}
