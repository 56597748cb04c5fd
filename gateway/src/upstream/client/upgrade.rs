//! Connections for upgrades: each is made for one request, over HTTP/1.1, and never kept, whatever comes of it.

use std::io;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::Protocol;
use super::super::load::Slot;
use super::connect::TlsClient;
use super::kept::{Http1, Kept};
use super::outgoing::Outgoing;
use super::{Client, SendError};

impl Client {
    /// Makes a connection that may become something else.
    pub(super) async fn connect_for_upgrade(&self, slot: Slot) -> Result<Kept, SendError> {
        let known = match self.transport.protocol {
            Protocol::Http1 => &self.tls,
            Protocol::Auto => &self.tls_http1,
            Protocol::Http2 => return Err(SendError::NoUpgrade),
        };
        let tls = TlsClient::known(known, &self.endpoint, &self.transport, Protocol::Http1)?;
        let made = async {
            let stream = self.endpoint.connect().await?;
            match tls {
                Some(tls) => http1(tls.handshake(stream).await?, slot).await,
                None => http1(stream, slot).await,
            }
        };
        let limit = self.transport.timeouts.connect;
        tokio::time::timeout(limit, made).await.map_err(|_| SendError::ConnectTimeout(limit))?
    }
}

async fn http1<S>(stream: S, slot: Slot) -> Result<Kept, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::Builder::new().handshake::<_, Outgoing>(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(io::Error::other)?;
    let task = tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) });
    // The task ends when the connection turns into something else. The slot must not: it goes where the sender goes.
    Ok(Kept::Http1(Http1 { sender, task: task.abort_handle(), slot: Some(slot) }))
}
