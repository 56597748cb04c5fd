//! Accepting: this worker's socket of a listener, as long as the listener has connections to give.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;

use super::connection::{self, Requests};
use super::proxy_protocol;
use super::pulse::Pulses;
use super::stream::{Socket, Stream};
use super::tls::handshake;
use super::wire::Wire;
use crate::filter::Connection;
use crate::proxy::Worker;
use crate::snapshot::Listener;

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

/// Accepts for ever; the task is aborted when the listener goes.
pub(super) async fn accept(
    socket: TcpListener,
    listener: Arc<Listener>,
    permits: Permits,
    worker: Rc<Worker>,
    pulses: Rc<Pulses>,
) {
    let number = permits.number();
    let mut full = false;
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets some close.
                tracing::warn!(listener = &*listener.name, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // The limits of now, not those of when the socket was bound.
        let generation = worker.generation();
        let listener = generation.listener(&listener.name).map_or(&listener, |(_, current)| current).clone();
        let Some(permit) = permits.take(listener.limits.connections) else {
            // Said once until there is room again: whoever floods the listener must not flood the log.
            if !std::mem::replace(&mut full, true) {
                tracing::warn!(listener = &*listener.name, "`limits.connections` are open: new ones are closed");
            }
            continue;
        };
        full = false;
        // Small writes must not wait for acknowledgements. It fails on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let (worker, pulses) = (worker.clone(), pulses.clone());
        tokio::task::spawn_local(async move {
            serve(Socket::Left(stream), peer, listener, worker, &pulses, number).await;
            drop(permit);
        });
    }
}

/// From a socket to its end: each step may find that there is nothing to go on with.
async fn serve(
    mut socket: Socket,
    peer: SocketAddr,
    listener: Arc<Listener>,
    worker: Rc<Worker>,
    pulses: &Pulses,
    number: usize,
) {
    let peer = match &listener.proxy_protocol {
        None => peer.ip(),
        Some(from) => {
            let limit = listener.limits.header_timeout;
            match proxy_protocol::client(&mut socket, peer.ip(), from, limit).await {
                Ok(client) => client,
                Err(error) => {
                    // Not louder: whoever can connect can have this said as often as it likes.
                    return tracing::debug!(listener = &*listener.name, %peer, %error, "connection refused");
                }
            }
        }
    };
    let pulse = pulses.watch(&listener);
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
