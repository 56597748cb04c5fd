//! Sockets of the admin server: TCP, or a file that only this user may connect to.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::config::model::AdminAddress;

/// A bound socket. Dropping it removes its file.
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf },
}

/// The admin server, or the probes, without a socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the {what} server cannot listen on {address}: {error}")]
    Io { what: &'static str, address: String, error: io::Error },
    #[error("the admin server cannot listen on unix:{0}: another process does")]
    InUse(PathBuf),
    #[error("the admin server cannot listen on unix:{0}: a file that is no socket is there (mend: name another path)")]
    NoSocket(PathBuf),
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    Tcp {
        client: SocketAddr,
        server: SocketAddr,
    },
    /// The user id of the other process.
    Unix {
        uid: Option<u32>,
    },
}

/// What hyper reads and writes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listening {
    pub(super) async fn bind(address: &AdminAddress, what: &'static str) -> Result<Self, BindError> {
        match address {
            AdminAddress::Tcp(address) => {
                let fail = |error| BindError::Io { what, address: address.to_string(), error };
                TcpListener::bind(address).await.map(Self::Tcp).map_err(fail)
            }
            AdminAddress::Unix(path) => {
                let fail = |error| BindError::Io { what, address: format!("unix:{}", path.display()), error };
                clear(path)?;
                let listener = bind_private(path).map_err(fail)?;
                Ok(Self::Unix { listener, path: path.clone() })
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                // Fails on a connection that is gone already.
                let _ = stream.set_nodelay(true);
                let server = stream.local_addr()?;
                Ok((Box::new(stream), Peer::Tcp { client, server }))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Box::new(stream), Peer::Unix { uid }))
            }
        }
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // Whoever removed it before wanted the same.
            let _ = fs::remove_file(path);
        }
    }
}

impl Peer {
    /// Whether the other end is on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp { client, .. } => client.ip().to_canonical().is_loopback(),
            Self::Unix { .. } => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { client, .. } => client.fmt(f),
            Self::Unix { uid: Some(uid) } => write!(f, "unix:uid={uid}"),
            Self::Unix { uid: None } => f.write_str("unix"),
        }
    }
}

/// Removes what a process that was killed left behind, and nothing else.
fn clear(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NoSocket(path.to_owned()));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(|error| BindError::Io {
        what: "admin",
        address: format!("unix:{}", path.display()),
        error,
    })
}

/// Nobody can connect between `bind` and `listen`: by then the mode is right.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(ACCEPT_QUEUE_MAX)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Connections that wait to be accepted.
const ACCEPT_QUEUE_MAX: i32 = 128;
