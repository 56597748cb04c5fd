//! Pooled HTTP/1.1 connections over TCP and TLS.
//!
//! Their tasks run on the runtime that first sends: a worker's connections stay on its thread.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::client::Resumption;

use super::address::{NotPublic, Reach, Resolver};

/// Connections to any origin within reach. Cheap to clone.
pub(super) type Connections = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Those of different reach are apart: a connection that one plugin may have must not serve another that may not.
pub(super) fn connections(tls: &ClientConfig, reach: Reach) -> Connections {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(reach));
    // Its scheme is TLS's to judge.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let mut tls = tls.clone();
    // Not those of the other clones: tickets lie behind a lock.
    tls.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_ORIGIN_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_max_headers(HEADERS_MAX)
        .build(connector.wrap_connector(tcp))
}

/// A URL's host, when it is an address: the connector asks no resolver for it, so whoever sends has to judge it before.
pub(super) fn literal_is_out_of_reach(url: &Uri, reach: Reach) -> bool {
    let host = url.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().is_ok_and(|address| !reach.admits(address))
}

/// Whether a request failed because its name led to addresses out of reach.
pub(super) fn is_out_of_reach(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<NotPublic>() || inner.is_some_and(|inner| inner.is::<NotPublic>())
    })
}

/// An error with what caused it, in one line: the clients' own words end at "client error (Connect)".
pub(super) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Of one address; the next one is tried then, and the request has its own time over all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection waits for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_ORIGIN_MAX: usize = 16;
const SESSIONS_MAX: usize = 64;
/// The head of a response, give or take what one read brings.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
