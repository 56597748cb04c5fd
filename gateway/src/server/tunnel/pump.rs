//! One direction of a tunnel: bytes from one side to the other, as fast as that takes them.
//!
//! It holds bytes only while the other side does not take them. A tunnel that nobody uses has no buffer at all, so that many are cheap.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// What is on its way in one direction.
pub(super) struct Pump {
    /// Read, and not taken yet by the other side.
    held: Vec<u8>,
    held_start: usize,
    /// Of a WebSocket.
    frames: Option<Frames>,
    state: State,
    needs_flush: bool,
    /// Whether anything passed since that was asked last.
    has_moved: bool,
    /// What the other side has taken so far.
    passed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The frame that is under way may end; then comes a Close of our own.
    Closing,
    /// A Close of our own has been said: whatever else comes is dropped.
    Closed,
    /// No more comes; what is held has to leave, and then the end is told.
    Ended,
    Over,
}

impl Pump {
    /// `first` was read before.
    pub(super) fn new(first: Vec<u8>, is_websocket: bool) -> Self {
        let mut frames = is_websocket.then(Frames::default);
        if let Some(frames) = &mut frames {
            frames.pass(&first);
        }
        Self { held: first, held_start: 0, frames, state: State::Open, needs_flush: false, has_moved: true, passed: 0 }
    }

    /// Says goodbye in the next place where that can be understood: between two frames.
    pub(super) fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closing;
            self.close_between_frames();
        }
    }

    /// Whether a Close frame has left, theirs or ours.
    pub(super) fn has_said_close(&self) -> bool {
        let has_closed = self.state == State::Closed || self.frames.as_ref().is_some_and(Frames::has_closed);
        has_closed && self.held.is_empty() && !self.needs_flush
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Bytes that the other side has taken.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Moves what can be moved. Ready when this direction is over, with the end told to the other side.
    pub(super) fn poll<R, W>(&mut self, context: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..PIECES_AT_ONCE {
            ready!(self.poll_held(context, to))?;
            match self.state {
                State::Over => return Poll::Ready(Ok(())),
                State::Ended => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.state = State::Over;
                    return Poll::Ready(Ok(()));
                }
                State::Open | State::Closing | State::Closed => {}
            }
            if self.poll_piece(context, from, to)?.is_pending() {
                // TLS keeps what it was given until it is told that this was all for now.
                if self.needs_flush {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    self.needs_flush = false;
                }
                return Poll::Pending;
            }
        }
        // Others have their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is held.
    fn poll_held<W: AsyncWrite + Unpin>(&mut self, context: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>> {
        while self.held_start < self.held.len() {
            let written = ready!(Pin::new(&mut *to).poll_write(context, &self.held[self.held_start..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held_start += written;
            self.passed += written as u64;
            self.needs_flush = true;
            self.has_moved = true;
        }
        if !self.held.is_empty() {
            (self.held, self.held_start) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads one piece and writes it as far as the other side takes it at once; the rest is held.
    fn poll_piece<R, W>(&mut self, context: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut space = [const { MaybeUninit::uninit() }; PIECE_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(from).poll_read(context, &mut read))?;
        let piece = read.filled();
        if piece.is_empty() {
            self.state = State::Ended;
            return Poll::Ready(Ok(()));
        }
        let passed = &piece[..self.pass(piece)];
        let mut written = 0;
        while written < passed.len() {
            match Pin::new(&mut *to).poll_write(context, &passed[written..])? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(taken) => written += taken,
                Poll::Pending => break,
            }
        }
        self.passed += written as u64;
        self.needs_flush |= written > 0;
        self.has_moved |= !passed.is_empty();
        self.held.extend_from_slice(&passed[written..]);
        self.close_between_frames();
        Poll::Ready(Ok(()))
    }

    /// How much of a piece goes on.
    fn pass(&mut self, piece: &[u8]) -> usize {
        match (&mut self.frames, self.state) {
            (_, State::Closed) => 0,
            (Some(frames), State::Closing) => frames.pass_rest_of_frame(piece),
            (Some(frames), _) => {
                frames.pass(piece);
                piece.len()
            }
            (None, _) => piece.len(),
        }
    }

    fn close_between_frames(&mut self) {
        let Some(frames) = &self.frames else { return };
        if self.state == State::Closing && frames.is_between() {
            // Nothing follows a Close, be it theirs or ours.
            if !frames.has_closed() {
                self.held.extend_from_slice(&GOING_AWAY);
            }
            self.state = State::Closed;
        }
    }
}

/// A Close frame with status 1001, not masked, as servers send it (RFC 6455 §5.5.1, §7.4.1).
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// What is read at a time, on the stack; what is held at most.
const PIECE_BYTES: usize = 16 << 10;
const PIECES_AT_ONCE: usize = 8;
