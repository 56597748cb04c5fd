//! The gateway as a whole: what it serves, and what concerns all of it: reload, upgrade and drain.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::desk::Shared;
use super::gate::Actor;
use super::operation::{self, Operation};
use super::problem::Problem;
use crate::control::{ReloadReport, Status, UpgradeReport};

pub(super) async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.operator.status())
}

pub(super) async fn routes(State(shared): State<Shared>) -> Json<Value> {
    Json(shared.operator.routes())
}

pub(super) async fn upstreams(State(shared): State<Shared>) -> Json<Value> {
    Json(shared.operator.upstreams())
}

pub(super) async fn reload(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<ReloadReport>, Problem> {
    let operation = Operation::new("reload", &actor);
    let name = actor.name.to_string();
    operation::perform(shared.operator, operation, move |operator| operator.reload(name)).await.map(Json)
}

/// Answers when the other process serves, or will not.
pub(super) async fn upgrade(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<UpgradeReport>, Problem> {
    let operation = Operation::new("upgrade", &actor);
    let name = actor.name.to_string();
    operation::perform(shared.operator, operation, move |operator| operator.upgrade(name)).await.map(Json)
}

/// Answers before the drain has ended, since the process ends with it.
pub(super) async fn drain(State(shared): State<Shared>, Extension(actor): Extension<Actor>) -> Response {
    Operation::new("drain", &actor).succeeded();
    shared.operator.drain(actor.name.to_string());
    (StatusCode::ACCEPTED, Json(json!({ "draining": true }))).into_response()
}
