//! Events as they happen, as a stream of server-sent events (WHATWG HTML §9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::desk::Shared;
use super::problem::Problem;
use super::seats::Busy;
use crate::control::Event;

/// `GET /api/events`.
pub(super) async fn events(
    State(shared): State<Shared>,
    Extension(busy): Extension<Arc<Busy>>,
) -> Result<Response, Problem> {
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::busy(format!("{} streams of events are open, which is as many as may be", shared.limits.streams))
    })?;
    let silence = shared.limits.stream_silence;
    let reader = Reader { events: shared.operator.events(), silence, _permit: permit, _busy: busy };
    let body = Body::from_stream(stream::unfold(Some(reader), next));
    Ok(([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], body).into_response())
}

/// Somebody who listens.
struct Reader {
    events: Receiver<Event>,
    silence: Duration,
    _permit: OwnedSemaphorePermit,
    _busy: Arc<Busy>,
}

/// The next piece of the stream. What a reader has not taken waits in the channel and nowhere else; when it has waited for
/// so long that the channel dropped some, the reader is told and cut off, so that it asks again and looks at the whole.
async fn next(reader: Option<Reader>) -> Option<(Result<Bytes, Infallible>, Option<Reader>)> {
    let mut reader = reader?;
    let received = tokio::time::timeout(reader.silence, reader.events.recv()).await;
    let (piece, reader) = match received {
        Ok(Ok(event)) => (sent(event.kind, &event), Some(reader)),
        Ok(Err(RecvError::Lagged(missed))) => (sent("lagged", &serde_json::json!({ "missed": missed })), None),
        Ok(Err(RecvError::Closed)) => return None,
        // A comment: it shows both sides that the other lives.
        Err(_) => (":\n\n".to_owned(), Some(reader)),
    };
    Some((Ok(piece.into()), reader))
}

fn sent(kind: &str, data: &impl serde::Serialize) -> String {
    // Compact JSON has no line breaks, so that one `data` line holds it. Maps with text for keys always serialise.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {kind}\ndata: {data}\n\n")
}
