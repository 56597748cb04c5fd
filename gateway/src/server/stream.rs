//! The transport of a downstream connection: a socket, or TLS over one.
//!
//! What is above it need not know which; what must, asks the [`Connection`](crate::filter::Connection).

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A client's socket.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// A client's bytes, in the clear. TLS is boxed: it is many times the size of a socket.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;
