//! A socket of the runtime as hyper wants it.
//!
//! Reads go through one buffer that all connections of a core share: hyper hands out uninitialised memory, and to zero up
//! to 400 KiB of it before each read costs more than to copy what really came. Small writes of several pieces (head and
//! body) leave in one packet; large ones are written where they lie.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::life::Life;
use crate::limits::SOCKET_BYTES;

/// The buffer that the connections of one core share.
pub(crate) type Scratch = Rc<RefCell<Box<[u8]>>>;

/// A fresh buffer.
pub(crate) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; SOCKET_BYTES].into_boxed_slice()))
}

/// A stream for hyper.
pub(crate) struct Codec<S> {
    stream: S,
    scratch: Scratch,
    life: Option<Rc<Life>>,
    /// Whether what comes next still belongs to the line of a request.
    in_line: bool,
}

impl<S> Codec<S> {
    /// A stream whose progress nobody watches.
    pub(crate) fn new(stream: S, scratch: Scratch) -> Self {
        Codec { stream, scratch, life: None, in_line: false }
    }

    /// A stream that tells `life` of its progress.
    pub(crate) fn watched(stream: S, scratch: Scratch, life: Rc<Life>) -> Self {
        Codec { stream, scratch, life: Some(life), in_line: false }
    }

    fn tell_write(&self, moved: bool) {
        if let Some(life) = &self.life {
            life.write_moved(moved);
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Codec<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut buffer = this.scratch.borrow_mut();
        // A mended byte becomes three.
        let room = match &this.life {
            Some(life) if this.in_line || life.is_idle() => cursor.remaining() / 3,
            _ => cursor.remaining(),
        };
        let room = room.min(buffer.len());
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer[..room]))?;
        if let Some(life) = &this.life
            && read > 0
        {
            this.in_line |= life.is_idle();
            life.bytes_came();
        }
        let mut rest = &buffer[..read];
        if this.in_line {
            let line = rest.iter().position(|b| *b == b'\n');
            this.in_line = line.is_none();
            let (line, after) = rest.split_at(line.unwrap_or(rest.len()));
            put_mended(&mut cursor, line);
            rest = after;
        }
        cursor.put_slice(rest);
        Poll::Ready(Ok(()))
    }
}

/// Puts part of a request's line, mended.
fn put_mended(cursor: &mut ReadBufCursor<'_>, line: &[u8]) {
    for piece in line.split_inclusive(|b| matches!(b, b'"' | b'<' | b'>')) {
        let Some((last, plain)) = piece.split_last() else { continue };
        cursor.put_slice(plain);
        cursor.put_slice(match last {
            b'"' => b"%22",
            b'<' => b"%3C",
            b'>' => b"%3E",
            last => std::slice::from_ref(last),
        });
    }
}

impl<S: AsyncWrite + Unpin> Write for Codec<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.tell_write(written.is_ready());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(first) = pieces.iter().position(|piece| !piece.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        let mut buffer = this.scratch.borrow_mut();
        let mut filled = 0;
        for piece in &pieces[first..] {
            if piece.len() > buffer.len() - filled {
                break;
            }
            buffer[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        let bytes = if filled > 0 { &buffer[..filled] } else { &*pieces[first] };
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        drop(buffer);
        this.tell_write(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::io::Cursor;

    use super::*;

    #[test]
    fn small_pieces_leave_together_and_large_ones_alone() {
        let mut codec = Codec::new(Cursor::new(Vec::new()), scratch());
        let mut cx = Context::from_waker(Waker::noop());
        let mut write = |pieces: &[IoSlice<'_>]| match Pin::new(&mut codec)
            .poll_write_vectored(&mut cx, pieces)
        {
            Poll::Ready(Ok(n)) => n,
            other => panic!("{other:?}"),
        };
        assert_eq!(write(&[IoSlice::new(b""), IoSlice::new(b"head"), IoSlice::new(b"body")]), 8);
        let large = vec![b'x'; SOCKET_BYTES * 2];
        assert_eq!(write(&[IoSlice::new(b"head"), IoSlice::new(&large)]), 4);
        assert_eq!(write(&[IoSlice::new(&large)]), large.len());
        assert_eq!(write(&[]), 0);
    }
}
