//! Bridges between kinds of sockets: what comes to a TCP port goes on to a socket file, or the other way round.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A bridge; dropping it takes no more connections.
pub struct Bridge {
    address: Option<SocketAddr>,
    accepting: JoinHandle<()>,
}

impl Bridge {
    /// From a port to a socket file; it may be made later.
    pub async fn to_file(path: &Path) -> Bridge {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let path = path.to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let path = path.clone();
                tokio::spawn(async move {
                    if let Ok(mut far) = UnixStream::connect(path).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Bridge { address: Some(address), accepting }
    }

    /// From a socket file, which is made, to a port.
    pub fn from_file(path: &Path, address: SocketAddr) -> Bridge {
        let listener = UnixListener::bind(path).expect("the folder takes a socket");
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(address).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Bridge { address: None, accepting }
    }

    /// The port that leads to the socket file.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("this bridge begins at a port")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
