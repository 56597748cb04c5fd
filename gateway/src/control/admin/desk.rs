//! The desk: what every request to the admin server comes to, and what answers share.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::Request;
use http::header::EXPECT;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, TryAcquireError};

use super::gate::{self, Gate};
use super::problem::{self, Problem};
use super::seats::Seat;
use super::serve::Answering;
use super::socket::Peer;
use super::{Access, AdminLimits, TokenError, config, dashboard, events, operation, plugins, probes, status, upload};
use crate::control::Operator;

/// What answers requests.
pub(super) struct Desk {
    pub(super) gate: Gate,
    operator: Arc<dyn Operator>,
    limits: AdminLimits,
    requests: Semaphore,
    router: Router,
}

/// What answers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) operator: Arc<dyn Operator>,
    pub(super) limits: AdminLimits,
    pub(super) uploads: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(operator: Arc<dyn Operator>, access: &Access, limits: AdminLimits) -> Result<Self, TokenError> {
        let shared = Shared {
            operator: operator.clone(),
            limits: limits.clone(),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            streams: Arc::new(Semaphore::new(limits.streams)),
        };
        let probes = probes::routes().with_state(operator.clone());
        let router = routes().with_state(shared).merge(probes).merge(dashboard::routes());
        let requests = Semaphore::new(limits.requests);
        Ok(Self { gate: Gate::new(access, &limits)?, operator, limits, requests, router })
    }
}

impl Answering for Desk {
    async fn answer(&self, request: Request<Body>, peer: Peer, seat: Arc<Seat>) -> Response {
        let (mut head, body) = request.into_parts();
        let admitted = self.gate.admit(&head, &peer).and_then(|actor| {
            let permit = self.requests.try_acquire().map_err(|_: TryAcquireError| {
                Problem::busy("the admin server answers as many requests as it may at once")
            })?;
            Ok((actor, permit))
        });
        let (actor, _permit) = match admitted {
            Ok(admitted) => admitted,
            Err(problem) => {
                self.operator.refused(gate::reason(&problem));
                if self.gate.is_worth_recording(&head, &peer, &problem) {
                    operation::denied(&head, &peer, &problem);
                }
                discard(&head.headers, body, &self.limits).await;
                return problem.into_response();
            }
        };
        if let Some(actor) = actor {
            head.extensions.insert(actor);
        }
        // A stream of events holds it on.
        let busy = Arc::new(seat.busy());
        head.extensions.insert(busy.clone());
        let service = TowerToHyperService::new(self.router.clone());
        let Ok(response) = service.call(Request::from_parts(head, body)).await;
        drop(busy);
        problem::reword(response)
    }
}

/// Reads a refused body to its end: a client that is still sending when the connection closes never sees the refusal.
///
/// One that waits for leave to send (`Expect`) is told at once, and one that sends on and on is cut.
pub(super) async fn discard(fields: &http::HeaderMap, mut body: Body, limits: &AdminLimits) {
    if fields.contains_key(EXPECT) {
        return;
    }
    let drain = async {
        let mut left = limits.upload_bytes.saturating_mul(2);
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(limits.head_timeout, drain).await;
}

fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/status", get(status::status))
        .route("/api/routes", get(status::routes))
        .route("/api/upstreams", get(status::upstreams))
        .route("/api/plugins", get(plugins::all))
        .route("/api/plugins/{name}", get(plugins::one).put(upload::put))
        .route("/api/plugins/{name}/promote", post(plugins::promote))
        .route("/api/plugins/{name}/rollback", post(plugins::rollback))
        .route("/api/plugins/{name}/reset", post(plugins::reset))
        .route("/api/config", get(config::get).put(config::put))
        .route("/api/config/validate", post(config::validate))
        .route("/api/config/history", get(config::history))
        .route("/api/config/rollback", post(config::rollback))
        .route("/api/explain", post(config::explain))
        .route("/api/reload", post(status::reload))
        .route("/api/drain", post(status::drain))
        .route("/api/upgrade", post(status::upgrade))
        .route("/api/events", get(events::events))
}
