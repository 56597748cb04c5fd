//! The tap on a client's stream: what it reads is scanned where it lies, in hyper's own buffer, and cut off where it is wrong.
//!
//! Only bytes that hyper may not see yet are copied: a head that arrives in pieces, until all of it is there.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::super::overload::Refusal as Reason;
use super::super::pulse::Pulse;
use super::super::stream::Stream;
use super::Protocol;
use super::bytes::LF;
use super::fault::{Fault, refusal};
use super::frames::{ENHANCE_YOUR_CALM, Frames};
use super::framing::{End, Framing};
use super::head::{HeadLimits, line_of};
use crate::proxy::{self, Unread};
use crate::snapshot::ListenerLimits;

/// A client's stream, watched.
pub(super) struct Tap {
    stream: Stream,
    watch: Watch,
    /// Read already, to tell the protocol; hyper reads it first.
    first: [u8; PREFACE.len()],
    first_start: usize,
    first_end: usize,
    /// What was read and may not be passed on yet.
    held: BytesMut,
    /// So many bytes of it may be by now.
    cleared: usize,
    held_max: usize,
    refused: Option<Refused>,
    farewell: Option<Box<Farewell>>,
    pulse: Rc<Pulse>,
    unread: Unread,
}

enum Watch {
    Http1(Framing),
    Http2(Box<Frames>),
}

/// What the client did wrong. It ends the connection, and nothing that came behind it is read.
enum Refused {
    /// No part of this request has been passed on; `told` once hyper has seen an end in its place, and asks to close.
    Head { answer: Bytes, told: bool },
    /// The request is under way, and is told that its body has failed.
    Body(Fault),
}

/// The end of a connection whose client may still be sending: a socket that is closed with bytes unread takes the answer with it.
struct Farewell {
    answer: Bytes,
    is_shut: bool,
    bytes_left: usize,
}

impl Tap {
    pub(super) fn new(stream: Stream, limits: &ListenerLimits, pulse: Rc<Pulse>, unread: Unread) -> Self {
        let head =
            HeadLimits { bytes: limits.head_bytes, target_bytes: limits.target_bytes, fields: limits.header_count };
        Self {
            stream,
            watch: Watch::Http1(Framing::new(head)),
            first: [0; PREFACE.len()],
            first_start: 0,
            first_end: 0,
            held: BytesMut::new(),
            cleared: 0,
            held_max: limits.head_bytes,
            refused: None,
            farewell: None,
            pulse,
            unread,
        }
    }

    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        loop {
            let seen = &self.first[..self.first_end];
            if !PREFACE.starts_with(seen) {
                return Ok(Protocol::Http1);
            }
            if seen.len() == PREFACE.len() {
                self.watch = Watch::Http2(Box::new(Frames::new(self.pulse.now())));
                return Ok(Protocol::Http2);
            }
            match self.stream.read(&mut self.first[self.first_end..]).await? {
                0 => return Ok(Protocol::Http1),
                read => self.first_end += read,
            }
            self.pulse.heard();
        }
    }

    pub(super) fn into_inner(self) -> (Stream, Bytes) {
        // Whoever goes on with the stream sees for itself whether it takes more.
        self.pulse.wrote(0);
        (self.stream, self.held.freeze())
    }

    fn read_http1(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.cleared > 0 {
                self.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            match &mut self.refused {
                None => {}
                Some(Refused::Body(fault)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, *fault)));
                }
                // Requests before it are answered first. hyper asks again when the last of them is.
                Some(Refused::Head { .. }) if self.pulse.is_serving() => return Poll::Pending,
                Some(Refused::Head { told, .. }) => {
                    *told = true;
                    return Poll::Ready(Ok(()));
                }
            }
            if self.pulse.is_late() {
                if self.held.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let held = std::mem::take(&mut self.held);
                self.refuse_head(Fault::TooSlow, &held);
                continue;
            }
            if self.is_undecided() {
                if self.pulse.is_serving() {
                    return self.hold(context);
                }
                self.decide();
            } else if self.held.is_empty() {
                let before = buffer.filled().len();
                let polled = self.read_in_place(context, buffer)?;
                let nothing_came = self.held.is_empty() && self.refused.is_none();
                if buffer.filled().len() > before {
                    return Poll::Ready(Ok(()));
                } else if nothing_came {
                    return polled.map(Ok);
                }
            } else if ready!(self.read_behind_held(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The common way: hyper's buffer is filled and scanned.
    fn read_in_place(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> io::Result<Poll<()>> {
        let before = buffer.filled().len();
        buffer.put_slice(&self.first[self.first_start..self.first_end]);
        self.first_start = self.first_end;
        let polled = match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => Poll::Ready(read?),
            Poll::Pending => Poll::Pending,
        };
        let bytes = &buffer.filled()[before..];
        let Watch::Http1(framing) = &mut self.watch else { return Ok(polled) };
        let scanned = framing.scan(bytes);
        if !bytes.is_empty() {
            self.pulse.heard();
        }
        if scanned.end == End::Held {
            self.held.extend_from_slice(&bytes[scanned.good..]);
        }
        self.settle(scanned.end, &bytes[scanned.good..]);
        buffer.set_filled(before + scanned.good);
        Ok(polled)
    }

    /// Reads on behind a part of a head. Says how many bytes came.
    fn read_behind_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // The requests before it may have been answered meanwhile.
        self.pulse.heard();
        let known = self.held.len();
        self.held.reserve(HELD_READ_BYTES);
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.held))?;
        // Without the end of a line there is nothing to see that was not seen before.
        if self.held[known..].contains(&LF) || self.held.len() > self.held_max {
            self.scan_held();
        }
        Poll::Ready(Ok(read))
    }

    fn scan_held(&mut self) {
        let Watch::Http1(framing) = &mut self.watch else { return };
        let mut held = std::mem::take(&mut self.held);
        let scanned = framing.scan(&held);
        self.cleared = scanned.good;
        let is_held = scanned.end == End::Held;
        self.settle(scanned.end, &held[scanned.good..]);
        if !is_held {
            held.truncate(scanned.good);
        }
        self.held = held;
    }

    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let bytes = self.cleared.min(buffer.remaining());
        buffer.put_slice(&self.held[..bytes]);
        self.held.advance(bytes);
        self.cleared -= bytes;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// `rest` begins where `end` was found.
    fn settle(&mut self, end: End, rest: &[u8]) {
        match end {
            End::All | End::Held => {}
            End::BadHead(fault) => self.refuse_head(fault, rest),
            End::BadBody(fault) => {
                self.pulse.loses_track();
                self.refuse(fault, Refused::Body(fault));
            }
        }
    }

    /// There is no request for anybody else to tell of.
    fn refuse_head(&mut self, fault: Fault, head: &[u8]) {
        let answer = refusal(fault);
        let line = match &self.watch {
            Watch::Http1(framing) => line_of(head, framing.limits()),
            Watch::Http2(_) => None,
        };
        let took = self.pulse.waited();
        self.unread.tell(&proxy::Refused { status: answer.status, request_id: &answer.request_id, line, took });
        self.refuse(fault, Refused::Head { answer: answer.bytes, told: false });
    }

    fn refuse(&mut self, fault: Fault, refused: Refused) {
        tracing::debug!(listener = self.pulse.listener(), %fault, "refused");
        if !self.pulse.is_late() {
            self.pulse.refused(Reason::Malformed);
        }
        self.refused = Some(refused);
    }

    fn is_undecided(&self) -> bool {
        matches!(&self.watch, Watch::Http1(framing) if framing.is_undecided())
    }

    /// The request that asked for another protocol was answered in this one: what follows it is read as what it is.
    fn decide(&mut self) {
        if let Watch::Http1(framing) = &mut self.watch {
            framing.decide();
        }
        if !self.held.is_empty() {
            self.scan_held();
        }
    }

    /// Keeps what comes until it is known how to read it; hyper must learn of an end all the same.
    fn hold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < UNDECIDED_BYTES_MAX {
            self.held.reserve(HELD_READ_BYTES);
            if ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.held))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    fn read_http2(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first_start < self.first_end {
            buffer.put_slice(&self.first[self.first_start..self.first_end]);
            self.first_start = self.first_end;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let Watch::Http2(frames) = &mut self.watch else { return Poll::Ready(Ok(())) };
        let Err(code) = frames.received(&buffer.filled()[before..], &self.pulse) else { return Poll::Ready(Ok(())) };
        buffer.set_filled(before);
        if let Some(goaway) = frames.goaway(code) {
            // What does not go out at once is not worth to wait for.
            let _ = Pin::new(&mut self.stream).poll_write(context, &goaway);
            let _ = Pin::new(&mut self.stream).poll_flush(context);
        }
        self.pulse.refused(if code == ENHANCE_YOUR_CALM { Reason::Http2Abuse } else { Reason::Malformed });
        tracing::debug!(listener = self.pulse.listener(), code, "closed for its HTTP/2 frames");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "frames that are refused")))
    }

    fn wrote(&mut self, slices: &[IoSlice<'_>], written: &Poll<io::Result<usize>>) {
        let bytes = match written {
            Poll::Ready(Ok(bytes)) => bytes,
            Poll::Ready(Err(_)) => return,
            Poll::Pending => return self.pulse.is_blocked(),
        };
        self.pulse.wrote(*bytes);
        if let Watch::Http2(frames) = &mut self.watch {
            frames.sent(slices, *bytes);
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        match tap.watch {
            Watch::Http1(_) => tap.read_http1(context, buffer),
            Watch::Http2(_) => tap.read_http2(context, buffer),
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let written = Pin::new(&mut tap.stream).poll_write(context, bytes);
        tap.wrote(&[IoSlice::new(bytes)], &written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        if tap.farewell.is_none() {
            let answer = match &mut tap.refused {
                Some(Refused::Head { answer, told: true }) => std::mem::take(answer),
                Some(_) => Bytes::new(),
                None if matches!(&tap.watch, Watch::Http1(framing) if framing.is_in_body()) => Bytes::new(),
                None => return Pin::new(&mut tap.stream).poll_shutdown(context),
            };
            tap.pulse.closes();
            tap.farewell = Some(Box::new(Farewell { answer, is_shut: false, bytes_left: LINGER_BYTES_MAX }));
        }
        match &mut tap.farewell {
            Some(farewell) => farewell.poll(&mut tap.stream, context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let written = Pin::new(&mut tap.stream).poll_write_vectored(context, slices);
        tap.wrote(slices, &written);
        written
    }
}

impl Farewell {
    /// Says what is to be said, sends no more, and reads until the client has seen that, within bounds; the pulse has an eye on the time.
    fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.answer.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(context, &self.answer))?;
            self.answer.advance(written);
        }
        if !self.is_shut {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            self.is_shut = true;
        }
        let mut waste = [0; HELD_READ_BYTES];
        loop {
            let mut waste = ReadBuf::new(&mut waste);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut waste))?;
            let read = waste.filled().len();
            self.bytes_left = self.bytes_left.saturating_sub(read);
            if read == 0 || self.bytes_left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HELD_READ_BYTES: usize = 4 << 10;
/// What a client may send before it knows whether the protocol is switched; more waits in its socket.
const UNDECIDED_BYTES_MAX: usize = 16 << 10;
/// What is read, and thrown away, from a client that still sends while it is told to go.
const LINGER_BYTES_MAX: usize = 1 << 20;
