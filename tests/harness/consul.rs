//! An agent of Consul, as its API documents it (`/v1/kv`, `/v1/health/service`, blocking queries, tokens): no package of the real one is at
//! hand. It keeps keys and instances, and has the faults that a test gives it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::upstream::reusable;
use crate::wire::{Head, Wire, http};
use crate::within;

/// An agent on a port of its own. Dropping it closes everything.
pub struct Consul {
    address: SocketAddr,
    /// Bound but never listening: it keeps the port ours while the agent is down.
    _port: TcpSocket,
    state: Arc<watch::Sender<State>>,
    accepting: Option<JoinHandle<()>>,
}

/// What is wrong with an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsulFault {
    #[default]
    None,
    /// It answers this instead, byte for byte.
    Instead(Vec<u8>),
    /// It answers with this index, whatever the true one is.
    Index(u64),
    /// A good answer, but for its end: one more byte comes every 100 ms.
    Drip,
}

#[derive(Default)]
struct State {
    index: u64,
    keys: BTreeMap<String, String>,
    instances: BTreeMap<String, Vec<SocketAddr>>,
    token: Option<String>,
    fault: ConsulFault,
    /// The targets of the questions that came, without those for signs of life.
    questions: Vec<String>,
}

impl Consul {
    /// Start an agent with nothing in it.
    pub async fn start() -> Consul {
        let port = reusable("127.0.0.1:0".parse().expect("a literal address"));
        let address = port.local_addr().expect("a bound socket has an address");
        let state = State { index: 1, ..State::default() };
        let mut consul = Consul { address, _port: port, state: Arc::new(watch::channel(state).0), accepting: None };
        consul.restart();
        consul
    }

    /// Store a value.
    pub fn put(&self, key: &str, value: &str) {
        self.change(|state| drop(state.keys.insert(key.to_owned(), value.to_owned())));
    }

    /// Delete a key.
    pub fn delete(&self, key: &str) {
        self.change(|state| drop(state.keys.remove(key)));
    }

    /// These are the instances of a service whose checks pass.
    pub fn register(&self, service: &str, instances: &[SocketAddr]) {
        self.change(|state| drop(state.instances.insert(service.to_owned(), instances.to_vec())));
    }

    /// The index goes back to this, as it does when the servers were restored from a snapshot. Nobody who waits is told.
    pub fn go_back_to(&self, index: u64) {
        self.change(|state| state.index = index - 1);
    }

    /// From now on only who shows this token is let in.
    pub fn ask_for(&self, token: &str) {
        self.state.send_modify(|state| state.token = Some(token.to_owned()));
    }

    /// From now on; whoever waits is answered so.
    pub fn set(&self, fault: ConsulFault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// What was asked so far.
    pub fn questions(&self) -> Vec<String> {
        self.state.borrow().questions.clone()
    }

    /// Wait for a question that `wanted` accepts, at or after the first `from`.
    pub async fn asked(&self, from: usize, wanted: impl Fn(&str) -> bool) -> String {
        let mut state = self.state.subscribe();
        let asked = |state: &State| state.questions.iter().skip(from).find(|question| wanted(question)).cloned();
        let found = within("a question to Consul", state.wait_for(|state| asked(state).is_some())).await;
        asked(&found.expect("the agent keeps its state")).expect("it was found")
    }

    /// Die: close every connection, also amid a question, and refuse new ones.
    pub async fn kill(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Come back on the same port, with what was stored.
    pub fn restart(&mut self) {
        let listener = reusable(self.address).listen(1024).expect("the port is still ours");
        self.accepting = Some(tokio::spawn(accept(listener, self.state.clone())));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            change(state);
            state.index += 1;
        });
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

/// `HOST:PORT`.
impl fmt::Display for Consul {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

async fn accept(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    // The set ends with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        connections.spawn(serve(stream, state.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, state: Arc<watch::Sender<State>>) {
    let mut wire = Wire::new(stream);
    while let Ok(Some(head)) = wire.head().await {
        let answer = answer(&head, &state).await;
        // The last bytes of an answer come late, one by one.
        let is_dripping = state.borrow().fault == ConsulFault::Drip;
        let (now, late) = answer.split_at(if is_dripping { answer.len().saturating_sub(10_000) } else { answer.len() });
        if wire.send(now).await.is_err() {
            return;
        }
        for byte in late {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if wire.send(std::slice::from_ref(byte)).await.is_err() {
                return;
            }
        }
        if String::from_utf8_lossy(&answer[..answer.len().min(1024)]).contains("Connection: close") {
            return;
        }
    }
}

async fn answer(head: &Head, state: &watch::Sender<State>) -> Vec<u8> {
    let (path, query) = head.word(1).split_once('?').unwrap_or((head.word(1), ""));
    if path == "/v1/status/leader" {
        return match &state.borrow().fault {
            ConsulFault::Instead(bytes) => bytes.clone(),
            _ => message("200 OK", 0, "\"127.0.0.1:8300\""),
        };
    }
    let option = |name: &str| query.split('&').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    state.send_modify(|state| state.questions.push(head.word(1).to_owned()));
    let index = option("index").and_then(|index| index.parse().ok()).unwrap_or(0);
    let wait = option("wait")
        .and_then(|wait| wait.strip_suffix('s')?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_secs);
    let mut changes = state.subscribe();
    // One that fails makes nobody wait.
    let changed = changes.wait_for(|state| index == 0 || state.index != index || state.fault != ConsulFault::None);
    let _ = tokio::time::timeout(wait, changed).await;
    let state = state.borrow();
    let index = match &state.fault {
        ConsulFault::Instead(bytes) => return bytes.clone(),
        ConsulFault::Index(index) => *index,
        ConsulFault::None | ConsulFault::Drip => state.index,
    };
    if state.token.as_deref().is_some_and(|token| head.fields.get("x-consul-token") != Some(token)) {
        return message("403 Forbidden", 0, "Permission denied: token with AccessorID 'x' lacks permission 'key:list'");
    }
    let found = match (path.strip_prefix("/v1/kv/"), path.strip_prefix("/v1/health/service/")) {
        (Some(prefix), _) => state.below(prefix),
        (_, Some(service)) => state.passing(service),
        _ => Vec::new(),
    };
    if path.starts_with("/v1/kv/") && found.is_empty() {
        return message("404 Not Found", index, "");
    }
    message("200 OK", index, &Value::from(found).to_string())
}

impl State {
    fn below(&self, prefix: &str) -> Vec<Value> {
        let keys = self.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        // The value of a key that is empty is null.
        let value = |value: &String| (!value.is_empty()).then(|| BASE64.encode(value));
        keys.map(|(key, text)| json!({ "LockIndex": 0, "Key": key, "Flags": 0, "Value": value(text), "CreateIndex": 1, "ModifyIndex": self.index })).collect()
    }

    fn passing(&self, service: &str) -> Vec<Value> {
        let instances = self.instances.get(service).into_iter().flatten();
        let member = |address: &SocketAddr| {
            json!({
                "Node": { "Node": "n1", "Address": address.ip().to_string() },
                "Service": { "Service": service, "Address": "", "Port": address.port(), "Weights": { "Passing": 1, "Warning": 1 } },
                "Checks": [],
            })
        };
        instances.map(member).collect()
    }
}

fn message(status: &str, index: u64, body: &str) -> Vec<u8> {
    let (status, length) = (format!("HTTP/1.1 {status}"), format!("Content-Length: {}", body.len()));
    let index = format!("X-Consul-Index: {index}");
    http(&[&status, "Content-Type: application/json", &length, &index], body)
}
