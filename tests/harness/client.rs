//! An HTTP/1.1 client on a raw socket: it sends exact bytes and shows exactly what came back.
//!
//! It keeps no promises for the sender: a test may pipeline, stop inside a head or send what no client should.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::echo::Echo;
use crate::upstream::fill;
use crate::wire::{Body, Fields, Head, Stream, Wire, http};
use crate::within;

/// One connection to the gateway.
pub struct Client {
    wire: Wire,
    /// The body that is being read, after [`Client::head`].
    body: Option<Body>,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub version: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The statuses of interim responses (RFC 9110 §15.2) that came first.
    pub interim: Vec<u16>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        Client::over(stream)
    }

    /// A client on a connection that is there already.
    pub(crate) fn over(stream: impl Stream + 'static) -> Client {
        Client { wire: Wire::new(stream), body: None }
    }

    /// Ask for `path` at the host `test.example`, and read the answer.
    pub async fn get(&mut self, path: &str) -> Response {
        self.ask(&[&format!("GET {path} HTTP/1.1"), "Host: test.example"], "").await
    }

    /// Send a request and read its answer to the end.
    pub async fn ask(&mut self, lines: &[&str], body: impl AsRef<[u8]>) -> Response {
        self.send(http(lines, body)).await;
        let method = lines[0].split(' ').next().unwrap_or_default();
        self.response_to(method).await.expect("an answer, whole")
    }

    /// Send bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("the gateway to take bytes", self.wire.send(bytes.as_ref())).await.expect("the gateway is there");
    }

    /// Send bytes that the gateway may refuse to take, because it has already answered or hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("the gateway to take bytes", self.wire.send(bytes.as_ref())).await
    }

    /// Send zeros until the gateway takes no more for a second, or `limit` bytes are gone. Says how many were taken.
    pub async fn send_until_stalled(&mut self, limit: usize) -> usize {
        fill(&mut self.wire, limit).await
    }

    /// Send no more; the answer can still be read.
    pub async fn finish_sending(&mut self) {
        self.wire.finish_sending().await.expect("the gateway is there");
    }

    /// Read one answer to the end.
    pub async fn response(&mut self) -> Response {
        self.response_to("GET").await.expect("an answer, whole")
    }

    /// Read one answer to `method`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends inside it or in its place; other kinds when it is reset or is no HTTP.
    pub async fn response_to(&mut self, method: &str) -> io::Result<Response> {
        within("an answer", async {
            let mut interim = Vec::new();
            loop {
                let head = self.read_head(method).await?;
                if head.status() >= 200 {
                    return self.rest_of(head, interim).await;
                }
                interim.push(head.status());
            }
        })
        .await
    }

    /// Read a head, interim ones too, as soon as it is there; [`Client::chunk`] goes on with the body.
    pub async fn head(&mut self) -> Head {
        within("the head of an answer", self.read_head("GET")).await.expect("a head")
    }

    /// The next piece of the body whose head was read last; `None` after the last piece.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let body = self.body.as_mut().expect("a head was read before");
        within("a piece of the answer", body.next(&mut self.wire)).await
    }

    /// The rest of the body whose head was read last.
    ///
    /// # Errors
    /// As [`Body::rest`].
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let body = self.body.as_mut().expect("a head was read before");
        within("the rest of the answer", body.rest(&mut self.wire)).await
    }

    /// The next bytes of what the connection was turned into.
    pub async fn bytes(&mut self, count: usize) -> Bytes {
        within("bytes through the tunnel", self.wire.bytes(count)).await.expect("the tunnel is there")
    }

    /// Wait until the gateway hangs up, and see that it says nothing more.
    pub async fn closed(&mut self) {
        within("the gateway to hang up", self.wire.end()).await.expect("nothing but the end is left");
    }

    async fn read_head(&mut self, method: &str) -> io::Result<Head> {
        let head = self.wire.head().await?;
        let head =
            head.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the end came in place of an answer"))?;
        self.body = Some(Body::of_response(&head, method));
        Ok(head)
    }

    async fn rest_of(&mut self, head: Head, interim: Vec<u16>) -> io::Result<Response> {
        let mut body = self.body.take().expect("the head was just read");
        let content = body.rest(&mut self.wire).await?;
        let (status, version) = (head.status(), head.word(0).to_owned());
        Ok(Response { status, version, fields: head.fields, body: content, trailers: body.trailers, interim })
    }
}

impl Response {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When the answer is an error, or no JSON.
    pub fn json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {:?}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// What the echoing upstream received.
    pub fn echo(&self) -> Echo {
        assert_eq!(self.status, 200, "an echo, not {:?}", self.text());
        Echo::read(&self.body)
    }

    /// The problem that the gateway reports (RFC 9457), after a look at its form.
    ///
    /// # Panics
    /// When it is not `status`, or any part of the form is missing.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:?}", self.text());
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        for key in ["type", "title", "detail", "request_id"] {
            let text = problem[key].as_str().unwrap_or_else(|| panic!("a problem has `{key}`: {problem}"));
            assert!(!text.is_empty(), "`{key}` says something: {problem}");
        }
        assert_eq!(problem["status"], status);
        problem
    }
}
