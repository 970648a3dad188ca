//! TCP sockets on the executor of this core.
//!
//! Every core binds the same address with `SO_REUSEPORT`, and the kernel deals out the connections, which may move on to another core
//! as [`TcpSocket`]s; `SO_REUSEADDR` lets a restarted server bind while old connections linger. Names are resolved apart ([`resolve`]), since that blocks. The simulation
//! has no network.

use super::task::unblock;
use futures_io::{AsyncRead, AsyncWrite};
use glommio::GlommioError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A listening socket of one core.
pub struct TcpListener {
    inner: glommio::net::TcpListener,
    local_addr: SocketAddr,
}

impl TcpListener {
    /// Listens on `addr` with room for `backlog` connections that nobody accepted yet. Port 0 takes a free one: see
    /// [`local_addr`](TcpListener::local_addr), and bind the other cores to that.
    pub fn bind(addr: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let local_addr = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a TCP socket without an internet address"))?;
        // SAFETY: the descriptor is a listening socket that nobody else owns; `into_raw_fd` gave it up.
        let inner = unsafe { glommio::net::TcpListener::from_raw_fd(socket.into_raw_fd()) };
        Ok(TcpListener { inner, local_addr })
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept(2). Too many open files (`EMFILE`) among them: wait a little, then go on.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        self.inner.accept().await.map(TcpStream).map_err(io_error)
    }

    /// The address bound, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// A connection, bound to the core that accepted or opened it.
pub struct TcpStream(glommio::net::TcpStream);

impl TcpStream {
    /// Connects to `addr`. Has no time-out of its own: wrap it in [`timeout`](super::timeout).
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        glommio::net::TcpStream::connect(addr).await.map(TcpStream).map_err(io_error)
    }

    /// The other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr().map_err(io_error)
    }

    /// This end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr().map_err(io_error)
    }

    /// Another handle on the same connection, to be served by another core: drop this one.
    pub fn socket(&self) -> io::Result<TcpSocket> {
        // SAFETY: the stream keeps its descriptor open for as long as it is borrowed here.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        descriptor.try_clone_to_owned().map(TcpSocket)
    }

    /// Whether small writes are sent at once (no Nagle).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.set_nodelay(nodelay).map_err(io_error)
    }

    /// Says that nothing more will be written; reading goes on. The same as closing through [`AsyncWrite`].
    pub async fn shutdown_write(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write).await.map_err(io_error)
    }
}

/// A connection on its way from one core to another.
#[derive(Debug)]
pub struct TcpSocket(OwnedFd);

impl TcpSocket {
    /// Binds it to this core.
    pub fn bind(self) -> TcpStream {
        // SAFETY: the descriptor is a connected socket that nobody else owns; `into_raw_fd` gave it up.
        TcpStream(unsafe { glommio::net::TcpStream::from_raw_fd(self.0.into_raw_fd()) })
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// The addresses of `host`, asked of the system's resolver on a thread apart.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    unblock(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect)).await
}

/// glommio wraps the system's error; callers match on its kind and number.
fn io_error<T>(error: GlommioError<T>) -> io::Error {
    error.into()
}
