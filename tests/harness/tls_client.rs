//! Clients that speak TLS: what they ask for, whom they trust and who they are is up to the test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::authority::{Authority, Issued};
use crate::client::Client;
use crate::http2::Http2;
use crate::http2_call::Http2Calls;
use crate::websocket::{Refusal, WebSocket};
use crate::within;

/// A client to be: connections of the same one take up each other's sessions.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

/// A connection after its handshake.
pub struct Secured(TlsStream<TcpStream>);

impl TlsClient {
    /// A client of whoever listens at `address`, who is vouched for by `authority`.
    pub fn new(address: SocketAddr, authority: &Authority) -> TlsClient {
        TlsClient::build(address, authority, &[&TLS13, &TLS12], None, None)
    }

    /// One that speaks nothing but TLS 1.2.
    pub fn of_tls12(address: SocketAddr, authority: &Authority) -> TlsClient {
        TlsClient::build(address, authority, &[&TLS12], None, None)
    }

    /// One that shows a certificate of its own.
    pub fn with_identity(address: SocketAddr, authority: &Authority, identity: &Issued) -> TlsClient {
        TlsClient::build(address, authority, &[&TLS13, &TLS12], Some(identity), None)
    }

    /// One that verifies signatures of RSA and no others.
    pub fn of_rsa(address: SocketAddr, authority: &Authority) -> TlsClient {
        let is_rsa = |scheme: SignatureScheme| format!("{scheme:?}").starts_with("RSA");
        TlsClient::build(address, authority, &[&TLS13, &TLS12], None, Some(is_rsa))
    }

    /// The same, offering these protocols by ALPN.
    pub fn offering(mut self, protocols: &[&str]) -> TlsClient {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    fn build(
        address: SocketAddr,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Issued>,
        verifies: Option<fn(SignatureScheme) -> bool>,
    ) -> TlsClient {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(verifies) = verifies {
            let algorithms = &mut provider.signature_verification_algorithms;
            let mapping: Vec<_> = algorithms.mapping.iter().filter(|(scheme, _)| verifies(*scheme)).copied().collect();
            // Some bytes a test: the library wants them to last.
            algorithms.mapping = mapping.leak();
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("the provider speaks TLS")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![identity.der.clone()], key).expect("they belong together")
            }
        };
        TlsClient { config: Arc::new(config), address }
    }

    /// Connect, asking for `name`.
    ///
    /// # Errors
    /// When the handshake fails: on this side, or because the gateway said so.
    pub async fn connect(&self, name: &str) -> io::Result<Secured> {
        self.connect_after(name, b"").await
    }

    /// The same, after some bytes in the clear.
    ///
    /// # Errors
    /// As [`TlsClient::connect`].
    pub async fn connect_after(&self, name: &str, first: &[u8]) -> io::Result<Secured> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut stream = within("a connection", TcpStream::connect(self.address)).await.expect("the listener accepts");
        stream.write_all(first).await?;
        let handshake = TlsConnector::from(self.config.clone()).connect(name, stream);
        within("a handshake", handshake).await.map(Secured)
    }

    /// Connect and speak HTTP/1.1.
    pub async fn http1(&self, name: &str) -> Client {
        self.connect(name).await.expect("a handshake").http1()
    }

    /// Connect and speak HTTP/2.
    pub async fn http2(&self, name: &str) -> Http2 {
        self.connect(name).await.expect("a handshake").http2().await
    }
}

/// The certificate that a server shows to whoever asks for this name and this protocol, whoever vouches for it.
pub(crate) async fn shown_by(stream: TcpStream, name: &str, protocol: &str) -> io::Result<CertificateDer<'static>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await?;
    let is_agreed = stream.get_ref().1.alpn_protocol() == Some(protocol.as_bytes());
    is_agreed.then(|| Secured(stream).certificate()).ok_or_else(|| io::Error::other("another protocol"))
}

/// Takes every certificate, also those that are made to be refused: what is in a challenge is no business of a client's.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Secured {
    /// The certificate that the gateway showed; of a session that was taken up again, the one it began with.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.0.get_ref().1.peer_certificates().expect("a server shows a certificate");
        chain[0].clone().into_owned()
    }

    /// What was chosen by ALPN.
    pub fn protocol(&self) -> Option<&str> {
        self.0.get_ref().1.alpn_protocol().map(|name| std::str::from_utf8(name).expect("protocols are ASCII"))
    }

    pub fn is_tls13(&self) -> bool {
        self.0.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether an earlier session was taken up again.
    pub fn is_resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn http1(self) -> Client {
        Client::over(self.0)
    }

    pub async fn http2(self) -> Http2 {
        Http2::over(self.0).await
    }

    /// Speak HTTP/2, with each stream in the test's hands.
    pub async fn calls(self) -> Http2Calls {
        Http2Calls::over(self.0).await
    }

    /// Ask for a WebSocket at this path.
    ///
    /// # Errors
    /// As [`WebSocket::connect`].
    pub async fn websocket(self, path: &str) -> Result<WebSocket, Refusal> {
        WebSocket::over(self.0, path, &[]).await.map(|(socket, _)| socket)
    }
}
