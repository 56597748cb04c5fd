//! The configuration over the API: as it is written, checked, put in another's place, gone back to; and what it makes of a request.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::desk::{self, Shared};
use super::gate::Actor;
use super::operation::{self, Operation};
use super::problem::Problem;
use super::upload;
use crate::control::{Asked, ConfigReport, ConfigRollback, OperationError};

/// `GET /api/config`.
pub(super) async fn get(State(shared): State<Shared>) -> Result<Response, Problem> {
    let report = shared.operator.config().await.map_err(Problem::from)?;
    Ok(tagged(report))
}

/// `PUT /api/config`: the text of the one file that the configuration is, with `If-Match`.
pub(super) async fn put(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let tag = head.headers.get(IF_MATCH).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let text = text(&shared, &head, body).await?;
    let Some(tag) = tag else {
        let detail =
            "`If-Match` is missing: it names the configuration that this one shall replace, by its `ETag`, or is `*`";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail));
    };
    let operation = Operation::new("replace config", &actor);
    let name = actor.name.to_string();
    let report =
        operation::perform(shared.operator, operation, move |operator| operator.replace_config(text, tag, name));
    report.await.map(tagged)
}

/// `POST /api/config/validate`: changes nothing.
pub(super) async fn validate(State(shared): State<Shared>, request: Request) -> Result<Json<Value>, Problem> {
    let (head, body) = request.into_parts();
    let text = text(&shared, &head, body).await?;
    shared.operator.check_config(text).await.map(Json).map_err(Problem::from)
}

/// `GET /api/config/history`.
pub(super) async fn history(State(shared): State<Shared>) -> Json<Value> {
    Json(shared.operator.config_history())
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    number: Option<u64>,
}

/// `POST /api/config/rollback`.
pub(super) async fn rollback(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<ConfigRollback>, Problem> {
    let operation = Operation::new("roll back config", &actor);
    let name = actor.name.to_string();
    operation::perform(shared.operator, operation, move |operator| operator.roll_back_config(wanted.number, name))
        .await
        .map(Json)
}

/// `POST /api/explain`.
pub(super) async fn explain(State(shared): State<Shared>, request: Request) -> Result<Json<Value>, Problem> {
    let (head, mut body) = request.into_parts();
    let bytes = upload::read(&head.headers, &mut body, shared.limits.json_bytes, "JSON", &shared.limits).await?;
    let asked: Asked = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is malformed: {error}")))?;
    shared.operator.explain(asked).await.map(Json).map_err(Problem::from)
}

fn tagged(report: ConfigReport) -> Response {
    let tag = HeaderValue::try_from(format!("\"{}\"", report.sha256)).expect("hexadecimal digits are a value");
    let mut response = Json(report).into_response();
    response.headers_mut().insert(ETAG, tag);
    response
}

/// A body of YAML.
async fn text(shared: &Shared, head: &Parts, mut body: Body) -> Result<String, Problem> {
    let read =
        upload::read(&head.headers, &mut body, shared.limits.config_bytes, "configuration", &shared.limits).await;
    let bytes: Bytes = match read {
        Ok(bytes) => bytes,
        Err(problem) => {
            if problem.status() != StatusCode::REQUEST_TIMEOUT {
                desk::discard(&head.headers, body, &shared.limits).await;
            }
            return Err(problem);
        }
    };
    String::from_utf8(bytes.into()).map_err(|_| OperationError::Invalid("the body is not UTF-8".to_owned()).into())
}
