//! The admin server over real sockets, in front of an operator that only writes down what it was asked for.

mod config;
mod events;
mod hostile;
mod limits;
mod pace;
mod reading;
mod record;
mod sockets;
mod swapping;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, broadcast};

use super::{Access, AdminLimits, AdminServer, AdminToken};
use crate::config::model::{ListenAddress, Role};
use crate::control::{
    Answer, Asked, Changes, ConfigReport, ConfigRollback, Event, OperationError, Operator, PluginStatus, ReloadReport,
    Status, Swap, SwapReport, UpgradeReport,
};
use crate::sockets::Claimed;
use crate::telemetry::MetricsFormat;

fn config_report() -> ConfigReport {
    ConfigReport {
        sha256: "ab".repeat(32),
        generation: 7,
        source: "gateway.yaml".to_owned(),
        replaceable: true,
        documents: Vec::new(),
        reload: Some(reload_report()),
    }
}

fn reload_report() -> ReloadReport {
    ReloadReport {
        generation: 8,
        previous_generation: 7,
        sha256: "ef".repeat(32),
        previous_sha256: "01".repeat(32),
        changes: Changes { count: 2, named: vec!["route a: timeout".to_owned()] },
    }
}

/// An operator who does nothing.
pub(super) struct Recorder {
    calls: Mutex<Vec<String>>,
    swaps: Mutex<Vec<Swap>>,
    refusals: Mutex<Vec<&'static str>>,
    /// What every operation ends in.
    refusal: Mutex<Option<OperationError>>,
    /// Operations wait for a permit.
    may_go_on: Semaphore,
    ready: AtomicBool,
    events: broadcast::Sender<Event>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            calls: Mutex::default(),
            swaps: Mutex::default(),
            refusals: Mutex::default(),
            refusal: Mutex::default(),
            may_go_on: Semaphore::new(1000),
            ready: AtomicBool::new(true),
            events: broadcast::channel(EVENTS).0,
        }
    }
}

impl Recorder {
    /// One whose operations wait for [`Recorder::go_on`].
    fn waiting() -> Arc<Self> {
        Arc::new(Self { may_go_on: Semaphore::new(0), ..Self::default() })
    }

    fn go_on(&self) {
        self.may_go_on.add_permits(1);
    }

    fn refusing(error: OperationError) -> Arc<Self> {
        Arc::new(Self { refusal: Mutex::new(Some(error)), ..Self::default() })
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn write(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    async fn outcome<T>(&self, outcome: T) -> Result<T, OperationError> {
        self.may_go_on.acquire().await.unwrap().forget();
        self.refusal.lock().unwrap().clone().map_or(Ok(outcome), Err)
    }
}

impl Operator for Recorder {
    fn status(&self) -> Status {
        Status {
            version: "0.0.0",
            pid: 42,
            generation: 7,
            ready: self.is_ready(),
            uptime: Duration::from_millis(1500),
            workers: 2,
            config: crate::control::ConfigStatus::default(),
            config_source: "gateway.yaml".to_owned(),
            last_reload_error: None,
            plugins: self.plugins(),
        }
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        let plugin = PluginStatus {
            name: "jwt".to_owned(),
            source: "builtin:jwt".to_owned(),
            sha256: "ab".repeat(32),
            decided_by: "config",
            r#override: None,
            previous_sha256: None,
            isolation: "shared",
            hooks: vec!["request"],
            imports: Vec::new(),
            attachments: 1,
            rollout: None,
            last_rollout: None,
        };
        vec![plugin]
    }

    fn routes(&self) -> Value {
        serde_json::json!([{ "name": "all" }])
    }

    fn upstreams(&self) -> Value {
        serde_json::json!({ "origin": {} })
    }

    fn swap(&self, swap: Swap) -> Answer<'_, SwapReport> {
        self.write(format!("swap {} by {}", swap.plugin, swap.actor));
        let report = report(&swap.plugin);
        self.swaps.lock().unwrap().push(swap);
        Box::pin(self.outcome(report))
    }

    fn promote(&self, plugin: String, actor: String) -> Answer<'_, SwapReport> {
        self.write(format!("promote {plugin} by {actor}"));
        Box::pin(self.outcome(report(&plugin)))
    }

    fn rollback(&self, plugin: String, actor: String) -> Answer<'_, SwapReport> {
        self.write(format!("rollback {plugin} by {actor}"));
        Box::pin(self.outcome(report(&plugin)))
    }

    fn reset(&self, plugin: String, actor: String) -> Answer<'_, SwapReport> {
        self.write(format!("reset {plugin} by {actor}"));
        Box::pin(self.outcome(report(&plugin)))
    }

    fn reload(&self, actor: String) -> Answer<'_, ReloadReport> {
        self.write(format!("reload by {actor}"));
        Box::pin(self.outcome(reload_report()))
    }

    fn upgrade(&self, actor: String) -> Answer<'_, UpgradeReport> {
        self.write(format!("upgrade by {actor}"));
        Box::pin(self.outcome(UpgradeReport { pid: 43, program: "witgate".to_owned(), took_ms: 1.5 }))
    }

    fn config(&self) -> Answer<'_, ConfigReport> {
        Box::pin(self.outcome(config_report()))
    }

    fn check_config(&self, text: String) -> Answer<'_, Value> {
        self.write(format!("check {text}"));
        Box::pin(self.outcome(serde_json::json!({ "routes": 1 })))
    }

    fn replace_config(&self, text: String, tag: String, actor: String) -> Answer<'_, ConfigReport> {
        self.write(format!("replace {text} of {tag} by {actor}"));
        Box::pin(self.outcome(config_report()))
    }

    fn config_history(&self) -> Value {
        serde_json::json!([{ "number": 1 }])
    }

    fn roll_back_config(&self, number: Option<u64>, actor: String) -> Answer<'_, ConfigRollback> {
        self.write(format!("roll back config to {number:?} by {actor}"));
        let since = "2026-01-01T00:00:00Z".to_owned();
        Box::pin(self.outcome(ConfigRollback { number: 1, since, reload: reload_report() }))
    }

    fn explain(&self, asked: Asked) -> Answer<'_, Value> {
        self.write(format!("explain {} {} {:?}", asked.method, asked.url, asked.headers));
        Box::pin(self.outcome(serde_json::json!({ "route": null })))
    }

    fn drain(&self, actor: String) {
        self.write(format!("drain by {actor}"));
    }

    fn refused(&self, reason: &'static str) {
        self.refusals.lock().unwrap().push(reason);
    }

    fn metrics(&self, _: MetricsFormat) -> String {
        "witgate_config_generation 7\n".to_owned()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

fn report(plugin: &str) -> SwapReport {
    SwapReport {
        plugin: plugin.to_owned(),
        sha256: "cd".repeat(32),
        previous_sha256: Some("ab".repeat(32)),
        state: "serving",
        generation: 8,
        previous_generation: 7,
        rights_gained: Vec::new(),
        rights_lost: Vec::new(),
        took_ms: 1.5,
    }
}

/// A server that is asked over TCP.
struct Admin {
    address: SocketAddr,
    server: AdminServer,
}

impl Admin {
    async fn of(operator: Arc<Recorder>) -> Self {
        Self::with_limits(operator, |_| ()).await
    }

    async fn with_limits(operator: Arc<Recorder>, change: impl FnOnce(&mut AdminLimits)) -> Self {
        let mut limits = AdminLimits::new(1000);
        change(&mut limits);
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let server = AdminServer::start(&any, Claimed::default(), &access(), limits, operator).unwrap();
        Self { address: server.address().parse().unwrap(), server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request as deployer, and reads the answer.
    async fn ask(&self, request: &str, fields: &str, body: &[u8]) -> Said {
        ask(self.connect().await, &bytes(request, &format!("{DEPLOYER}{fields}"), body)).await
    }

    /// Sends a request without a token.
    async fn get(&self, path: &str) -> Said {
        ask(self.connect().await, &bytes(&format!("GET {path}"), "", b"")).await
    }
}

/// An answer.
#[derive(Debug)]
struct Said {
    status: u16,
    head: String,
    body: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The detail of a problem with this status.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["type"]), (&status.into(), &"about:blank".into()));
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        problem["detail"].as_str().expect("a problem says what it is").to_owned()
    }
}

fn access() -> Access {
    let token = |name: &str, secret: &str, role| AdminToken { name: name.to_owned(), secret: secret.to_owned(), role };
    let tokens =
        vec![token("bot", "deployer-secret-01", Role::Deployer), token("board", "viewer-secret-0123", Role::Viewer)];
    Access { tokens, allowed_hosts: Vec::new() }
}

/// A request that closes its connection; the length stands in `fields` unless it is that of `body`.
fn bytes(request: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = if fields.contains("Content-Length") || fields.contains("Transfer-Encoding") || body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{fields}\r\n");
    [head.as_bytes(), body].concat()
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Said {
    stream.write_all(request).await.unwrap();
    read(stream).await.unwrap()
}

/// Reads an answer to the end of its connection.
async fn read(mut stream: impl AsyncRead + Unpin) -> io::Result<Said> {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await?;
    let text = String::from_utf8(bytes).expect("answers are text");
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Ok(Said { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Lets the server go on until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it happens at all")
}

const DEPLOYER: &str = "Authorization: Bearer deployer-secret-01\r\n";
const VIEWER: &str = "Authorization: Bearer viewer-secret-0123\r\n";
const WASM: &str = "Content-Type: application/wasm\r\n";
/// Events that wait for a slow reader.
const EVENTS: usize = 4;
