//! Binding: one socket of a listener for each worker, or a clear word why there is none.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// The sockets of one listener, one a worker.
pub struct Sockets {
    /// With the port that the system chose, where the configuration says 0.
    pub address: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

/// A listener without its socket.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot bind {address}: {error}")]
pub struct BindError {
    pub listener: String,
    pub address: SocketAddr,
    pub error: io::Error,
}

impl Sockets {
    /// Binds `workers` sockets to one address.
    ///
    /// # Errors
    /// The address is taken, not this machine's, or not allowed to this user.
    pub fn bind(listener: &str, address: SocketAddr, workers: usize) -> Result<Self, BindError> {
        let fail = |error| BindError { listener: listener.to_owned(), address, error };
        // `SO_REUSEPORT` lets any process of this user share the address. A socket without it is refused when anybody
        // listens there, which is what an operator wants to hear.
        drop(open(address, false).map_err(fail)?);
        let first = open(address, true).map_err(fail)?;
        let address = first.local_addr().map_err(fail)?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(open(address, true).map_err(fail)?);
        }
        Ok(Self { address, sockets })
    }
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a former process that are still closing must not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE_MAX)?;
    Ok(socket.into())
}

/// Connections that wait to be accepted; the system caps it further (`net.core.somaxconn`).
const ACCEPT_QUEUE_MAX: i32 = 4096;
