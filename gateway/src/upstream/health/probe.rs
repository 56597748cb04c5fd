//! One check of an endpoint, on a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::super::endpoint::Socket;
use super::super::transport::Tls;
use super::super::{Endpoint, Protocol, Transport};

/// A connection, with TLS or without.
trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for S {}

type Stream = Box<dyn Io>;

/// What an endpoint has to do to be healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Answer `GET` of this path with one of these statuses; empty is 200 to 299.
    Http { path: String, statuses: Vec<StatusCode> },
    /// Accept a connection.
    Tcp,
    /// Say that the service serves, by the gRPC health checking protocol (`grpc.health.v1.Health/Check`). An empty name is the
    /// whole server.
    Grpc { service: String },
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("nothing within {0:?}")]
    Timeout(Duration),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no response: {0}")]
    Response(#[from] hyper::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("gRPC status {0}")]
    GrpcStatus(String),
    #[error("it says that it does not serve")]
    NotServing,
    #[error("the answer cannot be understood")]
    Malformed,
}

/// Over TLS where the upstream has it, though a check of `Tcp` ends before that.
pub(super) async fn probe(probe: &Probe, endpoint: &Endpoint, transport: &Transport) -> Result<(), ProbeError> {
    let stream = endpoint.connect().await.map_err(ProbeError::Connect)?;
    let is_http2 = matches!(probe, Probe::Grpc { .. }) || transport.protocol == Protocol::Http2;
    let stream: Stream = match (&transport.tls, probe) {
        (None, _) | (_, Probe::Tcp) => Box::new(stream),
        (Some(tls), _) => Box::new(secured(stream, tls, endpoint, is_http2).await.map_err(ProbeError::Connect)?),
    };
    match probe {
        Probe::Tcp => Ok(()),
        Probe::Http { path, statuses } => {
            let status = get(stream, path, endpoint, is_http2).await?.status();
            let is_expected = if statuses.is_empty() { status.is_success() } else { statuses.contains(&status) };
            if is_expected { Ok(()) } else { Err(ProbeError::Status(status)) }
        }
        Probe::Grpc { service } => {
            let response = call(stream, service, endpoint).await?;
            is_serving(response).await
        }
    }
}

async fn secured(stream: Socket, tls: &Tls, endpoint: &Endpoint, is_http2: bool) -> io::Result<impl Io + use<>> {
    let name = tls.name_of(endpoint).ok_or_else(|| io::Error::other("no certificate could be for this host"))?;
    let mut config = tls.config.clone();
    let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
    config.alpn_protocols = protocol.offers();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn get(
    stream: Stream,
    path: &str,
    endpoint: &Endpoint,
    is_http2: bool,
) -> Result<Response<Incoming>, ProbeError> {
    let target = if is_http2 { format!("http://{}{path}", endpoint.authority()) } else { path.to_owned() };
    let request = Request::get(target).header(USER_AGENT, AGENT);
    let request = if is_http2 { request } else { request.header(HOST, endpoint.authority()) };
    let request = request.body(Full::<Bytes>::default()).map_err(|_| ProbeError::Malformed)?;
    // The error of a connection reaches the request; it ends with the sender.
    if is_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        return Ok(sender.send_request(request).await?);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn call(stream: Stream, service: &str, endpoint: &Endpoint) -> Result<Response<Incoming>, ProbeError> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}/grpc.health.v1.Health/Check", endpoint.authority()))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT)
        .body(Full::new(health_check_request(service)))
        .map_err(|_| ProbeError::Malformed)?;
    Ok(sender.send_request(request).await?)
}

/// A length-prefixed message of gRPC, whose one field is the name: `HealthCheckRequest { string service = 1 }`.
fn health_check_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            #[allow(clippy::cast_possible_truncation, reason = "seven bits at a time")]
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        #[allow(clippy::cast_possible_truncation, reason = "less than 0x80")]
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + PREFIX_BYTES);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.unsplit(message);
    framed.freeze()
}

/// `HealthCheckResponse { ServingStatus status = 1 }`, where 1 is `SERVING`, and the status of the call, which is 0.
async fn is_serving(response: Response<Incoming>) -> Result<(), ProbeError> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(ProbeError::Status(head.status));
    }
    let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| ProbeError::Malformed)?;
    // An answer without a message has its trailers in its head.
    let trailers = whole.trailers().unwrap_or(&head.headers);
    let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok()).unwrap_or_default();
    if status != "0" {
        return Err(ProbeError::GrpcStatus(status.to_owned()));
    }
    match whole.to_bytes().get(PREFIX_BYTES..) {
        Some([0x08, 1, ..]) => Ok(()),
        Some(_) => Err(ProbeError::NotServing),
        None => Err(ProbeError::Malformed),
    }
}

const AGENT: &str = concat!("witgate/", env!("CARGO_PKG_VERSION"), " (health check)");
/// Of a message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
const ANSWER_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::super::super::{Limits, Timeouts};
    use super::*;

    fn plain() -> Arc<Transport> {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { connect: second, per_try: second, idle: second };
        Transport::new(
            Protocol::Http1,
            None,
            timeouts,
            Limits { connections: 1, pending: 1, requests: 1, streams: 1 },
            None,
        )
    }

    #[test]
    fn the_name_of_a_service_is_framed() {
        assert_eq!(health_check_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(health_check_request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = health_check_request(&"a".repeat(200));
        assert_eq!(long[..9], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1, b'a']);
    }

    /// A gRPC server that answers every call with this message and this status.
    async fn grpc(message: &'static [u8], status: &'static str) -> Endpoint {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let port = server.local_addr().expect("it is bound").port();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()[TE], "trailers");
            let trailers = http::HeaderMap::from_iter([(
                "grpc-status".parse().expect("a name"),
                status.parse().expect("a value"),
            )]);
            let frames = [Frame::data(Bytes::from_static(message)), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
            Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
        });
        tokio::spawn(async move {
            let (stream, _) = server.accept().await.expect("a connection");
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
        Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    #[tokio::test]
    async fn a_grpc_server_says_whether_it_serves() {
        for (message, status, expected) in [
            (&[0, 0, 0, 0, 2, 0x08, 1][..], "0", "well"),
            (&[0, 0, 0, 0, 2, 0x08, 2], "0", "it says that it does not serve"),
            (&[0, 0, 0, 0, 0], "0", "it says that it does not serve"),
            (&[0, 0], "0", "the answer cannot be understood"),
            (&[], "5", "gRPC status 5"),
        ] {
            let endpoint = grpc(message, status).await;
            let outcome = probe(&Probe::Grpc { service: "users".to_owned() }, &endpoint, &plain()).await;
            assert_eq!(outcome.map_or_else(|error| error.to_string(), |()| "well".to_owned()), expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_http_is_not_healthy() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let port = server.local_addr().expect("it is bound").port();
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
        assert!(probe(&Probe::Tcp, &endpoint, &plain()).await.is_ok());
        tokio::spawn(async move { while server.accept().await.is_ok() {} });
        let outcome = probe(&Probe::Http { path: "/".to_owned(), statuses: Vec::new() }, &endpoint, &plain()).await;
        assert!(matches!(outcome, Err(ProbeError::Response(_))), "{outcome:?}");
    }
}
