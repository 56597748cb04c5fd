//! An HTTP/2 client with prior knowledge (RFC 9113 §3.3), by hyper: one connection, many requests at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::echo::Echo;
use crate::wire::Stream;
use crate::within;

/// One connection to the gateway; clones share it.
#[derive(Clone)]
pub struct Http2 {
    send: SendRequest<Frames>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Http2Response {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// A body that is known from the start: data, and maybe trailers.
#[derive(Default)]
pub struct Frames(VecDeque<Frame<Bytes>>);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Http2 {
        Http2::connect_after(address, b"").await
    }

    /// The same, after some bytes that are none of HTTP.
    pub async fn connect_after(address: SocketAddr, first: &[u8]) -> Http2 {
        let mut stream = within("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        stream.write_all(first).await.expect("the listener reads");
        Http2::over(stream).await
    }

    /// A client on a connection that is there already.
    pub(crate) async fn over(stream: impl Stream + 'static) -> Http2 {
        let handshake = handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (send, connection) = within("the preface", handshake).await.expect("the listener speaks HTTP/2");
        // Its end is seen by whoever waits for an answer.
        tokio::spawn(connection);
        Http2 { send }
    }

    /// Ask for `path` at the host `test.example`, and read the answer.
    pub async fn get(&mut self, path: &str) -> Http2Response {
        let request = Request::get(format!("http://test.example{path}")).body(Frames::default()).expect("a path");
        self.ask(request).await
    }

    /// Send a request and read its answer to the end.
    pub async fn ask(&mut self, request: Request<Frames>) -> Http2Response {
        let response = self.start(request).await.expect("an answer");
        Http2Response::read(response).await.expect("an answer, whole")
    }

    /// Ask for a tunnel (RFC 8441); the head of the answer comes without one when it is refused.
    pub async fn tunnel(
        &mut self,
        protocol: &'static str,
        mut request: Request<Frames>,
    ) -> (Response<Incoming>, Option<TokioIo<Upgraded>>) {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static(protocol));
        let mut response = self.start(request).await.expect("an answer");
        if !response.status().is_success() {
            return (response, None);
        }
        let upgraded = within("the tunnel", hyper::upgrade::on(&mut response)).await.expect("a tunnel");
        (response, Some(TokioIo::new(upgraded)))
    }

    /// Send a request and read the head of its answer.
    ///
    /// # Errors
    /// When the stream or the connection ends first.
    pub async fn start(&mut self, request: Request<Frames>) -> hyper::Result<Response<Incoming>> {
        within("room for a stream", self.send.ready()).await?;
        within("the head of an answer", self.send.send_request(request)).await
    }
}

impl Http2Response {
    /// Read a response to its end.
    ///
    /// # Errors
    /// When the stream is reset before.
    pub async fn read(response: Response<Incoming>) -> hyper::Result<Http2Response> {
        let (parts, body) = response.into_parts();
        let collected = within("the body of an answer", body.collect()).await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let mut data = collected.aggregate();
        let body = data.copy_to_bytes(data.remaining()).to_vec();
        Ok(Http2Response { status: parts.status.as_u16(), fields: parts.headers, body, trailers })
    }

    /// What the echoing upstream received.
    pub fn echo(&self) -> Echo {
        assert_eq!(self.status, 200, "an echo, not {:?}", String::from_utf8_lossy(&self.body));
        Echo::read(&self.body)
    }
}

impl Frames {
    /// One piece of data.
    pub fn data(bytes: impl Into<Bytes>) -> Frames {
        Frames(VecDeque::from([Frame::data(bytes.into())]))
    }

    /// And then trailers.
    pub fn and_trailers(mut self, trailers: HeaderMap) -> Frames {
        self.0.push_back(Frame::trailers(trailers));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
