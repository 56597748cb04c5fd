//! Plugins: what serves under each name, and how a swap goes on once it has begun.

use axum::Json;
use axum::extract::{Extension, Path, State};

use super::desk::Shared;
use super::gate::Actor;
use super::operation::{self, Operation};
use super::problem::Problem;
use crate::control::{OperationError, PluginStatus, SwapReport};

pub(super) async fn all(State(shared): State<Shared>) -> Json<Vec<PluginStatus>> {
    Json(shared.operator.plugins())
}

pub(super) async fn one(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<PluginStatus>, Problem> {
    let mut plugins = shared.operator.plugins().into_iter();
    let plugin = plugins.find(|plugin| plugin.name == name);
    plugin.map(Json).ok_or_else(|| OperationError::UnknownPlugin(name).into())
}

pub(super) async fn promote(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<SwapReport>, Problem> {
    let operation = Operation::new("promote", &actor).on(&name);
    let actor = actor.name.to_string();
    operation::perform(shared.operator, operation, move |operator| operator.promote(name, actor)).await.map(Json)
}

pub(super) async fn rollback(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<SwapReport>, Problem> {
    let operation = Operation::new("rollback", &actor).on(&name);
    let actor = actor.name.to_string();
    operation::perform(shared.operator, operation, move |operator| operator.rollback(name, actor)).await.map(Json)
}

pub(super) async fn reset(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<SwapReport>, Problem> {
    let operation = Operation::new("reset", &actor).on(&name);
    let actor = actor.name.to_string();
    operation::perform(shared.operator, operation, move |operator| operator.reset(name, actor)).await.map(Json)
}
