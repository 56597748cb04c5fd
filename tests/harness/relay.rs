//! A TCP relay between the gateway and a server that it needs: a test can break it in many ways, and mend it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A relay to one server. Dropping it closes everything.
pub struct Relay {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    scripts: Arc<AtomicUsize>,
    /// Changes when connections that are open shall be reset.
    cut: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

/// What is wrong with the way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// What the server says arrives so much later.
    Slow(Duration),
    /// Connections stay open, and nothing comes back.
    Silent,
    /// Connections are reset, those that are open and new ones.
    Reset,
    /// What comes back makes no sense.
    Garbage,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (fault, faults) = watch::channel(Fault::None);
        let scripts = Arc::new(AtomicUsize::new(0));
        let (cut, cuts) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, server, faults, cuts, scripts.clone()));
        Relay { address, fault, scripts, cut, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reset the connections that are open now; new ones are as good as before.
    pub fn cut(&self) {
        self.cut.send_modify(|epoch| *epoch += 1);
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How often a script of Redis was called.
    pub fn scripts(&self) -> usize {
        self.scripts.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    faults: watch::Receiver<Fault>,
    mut cuts: watch::Receiver<usize>,
    scripts: Arc<AtomicUsize>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a listening socket accepts");
        cuts.mark_unchanged();
        let (faults, mut cuts, scripts) = (faults.clone(), cuts.clone(), scripts.clone());
        connections.spawn(async move {
            tokio::select! {
                () = relay(client, server, faults, scripts) => {}
                _ = cuts.changed() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(client: TcpStream, server: SocketAddr, mut faults: watch::Receiver<Fault>, scripts: Arc<AtomicUsize>) {
    // Whatever ends it, it ends with a reset while that is the fault.
    let _ = client.set_zero_linger();
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    let up = carry_up(from_client, to_server, scripts);
    let down = carry_down(from_server, to_client, faults.clone());
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = faults.wait_for(|fault| *fault == Fault::Reset) => {}
    }
}

async fn carry_up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, scripts: Arc<AtomicUsize>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let calls = buffer[..bytes].windows(7).filter(|word| *word == b"EVALSHA").count();
        scripts.fetch_add(calls, Ordering::Relaxed);
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn carry_down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, faults: watch::Receiver<Fault>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let fault = *faults.borrow();
        let sent = match fault {
            Fault::Silent => Ok(()),
            Fault::Garbage => to.write_all(b"?\x00 no such thing\r\n".repeat(8).as_slice()).await,
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                to.write_all(&buffer[..bytes]).await
            }
            Fault::None | Fault::Reset => to.write_all(&buffer[..bytes]).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
