//! Accepting: this worker's socket of a listener, as long as the listener has connections to give.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::sync::oneshot;

use super::connection::{self, Requests};
use super::overload::{Overload, Refusal};
use super::proxy_protocol;
use super::pulse::Pulses;
use super::stream::Stream;
use super::tls::handshake;
use super::wire::Wire;
use crate::filter::Connection;
use crate::proxy::{Unread, Worker};
use crate::snapshot::{Listener, ListenerLimits};
use crate::sockets::{Acceptor, Socket};

/// The open connections of a listener, counted over all workers.
#[derive(Debug, Clone, Default)]
pub struct Permits(Arc<Open>);

#[derive(Debug, Default)]
struct Open {
    connections: AtomicUsize,
    /// By client, of those listeners that limit them.
    clients: Mutex<HashMap<IpAddr, usize>>,
    /// Workers that have begun to accept.
    workers: AtomicUsize,
}

/// One of a listener's connections; given back when dropped.
struct Permit {
    open: Arc<Open>,
    /// Counted for this client, too.
    client: Option<IpAddr>,
    overload: Arc<Overload>,
}

impl Permits {
    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    fn take(&self, limits: &ListenerLimits, overload: &Arc<Overload>) -> Result<Permit, Refusal> {
        if !overload.open() {
            return Err(Refusal::AllConnections);
        }
        let is_full = self.0.connections.fetch_add(1, Ordering::Relaxed) >= limits.connections;
        let permit = Permit { open: self.0.clone(), client: None, overload: overload.clone() };
        if is_full { Err(Refusal::Connections) } else { Ok(permit) }
    }

    /// A number for a worker: 0, 1, 2 …
    fn number(&self) -> usize {
        self.0.workers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Permit {
    /// Counts the connection for its client, too, unless that has as many as it may have.
    fn is_for(&mut self, client: IpAddr, limits: &ListenerLimits) -> bool {
        if limits.connections_per_client >= limits.connections {
            return true;
        }
        let client = client_of(client);
        let mut clients = self.open.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        let has_room = *count < limits.connections_per_client;
        if has_room {
            *count += 1;
            self.client = Some(client);
        }
        has_room
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.overload.close();
        self.open.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut clients = self.open.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = clients.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Whom an address belongs to: over IPv6 a client has 64 bits of it to choose from.
fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// One socket of a listener, and what its connections get.
pub(super) struct Door {
    pub(super) listener: Arc<Listener>,
    pub(super) permits: Permits,
    pub(super) worker: Rc<Worker>,
    pub(super) pulses: Rc<Pulses>,
    /// Lives in each task, so that whoever ends the worker knows when none is left.
    pub(super) alive: Rc<()>,
}

impl Door {
    /// Accepts until `closing` comes or is dropped; then takes in who waits already, whose connections the kernel has made, and closes
    /// the socket.
    pub(super) async fn serve(self, acceptor: Acceptor, mut closing: oneshot::Receiver<()>) {
        let mut full = None;
        let mut backoff = Backoff::default();
        let number = self.permits.number();
        loop {
            let next = async {
                self.pulses.overload().has_room().await;
                acceptor.accept().await
            };
            let accepted = tokio::select! {
                biased;
                _ = &mut closing => break,
                accepted = next => accepted,
            };
            match accepted {
                Ok(socket) => {
                    backoff.succeeded(&self.listener.name);
                    self.admit(socket, number, false, &mut full);
                }
                Err(error) => backoff.failed(&error, &self.listener.name).await,
            }
        }
        match acceptor.into_listening() {
            Ok(listening) => {
                // Others may have the same socket and go on: whoever comes later is theirs.
                for _ in 0..WAITING_MAX {
                    match listening.accept_waiting() {
                        Ok(Some(socket)) => self.admit(socket, number, true, &mut full),
                        Ok(None) | Err(_) => break,
                    }
                }
            }
            Err(error) => tracing::warn!(listener = &*self.listener.name, %error, "cannot look who waits"),
        }
    }

    /// Serves a connection, if there may be one more. `is_last` is one of a listener that closes.
    fn admit(&self, socket: Socket, number: usize, is_last: bool, full: &mut Option<Refusal>) {
        // The limits of now, not those of when the socket was bound.
        let generation = self.worker.generation();
        let known = generation.listener(&self.listener.name);
        let listener = known.map_or(&self.listener, |(_, current)| current).clone();
        let permit = match self.permits.take(&listener.limits, self.pulses.overload()) {
            Ok(permit) => permit,
            Err(refusal) => {
                self.pulses.overload().refuse(refusal);
                // Said once until there is room again: whoever floods the listener must not flood the log.
                if full.replace(refusal) != Some(refusal) {
                    let limit = refusal.name();
                    tracing::warn!(listener = &*listener.name, limit, "so many are open: new connections are closed");
                }
                return;
            }
        };
        *full = None;
        let Some(peer) = peer(&socket, &listener.limits) else { return };
        let (worker, pulses, alive) = (self.worker.clone(), self.pulses.clone(), self.alive.clone());
        tokio::task::spawn_local(async move {
            let visit = Visit { peer, is_last, number, permit };
            serve(socket, visit, listener, worker, &pulses).await;
            drop(alive);
        });
    }
}

/// Whose connection it is; `None` when it is gone already. A program that connects to a socket file is on this machine.
fn peer(socket: &Socket, limits: &ListenerLimits) -> Option<IpAddr> {
    match socket {
        Socket::Left(stream) => {
            // Small writes must not wait for acknowledgements.
            stream.set_nodelay(true).ok()?;
            // What the system took and the client does not, the system gives up after as long as the gateway would.
            let send_timeout_ms = limits.send_timeout.as_millis().try_into().unwrap_or(u32::MAX);
            set_tcp_user_timeout(stream, send_timeout_ms).ok()?;
            stream.peer_addr().ok().map(|peer| peer.ip())
        }
        Socket::Right(_) => Some(Ipv4Addr::LOCALHOST.into()),
    }
}

/// What is known of a connection before anything was read of it.
struct Visit {
    peer: IpAddr,
    /// Of a listener that closes.
    is_last: bool,
    /// Of the worker.
    number: usize,
    permit: Permit,
}

/// How long to wait after a failure to accept. Half of the files are kept from clients, so that it seldom comes to that.
#[derive(Default)]
struct Backoff(Duration);

impl Backoff {
    async fn failed(&mut self, error: &io::Error, listener: &str) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut};
        // The next connection may be better.
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut) {
            return;
        }
        if self.0.is_zero() {
            tracing::error!(listener, %error, "cannot accept; connections wait");
        }
        // Out of files or memory, which others must give back first.
        self.0 = (2 * self.0).clamp(ACCEPT_RETRY_MIN, ACCEPT_RETRY_MAX);
        tokio::time::sleep(self.0).await;
    }

    fn succeeded(&mut self, listener: &str) {
        if !std::mem::take(&mut self.0).is_zero() {
            tracing::info!(listener, "accepting again");
        }
    }
}

/// From a socket to its end: each step may find that there is nothing to go on with.
async fn serve(mut socket: Socket, visit: Visit, listener: Arc<Listener>, worker: Rc<Worker>, pulses: &Pulses) {
    let Visit { peer, is_last, number, mut permit } = visit;
    let peer = match &listener.proxy_protocol {
        None => peer,
        Some(from) => {
            let limit = listener.limits.header_timeout;
            match proxy_protocol::client(&mut socket, peer, from, limit).await {
                Ok(client) => client,
                Err(error) => {
                    // Not louder: whoever can connect can have this said as often as it likes.
                    return tracing::debug!(listener = &*listener.name, %peer, %error, "connection refused");
                }
            }
        }
    };
    if !permit.is_for(peer, &listener.limits) {
        return pulses.overload().refuse(Refusal::Client);
    }
    let pulse = pulses.watch(&listener, is_last);
    let name = listener.name.clone();
    let (stream, connection) = match &listener.tls {
        None => (Stream::Left(socket), Connection::new(name, peer, "http")),
        // Boxed: what a handshake needs is many times what a connection needs later.
        Some(tls) => match Box::pin(handshake(socket, tls, &pulse, number)).await {
            Some((stream, session)) => (Stream::Right(stream), Connection::over_tls(name, peer, session)),
            None => return,
        },
    };
    let connection = Rc::new(connection);
    let unread = Unread::new(&worker, &connection, &listener);
    let wire = Wire::new(stream, &listener.limits, pulse.clone(), unread);
    connection::serve(
        wire,
        Requests { worker, connection, listener, pulse, opened: Cell::default(), may_turn: Cell::default() },
    )
    .await;
}

const ACCEPT_RETRY_MIN: Duration = Duration::from_millis(10);
const ACCEPT_RETRY_MAX: Duration = Duration::from_secs(1);
/// Connections that are taken in when a listener closes, at most: as long as the kernel's queue is.
const WAITING_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        let client = |text: &str| client_of(text.parse().expect("an address")).to_string();
        assert_eq!(client("192.0.2.7"), "192.0.2.7");
        assert_eq!(client("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(client("2001:db8:1:3:3:4:5:6"), "2001:db8:1:3::");
    }
}
