//! Load while something else happens: clients that ask again and again, and a tally of what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wire::{Body, Wire, http};
use crate::within;

/// Clients at work. Dropping it stops them.
pub struct Load {
    stop: watch::Sender<bool>,
    tally: watch::Receiver<Tally>,
    clients: JoinSet<()>,
}

/// What the clients were told so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Whole answers by status.
    pub answers: BTreeMap<u16, usize>,
    /// Requests without a whole answer, and why.
    pub failures: Vec<String>,
}

impl Tally {
    /// Whole answers with this status.
    pub fn of(&self, status: u16) -> usize {
        self.answers.get(&status).copied().unwrap_or(0)
    }

    /// Whole answers of any status.
    pub fn total(&self) -> usize {
        self.answers.values().sum()
    }

    fn count(&mut self, outcome: &Result<Answered, String>) {
        match outcome {
            Ok(answered) => *self.answers.entry(answered.status).or_default() += 1,
            Err(failure) => self.failures.push(failure.clone()),
        }
    }
}

impl Load {
    /// `clients` connections ask for `path`, each as fast as it is answered.
    pub fn start(address: SocketAddr, path: &str, clients: usize) -> Load {
        Load::of(http(&[&format!("GET {path} HTTP/1.1"), "Host: test.example"], ""), address, clients)
    }

    /// The same with a new connection for each request.
    pub fn anew(address: SocketAddr, path: &str, clients: usize) -> Load {
        let lines = [&format!("GET {path} HTTP/1.1"), "Host: test.example", "Connection: close"];
        Load::of(http(&lines, ""), address, clients)
    }

    fn of(request: Vec<u8>, address: SocketAddr, clients: usize) -> Load {
        let (stop, stopped) = watch::channel(false);
        let (count, tally) = watch::channel(Tally::default());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(ask_on(address, request.clone(), stopped.clone(), count.clone()));
        }
        Load { stop, tally, clients: tasks }
    }

    /// Wait until the tally satisfies `reached`.
    pub async fn until(&mut self, what: &str, reached: impl Fn(&Tally) -> bool) -> Tally {
        let tally = within(what, self.tally.wait_for(reached)).await;
        tally.expect("the clients run until they are stopped").clone()
    }

    /// Wait for `more` answers beyond those that are there, so that what follows happens under load.
    pub async fn answers(&mut self, more: usize) -> Tally {
        let target = self.tally.borrow().total() + more;
        self.until("answers under load", |tally| tally.total() >= target).await
    }

    /// Let each client finish its request, and give the tally.
    pub async fn stop(mut self) -> Tally {
        self.stop.send_replace(true);
        within("the clients to finish", async { while self.clients.join_next().await.is_some() {} }).await;
        self.tally.borrow().clone()
    }
}

struct Answered {
    status: u16,
    /// The connection, unless the answer ended it.
    wire: Option<Wire>,
}

async fn ask_on(address: SocketAddr, request: Vec<u8>, stopped: watch::Receiver<bool>, tally: watch::Sender<Tally>) {
    let mut kept = None;
    while !*stopped.borrow() {
        let outcome = ask(address, &request, kept.take()).await;
        tally.send_modify(|tally| tally.count(&outcome));
        kept = outcome.ok().and_then(|answered| answered.wire);
    }
}

async fn ask(address: SocketAddr, request: &[u8], kept: Option<Wire>) -> Result<Answered, String> {
    let reused = if kept.is_some() { "a kept" } else { "a new" };
    exchange(address, request, kept).await.map_err(|error| format!("on {reused} connection: {error}"))
}

async fn exchange(address: SocketAddr, request: &[u8], kept: Option<Wire>) -> std::io::Result<Answered> {
    let mut wire = match kept {
        Some(wire) => wire,
        None => Wire::new(TcpStream::connect(address).await?),
    };
    wire.send(request).await?;
    let head = wire.head().await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Body::of_response(&head, "GET").rest(&mut wire).await?;
    let (status, closes) = (head.status(), head.closes());
    Ok(Answered { status, wire: (!closes).then_some(wire) })
}
