//! One listening socket. What is cloned shares its queue of connections.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

use crate::config::model::ListenAddress;

/// A client's socket.
pub type Socket = Either<TcpStream, UnixStream>;

/// A socket that listens. It never blocks.
#[derive(Debug)]
pub enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket on the runtime that accepts on it.
pub enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listening {
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// Where it listens: with the port that the system chose. A socket file without a name has an empty path.
    pub fn place(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(ListenAddress::Unix(address.as_pathname().unwrap_or_else(|| "".as_ref()).to_owned()))
            }
        }
    }

    /// Hands it to the runtime that this is called on.
    ///
    /// # Errors
    /// The runtime cannot wait for it.
    pub fn acceptor(self) -> io::Result<Acceptor> {
        match self {
            Self::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Acceptor::Tcp),
            Self::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(Acceptor::Unix),
        }
    }

    /// A connection that waits already; `None` when none does.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub fn accept_waiting(&self) -> io::Result<Option<Socket>> {
        let accepted = match self {
            Self::Tcp(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream).map(Socket::Left)
            }),
            Self::Unix(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream).map(Socket::Right)
            }),
        };
        match accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            accepted => accepted.map(Some),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Acceptor {
    /// The next connection. Nothing is lost when this is dropped before it comes.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Socket::Left(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Socket::Right(stream)),
        }
    }

    /// Back from the runtime.
    ///
    /// # Errors
    /// The runtime does not let go of it.
    pub fn into_listening(self) -> io::Result<Listening> {
        match self {
            Self::Tcp(listener) => listener.into_std().map(Listening::Tcp),
            Self::Unix(listener) => listener.into_std().map(Listening::Unix),
        }
    }
}
