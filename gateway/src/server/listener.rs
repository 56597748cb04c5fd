//! Accepting: this worker's socket of a listener, as long as the listener has connections to give.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;

use super::connection::{self, Requests};
use super::pulse::Pulses;
use super::stream::{Socket, Stream};
use super::wire::Wire;
use crate::filter::Connection;
use crate::proxy::Worker;
use crate::snapshot::Listener;

/// The open connections of a listener, counted over all workers.
#[derive(Debug, Clone, Default)]
pub struct Permits(Arc<AtomicUsize>);

/// One of a listener's connections; given back when dropped.
struct Permit(Arc<AtomicUsize>);

impl Permits {
    fn take(&self, max: usize) -> Option<Permit> {
        if self.0.fetch_add(1, Ordering::Relaxed) >= max {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(self.0.clone()))
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
            serve(Socket::Left(stream), peer, listener, worker, &pulses).await;
            drop(permit);
        });
    }
}

/// From a socket to its end: each step may find that there is nothing to go on with.
async fn serve(socket: Socket, peer: SocketAddr, listener: Arc<Listener>, worker: Rc<Worker>, pulses: &Pulses) {
    let pulse = pulses.watch(&listener);
    let stream = Stream::Left(socket);
    let connection = Rc::new(Connection::new(listener.name.clone(), peer.ip(), "http"));
    let wire = Wire::new(stream, pulse.clone());
    connection::serve(wire, Requests { worker, connection, listener, pulse }).await;
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
