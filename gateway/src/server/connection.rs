//! One downstream connection: its protocol, its requests, its end.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;

use super::in_flight::InFlight;
use super::pulse::{Order, Pulse};
use super::stream::Stream;
use super::tunnel::{self, Opened};
use super::wire::{Protocol, Wire};
use crate::filter::Connection;
use crate::message::BodyError;
use crate::proxy::{self, Answer, Answered, Watched, Worker};
use crate::snapshot::Listener;
use crate::tls::Alpn;

/// What the requests of a connection share.
pub(super) struct Requests {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) listener: Arc<Listener>,
    pub(super) pulse: Rc<Pulse>,
    /// What an HTTP/1 connection becomes once its last answer, a 101, has left.
    pub(super) opened: Cell<Option<Opened>>,
    /// A request is under way that may turn the connection into something else. Its answer must not say that the connection closes, in the
    /// very field that says what it becomes.
    pub(super) may_turn: Cell<bool>,
}

/// Serves a connection until either side has had enough.
pub(super) async fn serve(mut wire: Wire, requests: Requests) {
    let limits = requests.listener.limits.clone();
    let pulse = requests.pulse.clone();
    let Some(protocol) = protocol(&mut wire, &pulse).await else { return };
    let agreed = requests.connection.tls.as_ref().and_then(|session| session.alpn);
    if agreed.is_some_and(|agreed| (agreed == Alpn::Http2) != (protocol == Protocol::Http2)) {
        // Who breaks its word on the protocol may mean its bytes to be read in two ways.
        return;
    }
    let requests = Rc::new(requests);
    let service = Shared(requests.clone());
    // Errors here are the client's: it went away, or spoke no HTTP and was told so.
    match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            if limits.header_count > HYPER_HEADERS_MAX {
                builder.max_headers(limits.header_count);
            }
            let mut connection = builder
                .max_buf_size(limits.head_bytes.max(HYPER_BUFFER_BYTES_MIN))
                // Time limits are the pulse's, which tells an idle connection from an unfinished head.
                .header_read_timeout(None)
                .serve_connection(wire, service);
            let has_ended = drive(Pin::new(&mut connection), &pulse, &requests.may_turn).await;
            if let (true, Some(opened)) = (has_ended, requests.opened.take()) {
                drop(requests);
                let (stream, first) = taken_back(connection.into_parts());
                // Boxed: few connections become one.
                Box::pin(tunnel::relay(stream, first, opened, &pulse)).await;
            }
        }
        Protocol::Http2 => {
            pulse.speaks_http2();
            let connection = http2::Builder::new(LocalExecutor)
                .max_concurrent_streams(limits.streams)
                .enable_connect_protocol()
                .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
                .max_local_error_reset_streams(RESETS_OF_OURS_MAX)
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
                .serve_connection(wire, service);
            // Twice the size of an HTTP/1 connection, and most connections are none.
            drive(Box::pin(connection).as_mut(), &pulse, &requests.may_turn).await;
        }
    }
}

/// The bare stream, and what was read of it behind the last request. Nothing else stays: tunnels last.
fn taken_back(parts: Parts<Wire, Shared>) -> (Stream, Vec<u8>) {
    let (stream, rest) = parts.io.into_inner();
    (stream, [&*parts.read_buf, &*rest].concat())
}

/// What the client speaks, unless it says nothing, or is told to go before it did.
async fn protocol(wire: &mut Wire, pulse: &Pulse) -> Option<Protocol> {
    let mut told = pin!(wire.protocol());
    std::future::poll_fn(|context| match pulse.take_order(context.waker()) {
        Some(Order::Close | Order::Drain) => Poll::Ready(None),
        None if pulse.is_late() => Poll::Ready(None),
        None => told.as_mut().poll(context).map(Result::ok),
    })
    .await
}

/// Runs a connection, and carries out what its pulse is told. Whether it ended by itself and well.
async fn drive<C: Graceful>(mut connection: Pin<&mut C>, pulse: &Pulse, may_turn: &Cell<bool>) -> bool {
    let mut is_to_drain = false;
    std::future::poll_fn(|context| {
        loop {
            match pulse.take_order(context.waker()) {
                Some(Order::Close) => return Poll::Ready(false),
                // hyper would close behind a response that has begun, whatever the client has sent since.
                Some(Order::Drain) if pulse.is_last() => {}
                Some(Order::Drain) => is_to_drain = true,
                None => {}
            }
            if is_to_drain && !may_turn.get() {
                is_to_drain = false;
                connection.as_mut().drain();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended.is_ok());
            }
            // A request may have given an order while it was polled, or let another be carried out.
            if !pulse.has_order() && (!is_to_drain || may_turn.get()) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// The two kinds of hyper connection.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

impl Graceful for http1::Connection<Wire, Shared> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Graceful for http2::Connection<Wire, Shared, LocalExecutor> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

#[derive(Clone)]
struct Shared(Rc<Requests>);

impl Service<Request<Incoming>> for Shared {
    type Response = Response<Counted>;
    type Error = std::convert::Infallible;
    type Future = Counting;

    fn call(&self, mut request: Request<Incoming>) -> Counting {
        let Requests { worker, connection, listener, pulse, .. } = &*self.0;
        let in_flight = Some(pulse.begin());
        self.0.may_turn.set(request.headers().contains_key(UPGRADE));
        // What hyper gives for HTTP/1 works for streams only that can be sent between threads.
        let stream = if request.version() == Version::HTTP_2 { request.extensions_mut().remove() } else { None };
        Counting {
            answer: proxy::serve(worker, connection, listener, request),
            in_flight,
            requests: self.0.clone(),
            stream,
        }
    }
}

/// An answer on its way, counted from its request's head on. An idle connection keeps room for this, not for a request.
struct Counting {
    answer: Answer,
    in_flight: Option<InFlight>,
    requests: Rc<Requests>,
    /// The stream of an extended CONNECT, once it is answered.
    stream: Option<OnUpgrade>,
}

impl Future for Counting {
    type Output = Result<Response<Counted>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Answered { mut response, tunnel } = ready!(self.answer.as_mut().poll(context));
        let mut in_flight = self.in_flight.take();
        if let Some(tunnel) = tunnel {
            let opened = Opened { tunnel, in_flight: in_flight.take() };
            match self.stream.take() {
                Some(stream) => {
                    let pulse = self.requests.pulse.clone();
                    drop(tokio::task::spawn_local(tunnel::relay_stream(stream, opened, pulse)));
                }
                None => self.requests.opened.set(Some(opened)),
            }
        } else {
            self.requests.may_turn.set(false);
            if in_flight.as_ref().is_some_and(InFlight::is_last) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        if let Some(in_flight) = &mut in_flight {
            // From here on it is the client's turn: a window that is shut lets nobody ask for the body.
            in_flight.gave(0);
        }
        Poll::Ready(Ok(response.map(|body| Counted { body, in_flight })))
    }
}

/// A response's body that counts as in flight until it has left.
struct Counted {
    body: Watched,
    in_flight: Option<InFlight>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, in_flight } = &mut *self;
        if let Some(in_flight) = in_flight {
            in_flight.asked();
        }
        let frame = ready!(Pin::new(body).poll_frame(context));
        if let (Some(in_flight), Some(Ok(frame))) = (in_flight, &frame) {
            in_flight.gave(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of an HTTP/2 connection as tasks of this worker.
#[derive(Clone)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(async move { drop(stream.await) });
    }
}

/// Streams that were given up before anybody looked at them (CVE-2023-44487). The wire has a price on each, too.
const RESETS_PENDING_MAX: usize = 20;
/// Streams of one connection that had to be reset for what the client did on them (CVE-2025-8671).
const RESETS_OF_OURS_MAX: usize = 1024;

/// What hyper has room for without asking for memory at each request.
const HYPER_HEADERS_MAX: usize = 100;

/// hyper refuses to work with less.
const HYPER_BUFFER_BYTES_MIN: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what an asynchronous function returns. It is never called.
    fn future_bytes<F: Future>(_: fn(Wire, Requests) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_takes_little_room() {
        let bytes = future_bytes(serve);
        assert!(bytes <= CONNECTION_BYTES_MAX, "{bytes} bytes");
        let (counting, tunnel) = (size_of::<Counting>(), tunnel::relay_bytes());
        assert!(counting <= 64 && tunnel <= CONNECTION_BYTES_MAX, "{counting} and {tunnel} bytes");
    }

    const CONNECTION_BYTES_MAX: usize = 1408;
}
