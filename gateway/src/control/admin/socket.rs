//! Connections to the admin server: over TCP, or through a file that only this user may connect to.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::sockets::Socket;

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

impl Peer {
    /// Both ends of this connection.
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        match socket {
            Socket::Left(stream) => {
                // Fails on a connection that is gone already.
                let _ = stream.set_nodelay(true);
                Ok(Self::Tcp { client: stream.peer_addr()?, server: stream.local_addr()? })
            }
            Socket::Right(stream) => {
                let credentials = stream.peer_cred().ok();
                Ok(Self::Unix { uid: credentials.map(|credentials| credentials.uid()) })
            }
        }
    }

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
