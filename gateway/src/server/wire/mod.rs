//! The bytes of a downstream connection: the place where they are first seen, and where this gateway is strict.
//!
//! Here the version is told by the first bytes, and the clock of the head starts. Between the socket and hyper stands the
//! [`Tap`](tap::Tap), which scans each HTTP/1 head and its framing and counts the frames of HTTP/2. What the messages mean is for
//! `proxy/receive`.

mod tap;
mod framing;
mod head;
mod chunks;
mod bytes;
mod fault;
mod frames;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ::bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use self::framing::{End, Framing};
use self::head::HeadLimits;
use self::tap::Tap;
use super::pulse::Pulse;
use super::stream::Stream;
use crate::proxy::Unread;
use crate::snapshot::ListenerLimits;

/// What was found in the bytes of a connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Messages {
    /// Heads that were passed on.
    pub heads: usize,
    /// Messages that were passed on to their ends.
    pub messages: usize,
    /// Bytes that were passed on.
    pub passed: usize,
    /// Whether what follows is refused.
    pub is_refused: bool,
}

/// Reads HTTP/1 as it would be read from a client, in these pieces, for tests that hold it against other readers.
pub fn read_messages<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Messages {
    let mut framing = Framing::new(HeadLimits { bytes: 64 << 10, target_bytes: 16 << 10, fields: 100 });
    let mut held = Vec::new();
    let mut passed = 0;
    let mut is_refused = false;
    for piece in pieces {
        held.extend_from_slice(piece);
        framing.decide();
        let mut scanned = framing.scan(&held);
        // The answer to a request that asked for another protocol is taken to be one of this.
        while scanned.end == End::Held && framing.is_undecided() {
            passed += scanned.good;
            held.drain(..scanned.good);
            framing.decide();
            scanned = framing.scan(&held);
        }
        passed += scanned.good;
        held.drain(..scanned.good);
        if !matches!(scanned.end, End::All | End::Held) {
            is_refused = true;
            break;
        }
    }
    let (heads, messages) = framing.counts();
    Messages { heads, messages, passed, is_refused }
}

/// What the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A client's bytes, watched, in the form that hyper takes. Boxed: a connection's future holds it more than once, and mostly waits.
pub(super) struct Wire(TokioIo<Box<Tap>>);

impl Wire {
    pub(super) fn new(stream: Stream, limits: &ListenerLimits, pulse: Rc<Pulse>, unread: Unread) -> Self {
        Self(TokioIo::new(Box::new(Tap::new(stream, limits, pulse, unread))))
    }

    /// Reads until the bytes are, or cannot become, the preface of HTTP/2 (RFC 9113 §3.4).
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        self.0.inner_mut().protocol().await
    }

    /// The bare stream, and what was read from it and not yet handed on: another protocol goes on with it, unwatched.
    pub(super) fn into_inner(self) -> (Stream, Bytes) {
        self.0.into_inner().into_inner()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, bytes)
    }
}
