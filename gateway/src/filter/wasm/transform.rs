//! A body on its way through a plugin's transform.
//!
//! It is pulled: whoever takes the body asks for a frame, and only then is the next piece read and shown to the plugin. So no
//! more than one frame is ever in between, and what one side does not take the other cannot send.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::filter::report::{BodyReport, BrokenOff};
use crate::filter::{FilterError, edits};
use crate::message::{Body, BodyError};
use crate::plugin::body_types::{End, Step};
use crate::plugin::{Failure, Transform, types};

/// A body behind a transform.
pub(super) struct Transformed {
    state: State,
    outlet: Outlet,
}

/// Where a body goes, and who hears why it was broken off.
pub(super) enum Direction {
    /// To the upstream; the exchange of the request hears what the filter at this position has to tell.
    Up { report: BodyReport, position: usize },
    /// To the client, which sees the stream reset.
    Down,
}

/// Whose transform it is.
pub(super) struct Source {
    pub(super) plugin: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) request_id: HeaderValue,
    /// For the body of an answer in the message's place.
    pub(super) reply_bytes_max: usize,
}

enum State {
    /// The plugin sees what passes; at its end stands the body that passes without the plugin.
    Driven(Pin<Box<dyn Future<Output = Result<Body, BodyError>>>>),
    Free(Body),
}

/// Frames from the one that drives to the one that polls it: one at a time.
#[derive(Clone, Default)]
struct Outlet(Rc<Cell<Option<Frame<Bytes>>>>);

/// Why a transform ended before its body did.
enum Broken {
    Body(BodyError),
    Abort(types::Reply),
    Failure(Failure),
}

impl Transformed {
    /// The body as it comes out of the transform.
    pub(super) fn around(body: Body, transform: Transform, direction: Direction, source: Source) -> Body {
        let outlet = Outlet::default();
        let out = outlet.clone();
        let driven = async move {
            let outcome = drive(body, transform, &direction, &out).await;
            outcome.map_err(|broken| direction.tell(broken, &source))
        };
        Body::Filtered(Box::pin(Self { state: State::Driven(Box::pin(driven)), outlet }))
    }
}

/// Shows the body to the plugin, piece by piece, and puts out what it becomes.
async fn drive(mut body: Body, mut transform: Transform, direction: &Direction, out: &Outlet) -> Result<Body, Broken> {
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let mut data = match frame?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = Some(frame);
                continue;
            }
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
            match transform.chunk(&piece).await? {
                Step::Unchanged => out.put(Frame::data(piece)).await,
                Step::Replace(bytes) if bytes.is_empty() => {}
                Step::Replace(bytes) => out.put(Frame::data(bytes.into())).await,
                Step::PassRest => {
                    transform.release().await;
                    out.put(Frame::data(piece)).await;
                    if !data.is_empty() {
                        out.put(Frame::data(data)).await;
                    }
                    return Ok(body);
                }
                Step::Abort(reply) => return Err(Broken::Abort(reply)),
            }
        }
    }
    match transform.finish().await? {
        End::Done(ending) => {
            // Before the end goes out: when the upstream answers it, the response hook finds what was kept.
            if let (Some(bytes), Direction::Up { report, position }) = (ending.keep, direction) {
                report.keep(*position, edits::kept(bytes)?);
            }
            if let Some(tail) = ending.tail.filter(|tail| !tail.is_empty()) {
                out.put(Frame::data(tail.into())).await;
            }
        }
        End::Abort(reply) => return Err(Broken::Abort(reply)),
    }
    if let Some(trailers) = trailers {
        out.put(trailers).await;
    }
    Ok(Body::Empty)
}

impl http_body::Body for Transformed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { state, outlet } = self.get_mut();
        let driven = match state {
            State::Free(body) => return Pin::new(body).poll_frame(context),
            State::Driven(driven) => driven.as_mut().poll(context),
        };
        let ended = match driven {
            Poll::Pending => None,
            Poll::Ready(Ok(rest)) => {
                *state = State::Free(rest);
                None
            }
            Poll::Ready(Err(error)) => {
                *state = State::Free(Body::Empty);
                Some(error)
            }
        };
        if let Some(frame) = outlet.0.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match (ended, state) {
            (Some(error), _) => Poll::Ready(Some(Err(error))),
            (None, State::Free(body)) => Pin::new(body).poll_frame(context),
            (None, State::Driven(_)) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Driven(_) => false,
            State::Free(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Driven(_) => SizeHint::default(),
            State::Free(body) => body.size_hint(),
        }
    }
}

impl Outlet {
    /// Hands a frame over, and waits until it is taken: nobody polls before that.
    async fn put(&self, frame: Frame<Bytes>) {
        self.0.set(Some(frame));
        let mut is_out = false;
        poll_fn(|_| if std::mem::replace(&mut is_out, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Direction {
    /// Tells whoever can still do something about it; to everybody else it is a body that failed.
    fn tell(&self, broken: Broken, source: &Source) -> BodyError {
        let why = match broken {
            Broken::Body(error) => return error,
            Broken::Abort(answer) => edits::reply(answer, source.reply_bytes_max),
            Broken::Failure(failure) => Err(failure),
        };
        let Source { plugin, route, request_id, .. } = source;
        let (plugin, route, request_id) = (&**plugin, &**route, request_id.to_str().unwrap_or_default());
        let body = if matches!(self, Self::Up { .. }) { "request" } else { "response" };
        match &why {
            Ok(_) => tracing::info!(plugin, route, request_id, body, "a plugin broke a body off"),
            Err(failure) => tracing::warn!(plugin, route, request_id, body, %failure, "a plugin failed amid a body"),
        }
        if let Self::Up { report, .. } = self {
            report.break_off(match why {
                Ok(reply) => BrokenOff::Answered(reply),
                Err(failure) => BrokenOff::Failed(Box::new(FilterError::Failed { filter: plugin.to_owned(), failure })),
            });
        }
        BodyError::BrokenOff
    }
}

impl From<BodyError> for Broken {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What a plugin is shown at once: a guest's memory is small, and its deadline is for one piece.
const PIECE_BYTES_MAX: usize = 64 << 10;
