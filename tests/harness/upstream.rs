//! A scripted upstream on raw sockets: it records the exact bytes it was sent and answers with the exact bytes it was told.
//!
//! Three kinds: [`Upstream::echo`] and [`Upstream::answering`] answer by themselves; [`Upstream::manual`] hands each request to the
//! test as an [`Exchange`], and the test is the upstream: it streams in steps, stalls, resets or never answers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::echo;
use crate::wire::{Body, Fields, Head, Wire};
use crate::within;

/// An upstream on a port of its own. Dropping it closes everything.
pub struct Upstream {
    address: SocketAddr,
    /// Bound but never listening: it keeps the port ours while the upstream is down.
    _port: TcpSocket,
    script: Script,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    exchanges: mpsc::UnboundedReceiver<Exchange>,
    /// What keeps a deaf upstream's queue full.
    _queued: Vec<TcpStream>,
    _deaf: Option<TcpListener>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// Head, framing and body, byte for byte.
    pub raw: Vec<u8>,
    /// The connection it came on, counted from 1.
    pub connection: usize,
}

/// The bytes that answer a request.
type Answer = dyn Fn(&Request) -> Vec<u8> + Send + Sync;

#[derive(Clone)]
enum Script {
    Answer(Arc<Answer>),
    Manual(mpsc::UnboundedSender<Exchange>),
}

struct Shared {
    seen: watch::Sender<Seen>,
    /// Changes when idle connections shall close.
    hang_up: watch::Sender<u64>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    open: usize,
    requests: Vec<Request>,
}

impl Upstream {
    /// An upstream that answers every request with what it received; read the answer as [`crate::Echo`].
    pub async fn echo() -> Upstream {
        Upstream::with(echo::answer).await
    }

    /// An upstream that answers every request with these bytes, and closes when they say so.
    pub async fn answering(response: impl Into<Vec<u8>>) -> Upstream {
        let response = response.into();
        Upstream::with(move |_| response.clone()).await
    }

    /// An upstream whose answer depends on the request, body and all.
    pub async fn with(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        let (_, exchanges) = mpsc::unbounded_channel();
        Upstream::start(Script::Answer(Arc::new(answer)), exchanges)
    }

    /// An upstream that the test plays itself, see [`Upstream::next`].
    pub async fn manual() -> Upstream {
        let (script, exchanges) = mpsc::unbounded_channel();
        Upstream::start(Script::Manual(script), exchanges)
    }

    /// An upstream that is not there: its port refuses connections until [`Upstream::restart`].
    pub async fn down() -> Upstream {
        let mut upstream = Upstream::echo().await;
        upstream.kill().await;
        upstream
    }

    /// An upstream whose machine does not answer: connections to it are neither accepted nor refused.
    pub async fn deaf() -> Upstream {
        let mut upstream = Upstream::down().await;
        upstream._deaf = Some(reusable(upstream.address).listen(0).expect("the port is still ours"));
        // Nobody accepts; once the queue is full, the system drops further attempts without a word.
        let soon = Duration::from_millis(300);
        while let Ok(queued) = tokio::time::timeout(soon, TcpStream::connect(upstream.address)).await {
            upstream._queued.push(queued.expect("the queue takes a connection or is silent"));
        }
        upstream
    }

    fn start(script: Script, exchanges: mpsc::UnboundedReceiver<Exchange>) -> Upstream {
        let port = reusable("127.0.0.1:0".parse().expect("a literal address"));
        let address = port.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { seen: watch::Sender::default(), hang_up: watch::Sender::default() });
        let mut upstream = Upstream {
            address,
            _port: port,
            script,
            shared,
            accepting: None,
            exchanges,
            _queued: Vec::new(),
            _deaf: None,
        };
        upstream.restart();
        upstream
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.seen.borrow().connections
    }

    /// Every request that was read to its end, in that order. Requests of a manual upstream are not recorded.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.borrow().requests.clone()
    }

    /// The request that was read last.
    ///
    /// # Panics
    /// When there is none.
    pub fn last_request(&self) -> Request {
        self.requests().pop().expect("the upstream was sent a request")
    }

    /// The next request that reaches a manual upstream, as soon as its head is there.
    pub async fn next(&mut self) -> Exchange {
        within("a request to reach the upstream", self.exchanges.recv())
            .await
            .expect("a manual upstream keeps its channel")
    }

    /// Close every connection that waits for a request, as an upstream does whose idle timeout is shorter than the gateway's.
    pub async fn hang_up(&self) {
        self.shared.hang_up.send_modify(|epoch| *epoch += 1);
        self.all_closed().await;
    }

    /// Die: close every connection, also amid a request, and refuse new ones.
    pub async fn kill(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
        self.all_closed().await;
    }

    /// Come back on the same port.
    pub fn restart(&mut self) {
        let listener = reusable(self.address).listen(1024).expect("the port is still ours");
        self.accepting = Some(tokio::spawn(accept(listener, self.script.clone(), self.shared.clone())));
    }

    async fn all_closed(&self) {
        let mut seen = self.shared.seen.subscribe();
        let closed = seen.wait_for(|seen| seen.open == 0);
        within("the upstream's connections to close", closed).await.expect("the upstream holds the sender");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

/// `HOST:PORT`, as a configuration names it.
impl fmt::Display for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

/// A request in the hands of a test that plays the upstream. Dropping it closes the connection.
pub struct Exchange {
    pub head: Head,
    body: Body,
    wire: Wire,
    back: oneshot::Sender<Wire>,
}

impl Exchange {
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The next piece of the request's body; `None` after the last.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        within("a piece of the request's body", self.body.next(&mut self.wire)).await
    }

    /// The rest of the request's body.
    ///
    /// # Errors
    /// As [`Body::rest`].
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        within("the request's body", self.body.rest(&mut self.wire)).await
    }

    /// Send bytes as they are, be it a head, a piece of a body or nonsense.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("the gateway to take bytes", self.wire.send(bytes.as_ref())).await.expect("the gateway is there");
    }

    /// Send zeros until the gateway takes no more for a second, or `limit` bytes are gone. Says how many were taken.
    pub async fn send_until_stalled(&mut self, limit: usize) -> usize {
        fill(&mut self.wire, limit).await
    }

    /// The next bytes of what the connection was turned into.
    pub async fn bytes(&mut self, count: usize) -> Bytes {
        within("bytes through the tunnel", self.wire.bytes(count)).await.expect("the tunnel is there")
    }

    /// Send no more; the other direction stays open.
    pub async fn finish_sending(&mut self) {
        self.wire.finish_sending().await.expect("the gateway is there");
    }

    /// Wait until the gateway hangs up.
    pub async fn closed(&mut self) {
        within("the gateway to hang up", self.wire.end()).await.expect("nothing but the end is left");
    }

    /// This exchange is over, and the connection may carry the next.
    pub fn keep_alive(self) {
        // A killed upstream wants no connection back; then it closes here.
        let _ = self.back.send(self.wire);
    }

    /// End the connection in good order.
    pub fn close(self) {
        drop(self);
    }

    /// End the connection with a reset.
    pub fn reset(self) {
        self.wire.reset();
    }
}

/// Write zeros until the other side takes none for a second, or `limit` bytes are gone. A stall is the absence of an event, and so the
/// one thing here that needs a clock; a slow machine makes it look later, not different, as long as progress comes once a second.
pub(crate) async fn fill(wire: &mut Wire, limit: usize) -> usize {
    let zeros = [0; 64 * 1024];
    let mut sent = 0;
    while sent < limit {
        let piece = &zeros[..zeros.len().min(limit - sent)];
        match tokio::time::timeout(Duration::from_secs(1), wire.send_some(piece)).await {
            Ok(taken) => sent += taken.expect("the other side is there"),
            Err(_) => break,
        }
    }
    sent
}

pub(crate) fn reusable(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("the system gives sockets");
    socket.set_reuseaddr(true).expect("a new socket takes SO_REUSEADDR");
    socket.set_reuseport(true).expect("a new socket takes SO_REUSEPORT");
    socket.bind(address).expect("the loopback has free ports");
    socket
}

async fn accept(listener: TcpListener, script: Script, shared: Arc<Shared>) {
    // The set ends with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        connections.spawn(serve(stream, script.clone(), Open::count(shared.clone())));
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a connection for as long as it lives.
struct Open {
    number: usize,
    shared: Arc<Shared>,
}

impl Open {
    fn count(shared: Arc<Shared>) -> Open {
        let mut number = 0;
        shared.seen.send_modify(|seen| {
            seen.connections += 1;
            seen.open += 1;
            number = seen.connections;
        });
        Open { number, shared }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.seen.send_modify(|seen| seen.open -= 1);
    }
}

async fn serve(stream: TcpStream, script: Script, open: Open) {
    let mut hang_up = open.shared.hang_up.subscribe();
    let mut wire = match script {
        Script::Answer(_) => Wire::new(stream).recording(),
        Script::Manual(_) => Wire::new(stream),
    };
    loop {
        let head = tokio::select! {
            head = wire.head() => head,
            _ = hang_up.changed() => return,
        };
        let Ok(Some(head)) = head else { return };
        let next = match &script {
            Script::Answer(answer) => respond(wire, head, answer.as_ref(), &open).await,
            Script::Manual(test) => hand_over(wire, head, test).await,
        };
        match next {
            Some(kept) => wire = kept,
            None => return,
        }
    }
}

/// Answer one request; the connection comes back unless it shall close.
async fn respond(mut wire: Wire, head: Head, answer: &Answer, open: &Open) -> Option<Wire> {
    let mut body = Body::of_request(&head);
    let content = body.rest(&mut wire).await.ok()?;
    let request = Request {
        method: head.word(0).to_owned(),
        target: head.word(1).to_owned(),
        fields: head.fields,
        body: content,
        trailers: body.trailers,
        raw: wire.take_record(),
        connection: open.number,
    };
    let response = answer(&request);
    open.shared.seen.send_modify(|seen| seen.requests.push(request));
    wire.send(&response).await.ok()?;
    let text = String::from_utf8_lossy(&response).to_ascii_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let closes = head.starts_with("http/1.0") || head.contains("\r\nconnection: close");
    (!closes).then_some(wire)
}

/// Let the test play the upstream; the connection comes back if the test says so.
async fn hand_over(wire: Wire, head: Head, test: &mpsc::UnboundedSender<Exchange>) -> Option<Wire> {
    let (back, returned) = oneshot::channel();
    let body = Body::of_request(&head);
    test.send(Exchange { head, body, wire, back }).ok()?;
    returned.await.ok()
}
