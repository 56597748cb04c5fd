//! The record of a request: begun with its head, closed when the last of its response has left, or nobody waits for it any more.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use super::account::{Account, Asked, End};
use super::worker::Generation;
use crate::filter::{Connection, Exchange, Flag, Flags, Tries};
use crate::message::{Body, BodyError, BodyFault};
use crate::telemetry::{Ended, Table, method_of};

/// A request that is being served. Dropped before its answer is there, it is recorded as one whose client went away.
pub(super) struct Served {
    pub(super) generation: Rc<Generation>,
    pub(super) exchange: Box<Exchange>,
    record: Option<Box<Record>>,
}

/// What is counted of a request.
pub(super) struct Record {
    table: Rc<Table>,
    connection: Rc<Connection>,
    listener: u16,
    /// Its place in the snapshot, once there is one.
    route: Option<usize>,
    method: usize,
    is_head: bool,
    arrival: Instant,
    status: StatusCode,
    overhead: Duration,
    flags: Flags,
    /// Of the response's body.
    bytes_out: u64,
    /// As many as the response's head says; `None` when it does not say.
    bytes_due: Option<u64>,
    /// There when somebody wants to know more than is counted.
    account: Option<Box<Account>>,
}

/// A record that is closed when this is dropped.
pub(super) struct Closing(Box<Record>);

/// A response's body that is watched to its end.
pub struct Watched {
    body: Body,
    record: Option<Closing>,
}

impl Record {
    /// Begins with a request that arrived just now.
    pub(super) fn begin(
        table: Rc<Table>,
        connection: Rc<Connection>,
        listener: u16,
        method: &Method,
        arrival: Instant,
    ) -> Box<Self> {
        table.begin();
        Box::new(Self {
            table,
            connection,
            listener,
            route: None,
            method: method_of(method),
            is_head: *method == Method::HEAD,
            arrival,
            status: GONE,
            overhead: Duration::ZERO,
            flags: Flags::default(),
            bytes_out: 0,
            bytes_due: None,
            account: None,
        })
    }

    /// The request is one that more is to be told of.
    pub(super) fn tell(&mut self, generation: &Generation, asked: Option<Asked>, exchange: &Exchange) {
        self.account = asked.and_then(|asked| Account::begin(generation, asked, exchange));
    }

    /// Its route is found, and the exchange has its body.
    pub(super) fn routed(&mut self, generation: &Generation, route: usize, exchange: &mut Exchange) {
        self.route = Some(route);
        if self.table.measures_filters() {
            exchange.trail.watch_calls(&generation.snapshot.routes[route].chain);
        }
        if let Some(account) = &mut self.account {
            account.routed(generation, route, exchange);
        }
    }

    /// The response's head goes to the client now, or would.
    fn answered(&mut self, generation: &Generation, exchange: &mut Exchange) {
        let now = Instant::now();
        self.overhead = own_time(self.arrival, &exchange.trail.tries(), now);
        self.flags = exchange.flags;
        if self.table.measures_filters() {
            self.count_filters(exchange);
        }
        if let Some(account) = &mut self.account {
            account.answered(generation, exchange, now);
        }
    }

    fn count_filters(&self, exchange: &Exchange) {
        let Some(route) = self.route else { return };
        for (filter, call) in exchange.trail.calls() {
            self.table.filtered(route, call.position, filter, call.took);
        }
    }

    fn close(&mut self) {
        let duration = self.arrival.elapsed();
        let trace = self.account.as_deref().and_then(Account::sampled_trace);
        let ended = Ended { method: self.method, status: self.status, duration, overhead: self.overhead, trace };
        let listener = (usize::from(self.listener), &self.connection.listener);
        self.table.end(listener, self.route, &ended);
        if let Some(account) = &self.account {
            account.close(&End {
                listener: &self.connection.listener,
                scheme: self.connection.scheme,
                arrival: self.arrival,
                status: self.status,
                flags: self.flags,
                bytes_out: self.bytes_out,
                duration,
                overhead: self.overhead,
            });
        }
    }
}

impl Served {
    pub(super) fn new(generation: Rc<Generation>, exchange: Box<Exchange>, record: Box<Record>) -> Self {
        Self { generation, exchange, record: Some(record) }
    }

    /// The response, as it stands in the exchange now, and what is closed once it has left.
    pub(super) fn finish(mut self) -> (Response<Watched>, Option<Closing>) {
        let mut record = self.record.take();
        let exchange = &mut *self.exchange;
        let body = std::mem::take(&mut exchange.response_body);
        if let Some(record) = &mut record {
            record.answered(&self.generation, exchange);
            record.status = exchange.response.status;
            record.bytes_due = if record.is_head { Some(0) } else { bytes_due(&body, exchange) };
        }
        let mut response = Response::new(Watched { body, record: None });
        *response.status_mut() = exchange.response.status;
        *response.headers_mut() = std::mem::take(&mut exchange.response.headers);
        (response, record.map(Closing))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.answered(&self.generation, &mut self.exchange);
            record.flags.insert(Flag::ClientGone);
            record.close();
        }
    }
}

impl Closing {
    /// What the connection became has passed so many bytes to the upstream and to the client.
    pub(super) fn tunnelled(&mut self, up: u64, down: u64) {
        let record = &mut *self.0;
        record.bytes_out = down;
        if let Some(account) = &mut record.account {
            account.tunnelled(up);
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Watched {
    pub(super) fn watch(&mut self, record: Option<Closing>) {
        self.record = record;
    }

    /// Whether the client has it all, as far as this side can tell.
    fn has_passed(&self, record: &Record) -> bool {
        self.body.is_end_stream() || record.bytes_due.is_some_and(|due| record.bytes_out >= due)
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Closing(record)) = &mut self.record {
            match &frame {
                Some(Ok(frame)) => record.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64,
                Some(Err(error)) => {
                    record.flags.insert(broken(error));
                    record.bytes_due = Some(0);
                }
                None => record.bytes_due = Some(0),
            }
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

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        if !self.has_passed(&record.0) {
            record.0.flags.insert(Flag::ClientGone);
        }
    }
}

/// All the time until now, less that in which tries at upstreams were under way.
fn own_time(arrival: Instant, tries: &Tries, now: Instant) -> Duration {
    let (Some(began), Some(ended)) = (tries.began, tries.ended) else {
        return tries.began.unwrap_or(now).saturating_duration_since(arrival);
    };
    began.saturating_duration_since(arrival) + now.saturating_duration_since(ended)
}

/// The length of a response's body; nothing is due where its head is all there is (RFC 9110 §6.4.1).
fn bytes_due(body: &Body, exchange: &Exchange) -> Option<u64> {
    let has_none = exchange.response.status.is_informational()
        || matches!(exchange.response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_none {
        return Some(0);
    }
    let length = || exchange.response.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    body.size_hint().exact().or_else(length)
}

/// Why a response's body broke off: it was not the client.
fn broken(error: &BodyError) -> Flag {
    match error.fault() {
        BodyFault::Slow => Flag::UpstreamTimeout,
        BodyFault::BrokenOff => Flag::PluginError,
        BodyFault::Gone | BodyFault::TooLarge | BodyFault::Malformed => Flag::UpstreamReset,
    }
}

/// The status of a request whose client did not wait for an answer, as nginx has it.
const GONE: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};
