//! Connections of clients: how many there may be, of whom, what they cost, and what happens when the system has no more to give.

use std::net::SocketAddr;

use harness::{Client, Config, Gateway, Upstream, http, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::GATEWAY;

/// A connection from another address of this machine.
async fn connect_from(source: &str, gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("the system gives sockets");
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("all of 127.0.0.0/8 is this machine");
    within("a connection", socket.connect(gateway.listener("http"))).await.expect("the listener accepts")
}

/// Whether a request on this connection is answered with 200.
async fn is_served(stream: &mut TcpStream) -> bool {
    let asked = stream.write_all(&http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut start = [0; 12];
    let read = within("an answer, or the end", stream.read_exact(&mut start)).await;
    asked.is_ok() && read.is_ok() && start == *b"HTTP/1.1 200"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_has_so_many_connections_and_others_have_theirs() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { connections_per_client: 2 }")).await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
    gateway.client().await.closed().await;
    let mut other = connect_from("127.0.0.2", &gateway).await;
    assert!(is_served(&mut other).await, "another client");
    drop(first);
    within("room for another connection", async {
        while !is_served(&mut connect_from("127.0.0.1", &gateway).await).await {}
    })
    .await;
    assert_eq!(second.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_listeners_together_have_so_many_connections() {
    let origin = Upstream::echo().await;
    let text = r"
version: 1
overload: { connections: 2 }
listeners: [{ name: http, address: 127.0.0.1:0 }, { name: other, address: 127.0.0.1:0 }]
upstreams: { origin: { endpoints: [{ url: 'http://<origin>' }] } }
routes: [{ name: all, match: { path: { prefix: / } }, upstream: origin }]
";
    let gateway = GATEWAY.start(harness::yaml(text, &[("origin", &origin)])).await;
    let mut first = gateway.client().await;
    let mut second = Client::connect(gateway.listener("other")).await;
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
    gateway.client().await.closed().await;
    Client::connect(gateway.listener("other")).await.closed().await;
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little() {
    const COUNT: usize = 400;
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1")).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = gateway.client().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    let before = gateway.memory_bytes();
    for _ in 0..COUNT {
        let mut client = gateway.client().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    let each = gateway.memory_bytes().saturating_sub(before) / COUNT;
    assert!(each < 24 << 10, "{each} bytes for each connection");
}

/// Without files to open, connections wait; when there are some again, they are served. It is said once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_out_of_files_waits_for_some() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1")).await;
    let mut held = gateway.client().await;
    assert_eq!(held.get("/").await.status, 200);
    gateway.limit_files(2);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(gateway.client().await);
    }
    gateway.log().wait("that there are no files", |line| line.message().starts_with("cannot accept")).await;
    assert_eq!(held.get("/").await.status, 200, "who is there is served");
    gateway.limit_files(100);
    for client in &mut clients {
        assert_eq!(client.get("/").await.status, 200, "who waited is served");
    }
    let told = gateway.log().lines().iter().filter(|line| line.message().starts_with("cannot accept")).count();
    assert_eq!(told, 1);
    gateway.log().wait("that it is over", |line| line.message() == "accepting again").await;
}
