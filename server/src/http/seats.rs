//! Which core serves a connection: the one with the fewest.
//!
//! The kernel chooses the core that accepts by a hash of the addresses, so that all of a few senders may come to one core, for as long as
//! they live. A core that has more connections than another leaves the new one to that: its socket goes through a bounded mesh. Where that has
//! no room, it stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tidemark_core::runtime::mailbox::{self, Inbox, Mesh, Peers, TrySendError};
use tidemark_core::runtime::net::{TcpSocket, TcpStream};

use crate::limits::SOCKETS_LEFT_MAX;

/// The connections of all cores, made before the cores start.
#[derive(Clone)]
pub(crate) struct Seats {
    /// Of each core, those on their way to it included.
    taken: Arc<[AtomicUsize]>,
    mesh: Mesh<(TcpSocket, Seat)>,
}

/// The view of one core.
pub(crate) struct Usher {
    taken: Arc<[AtomicUsize]>,
    peers: Peers<(TcpSocket, Seat)>,
}

/// The place of one connection, counted until it is dropped.
pub(crate) struct Seat {
    taken: Arc<[AtomicUsize]>,
    core: usize,
}

/// Connections that other cores have left to this one.
pub(crate) struct Left(Inbox<(TcpSocket, Seat)>);

impl Seats {
    /// Of so many cores.
    pub(crate) fn new(cores: usize) -> Self {
        let taken = (0..cores).map(|_| AtomicUsize::new(0)).collect();
        Seats { taken, mesh: mailbox::mesh(cores, SOCKETS_LEFT_MAX) }
    }

    /// The two ends of one core, on its thread.
    pub(crate) fn join(self, core: usize) -> (Usher, Left) {
        let (peers, inbox) = self.mesh.join(core);
        (Usher { taken: self.taken, peers }, Left(inbox))
    }
}

impl Usher {
    /// The place of a connection that was accepted here; none if another core serves it.
    pub(crate) fn place(&self, stream: TcpStream) -> Option<(TcpStream, Seat)> {
        let here = self.peers.core();
        let to = self.emptiest();
        if to != here
            && let Ok(socket) = stream.socket()
        {
            match self.peers.try_send(to, (socket, self.seat(to))) {
                Ok(()) => return None,
                // Another handle on the same socket; it is served here.
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => drop(back),
            }
        }
        Some((stream, self.seat(here)))
    }

    /// The core with the fewest connections; this one if no other has fewer.
    fn emptiest(&self) -> usize {
        let taken = |core: usize| self.taken[core].load(Relaxed);
        let here = self.peers.core();
        let least = (0..self.taken.len()).min_by_key(|&core| (taken(core), core != here));
        least.unwrap_or(here)
    }

    fn seat(&self, core: usize) -> Seat {
        self.taken[core].fetch_add(1, Relaxed);
        Seat { taken: Arc::clone(&self.taken), core }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken[self.core].fetch_sub(1, Relaxed);
    }
}

impl Left {
    /// The next one, bound to this core; `None` once no core is left that might leave any.
    pub(crate) async fn next(&mut self) -> Option<(TcpStream, Seat)> {
        let (_, (socket, seat)) = self.0.recv().await?;
        Some((socket.bind(), seat))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream as Client;
    use std::thread;

    use futures_util::AsyncWriteExt;
    use tidemark_core::runtime::executors;
    use tidemark_core::runtime::net::TcpListener;
    use tidemark_core::runtime::unblock;

    use super::*;

    const CLIENTS: usize = 6;

    /// Connects one client after the other, all kept open; what the core that serves it says to each.
    fn clients(address: std::net::SocketAddr) -> Vec<u8> {
        let mut open: Vec<Client> = Vec::new();
        let answer = |_| {
            let mut client = Client::connect(address).unwrap();
            let mut core = [0];
            client.read_exact(&mut core).unwrap();
            open.push(client);
            core[0]
        };
        (0..CLIENTS).map(answer).collect()
    }

    async fn greet(core: usize, (mut stream, seat): (TcpStream, Seat)) -> (TcpStream, Seat) {
        stream.write_all(&[core as u8]).await.unwrap();
        (stream, seat)
    }

    #[test]
    fn connections_that_one_core_accepts_are_shared_out() {
        let dir = tempfile::tempdir().unwrap();
        let options = executors::Options { cores: 2, pin: false, ..executors::Options::default() };
        let seats = Seats::new(2);
        executors::run(&options, dir.path(), move |ctx| {
            let seats = seats.clone();
            async move {
                let (usher, mut left) = seats.clone().join(ctx.core);
                let mut served = Vec::new();
                if ctx.core == 1 {
                    while served.len() < CLIENTS / 2 {
                        served.push(greet(1, left.next().await.unwrap()).await);
                    }
                    return ctx.stop.wait().await;
                }
                let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
                let address = listener.local_addr();
                let clients = thread::spawn(move || clients(address));
                for _ in 0..CLIENTS {
                    if let Some(placed) = usher.place(listener.accept().await.unwrap()) {
                        served.push(greet(0, placed).await);
                    }
                }
                let answers = unblock(move || clients.join().unwrap()).await;
                assert_eq!(answers, [0, 1, 0, 1, 0, 1]);
                let taken = || [0, 1].map(|core| usher.taken[core].load(Relaxed));
                assert_eq!(taken(), [3, 3]);
                drop(served);
                assert_eq!(taken(), [0, 3], "a place is free when its connection ends");
                ctx.stop.stopper().stop();
            }
        })
        .unwrap();
    }
}
