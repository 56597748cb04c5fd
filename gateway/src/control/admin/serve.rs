//! Connections to the admin server and to the probes: accepted within limits, spoken to in HTTP/1.1.

use std::convert::Infallible;
use std::io;
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
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::desk::Desk;
use super::probes::Probes;
use super::seats::{Seat, Seats};
use super::socket::Peer;
use super::{Access, AdminLimits, TokenError};
use crate::config::model::ListenAddress;
use crate::control::Operator;
use crate::sockets::{Acceptor, Bound, Claimed, Listening, Socket, Terms};

/// The admin server. Dropping it closes its socket and its connections.
pub struct AdminServer {
    desk: Arc<Desk>,
    accepting: Accepting,
}

/// The admin server, or the probes, without a socket.
#[derive(Debug, thiserror::Error)]
#[error("the {what} server cannot listen on {address}: {error}")]
pub struct BindError {
    what: &'static str,
    address: String,
    error: crate::sockets::BindError,
}

/// The server of `/livez`, `/readyz` and `/metrics` alone. Dropping it closes its socket and its connections.
pub struct ProbesServer {
    accepting: Accepting,
}

impl AdminServer {
    /// Binds and serves, as a task of the runtime that this is called on. With port 0 the log tells the port. Sockets that
    /// are `claimed` are used in the place of new ones.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(
        address: &ListenAddress,
        claimed: Claimed,
        access: &Access,
        limits: AdminLimits,
        operator: Arc<dyn Operator>,
    ) -> Result<Self, AdminError> {
        let desk = Arc::new(Desk::new(operator, access, limits.clone())?);
        let accepting = Accepting::start("admin", address, claimed, limits, desk.clone())?;
        tracing::info!(address = accepting.address, "admin listening");
        Ok(Self { desk, accepting })
    }

    /// What it listens on, to be passed on.
    pub fn bound(&self) -> &Bound {
        &self.accepting.bound
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
    pub fn retire(self) -> JoinHandle<()> {
        self.accepting.retire()
    }
}

impl ProbesServer {
    /// As [`AdminServer::start`].
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(address: &ListenAddress, claimed: Claimed, operator: Arc<dyn Operator>) -> Result<Self, BindError> {
        let desk = Arc::new(Probes::new(operator));
        let accepting = Accepting::start("probes", address, claimed, AdminLimits::new(0), desk)?;
        tracing::info!(address = accepting.address, "probes listening");
        Ok(Self { accepting })
    }

    /// What it listens on, to be passed on.
    pub fn bound(&self) -> &Bound {
        &self.accepting.bound
    }

    /// As [`AdminServer::retire`].
    pub fn retire(self) -> JoinHandle<()> {
        self.accepting.retire()
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
    fn answer(&self, request: Request<Body>, peer: Peer, seat: Arc<Seat>) -> impl Future<Output = Response> + Send;
}

/// A task that accepts until this is dropped, or retires.
struct Accepting {
    address: String,
    bound: Bound,
    is_retired: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Accepting {
    fn start(
        what: &'static str,
        address: &ListenAddress,
        claimed: Claimed,
        limits: AdminLimits,
        answering: Arc<impl Answering>,
    ) -> Result<Self, BindError> {
        let fail = |error| BindError { what, address: address.to_string(), error };
        let bound = Bound::new(address, Terms { mode: 0o600, spread: None }, claimed).map_err(fail)?;
        let (is_retired, retired) = watch::channel(false);
        let socket = bound.sockets().first().map(Listening::try_clone).transpose();
        let acceptor = socket.and_then(|socket| socket.ok_or(io::ErrorKind::NotFound)?.acceptor());
        let acceptor = acceptor.map_err(|error| fail(error.into()))?;
        let task = tokio::spawn(accept(acceptor, limits, answering, retired));
        Ok(Self { address: bound.place().to_string(), bound, is_retired, task: Some(task) })
    }

    fn retire(mut self) -> JoinHandle<()> {
        self.is_retired.send_replace(true);
        self.task.take().expect("only this function and the end take it")
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(
    acceptor: Acceptor,
    limits: AdminLimits,
    answering: Arc<impl Answering>,
    mut retired: watch::Receiver<bool>,
) {
    let seats = Seats::new(limits.connections);
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = retired.changed() => break,
        };
        match accepted {
            Ok(stream) => match (Peer::of(&stream), seats.take().await) {
                (Ok(peer), Some(seat)) => {
                    connections.spawn(serve(stream, peer, limits.clone(), answering.clone(), seat, retired.clone()));
                }
                (Ok(peer), None) => {
                    tracing::warn!(%peer, "the admin server has all the connections it may have, and all are busy: one is closed");
                }
                // It is gone already.
                (Err(_), _) => {}
            },
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets some close.
                tracing::warn!(%error, "the admin server cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(acceptor);
    let all = async { while connections.join_next().await.is_some() {} };
    // Streams of events have no end of their own.
    let _ = tokio::time::timeout(RETIRED_MAX, all).await;
}

async fn serve(
    stream: Socket,
    peer: Peer,
    limits: AdminLimits,
    answering: Arc<impl Answering>,
    seat: Arc<Seat>,
    mut retired: watch::Receiver<bool>,
) {
    let asked = Arc::new(Notify::new());
    let (noted, taken) = (asked.clone(), seat.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        noted.notify_one();
        let (answering, seat) = (answering.clone(), taken.clone());
        async move { Ok::<_, Infallible>(answering.answer(request.map(Body::new), peer, seat).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // hyper would close a connection unheard whose first request is still on its way.
    let leaving = async {
        let _ = retired.changed().await;
        asked.notified().await;
    };
    // Errors here are the client's: it went away, or spoke no HTTP and was told so.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = seat.has_to_leave() => {}
        () = leaving => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a server that was retired may go on answering.
const RETIRED_MAX: Duration = Duration::from_secs(10);
