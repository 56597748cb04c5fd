//! A Redis server of the test's own, where one is installed.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::{skip, within};

/// A server with nothing in it. Dropping it kills the process.
pub struct Redis {
    address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Redis {
    /// Start a server on a free port; `None`, said loudly, when none is installed.
    ///
    /// # Panics
    /// When none is installed and `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
    pub async fn start() -> Option<Redis> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        Redis::start_at(free.expect("the loopback has free ports")).await
    }

    /// Start a server where one was before.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub async fn start_at(address: SocketAddr) -> Option<Redis> {
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match command.spawn() {
            Ok(process) => {
                within("redis-server to listen", listening(address)).await;
                Some(Redis { address, process, _folder: folder })
            }
            Err(error) => {
                skip(&format!("redis-server cannot be started: {error}"));
                None
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// End it, and wait until it has.
    pub async fn stop(mut self) {
        self.process.kill().await.expect("the server is our child");
    }
}

/// As a URL.
impl Display for Redis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "redis://{}", self.address)
    }
}

/// Nothing tells when the server is ready but that it answers.
async fn listening(address: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await
            && stream.write_all(b"PING\r\n").await.is_ok()
            && stream.readable().await.is_ok()
        {
            return;
        }
        tokio::task::yield_now().await;
    }
}
