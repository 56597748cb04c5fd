//! An etcd server of the test's own, where one is installed.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::{skip, within};

/// A server with nothing in it. Dropping it kills the process.
pub struct Etcd {
    address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Etcd {
    /// Start a server on free ports; `None`, said loudly, when none is installed.
    ///
    /// # Panics
    /// When none is installed and `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
    pub async fn start() -> Option<Etcd> {
        let [address, peers] = [(); 2].map(|()| {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
            free.expect("the loopback has free ports")
        });
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new("etcd");
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync", "--data-dir"]);
        command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match command.spawn() {
            Ok(process) => {
                let etcd = Etcd { address, process, _folder: folder };
                within("etcd to serve", etcd.serving()).await;
                Some(etcd)
            }
            Err(error) => {
                skip(&format!("etcd cannot be started: {error}"));
                None
            }
        }
    }

    /// Store a value.
    pub async fn put(&self, key: &str, value: &str) {
        let wish = json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) });
        assert_eq!(self.ask("/v3/kv/put", &wish.to_string()).await, 200);
    }

    /// Delete a key.
    pub async fn delete(&self, key: &str) {
        let wish = json!({ "key": BASE64.encode(key) });
        assert_eq!(self.ask("/v3/kv/deleterange", &wish.to_string()).await, 200);
    }

    /// End it, and wait until it has.
    pub async fn stop(mut self) {
        self.process.kill().await.expect("the server is our child");
    }

    async fn ask(&self, path: &str, body: &str) -> u16 {
        let lines = [&format!("POST {path} HTTP/1.1"), "Host: etcd", &format!("Content-Length: {}", body.len())];
        Client::connect(self.address).await.ask(&lines, body).await.status
    }

    /// It listens before it serves, and answers nothing good until it has elected itself.
    async fn serving(&self) {
        loop {
            if TcpStream::connect(self.address).await.is_ok()
                && self.ask("/v3/kv/range", r#"{"key":"YQ=="}"#).await == 200
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// As a URL.
impl Display for Etcd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}", self.address)
    }
}
