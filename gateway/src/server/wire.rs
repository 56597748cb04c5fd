//! The bytes of a downstream connection: the place where they are first seen.
//!
//! Here the version is told by the first bytes, and the clock of the head starts. The strict scan of each head and its
//! framing belongs here, too, between the socket and hyper.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use super::pulse::Pulse;
use super::stream::Stream;

/// What the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A client's bytes, watched.
pub(super) struct Wire {
    stream: TokioIo<Stream>,
    /// Read already, to tell the protocol; hyper reads it first.
    first: [u8; PREFACE.len()],
    first_start: usize,
    first_end: usize,
    pulse: Rc<Pulse>,
}

impl Wire {
    pub(super) fn new(stream: Stream, pulse: Rc<Pulse>) -> Self {
        Self { stream: TokioIo::new(stream), first: [0; PREFACE.len()], first_start: 0, first_end: 0, pulse }
    }

    /// The bare stream, and what was read of it and not handed on: for what the connection was turned into.
    pub(super) fn into_inner(self) -> (Stream, Bytes) {
        let rest = Bytes::copy_from_slice(&self.first[self.first_start..self.first_end]);
        (self.stream.into_inner(), rest)
    }

    /// Reads until the bytes are, or cannot become, the preface of HTTP/2 (RFC 9113 §3.4).
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        loop {
            let seen = &self.first[..self.first_end];
            if !PREFACE.starts_with(seen) {
                return Ok(Protocol::Http1);
            }
            if seen.len() == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
            match self.stream.inner_mut().read(&mut self.first[self.first_end..]).await? {
                0 => return Ok(Protocol::Http1),
                read => self.first_end += read,
            }
            self.pulse.heard();
        }
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.first_start < wire.first_end {
            let bytes = &wire.first[wire.first_start..wire.first_end];
            let taken = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..taken]);
            wire.first_start += taken;
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut wire.stream).poll_read(context, buffer);
        if read.is_ready() {
            wire.pulse.heard();
        }
        read
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
