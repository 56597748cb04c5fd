//! Connections to the admin server and to the probes: accepted within limits, spoken to in HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::desk::Desk;
use super::probes::Probes;
use super::socket::{Listening, Peer, Stream};
use super::{Access, AdminLimits, BindError, TokenError};
use crate::config::model::AdminAddress;
use crate::control::Operator;

/// The admin server. Dropping it closes its socket and its connections.
pub struct AdminServer {
    desk: Arc<Desk>,
    accepting: Accepting,
}

/// The server of `/livez`, `/readyz` and `/metrics` alone. Dropping it closes its socket and its connections.
pub struct ProbesServer {
    accepting: Accepting,
}

impl AdminServer {
    /// Binds and serves, as a task of the runtime that this is called on. With port 0 the log tells the port.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(
        address: &AdminAddress,
        access: &Access,
        limits: AdminLimits,
        operator: Arc<dyn Operator>,
    ) -> Result<Self, AdminError> {
        let desk = Arc::new(Desk::new(operator, access, limits.clone())?);
        let listening = Listening::bind(address, "admin").await?;
        tracing::info!(address = %listening, "admin listening");
        let accepting = Accepting::start(listening, limits, desk.clone());
        Ok(Self { desk, accepting })
    }

    /// `HOST:PORT`, with the port that the system chose where 0 was asked for, or `unix:PATH`.
    pub fn address(&self) -> &str {
        &self.accepting.address
    }

    /// From now on these may use the server, and nobody else.
    ///
    /// # Errors
    /// A token cannot be one; then nothing has changed.
    pub fn set_access(&self, access: &Access) -> Result<(), TokenError> {
        self.desk.gate.set_access(access)
    }

    /// Closes the socket, and the connections when they have been answered what they asked, after a while at the latest:
    /// who moved the server elsewhere through it still hears so.
    pub fn retire(self) {
        self.accepting.retire();
    }
}

impl ProbesServer {
    /// Binds and serves, as a task of the runtime that this is called on. With port 0 the log tells the port.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, operator: Arc<dyn Operator>) -> Result<Self, BindError> {
        let listening = Listening::bind(&AdminAddress::Tcp(address), "probes").await?;
        tracing::info!(address = %listening, "probes listening");
        let limits = AdminLimits::new(0);
        Ok(Self { accepting: Accepting::start(listening, limits, Arc::new(Probes::new(operator))) })
    }

    /// As [`AdminServer::retire`].
    pub fn retire(self) {
        self.accepting.retire();
    }

    /// `HOST:PORT`, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> &str {
        &self.accepting.address
    }
}

/// Why the admin server does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Who answers the requests of a socket.
pub(super) trait Answering: Send + Sync + 'static {
    fn answer(&self, request: Request<Body>, peer: Peer) -> impl Future<Output = Response> + Send;
}

/// A task that accepts until this is dropped, or retires.
struct Accepting {
    address: String,
    is_retired: watch::Sender<bool>,
    task: AbortHandle,
}

impl Accepting {
    fn start(listening: Listening, limits: AdminLimits, answering: Arc<impl Answering>) -> Self {
        let address = listening.to_string();
        let (is_retired, retired) = watch::channel(false);
        Self { address, is_retired, task: tokio::spawn(accept(listening, limits, answering, retired)).abort_handle() }
    }

    fn retire(self) {
        self.is_retired.send_replace(true);
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if !*self.is_retired.borrow() {
            self.task.abort();
        }
    }
}

async fn accept(
    listening: Listening,
    limits: AdminLimits,
    answering: Arc<impl Answering>,
    mut retired: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listening.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = retired.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => match permits.clone().try_acquire_owned() {
                Ok(permit) => {
                    connections.spawn(serve(stream, peer, limits.clone(), answering.clone(), permit, retired.clone()));
                }
                Err(_) => tracing::warn!(%peer, "the admin server has all the connections it may have: one is closed"),
            },
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets some close.
                tracing::warn!(%error, "the admin server cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listening);
    let all = async { while connections.join_next().await.is_some() {} };
    // Streams of events have no end of their own.
    let _ = tokio::time::timeout(RETIRED_MAX, all).await;
}

async fn serve(
    stream: Box<dyn Stream>,
    peer: Peer,
    limits: AdminLimits,
    answering: Arc<impl Answering>,
    _permit: OwnedSemaphorePermit,
    mut retired: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = answering.clone();
        async move { Ok::<_, Infallible>(answering.answer(request.map(Body::new), peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Errors here are the client's: it went away, or spoke no HTTP and was told so.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = retired.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a server that was retired may go on answering.
const RETIRED_MAX: Duration = Duration::from_secs(10);
