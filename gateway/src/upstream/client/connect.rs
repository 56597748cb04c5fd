//! Making connections: TCP or a socket file, TLS where the upstream has it, and the protocol on top.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::endpoint::Socket;
use super::super::load::Slot;
use super::super::transport::{HTTP2, Tls};
use super::super::{Endpoint, Protocol, Transport};
use super::SendError;
use super::kept::{Http1, Http2, Kept};
use super::outgoing::Outgoing;

/// TLS to one endpoint.
pub(super) struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsClient {
    /// `None` when the endpoint's host is nothing that a certificate could be for.
    fn new(tls: &Tls, protocol: Protocol, endpoint: &Endpoint) -> Option<Self> {
        let name = tls.name_of(endpoint)?;
        let mut config = tls.config.clone();
        config.alpn_protocols = protocol.offers();
        // A store of its own: those that clones share lie behind a lock.
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Some(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// The one that was made before, or a new one; `None` where there is no TLS.
    pub(super) fn known<'c>(
        known: &'c OnceCell<Option<Self>>,
        endpoint: &Endpoint,
        transport: &Transport,
        protocol: Protocol,
    ) -> Result<Option<&'c Self>, SendError> {
        let Some(tls) = &transport.tls else { return Ok(None) };
        let client = known.get_or_init(|| Self::new(tls, protocol, endpoint));
        let unnamed = || SendError::Tls(Box::new(rustls::Error::UnsupportedNameType));
        client.as_ref().map(Some).ok_or_else(unnamed)
    }

    pub(super) async fn handshake(&self, stream: Socket) -> io::Result<TlsStream<Socket>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// Makes a connection, which occupies its slot until it is closed.
pub(super) async fn connect(
    endpoint: &Endpoint,
    transport: &Transport,
    tls: Option<&TlsClient>,
    slot: Slot,
) -> Result<Kept, SendError> {
    let made = async {
        let stream = endpoint.connect().await?;
        let Some(tls) = tls else {
            return match transport.protocol {
                Protocol::Http2 => http2(stream, transport, slot).await,
                Protocol::Http1 | Protocol::Auto => http1(stream, slot).await,
            };
        };
        let stream = tls.handshake(stream).await?;
        let chose_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        match (transport.protocol, chose_http2) {
            (_, true) => http2(stream, transport, slot).await,
            (Protocol::Http2, false) => Err(SendError::NotHttp2),
            (Protocol::Http1 | Protocol::Auto, false) => http1(stream, slot).await,
        }
    };
    let limit = transport.timeouts.connect;
    tokio::time::timeout(limit, made).await.map_err(|_| SendError::ConnectTimeout(limit))?
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S, slot: Slot) -> Result<Kept, SendError> {
    let (sender, connection) = http1::Builder::new()
        .preserve_header_case(false)
        .handshake::<_, Outgoing>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Its error reaches the request that is on it; an idle connection's end is no news.
    let task = tokio::task::spawn_local(async move {
        let _slot = slot;
        drop(connection.await);
    });
    Ok(Kept::Http1(Http1 { sender, task: task.abort_handle(), slot: None }))
}

async fn http2<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    transport: &Transport,
    slot: Slot,
) -> Result<Kept, SendError> {
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        // A peer that is silent for so long is asked whether it is there at all.
        .keep_alive_interval(transport.timeouts.idle)
        .keep_alive_timeout(transport.timeouts.connect)
        .max_header_list_size(HEAD_BYTES_MAX)
        .handshake::<_, Outgoing>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Shared with the task, because the connection alone knows how many streams the upstream allows by now.
    let connection = Rc::new(RefCell::new(Some(connection)));
    let known = connection.clone();
    tokio::task::spawn_local(async move {
        let _slot = slot;
        let over = poll_fn(|context| match &mut *connection.borrow_mut() {
            Some(connection) => Pin::new(connection).poll(context).map(drop),
            None => Poll::Ready(()),
        });
        over.await;
        // With it goes its end of the queue: whoever sends sees that it is closed.
        connection.borrow_mut().take();
    });
    let allowed = move || match known.try_borrow().as_deref() {
        Ok(Some(connection)) => connection.current_max_send_streams(),
        Ok(None) => 0,
        Err(_) => usize::MAX,
    };
    Ok(Kept::Http2(Http2::new(sender, Box::new(allowed))))
}

/// Runs the tasks of an HTTP/2 connection on this worker.
#[derive(Clone)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move { drop(task.await) });
    }
}

const SESSIONS_MAX: usize = 32;
/// The head of a response. What the other protocol allows is hyper's to say.
const HEAD_BYTES_MAX: u32 = 64 << 10;
