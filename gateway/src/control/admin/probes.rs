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
use crate::message::accepted;
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
    let format = preferred(&headers);
    ([(CONTENT_TYPE, format.media_type()), (VARY, "accept")], operator.metrics(format)).into_response()
}

/// The format that a scraper asks for. Of two that are as welcome, OpenMetrics says more.
fn preferred(headers: &HeaderMap) -> MetricsFormat {
    let (mut text, mut open) = (0, 0);
    for media in accepted(headers, &ACCEPT) {
        match media.what.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if media.parameter("version").is_none_or(|version| version == "1.0.0") => {
                open = open.max(media.weight);
            }
            "text/plain" | "text/*" | "*/*" => text = text.max(media.weight),
            _ => {}
        }
    }
    if open > 0 && open >= text { MetricsFormat::OpenMetrics } else { MetricsFormat::Text }
}

fn word(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    response.extensions_mut().insert(Word);
    response
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_scraper_gets_what_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            ("", MetricsFormat::Text),
            ("*/*", MetricsFormat::Text),
            ("text/plain", MetricsFormat::Text),
            (prometheus, MetricsFormat::OpenMetrics),
            ("Application/OpenMetrics-Text", MetricsFormat::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.8", MetricsFormat::Text),
            ("application/openmetrics-text; version=2.0.0", MetricsFormat::Text),
            ("application/openmetrics-text; q=0", MetricsFormat::Text),
            ("application/openmetrics-text; q=a", MetricsFormat::Text),
        ] {
            let headers = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(preferred(&headers), expected, "{accept}");
        }
    }
}
