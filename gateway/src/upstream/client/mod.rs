//! The connections of one worker to one endpoint, and the requests on them.
//!
//! ```text
//! outgoing   a request in the form of its protocol; knows when its body has left
//! kept       connections that wait for requests, or share them
//! connect    a socket, TLS, protocol
//! upgrade    a connection for one request that may turn it into something else
//! failure    why there is no response
//! ```
//!
//! An HTTP/1.1 connection comes back when the response's body has passed, not before; one that is dropped earlier is closed.
//! So is one whose response was over before its request: it is busy with that request for as long as the client likes
//! (RFC 9112 §9.3), which [`LINGER`] bounds.

mod outgoing;
mod kept;
mod connect;
mod upgrade;
mod failure;

pub use failure::{Failed, Loss, SendError};

use std::cell::{Cell, OnceCell};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::sync::Notify;

use self::connect::TlsClient;
use self::kept::{Http1, Kept, Store, Stream};
use self::outgoing::{Ended, Outgoing};
use super::load::Slot;
use super::{Endpoint, Protocol, Transport};
use crate::message::{Body, has_one_framing};

/// Connections to one endpoint.
pub struct Client {
    endpoint: Arc<Endpoint>,
    transport: Arc<Transport>,
    store: Store,
    /// Made for the first connection; `None` inside when the endpoint's host is nothing that a certificate could be for.
    tls: OnceCell<Option<TlsClient>>,
    /// The same, for HTTP/1.1 where the endpoint would choose HTTP/2.
    tls_http1: OnceCell<Option<TlsClient>>,
    /// Whether the last connection spoke HTTP/2; `None` before the first.
    spoke_http2: Cell<Option<bool>>,
    is_connecting: Cell<bool>,
    /// Requests here that wait for a connection.
    waiting: Cell<usize>,
    /// Told when a connection may have room for a request that waits.
    has_room: Notify,
    /// The time of the last sweep, so that no request reads the clock for it.
    now: Cell<Instant>,
}

/// Which connection a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A kept one, when there is one.
    Any,
    /// A new one, where one may be made: for a second try after a kept one turned out to be dead.
    New,
    /// A new one over HTTP/1.1, for this request alone: it may become something else.
    Upgrade,
}

impl On {
    /// The same for a second try.
    pub fn anew(self) -> Self {
        if self == Self::Upgrade { self } else { Self::New }
    }
}

/// A response's head, and what gives the connection back once the body has passed.
pub struct Sent {
    pub response: Response<Incoming>,
    pub give_back: Box<dyn FnOnce()>,
}

impl Client {
    pub fn new(endpoint: Arc<Endpoint>, transport: Arc<Transport>) -> Rc<Self> {
        Rc::new(Self {
            endpoint,
            transport,
            store: Store::default(),
            tls: OnceCell::new(),
            tls_http1: OnceCell::new(),
            spoke_http2: Cell::new(None),
            is_connecting: Cell::new(false),
            waiting: Cell::new(0),
            has_room: Notify::new(),
            now: Cell::new(Instant::now()),
        })
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether this client reaches its endpoint so, and a new snapshot may keep it.
    pub fn fits(&self, transport: &Arc<Transport>) -> bool {
        Arc::ptr_eq(&self.transport, transport)
    }

    /// Sends a request and awaits the response's head. `ticket` is dropped when the response's body is over, or will not be.
    ///
    /// # Errors
    /// [`Failed`] with any [`SendError`].
    pub async fn send<T: 'static>(self: &Rc<Self>, request: Request<Body>, on: On, ticket: T) -> Result<Sent, Failed> {
        let (mut request, mut ticket) = (request.map(Outgoing::new), ticket);
        loop {
            let at_hand = if on == On::Any { self.store.take(self.transport.limits.streams) } else { None };
            let (kept, was_kept) = match at_hand {
                Some(kept) => (kept, true),
                // Boxed: it is rare, and would take room in the future of every request.
                None => match Box::pin(self.connection(on)).await {
                    Ok(found) => found,
                    Err(error) => return Err(Failed::unsent(error, request)),
                },
            };
            match self.send_on(kept, request, was_kept, ticket).await {
                Ok(sent) => return Ok(sent),
                // The connection had died unnoticed.
                Err(Unsent::Returned(back)) => (request, ticket) = *back,
                Err(Unsent::Failed(failed)) => return Err(failed),
            }
        }
    }

    async fn send_on<T: 'static>(
        self: &Rc<Self>,
        kept: Kept,
        mut request: Request<Outgoing>,
        was_kept: bool,
        ticket: T,
    ) -> Result<Sent, Unsent<T>> {
        let has_ended = request.body().has_ended();
        match kept {
            Kept::Http1(mut http1) => {
                if self.transport.protocol != Protocol::Http1 {
                    outgoing::into_http1(&mut request);
                }
                // The body has passed, but the connection's own task may have a last word to say.
                if http1.sender.ready().await.is_err() {
                    return Err(Unsent::Returned(Box::new((request, ticket))));
                }
                outgoing::await_continue(&mut request);
                match http1.sender.try_send_request(request).await {
                    Ok(response) if !has_one_framing(response.headers()) => Err(Unsent::Failed(Failed::framing())),
                    Ok(response) => Ok(self.sent_http1(response, http1, has_ended, ticket)),
                    Err(error) => Err(Unsent::new(error, was_kept, ticket)),
                }
            }
            Kept::Http2(http2) => {
                outgoing::into_http2(&mut request, self.transport.tls.is_some(), || self.endpoint.authority());
                let mut sender = http2.sender.clone();
                let leaving = Leaving { client: Rc::downgrade(self), stream: Some(http2.begin()) };
                match sender.try_send_request(request).await {
                    // Held until the body is over, also when it does not pass to its end.
                    Ok(response) => Ok(Sent { response, give_back: Box::new(move || drop((leaving, ticket))) }),
                    Err(error) => Err(Unsent::new(error, was_kept, ticket)),
                }
            }
        }
    }

    /// A connection, and whether it was there before: waits for one that is made, given back, or may be made.
    async fn connection(self: &Rc<Self>, on: On) -> Result<(Kept, bool), SendError> {
        let Transport { limits, load, .. } = &*self.transport;
        let _waiting = (load.wait(limits)?, Count::up(&self.waiting));
        let mut was_woken = false;
        loop {
            // Listening before looking, so that no news is missed in between.
            let (mut closed, mut has_room) = (pin!(load.closed.notified()), pin!(self.has_room.notified()));
            closed.as_mut().enable();
            has_room.as_mut().enable();
            let take = || self.store.take(limits.streams).map(Found::Kept);
            // HTTP/2 connections are made one by one: the next may have room for all who wait.
            let open = || if self.is_connecting.get() { None } else { load.open(limits).map(Found::Slot) };
            let found = match on {
                On::Any => take().or_else(open),
                On::New => open().or_else(take),
                On::Upgrade => load.open(limits).map(Found::Slot),
            };
            if on == On::Upgrade && found.is_none() {
                // One that waits is of no use to it, but has the place that it needs.
                self.store.retire(Duration::ZERO, Instant::now());
            }
            if was_woken && found.is_some() {
                // One piece of news was of no use here, but may be to the next who waits.
                load.closed.notify_one();
                self.has_room.notify_one();
            }
            match found {
                Some(Found::Kept(kept)) => return Ok((kept, true)),
                Some(Found::Slot(slot)) => return self.connect(slot, on).await.map(|made| (made, false)),
                None => {}
            }
            let _starving = (!self.is_connecting.get()).then(|| load.starve());
            tokio::select! {
                () = closed => {}
                () = has_room => {}
            }
            was_woken = true;
        }
    }

    async fn connect(self: &Rc<Self>, slot: Slot, on: On) -> Result<Kept, SendError> {
        if on == On::Upgrade {
            return self.connect_for_upgrade(slot).await;
        }
        let _connecting = Connecting::begin(self);
        let client = TlsClient::known(&self.tls, &self.endpoint, &self.transport, self.transport.protocol)?;
        let made = connect::connect(&self.endpoint, &self.transport, client, slot).await?;
        self.spoke_http2.set(Some(matches!(made, Kept::Http2(_))));
        if let Kept::Http2(http2) = &made {
            self.store.share(http2);
        }
        Ok(made)
    }

    /// Drops connections that waited longer than the idle timeout, as exactly as this is called often.
    pub fn sweep(&self) {
        self.now.set(Instant::now());
        self.store.retire(self.transport.timeouts.idle, self.now.get());
    }

    /// Drops connections that wait, for requests elsewhere that have none while no more may be made.
    pub fn make_room(&self) {
        if self.waiting.get() == 0 {
            self.store.retire(Duration::ZERO, Instant::now());
        }
    }

    fn sent_http1<T: 'static>(
        self: &Rc<Self>,
        response: Response<Incoming>,
        http1: Http1,
        has_ended: Option<Ended>,
        ticket: T,
    ) -> Sent {
        let client: Weak<Self> = Rc::downgrade(self);
        if http1.slot.is_some() {
            // The upstream was asked to make something else of it: whether it did or not, nobody else shall use it.
            return Sent { response, give_back: Box::new(move || drop((ticket, http1))) };
        }
        let give_back = Box::new(move || {
            drop(ticket);
            if has_ended.is_some_and(|has_ended| !has_ended.get()) {
                // The client still sends what nobody waits for. It may finish, in a while, so that it reads its answer in peace.
                let Http1 { sender, task, .. } = http1;
                drop(sender);
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(LINGER).await;
                    task.abort();
                });
            } else if let Some(client) = client.upgrade() {
                client.take_back(http1);
            }
        });
        Sent { response, give_back }
    }

    fn take_back(&self, http1: Http1) {
        if self.waiting.get() > 0 {
            self.store.put_back(http1, self.now.get());
            self.has_room.notify_one();
        } else if !self.transport.load.is_starved() {
            self.store.put_back(http1, self.now.get());
        }
    }

    /// Whether the next connection can be waited for by more than one request.
    fn expects_http2(&self) -> bool {
        match self.transport.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.transport.tls.is_some() && self.spoke_http2.get() != Some(false),
        }
    }
}

impl Sent {
    /// Lets go of a response that nobody wants; one that is short is read to its end, so that its connection is kept.
    pub fn discard(self, within: Duration) {
        let Self { response, give_back } = self;
        let mut body = response.into_body();
        if body.is_end_stream() {
            give_back();
        } else if body.size_hint().upper().is_some_and(|bytes| bytes <= DISCARDED_BYTES_MAX) {
            let rest = async move {
                while let Some(frame) = body.frame().await {
                    if frame.is_err() {
                        return;
                    }
                }
                give_back();
            };
            tokio::task::spawn_local(async move { drop(tokio::time::timeout(within, rest).await) });
        }
    }
}

/// What a request that waits has come by.
enum Found {
    Kept(Kept),
    /// Room to make a connection.
    Slot(Slot),
}

/// A request that got no response on a connection.
enum Unsent<T> {
    /// It never left, and another connection may take it.
    Returned(Box<(Request<Outgoing>, T)>),
    Failed(Failed),
}

impl<T> Unsent<T> {
    fn new(mut error: TrySendError<Request<Outgoing>>, was_kept: bool, ticket: T) -> Self {
        match error.take_message() {
            Some(request) if was_kept => Self::Returned(Box::new((request, ticket))),
            unsent => Self::Failed(Failed::on_connection(error.into_error(), was_kept, unsent)),
        }
    }
}

/// A stream that ends, and tells those who wait for one.
struct Leaving {
    client: Weak<Client>,
    stream: Option<Stream>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        drop(self.stream.take());
        if let Some(client) = self.client.upgrade()
            && client.waiting.get() > 0
        {
            client.has_room.notify_one();
        }
    }
}

/// A connection that is being made and may serve others who wait; they look again when it is there, or will not be.
struct Connecting<'c>(Option<&'c Client>);

impl<'c> Connecting<'c> {
    fn begin(client: &'c Client) -> Self {
        let is_shared = client.expects_http2();
        client.is_connecting.set(is_shared);
        Self(is_shared.then_some(client))
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.0 {
            client.is_connecting.set(false);
            client.has_room.notify_waiters();
        }
    }
}

/// Counts for as long as it lives.
struct Count<'c>(&'c Cell<usize>);

impl<'c> Count<'c> {
    fn up(count: &'c Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What is read of a response that nobody wants.
const DISCARDED_BYTES_MAX: u64 = 64 << 10;
/// How long a request's body may go on after its response is over.
const LINGER: Duration = Duration::from_secs(2);
