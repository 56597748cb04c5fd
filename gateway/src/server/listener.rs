//! Accepting: this worker's socket of a listener, as long as the listener has connections to give.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::connection::{self, Requests};
use super::proxy_protocol;
use super::pulse::Pulses;
use super::stream::Stream;
use super::tls::handshake;
use super::wire::Wire;
use crate::filter::Connection;
use crate::proxy::Worker;
use crate::snapshot::Listener;
use crate::sockets::{Acceptor, Socket};

/// The open connections of a listener, counted over all workers.
#[derive(Debug, Clone, Default)]
pub struct Permits {
    open: Arc<AtomicUsize>,
    /// Workers that have begun to accept.
    workers: Arc<AtomicUsize>,
}

/// One of a listener's connections; given back when dropped.
struct Permit(Arc<AtomicUsize>);

impl Permits {
    fn take(&self, max: usize) -> Option<Permit> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(self.open.clone()))
    }

    /// A number for a worker: 0, 1, 2 …
    fn number(&self) -> usize {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        let mut full = false;
        let number = self.permits.number();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut closing => break,
                accepted = acceptor.accept() => accepted,
            };
            match accepted {
                Ok(socket) => self.admit(socket, number, false, &mut full),
                Err(error) => {
                    // Out of file descriptors, most likely: waiting lets some close.
                    tracing::warn!(listener = &*self.listener.name, %error, "cannot accept");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
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
    fn admit(&self, socket: Socket, number: usize, is_last: bool, full: &mut bool) {
        // The limits of now, not those of when the socket was bound.
        let generation = self.worker.generation();
        let known = generation.listener(&self.listener.name);
        let listener = known.map_or(&self.listener, |(_, current)| current).clone();
        let Some(permit) = self.permits.take(listener.limits.connections) else {
            // Said once until there is room again: whoever floods the listener must not flood the log.
            if !std::mem::replace(full, true) {
                tracing::warn!(listener = &*listener.name, "`limits.connections` are open: new ones are closed");
            }
            return;
        };
        *full = false;
        let Some(peer) = peer(&socket) else { return };
        let (worker, pulses, alive) = (self.worker.clone(), self.pulses.clone(), self.alive.clone());
        tokio::task::spawn_local(async move {
            serve(socket, peer, is_last, listener, worker, &pulses, number).await;
            drop((permit, alive));
        });
    }
}

/// Whose connection it is; `None` when it is gone already. A program that connects to a socket file is on this machine.
fn peer(socket: &Socket) -> Option<IpAddr> {
    match socket {
        Socket::Left(stream) => {
            // Small writes must not wait for acknowledgements.
            stream.set_nodelay(true).ok()?;
            stream.peer_addr().ok().map(|peer| peer.ip())
        }
        Socket::Right(_) => Some(Ipv4Addr::LOCALHOST.into()),
    }
}

/// From a socket to its end: each step may find that there is nothing to go on with.
async fn serve(
    mut socket: Socket,
    peer: IpAddr,
    is_last: bool,
    listener: Arc<Listener>,
    worker: Rc<Worker>,
    pulses: &Pulses,
    number: usize,
) {
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
    let wire = Wire::new(stream, pulse.clone());
    connection::serve(
        wire,
        Requests { worker, connection, listener, pulse, opened: Cell::default(), may_turn: Cell::default() },
    )
    .await;
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Connections that are taken in when a listener closes, at most: as long as the kernel's queue is.
const WAITING_MAX: usize = 4096;
