//! A scripted upstream that speaks HTTP/2 with prior knowledge: the test answers each stream, resets it, or sends the whole
//! connection away.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::within;

/// An upstream on a port of its own. Dropping it closes everything.
pub struct Http2Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    streams: mpsc::UnboundedReceiver<Http2Exchange>,
    farewells: broadcast::Sender<()>,
    accepting: JoinHandle<()>,
}

/// A stream in the hands of the test. Dropping it resets the stream.
pub struct Http2Exchange {
    pub request: Request<RecvStream>,
    /// The connection it came on, counted from 1.
    pub connection: usize,
    respond: SendResponse<Bytes>,
    sending: Option<SendStream<Bytes>>,
}

impl Http2Upstream {
    /// An upstream that the test plays.
    pub async fn manual() -> Http2Upstream {
        Http2Upstream::with_streams(100).await
    }

    /// The same, with so many streams at a time on a connection.
    pub async fn with_streams(max: u32) -> Http2Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (give, streams) = mpsc::unbounded_channel();
        let (farewells, _) = broadcast::channel(4);
        let accepting = tokio::spawn(accept(listener, max, connections.clone(), give, farewells.clone()));
        Http2Upstream { address, connections, streams, farewells, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next stream, as soon as its head is there.
    pub async fn next(&mut self) -> Http2Exchange {
        within("a stream to reach the upstream", self.streams.recv()).await.expect("the upstream runs")
    }

    /// Send every connection away in good order (RFC 9113 §6.8).
    pub fn go_away(&self) {
        let _ = self.farewells.send(());
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// `HOST:PORT`, as a configuration names it.
impl fmt::Display for Http2Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

impl Http2Exchange {
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The request's body and trailers.
    pub async fn rest(&mut self) -> (Vec<u8>, HeaderMap) {
        within("the request's body", async {
            let mut body = Vec::new();
            let stream = self.request.body_mut();
            while let Some(piece) = stream.data().await {
                let piece = piece.expect("a piece");
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            let trailers = stream.trailers().await.expect("the end of a stream");
            (body, trailers.unwrap_or_default())
        })
        .await
    }

    /// The next piece of the request's body; `None` after the last.
    ///
    /// # Errors
    /// How the stream ended in its place.
    pub async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let stream = self.request.body_mut();
        loop {
            let piece = within("a piece of the request", stream.data()).await;
            if let Some(Ok(piece)) = &piece {
                let _ = stream.flow_control().release_capacity(piece.len());
                // An end may come with nothing.
                if piece.is_empty() {
                    continue;
                }
            }
            return piece;
        }
    }

    /// Wait until the gateway resets the stream.
    pub async fn was_reset(&mut self) -> Reason {
        let reset = std::future::poll_fn(|context| match &mut self.sending {
            Some(sending) => sending.poll_reset(context),
            None => self.respond.poll_reset(context),
        });
        within("a reset", reset).await.expect("the connection lives")
    }

    /// The head of a response; its body follows.
    pub fn head(&mut self, response: Response<()>) {
        self.sending = Some(self.respond.send_response(response, false).expect("the gateway is there"));
    }

    /// A piece of its body.
    pub fn data(&mut self, data: &'static [u8]) {
        let sending = self.sending.as_mut().expect("a head was sent");
        sending.send_data(Bytes::from_static(data), false).expect("the gateway is there");
    }

    /// The end of it.
    pub fn trailers(mut self, trailers: HeaderMap) {
        self.sending.take().expect("a head was sent").send_trailers(trailers).expect("the gateway is there");
    }

    /// A whole response of status 200.
    pub fn answer(mut self, body: &'static str) {
        let response = Response::builder().header("content-length", body.len()).body(()).expect("a head");
        let mut sending = self.respond.send_response(response, false).expect("the gateway is there");
        sending.send_data(Bytes::from_static(body.as_bytes()), true).expect("the gateway is there");
    }

    /// End the stream, and say why.
    pub fn reset(mut self, reason: Reason) {
        match &mut self.sending {
            Some(sending) => sending.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

async fn accept(
    listener: TcpListener,
    streams_max: u32,
    connections: Arc<AtomicUsize>,
    give: mpsc::UnboundedSender<Http2Exchange>,
    farewells: broadcast::Sender<()>,
) {
    // The set ends with this task, and with it every connection.
    let mut serving = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
        serving.spawn(serve(stream, number, streams_max, give.clone(), farewells.subscribe()));
        while serving.try_join_next().is_some() {}
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    streams_max: u32,
    give: mpsc::UnboundedSender<Http2Exchange>,
    mut farewells: broadcast::Receiver<()>,
) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut wire) = builder.max_concurrent_streams(streams_max).handshake::<_, Bytes>(stream).await else { return };
    loop {
        tokio::select! {
            accepted = wire.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                if give.send(Http2Exchange { request, connection, respond, sending: None }).is_err() {
                    return;
                }
            }
            Ok(()) = farewells.recv() => wire.graceful_shutdown(),
        }
    }
}
