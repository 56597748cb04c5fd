//! The transport of a downstream connection: a socket, or TLS over one.
//!
//! What is above it need not know which; what must, asks the [`Connection`](crate::filter::Connection).

use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::sockets::Socket;

/// A client's bytes, in the clear. TLS is boxed: it is many times the size of a socket.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;
