//! A body that is made as it is sent: one task makes pieces and compresses them, the connection takes them.
//!
//! ```text
//! Rest::next --> Packer (zstd, gzip or nothing) --> a channel of PIECES_WAITING --> hyper --> socket
//! ```
//!
//! A client that does not read leaves the channel full, and the maker waits; one that hangs up drops the receiver, and with it the
//! task. What an answer holds beside its values is so a few pieces, however long it is.

use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, LocalBoxStream, Stream as _, StreamExt as _};
use tidemark_core::runtime::mailbox::local::{Receiver, channel};
use tidemark_core::runtime::{Task, spawn, yield_if_needed};
use tidemark_query::api::Rest;

use crate::limits::{COMPRESSED_STEP_BYTES, PIECES_WAITING, ZSTD_LEVEL};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Zstandard, RFC 8878.
    Zstd,
    /// gzip, RFC 1952.
    Gzip,
}

impl Coding {
    /// All, the best first.
    pub(crate) const ALL: [Coding; 2] = [Coding::Zstd, Coding::Gzip];

    /// As headers name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }
}

/// Compresses a body that comes in pieces.
pub(crate) enum Packer {
    /// It stays as it is.
    Plain,
    /// With its output so far.
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    /// With its output so far.
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Packer {
    /// A body with this coding begins.
    pub(crate) fn new(coding: Option<Coding>) -> Self {
        match coding {
            None => Packer::Plain,
            Some(Coding::Gzip) => {
                Packer::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::fast())))
            }
            Some(Coding::Zstd) => {
                let encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL);
                Packer::Zstd(Box::new(encoder.expect("the level is one of zstd's")))
            }
        }
    }

    /// What is to be sent after `piece` was added; may be nothing yet.
    pub(crate) fn pack(&mut self, piece: Bytes) -> Bytes {
        const TO_MEMORY: &str = "a Vec takes everything";
        let out = match self {
            Packer::Plain => return piece,
            Packer::Zstd(encoder) => {
                encoder.write_all(&piece).expect(TO_MEMORY);
                encoder.get_mut()
            }
            Packer::Gzip(encoder) => {
                encoder.write_all(&piece).expect(TO_MEMORY);
                encoder.get_mut()
            }
        };
        std::mem::take(out).into()
    }

    /// What is to be sent after the last piece.
    pub(crate) fn finish(self) -> Bytes {
        const TO_MEMORY: &str = "a Vec takes everything";
        match self {
            Packer::Plain => Bytes::new(),
            Packer::Zstd(encoder) => encoder.finish().expect(TO_MEMORY).into(),
            Packer::Gzip(encoder) => encoder.finish().expect(TO_MEMORY).into(),
        }
    }
}

/// A whole body, compressed; other tasks run in between.
pub(crate) async fn packed(body: &Bytes, coding: Coding) -> Bytes {
    let mut packer = Packer::new(Some(coding));
    let mut out = Vec::with_capacity(body.len() / 4);
    for from in (0..body.len()).step_by(COMPRESSED_STEP_BYTES) {
        let step = body.slice(from..body.len().min(from + COMPRESSED_STEP_BYTES));
        out.extend_from_slice(&packer.pack(step));
        yield_if_needed().await;
    }
    out.extend_from_slice(&packer.finish());
    out.into()
}

/// The pieces of a body, as they come. Who drops them ends what makes them.
pub(crate) struct Pieces {
    pieces: LocalBoxStream<'static, Bytes>,
    _maker: Task<()>,
}

impl Pieces {
    /// Those that `rest` makes, compressed by `packer`; made in the queue of the caller.
    pub(crate) fn made(mut rest: Rest, mut packer: Packer) -> Self {
        let (sender, receiver) = channel(PIECES_WAITING);
        let maker = spawn(async move {
            let mut more = true;
            while more {
                let piece;
                (piece, more) = rest.next().await;
                let packed = packer.pack(piece.into());
                if !packed.is_empty() && sender.send(packed).await.is_err() {
                    return;
                }
                yield_if_needed().await;
            }
            let last = packer.finish();
            if !last.is_empty() {
                // Who is gone needs no end.
                let _ = sender.send(last).await;
            }
        });
        Pieces::from_channel(receiver, maker)
    }

    /// Those that `maker` sends.
    pub(crate) fn from_channel(receiver: Receiver<Bytes>, maker: Task<()>) -> Self {
        let next = |mut receiver: Receiver<Bytes>| async move {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        };
        Pieces { pieces: stream::unfold(receiver, next).boxed_local(), _maker: maker }
    }

    /// The next one; none after the last.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Pin::new(&mut self.pieces).poll_next(cx)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io::Read as _;
    use std::rc::Rc;

    use tidemark_core::runtime::{sim, yield_now};
    use tidemark_query::api::Response;

    use super::*;

    /// An answer of so many pieces of 1,000 bytes after the first; counts those that were made.
    fn counted(count: usize) -> (Rest, Rc<Cell<usize>>) {
        let made = Rc::new(Cell::new(0));
        let counter = Rc::clone(&made);
        let response = Response::pieces("text/plain", move |out| {
            counter.set(counter.get() + 1);
            out.extend_from_slice(&[b'x'; 1_000]);
            counter.get() <= count
        });
        (response.rest.expect("more than a piece"), made)
    }

    #[test]
    fn pieces_arrive_whole_in_every_coding() {
        sim::run(1, async {
            for coding in [None, Some(Coding::Zstd), Some(Coding::Gzip)] {
                let mut pieces = Pieces::made(counted(500).0, Packer::new(coding));
                let mut all = Vec::new();
                while let Some(piece) = poll_fn(|cx| pieces.poll_next(cx)).await {
                    assert!(!piece.is_empty(), "an empty chunk would end the body");
                    all.extend_from_slice(&piece);
                }
                let plain = match coding {
                    None => all,
                    Some(Coding::Zstd) => zstd::stream::decode_all(&*all).unwrap(),
                    Some(Coding::Gzip) => {
                        let mut plain = Vec::new();
                        flate2::read::GzDecoder::new(&*all).read_to_end(&mut plain).unwrap();
                        plain
                    }
                };
                assert_eq!(plain.len(), 500 * 1_000, "{coding:?}");
            }
        });
    }

    #[test]
    fn who_does_not_read_stops_the_maker() {
        sim::run(2, async {
            let (rest, made) = counted(500);
            let mut pieces = Pieces::made(rest, Packer::new(None));
            for _ in 0..100 {
                yield_now().await;
            }
            let waiting = made.get();
            assert!(waiting <= PIECES_WAITING + 3, "{waiting} pieces were made for nobody");
            poll_fn(|cx| pieces.poll_next(cx)).await;
            for _ in 0..100 {
                yield_now().await;
            }
            assert_eq!(made.get(), waiting + 1);
            drop(pieces);
            for _ in 0..100 {
                yield_now().await;
            }
            assert_eq!(made.get(), waiting + 1, "who hung up needs no more");
        });
    }
}
