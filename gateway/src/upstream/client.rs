//! The connections of one worker to one endpoint: HTTP/1.1, kept alive, last in, first out.
//!
//! A connection comes back when the response's body has passed, not before; one that is dropped earlier is closed. So is one
//! whose response was over before its request: it is busy with that request for as long as the client likes (RFC 9112 §9.3).

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Endpoint, Timeouts};
use crate::message::{Body, BodyError, BodyFault};

/// Connections to one endpoint.
pub struct Client {
    endpoint: Arc<Endpoint>,
    timeouts: Timeouts,
    idle_max: usize,
    idle: RefCell<Vec<Idle>>,
    /// The time of the last sweep, so that no request reads the clock for it.
    now: Cell<Instant>,
}

/// A response's head, and what gives the connection back once the body has passed.
pub struct Sent {
    pub response: Response<Incoming>,
    pub give_back: Box<dyn FnOnce()>,
}

/// Why a request got no response. The upstream's fault, except [`SendError::RequestBody`].
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// `stale`: on a kept connection, before a byte of response, and the request had no body: it may be sent again.
    #[error("the connection failed: {error}")]
    Connection { error: hyper::Error, stale: bool },
    #[error("the request's body failed: {0}")]
    RequestBody(BodyFault),
}

struct Idle {
    sender: SendRequest<Outgoing>,
    since: Instant,
}

/// A request's body, which says when the connection is done with it.
struct Outgoing {
    body: Body,
    /// `None` for a body that was at its end from the beginning.
    has_ended: Option<Rc<Cell<bool>>>,
}

impl Client {
    pub fn new(endpoint: Arc<Endpoint>, timeouts: Timeouts, idle_max: usize) -> Rc<Self> {
        Rc::new(Self { endpoint, timeouts, idle_max, idle: RefCell::default(), now: Cell::new(Instant::now()) })
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether this client serves an endpoint under these settings, so that a new snapshot may keep it.
    pub fn fits(&self, endpoint: &Endpoint, timeouts: &Timeouts, idle_max: usize) -> bool {
        *self.endpoint == *endpoint && self.timeouts == *timeouts && self.idle_max == idle_max
    }

    /// Sends a request and awaits the response's head, on a kept connection when there is one.
    ///
    /// # Errors
    /// Any [`SendError`].
    pub async fn send(self: &Rc<Self>, request: Request<Body>) -> Result<Sent, SendError> {
        let mut request = request.map(Outgoing::new);
        let has_ended = request.body().has_ended.clone();
        while let Some(mut sender) = self.take_idle() {
            // The body has passed, but the connection's own task may have a last word to say.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.sent(response, sender, has_ended)),
                Err(mut error) => match error.take_message() {
                    // It never left: the connection had died unnoticed.
                    Some(unsent) => request = unsent,
                    None => return Err(failure(error.into_error(), true)),
                },
            }
        }
        // Boxed: connecting is rare, and would take room in the future of every request.
        Box::pin(self.connect_and_send(request)).await
    }

    /// The same on a new connection: for a second try after a kept one turned out to be dead.
    ///
    /// # Errors
    /// Any [`SendError`].
    pub async fn send_fresh(self: &Rc<Self>, request: Request<Body>) -> Result<Sent, SendError> {
        self.connect_and_send(request.map(Outgoing::new)).await
    }

    async fn connect_and_send(self: &Rc<Self>, request: Request<Outgoing>) -> Result<Sent, SendError> {
        let has_ended = request.body().has_ended.clone();
        let mut sender = self.connect().await?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.sent(response, sender, has_ended)),
            Err(error) => Err(failure(error.into_error(), false)),
        }
    }

    /// Drops connections that waited longer than the idle timeout, as exactly as this is called often.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.now.set(now);
        let fresh = |idle: &Idle| now.saturating_duration_since(idle.since) < self.timeouts.idle;
        self.idle.borrow_mut().retain(|idle| !idle.sender.is_closed() && fresh(idle));
    }

    async fn connect(&self) -> Result<SendRequest<Outgoing>, SendError> {
        let connect = async {
            let stream = TcpStream::connect((&*self.endpoint.host, self.endpoint.port)).await?;
            stream.set_nodelay(true)?;
            http1::Builder::new()
                .preserve_header_case(false)
                .handshake::<_, Outgoing>(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)
        };
        let (sender, connection) = tokio::time::timeout(self.timeouts.connect, connect)
            .await
            .map_err(|_| SendError::ConnectTimeout(self.timeouts.connect))?
            .map_err(SendError::Connect)?;
        // Its error reaches the request that is on it; an idle connection's end is no news.
        tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Outgoing>> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).map(|idle| idle.sender).find(|sender| !sender.is_closed())
    }

    fn sent(
        self: &Rc<Self>,
        response: Response<Incoming>,
        sender: SendRequest<Outgoing>,
        has_ended: Option<Rc<Cell<bool>>>,
    ) -> Sent {
        let client: Weak<Self> = Rc::downgrade(self);
        let give_back = Box::new(move || {
            let Some(client) = client.upgrade() else { return };
            if has_ended.is_some_and(|has_ended| !has_ended.get()) {
                return;
            }
            let mut idle = client.idle.borrow_mut();
            if idle.len() < client.idle_max && !sender.is_closed() {
                idle.push(Idle { sender, since: client.now.get() });
            }
        });
        Sent { response, give_back }
    }
}

impl Outgoing {
    fn new(body: Body) -> Self {
        let has_ended = (!body.is_end_stream()).then(Rc::default);
        Self { body, has_ended }
    }
}

/// The connection lets go of a body once it has sent the last of it, even where it knew the length and asked for no end.
impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(has_ended) = &self.has_ended {
            has_ended.set(true);
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn failure(error: hyper::Error, reused: bool) -> SendError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(inner) = cause {
        if let Some(body) = inner.downcast_ref::<BodyError>() {
            return SendError::RequestBody(body.fault());
        }
        cause = inner.source();
    }
    let stale = reused && !error.is_parse();
    SendError::Connection { error, stale }
}
