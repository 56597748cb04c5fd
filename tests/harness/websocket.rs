//! WebSockets (RFC 6455) by tungstenite: clients of the gateway, over HTTP/1.1 and HTTP/2, and an upstream that takes them.

use std::fmt;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
pub use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Error};

use crate::http2::{Frames, Http2};
use crate::within;

/// A socket's bytes, whatever carries them.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// What came in the place of a WebSocket.
pub type Refusal = Box<Response<Option<Vec<u8>>>>;

/// One end of a WebSocket.
pub struct WebSocket(WebSocketStream<Box<dyn Bytes>>);

/// An upstream on a port of its own that takes every WebSocket. Dropping it closes everything.
pub struct WebSocketUpstream {
    address: SocketAddr,
    sockets: mpsc::UnboundedReceiver<Accepted>,
    accepting: JoinHandle<()>,
}

/// A WebSocket in the hands of a test that plays the upstream, and the request that it began with.
pub struct Accepted {
    pub request: Request<()>,
    pub socket: WebSocket,
}

impl WebSocket {
    /// Ask for a WebSocket at this path, with more fields.
    ///
    /// # Errors
    /// The answer that came in its place.
    pub async fn connect(
        address: SocketAddr,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<(WebSocket, Response<Option<Vec<u8>>>), Refusal> {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        WebSocket::over(stream, path, fields).await
    }

    /// The same on a connection that is there already.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<(WebSocket, Response<Option<Vec<u8>>>), Refusal> {
        let mut request = Request::get(format!("ws://test.example{path}"))
            .header("host", "test.example")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", tungstenite::handshake::client::generate_key());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let stream: Box<dyn Bytes> = Box::new(stream);
        match within("the handshake", tokio_tungstenite::client_async(request, stream)).await {
            Ok((socket, response)) => Ok((WebSocket(socket), response)),
            Err(Error::Http(response)) => Err(response),
            Err(error) => panic!("no WebSocket, and no refusal: {error}"),
        }
    }

    /// The same over a stream of an HTTP/2 connection (RFC 8441).
    ///
    /// # Errors
    /// The status that came in its place.
    pub async fn over_http2(client: &mut Http2, path: &str) -> Result<(WebSocket, Response<()>), u16> {
        let request = Request::get(format!("http://test.example{path}")).header("sec-websocket-version", "13");
        let request = request.body(Frames::default()).expect("a request");
        let (response, tunnel) = client.tunnel("websocket", request).await;
        let Some(tunnel) = tunnel else { return Err(response.status().as_u16()) };
        let tunnel: Box<dyn Bytes> = Box::new(tunnel);
        let socket = WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await;
        Ok((WebSocket(socket), response.map(drop)))
    }

    /// Send a message and wait until it has left.
    pub async fn send(&mut self, message: Message) {
        within("the gateway to take a message", self.0.send(message)).await.expect("the gateway is there");
    }

    /// The next message; a ping is answered when the one after it is read.
    ///
    /// # Panics
    /// When the socket ends without one.
    pub async fn next(&mut self) -> Message {
        self.try_next().await.expect("a message").expect("a good one")
    }

    /// The next message, or how the socket ended: `None` in good order.
    ///
    /// # Errors
    /// What else ended it.
    pub async fn try_next(&mut self) -> Option<Result<Message, Error>> {
        within("a message", self.0.next()).await
    }

    /// Send a text, and see it come back.
    pub async fn echoes(&mut self, text: &str) {
        self.send(Message::text(text)).await;
        assert_eq!(self.next().await, Message::text(text));
    }

    /// Wait for a Close frame, answer it, and see that nothing follows; gives its status.
    ///
    /// # Panics
    /// When the socket ends without one, or something follows it.
    pub async fn closed(&mut self) -> u16 {
        let Message::Close(Some(frame)) = self.next().await else { panic!("a Close frame with a status") };
        let end = self.try_next().await;
        assert!(end.is_none(), "{end:?} after a Close frame");
        frame.code.into()
    }

    /// The bytes beneath, for what no client should send.
    pub fn raw(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + use<>) {
        self.0.get_mut()
    }
}

impl WebSocketUpstream {
    /// An upstream that sends back every message.
    pub async fn echo() -> WebSocketUpstream {
        let mut upstream = WebSocketUpstream::manual().await;
        let (_, nobody) = mpsc::unbounded_channel();
        let mut sockets = std::mem::replace(&mut upstream.sockets, nobody);
        tokio::spawn(async move {
            let mut echoing = JoinSet::new();
            while let Some(Accepted { mut socket, .. }) = sockets.recv().await {
                echoing.spawn(async move {
                    while let Some(Ok(message)) = socket.0.next().await {
                        if (message.is_text() || message.is_binary()) && socket.0.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        upstream
    }

    /// An upstream whose WebSockets the test plays.
    pub async fn manual() -> WebSocketUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (give, sockets) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a listening socket accepts");
                serving.spawn(accept(stream, give.clone()));
            }
        });
        WebSocketUpstream { address, sockets, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next WebSocket, as soon as it is there.
    pub async fn next(&mut self) -> Accepted {
        within("a WebSocket to reach the upstream", self.sockets.recv()).await.expect("the upstream runs")
    }
}

impl Drop for WebSocketUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// `HOST:PORT`, as a configuration names it.
impl fmt::Display for WebSocketUpstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

/// The first protocol that the client offers is taken.
async fn accept(stream: TcpStream, give: mpsc::UnboundedSender<Accepted>) {
    let mut seen = None;
    let stream: Box<dyn Bytes> = Box::new(stream);
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let choose = |request: &Request<()>, mut response: Response<()>| {
        let offered = request.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
        if let Some(first) = offered.and_then(|offered| offered.split(',').next()) {
            response.headers_mut().insert("sec-websocket-protocol", first.trim().parse().expect("a token"));
        }
        seen = Some(request.clone());
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, choose).await else { return };
    let request = seen.expect("a handshake has a request");
    let _ = give.send(Accepted { request, socket: WebSocket(socket) });
}
