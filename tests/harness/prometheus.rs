//! A Prometheus of the test's own, where one is installed: it scrapes a gateway as the example has it, only oftener.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::{skip, within};

/// A server. Dropping it kills the process.
pub struct Prometheus {
    address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Start a server that scrapes `target`, with the files of `example` (`prometheus.yml`, `alerts.yml`); `None`, said loudly, when none is
    /// installed.
    ///
    /// # Panics
    /// When none is installed and `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
    pub async fn start(example: &Path, target: SocketAddr) -> Option<Prometheus> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("the loopback has free ports");
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let read = |name: &str| std::fs::read_to_string(example.join(name)).expect("the example has this file");
        let config =
            read("prometheus.yml").replace("15s", SCRAPE_INTERVAL).replace("127.0.0.1:9902", &target.to_string());
        for (name, text) in [("prometheus.yml", config), ("alerts.yml", read("alerts.yml"))] {
            std::fs::write(folder.path().join(name), text).expect("a temporary folder takes files");
        }
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn() {
            Ok(process) => {
                let serving = async {
                    while TcpStream::connect(address).await.is_err() || !is_ready(address).await {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                    }
                };
                within("prometheus to serve", serving).await;
                Some(Prometheus { address, _process: process, _folder: folder })
            }
            Err(error) => {
                skip(&format!("prometheus cannot be started: {error}"));
                None
            }
        }
    }

    /// What a query finds now: one entry for each series.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        self.ask(&format!("/api/v1/query?query={}", encoded(query))).await
    }

    /// What a query found in the last `seconds`, each second.
    pub async fn range(&self, query: &str, seconds: u64) -> Vec<Value> {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970").as_secs();
        let query = encoded(query);
        self.ask(&format!("/api/v1/query_range?query={query}&start={}&end={now}&step=1", now - seconds)).await
    }

    /// The alerts that it knows, by name.
    pub async fn rules(&self) -> Vec<String> {
        let said = Client::connect(self.address).await.get("/api/v1/rules").await.json();
        let groups = said["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        rules.filter_map(|rule| rule["name"].as_str().map(str::to_owned)).collect()
    }

    async fn ask(&self, path: &str) -> Vec<Value> {
        let said = Client::connect(self.address).await.get(path).await;
        let text = said.text();
        assert_eq!(said.status, 200, "{text}");
        said.json()["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    Client::connect(address).await.get("/-/ready").await.status == 200
}

fn encoded(text: &str) -> String {
    let byte =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(byte).collect()
}

const SCRAPE_INTERVAL: &str = "1s";
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
