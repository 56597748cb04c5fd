//! An etcd server of the test's own, where one is installed.

use std::fmt::{self, Display};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client::{Client, Response};
use crate::{skip, within};

/// A server with nothing in it. Dropping it kills the process.
pub struct Etcd {
    address: SocketAddr,
    peers: SocketAddr,
    tls: Option<(SocketAddr, EtcdTls)>,
    process: Child,
    folder: TempDir,
    /// That of `root`, once the server asks who reads.
    password: Option<String>,
    /// Shown with each request then.
    token: Option<String>,
}

/// Files of TLS: what the server shows, and whose certificates it lets in.
pub struct EtcdTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
}

impl Etcd {
    /// Start a server on free ports; `None`, said loudly, when none is installed.
    ///
    /// # Panics
    /// When none is installed and `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
    pub async fn start() -> Option<Etcd> {
        Etcd::launch(None).await
    }

    /// The same with a second port, where it speaks TLS and lets nobody in without a certificate. See [`Etcd::secure`].
    ///
    /// # Panics
    /// As [`Etcd::start`].
    pub async fn start_with(tls: EtcdTls) -> Option<Etcd> {
        Etcd::launch(Some(tls)).await
    }

    async fn launch(tls: Option<EtcdTls>) -> Option<Etcd> {
        let [address, peers, secure] = [(); 3].map(|()| {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
            free.expect("the loopback has free ports")
        });
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let tls = tls.map(|tls| (secure, tls));
        match spawn(address, peers, tls.as_ref(), folder.path()) {
            Ok(process) => {
                let etcd = Etcd { address, peers, tls, process, folder, password: None, token: None };
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

    /// Forget all revisions but the last one: watches from older ones are cancelled.
    pub async fn compact(&self) {
        let read = self.answer("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
        let revision = read.json()["header"]["revision"].as_str().expect("an answer has a revision").to_owned();
        let wish = json!({ "revision": revision, "physical": true });
        assert_eq!(self.ask("/v3/kv/compaction", &wish.to_string()).await, 200);
    }

    /// Let nobody in from now on but `root` with this password.
    pub async fn ask_for(&mut self, password: &str) {
        let user = json!({ "name": "root", "password": password }).to_string();
        for (path, body) in [
            ("user/add", user.as_str()),
            ("role/add", r#"{"name":"root"}"#),
            ("user/grant", r#"{"user":"root","role":"root"}"#),
            ("enable", "{}"),
        ] {
            assert_eq!(self.ask(&format!("/v3/auth/{path}"), body).await, 200, "{path}");
        }
        self.password = Some(password.to_owned());
        self.sign_in().await;
    }

    /// One more user, by which all tokens become too old.
    pub async fn add_user(&mut self, name: &str) {
        assert_eq!(self.ask("/v3/auth/user/add", &json!({ "name": name, "password": name }).to_string()).await, 200);
        self.sign_in().await;
    }

    async fn sign_in(&mut self) {
        self.token = None;
        if let Some(password) = &self.password {
            let user = json!({ "name": "root", "password": password }).to_string();
            let said = self.answer("/v3/auth/authenticate", &user).await.json();
            self.token = Some(said["token"].as_str().expect("root is let in").to_owned());
        }
    }

    /// End it, and wait until it has.
    pub async fn stop(mut self) {
        self.kill().await;
    }

    /// Kill the process, and leave what it has stored.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the server is our child");
    }

    /// Start it again where it was, with what it had stored.
    pub async fn restart(&mut self) {
        self.process =
            spawn(self.address, self.peers, self.tls.as_ref(), self.folder.path()).expect("it started before");
        within("etcd to serve", self.serving()).await;
        self.sign_in().await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks TLS.
    ///
    /// # Panics
    /// When it was started without.
    pub fn secure(&self) -> SocketAddr {
        self.tls.as_ref().expect("it was started with TLS").0
    }

    async fn ask(&self, path: &str, body: &str) -> u16 {
        self.answer(path, body).await.status
    }

    async fn answer(&self, path: &str, body: &str) -> Response {
        let (request, length) = (format!("POST {path} HTTP/1.1"), format!("Content-Length: {}", body.len()));
        let token = self.token.as_ref().map(|token| format!("Authorization: {token}"));
        let lines = [request.as_str(), "Host: etcd", &length].into_iter().chain(token.as_deref());
        Client::connect(self.address).await.ask(&lines.collect::<Vec<_>>(), body).await
    }

    /// It listens before it serves, and answers nothing good until it has elected itself.
    async fn serving(&self) {
        loop {
            if TcpStream::connect(self.address).await.is_ok()
                && Client::connect(self.address).await.get("/health").await.status == 200
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn spawn(
    address: SocketAddr,
    peers: SocketAddr,
    tls: Option<&(SocketAddr, EtcdTls)>,
    folder: &Path,
) -> io::Result<Child> {
    let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
    let mut command = Command::new("etcd");
    let mut listen = client.clone();
    if let Some((secure, EtcdTls { cert, key, client_ca })) = tls {
        listen = format!("{listen},https://{secure}");
        command.arg("--cert-file").arg(cert).arg("--key-file").arg(key);
        command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(client_ca);
    }
    command.args(["--listen-client-urls", &listen, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync", "--data-dir"]);
    command.arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn()
}

/// As a URL.
impl Display for Etcd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}", self.address)
    }
}
