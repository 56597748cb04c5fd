//! Both clients against a server that answers exactly what a test says.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Fetch, FetchError, Fetched, Reach, SendError, Terms, Trust};

/// A server that answers its first connection with the first text, the second with the second, and closes each.
struct Server {
    address: String,
    heads: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, heads) = mpsc::unbounded_channel();
        let answers: Vec<String> = answers.iter().map(|answer| answer.replace('\n', "\r\n")).collect();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                seen.send(String::from_utf8(head).unwrap().to_ascii_lowercase()).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, heads }
    }

    fn url(&self) -> Uri {
        format!("http://{}/document", self.address).parse().unwrap()
    }

    async fn fetch(&self, known: Option<&str>) -> Result<Fetched, FetchError> {
        let known = known.map(|tag| HeaderValue::from_str(tag).unwrap());
        let url = self.url();
        let fetch = Fetch { url: &url, known: known.as_ref(), bytes_max: 10, timeout: Duration::from_secs(60) };
        Trust::default().fetcher().fetch(fetch).await
    }

    async fn send(&self, terms: Terms) -> Result<http::Response<Bytes>, SendError> {
        Trust::default().client().send(Request::get(self.url()).body(Bytes::new()).unwrap(), terms).await
    }

    async fn head(&mut self) -> String {
        self.heads.recv().await.unwrap()
    }
}

fn document(body: &str, tag: Option<&'static str>) -> Fetched {
    Fetched::Document { body: Bytes::copy_from_slice(body.as_bytes()), tag: tag.map(HeaderValue::from_static) }
}

const HOME: Terms = Terms { reach: Reach::Anywhere, timeout: Duration::from_secs(60), body_bytes_max: 10 };

#[tokio::test]
async fn a_document_comes_with_its_tag() {
    let mut server = Server::answering(&["HTTP/1.1 200 OK\netag: \"1\"\ncontent-length: 2\n\nhi"]).await;
    assert_eq!(server.fetch(None).await.unwrap(), document("hi", Some("\"1\"")));
    assert!(!server.head().await.contains("if-none-match"));
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let mut server = Server::answering(&["HTTP/1.1 304 Not Modified\netag: \"1\"\n\n"]).await;
    assert_eq!(server.fetch(Some("\"1\"")).await.unwrap(), Fetched::Unchanged);
    assert!(server.head().await.contains("if-none-match: \"1\"\r\n"));
}

#[tokio::test]
async fn a_document_that_breaks_off_is_resumed() {
    let mut server = Server::answering(&[
        "HTTP/1.1 200 OK\netag: \"1\"\ncontent-length: 6\n\nabc",
        "HTTP/1.1 206 Partial Content\netag: \"1\"\ncontent-range: bytes 3-5/6\ncontent-length: 3\n\nde",
        "HTTP/1.1 206 Partial Content\ncontent-range: bytes 5-5/6\ncontent-length: 1\n\nf",
    ])
    .await;
    assert_eq!(server.fetch(None).await.unwrap(), document("abcdef", Some("\"1\"")));
    assert!(!server.head().await.contains("range"));
    let head = server.head().await;
    assert!(head.contains("range: bytes=3-\r\n") && head.contains("if-range: \"1\"\r\n"), "{head}");
    assert!(server.head().await.contains("range: bytes=5-\r\n"));
}

#[tokio::test]
async fn a_document_that_changed_meanwhile_is_not_pieced_together() {
    let broken = "HTTP/1.1 200 OK\netag: \"1\"\ncontent-length: 6\n\nabc";
    let weak = "HTTP/1.1 200 OK\netag: W/\"1\"\ncontent-length: 6\n\nabc";
    let whole = "HTTP/1.1 200 OK\netag: \"2\"\ncontent-length: 4\n\nwxyz";
    let other_part = "HTTP/1.1 206 Partial Content\netag: \"2\"\ncontent-range: bytes 3-3/4\ncontent-length: 1\n\nz";
    let no_part = "HTTP/1.1 416 Range Not Satisfiable\ncontent-length: 0\n\n";
    for answers in [&[broken, whole][..], &[weak, whole], &[broken, other_part, whole], &[broken, no_part, whole]] {
        let server = Server::answering(answers).await;
        assert_eq!(server.fetch(None).await.unwrap(), document("wxyz", Some("\"2\"")), "{answers:?}");
    }
}

#[tokio::test]
async fn a_document_that_breaks_off_each_time_is_given_up() {
    let broken = "HTTP/1.1 200 OK\ncontent-length: 6\n\nabc";
    let server = Server::answering(&[broken; 6]).await;
    assert!(matches!(server.fetch(None).await, Err(FetchError::BrokenOff(6, _))));
}

#[tokio::test]
async fn a_document_has_a_limit_with_and_without_its_length() {
    for too_large in [
        "HTTP/1.1 200 OK\ncontent-length: 11\n\n0123456789x",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n6\n012345\n5\n6789x\n0\n\n",
        "HTTP/1.1 200 OK\n\n0123456789x",
    ] {
        let server = Server::answering(&[too_large]).await;
        assert!(matches!(server.fetch(None).await, Err(FetchError::TooLarge(10))), "{too_large}");
        let server = Server::answering(&[too_large]).await;
        assert!(matches!(server.send(HOME).await, Err(SendError::TooLarge(10))), "{too_large}");
    }
    let fits = "HTTP/1.1 200 OK\ncontent-length: 10\n\n0123456789";
    assert_eq!(Server::answering(&[fits]).await.fetch(None).await.unwrap(), document("0123456789", None));
    assert_eq!(Server::answering(&[fits]).await.send(HOME).await.unwrap().body(), "0123456789");
}

#[tokio::test]
async fn a_fetch_follows_redirects_and_not_for_ever() {
    let onward = "HTTP/1.1 302 Found\nlocation: /elsewhere?x=1#y\ncontent-length: 0\n\n";
    let mut server = Server::answering(&[onward, "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi"]).await;
    assert_eq!(server.fetch(None).await.unwrap(), document("hi", None));
    server.head().await;
    assert!(server.head().await.starts_with("get /elsewhere?x=1 http/1.1\r\n"));

    let server = Server::answering(&[onward; 6]).await;
    assert!(matches!(server.fetch(None).await, Err(FetchError::Redirect(_))));
    for strange in ["", "relative", "//other.example/x", "ftp://other.example/x"] {
        let server = Server::answering(&[&format!("HTTP/1.1 302 Found\nlocation: {strange}\n\n")]).await;
        assert!(matches!(server.fetch(None).await, Err(FetchError::Redirect(_))), "{strange}");
    }
}

#[tokio::test]
async fn other_statuses_are_no_document() {
    for status in [204, 206, 304, 404, 416, 500] {
        let server = Server::answering(&[&format!("HTTP/1.1 {status} X\ncontent-length: 0\n\n")]).await;
        assert!(matches!(server.fetch(None).await, Err(FetchError::Status(got)) if got == status), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: Uri = format!("http://{address}/").parse().unwrap();
    let fetch = Fetch { url: &url, known: None, bytes_max: 10, timeout: Duration::from_secs(60) };
    let error = Trust::default().fetcher().fetch(fetch).await.unwrap_err();
    assert!(matches!(&error, FetchError::Unreachable(why) if why.contains("refused")), "{error}");
}

#[tokio::test]
async fn a_plugins_request_follows_no_redirect() {
    let server = Server::answering(&["HTTP/1.1 302 Found\nlocation: /elsewhere\ncontent-length: 0\n\n"]).await;
    let response = server.send(HOME).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["location"].as_bytes()), (302, &b"/elsewhere"[..]));
}

#[tokio::test]
async fn a_plugins_request_stays_out_of_the_gateways_own_network() {
    let client = Trust::default().client();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"] {
        let request = Request::get(format!("http://{host}:9/")).body(Bytes::new()).unwrap();
        let terms = Terms { reach: Reach::Public, ..HOME };
        assert!(matches!(client.send(request, terms).await, Err(SendError::OutOfReach)), "{host}");
    }
}

#[tokio::test]
async fn a_plugins_request_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let terms = Terms { timeout: Duration::from_millis(20), ..HOME };
    assert!(matches!(Trust::default().client().send(request, terms).await, Err(SendError::Timeout(_))));
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let request = Request::get(format!("http://{}/", listener.local_addr().unwrap())).body(Bytes::new()).unwrap();
    let client = Trust::default().client();
    let sending = tokio::spawn(async move { client.send(request, HOME).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
    sending.abort();
    let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "the connection is closed");
}

#[tokio::test]
async fn a_response_has_a_limited_head() {
    let long = format!("HTTP/1.1 200 OK\nx-long: {}\n\n", "x".repeat(256 << 10));
    assert!(matches!(Server::answering(&[&long]).await.send(HOME).await, Err(SendError::Unavailable(_))));
    let many = format!("HTTP/1.1 200 OK\n{}\n", "x: y\n".repeat(129));
    assert!(matches!(Server::answering(&[&many]).await.send(HOME).await, Err(SendError::Unavailable(_))));
}
