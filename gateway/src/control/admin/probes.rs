//! Probes: whether the process lives, whether it serves, and its metrics, for orchestrators and scrapers.
//!
//! They are part of the admin server, and may have an address of their own where nothing else is.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::problem;
use super::seats::Seat;
use super::serve::Answering;
use super::socket::Peer;
use crate::control::Operator;
use crate::telemetry::MetricsFormat;

/// The probes alone.
pub(super) struct Probes(Router);

/// Marks the answer of a probe.
#[derive(Clone)]
pub(super) struct Word;

impl Probes {
    pub(super) fn new(operator: Arc<dyn Operator>) -> Self {
        Self(routes().with_state(operator))
    }
}

impl Answering for Probes {
    async fn answer(&self, request: Request<Body>, _: Peer, seat: Arc<Seat>) -> Response {
        let _busy = seat.busy();
        let Ok(response) = TowerToHyperService::new(self.0.clone()).call(request).await;
        problem::reword(response)
    }
}

pub(super) fn routes() -> Router<Arc<dyn Operator>> {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

async fn live() -> Response {
    word(StatusCode::OK, "ok\n")
}

async fn ready(State(operator): State<Arc<dyn Operator>>) -> Response {
    if operator.is_ready() {
        word(StatusCode::OK, "ready\n")
    } else {
        word(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(operator): State<Arc<dyn Operator>>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = MetricsFormat::accepted(accepted);
    ([(CONTENT_TYPE, format.media_type()), (VARY, "accept")], operator.metrics(format)).into_response()
}

fn word(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    response.extensions_mut().insert(Word);
    response
}
