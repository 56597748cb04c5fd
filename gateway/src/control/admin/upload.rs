//! A new version for a plugin: the component itself or where it is, and how it shall take over.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, Request, State};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::AdminLimits;
use super::desk::{self, Shared};
use super::gate::Actor;
use super::operation::{self, Operation};
use super::problem::Problem;
use super::wish::{SourceBody, SwapQuery, Wish};
use crate::control::{Swap, SwapReport, SwapSource};

/// `PUT /api/plugins/{name}`.
pub(super) async fn put(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Json<SwapReport>, Problem> {
    let (head, mut body) = request.into_parts();
    let Received { from, wish, permit } = match receive(&shared, &head, &mut body).await {
        Ok(received) => received,
        Err(problem) => {
            // Who was too slow once is not waited for again.
            if problem.status() != StatusCode::REQUEST_TIMEOUT {
                desk::discard(&head.headers, body, &shared.limits).await;
            }
            return Err(problem);
        }
    };
    let digest = match &from {
        SwapSource::Component(bytes) => Some(hex(&Sha256::digest(bytes))),
        SwapSource::Source(_) => None,
    };
    let operation =
        Operation::new("swap", &actor).on(&name).with_component(digest).because(wish.reason.clone()).holding(permit);
    let Wish { mode, sha256, reason } = wish;
    let swap = Swap { plugin: name, from, sha256, mode, actor: actor.name.to_string(), reason };
    operation::perform(shared.operator, operation, move |operator| operator.swap(swap)).await.map(Json)
}

/// A request that was understood and received whole.
struct Received {
    from: SwapSource,
    wish: Wish,
    permit: OwnedSemaphorePermit,
}

async fn receive(shared: &Shared, head: &Parts, body: &mut Body) -> Result<Received, Problem> {
    let Query(query) = Query::<SwapQuery>::try_from_uri(&head.uri)
        .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    let wish = Wish::read(query)?;
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body with a content coding is not understood"));
    }
    let kind = kind(&head.headers)?;
    let permit = shared.uploads.clone().try_acquire_owned().map_err(|_| {
        Problem::busy(format!("{} new versions are under way, which is as many as may be", shared.limits.uploads))
    })?;
    let (bytes_max, limit) = match kind {
        Kind::Component => (shared.limits.upload_bytes, "`runtime.component`"),
        Kind::Json => (shared.limits.json_bytes, "JSON"),
    };
    let bytes = read(&head.headers, body, bytes_max, limit, &shared.limits).await?;
    let (from, wish) = match kind {
        Kind::Component if bytes.is_empty() => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the body is empty: a component is expected"));
        }
        Kind::Component => (SwapSource::Component(bytes), wish),
        Kind::Json => {
            let body: SourceBody = serde_json::from_slice(&bytes)
                .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is malformed: {error}")))?;
            wish.with(body)?
        }
    };
    Ok(Received { from, wish, permit })
}

/// What a body is.
#[derive(Clone, Copy)]
enum Kind {
    Component,
    Json,
}

fn kind(fields: &HeaderMap) -> Result<Kind, Problem> {
    let value = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/wasm" | "application/octet-stream" => Ok(Kind::Component),
        "application/json" => Ok(Kind::Json),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "`Content-Type` is `application/wasm` for a component, or `application/json` for its source",
        )),
    }
}

/// The whole body, or why there is none.
pub(super) async fn read(
    fields: &HeaderMap,
    body: &mut Body,
    bytes_max: usize,
    limit: &str,
    limits: &AdminLimits,
) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {bytes_max} bytes ({limit})"));
    let announced = fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    let reading = async {
        let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default());
        while let Some(frame) = body.frame().await {
            // hyper counts: a body that ends before its length, or before its last chunk, is an error.
            let frame =
                frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body ended before it was whole"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(limits.body_timeout, reading).await.unwrap_or_else(|_| {
        let detail = format!("the body took longer than {:?}", limits.body_timeout);
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
