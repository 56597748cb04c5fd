//! Bodies: nothing, bytes at hand, a stream from a connection that is limited in size and in standing still, or what a
//! filter makes of another body.
//!
//! A stream passes frame by frame, trailers too, and only as fast as the other side takes them.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::headers::strip_trailers;

/// The body of a request or response on its way through the gateway.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Stream),
    /// What a filter makes of another body, while it passes.
    Filtered(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
}

/// A body that arrives from a connection.
pub struct Stream {
    inner: Incoming,
    limits: Limits,
    /// Since when nothing arrives that was asked for.
    waiting_since: Option<Instant>,
    /// Made at the first wait. What arrives does not touch it: when it goes off, it is set anew if that was too early.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Of a request: the fields that no client may send, in trailers neither.
    owned: Option<Rc<[HeaderName]>>,
    /// How long it was waited for so far, and what came meanwhile, where it must come at some rate.
    waited: Duration,
    received_bytes: u64,
    /// Runs once, when the whole body has passed; dropped without running when it has not.
    on_end: Option<Box<dyn FnOnce()>>,
    /// Where somebody wants to know how many bytes have arrived.
    counter: Option<Rc<Cell<u64>>>,
}

/// What a streamed body may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of data, trailers apart.
    pub bytes_max: u64,
    /// How long it may stand still.
    pub idle: Duration,
    /// What must arrive in each second that it is waited for, after a time of grace; 0 is no limit.
    pub bytes_per_second_min: u64,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body has more bytes than the limit allows")]
    TooLarge,
    #[error("the body stood still for {0:?}")]
    Idle(Duration),
    #[error("the body arrived at less than {0} bytes a second")]
    TooSlow(u64),
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error("the body was not over when the request's time was")]
    Late,
    /// Why is known to whoever put the filter there.
    #[error("a filter broke the body off")]
    BrokenOff,
}

/// What went wrong with a body, for those who must answer for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("it has more bytes than the limit allows")]
    TooLarge,
    #[error("it took too long")]
    Slow,
    #[error("its framing is broken (RFC 9112 §7.1)")]
    Malformed,
    #[error("its sender went away")]
    Gone,
    #[error("a filter broke it off")]
    BrokenOff,
}

impl BodyError {
    pub fn fault(&self) -> BodyFault {
        match self {
            Self::TooLarge => BodyFault::TooLarge,
            Self::Idle(_) | Self::TooSlow(_) | Self::Late => BodyFault::Slow,
            Self::Connection(error) if is_malformed(error) => BodyFault::Malformed,
            Self::Connection(_) => BodyFault::Gone,
            Self::BrokenOff => BodyFault::BrokenOff,
        }
    }
}

impl Body {
    /// Wraps what arrives on a connection; `on_end` runs when all of it has passed.
    pub fn stream(inner: Incoming, limits: Limits, on_end: Option<Box<dyn FnOnce()>>) -> Self {
        if inner.is_end_stream() {
            if let Some(on_end) = on_end {
                on_end();
            }
            return Self::Empty;
        }
        Self::Stream(Stream {
            inner,
            limits,
            waiting_since: None,
            alarm: None,
            owned: None,
            waited: Duration::ZERO,
            received_bytes: 0,
            on_end,
            counter: None,
        })
    }

    /// Counts the bytes that arrive; `None` where none will.
    pub fn counted(&mut self) -> Option<Rc<Cell<u64>>> {
        let Self::Stream(stream) = self else { return None };
        Some(stream.counter.get_or_insert_default().clone())
    }

    /// Wraps what arrives from a client; no field of `owned` passes in its trailers.
    pub fn of_request(inner: Incoming, limits: Limits, owned: &Rc<[HeaderName]>) -> Self {
        let mut body = Self::stream(inner, limits, None);
        if let Self::Stream(stream) = &mut body {
            stream.owned = Some(owned.clone());
        }
        body
    }
}

/// Whether bytes came that are no body, and not too few of them.
fn is_malformed(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput))
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        match body {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll_frame(context),
            Self::Filtered(filtered) => filtered.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.inner.is_end_stream(),
            Self::Filtered(filtered) => filtered.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.inner.size_hint(),
            Self::Filtered(filtered) => filtered.size_hint(),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            ready!(self.poll_alarm(context));
            return Poll::Ready(Some(Err(self.too_late())));
        };
        if let Some(since) = self.waiting_since.take()
            && self.limits.bytes_per_second_min > 0
        {
            self.waited += since.elapsed();
        }
        let frame = match frame {
            None => None,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(mut frame)) => {
                if let (Some(trailers), Some(owned)) = (frame.trailers_mut(), &self.owned) {
                    strip_trailers(trailers, owned);
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(left) = self.limits.bytes_max.checked_sub(bytes) else {
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                };
                self.limits.bytes_max = left;
                self.received_bytes += bytes;
                if let Some(counter) = &self.counter {
                    counter.set(counter.get() + bytes);
                }
                Some(Ok(frame))
            }
        };
        // A reader that knows the length may stop asking at the last frame, so the end is told there, not after it.
        if (frame.is_none() || self.inner.is_end_stream())
            && let Some(on_end) = self.on_end.take()
        {
            on_end();
        }
        Poll::Ready(frame)
    }

    /// How much longer it may be waited for, by the rate. It never ends earlier than it was to end before.
    fn patience(&self) -> Duration {
        match self.limits.bytes_per_second_min {
            0 => Duration::MAX,
            rate => (self.limits.idle.min(RATE_GRACE_MAX)
                + Duration::from_secs_f64(self.received_bytes as f64 / rate as f64))
            .saturating_sub(self.waited),
        }
    }

    fn too_late(&self) -> BodyError {
        if self.patience() < self.limits.idle {
            BodyError::TooSlow(self.limits.bytes_per_second_min)
        } else {
            BodyError::Idle(self.limits.idle)
        }
    }

    /// Ready when nothing has arrived for too long, or too little over all.
    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = *self.waiting_since.get_or_insert_with(Instant::now) + self.limits.idle.min(self.patience());
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(alarm.as_mut().poll(context));
            if alarm.deadline() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}

/// What a slow start or a short pause may take; no longer than a body may stand still.
const RATE_GRACE_MAX: Duration = Duration::from_secs(10);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Filtered(_) => f.write_str("Filtered"),
        }
    }
}
