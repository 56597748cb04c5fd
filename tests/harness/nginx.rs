//! An nginx of the test's own, where one is installed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::{skip, within};

/// A server. Dropping it kills the process.
pub struct Nginx {
    address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Start a server on a free port: `listen` are more words of its `listen` directive, `server` the other directives of it.
    /// `None`, said loudly, when none is installed.
    ///
    /// # Panics
    /// When none is installed and `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
    pub async fn start(listen: &str, server: &str) -> Option<Nginx> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("the loopback has free ports");
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/errors;\nevents {{}}\n\
             http {{ access_log off; {temporary} server {{ listen {address} {listen}; {server} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).expect("a temporary folder takes files");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-e").arg(folder.path().join("errors"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match command.spawn() {
            Ok(process) => {
                let listening = async {
                    while TcpStream::connect(address).await.is_err() {
                        tokio::task::yield_now().await
                    }
                };
                within("nginx to listen", listening).await;
                Some(Nginx { address, _process: process, _folder: folder })
            }
            Err(error) => {
                skip(&format!("nginx cannot be started: {error}"));
                None
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
