//! Sockets: a file for this user alone, and probes at an address of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::net::{TcpListener, UnixStream};

use super::*;
use crate::control::{AdminError, ProbesServer};

async fn start(path: &Path) -> Result<AdminServer, AdminError> {
    let limits = AdminLimits::new(1000);
    let address = ListenAddress::Unix(path.to_owned());
    AdminServer::start(&address, Claimed::default(), &access(), limits, Arc::<Recorder>::default())
}

#[tokio::test]
async fn a_socket_file_is_for_this_user_alone_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let server = start(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let request = b"GET /api/status HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n";
    let said = ask(UnixStream::connect(&path).await.unwrap(), request).await;
    assert_eq!(said.status, 200, "{said:?}");
    let said = ask(UnixStream::connect(&path).await.unwrap(), &bytes("POST /api/reload", "", b"")).await;
    said.problem(401);
    let said = ask(UnixStream::connect(&path).await.unwrap(), &bytes("POST /api/reload", DEPLOYER, b"")).await;
    assert_eq!(said.status, 200, "{said:?}");
    drop(server);
    until(|| !path.exists()).await;
}

#[tokio::test]
async fn a_file_that_a_killed_server_left_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = start(&path).await.unwrap();
    let told = start(&path).await.err().expect("the first one serves").to_string();
    assert!(told.contains("another process"), "{told}");
    assert_eq!(ask(UnixStream::connect(&path).await.unwrap(), &bytes("GET /livez", "", b"")).await.status, 200);

    let precious = folder.path().join("precious");
    std::fs::write(&precious, "text").unwrap();
    let told = start(&precious).await.err().expect("a file is no socket").to_string();
    assert!(told.contains("no socket"), "{told}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "text");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let operator = Arc::<Recorder>::default();
    let failed =
        AdminServer::start(&ListenAddress::Tcp(address), Claimed::default(), &access(), AdminLimits::new(1), operator);
    let told = failed.err().expect("it is taken").to_string();
    assert!(told.contains(&format!("the admin server cannot listen on {address}")), "{told}");
}

#[tokio::test]
async fn probes_at_an_address_of_their_own_show_nothing_else() {
    let operator = Arc::<Recorder>::default();
    let server =
        ProbesServer::start(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()), Claimed::default(), operator).unwrap();
    let address = server.address();
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/api/status", 404), ("/", 404)] {
        // A probe is sent to an address, and asks by any name.
        let request = format!("GET {path} HTTP/1.1\r\nHost: pod.example\r\nConnection: close\r\n\r\n");
        let said = ask(TcpStream::connect(address).await.unwrap(), request.as_bytes()).await;
        assert_eq!(said.status, status, "{path}");
    }
    let said = ask(TcpStream::connect(address).await.unwrap(), &bytes("POST /api/reload", DEPLOYER, b"")).await;
    assert_eq!(said.status, 404);
}
