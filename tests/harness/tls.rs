//! TLS in front of an upstream: what comes over it is handed on byte for byte. Keys and certificates are made for each test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::upstream::Upstream;

/// A server whose certificate is for `localhost`. Dropping it closes everything.
pub struct Tls {
    address: SocketAddr,
    authority: PathBuf,
    accepting: JoinHandle<()>,
    _folder: TempDir,
}

impl Tls {
    /// Speak TLS for an upstream.
    pub async fn before(upstream: &Upstream) -> Tls {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the machine makes keys");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a key signs");
        let key = KeyPair::generate().expect("the machine makes keys");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &authority).expect("an authority signs");
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let path = folder.path().join("authority.pem");
        std::fs::write(&path, authority.pem()).expect("a temporary folder takes files");

        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("key and certificate belong together");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), upstream.address()));
        Tls { address, authority: path, accepting, _folder: folder }
    }

    /// `https://localhost:PORT`.
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The certificate that vouches for the server's, as PEM.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, upstream: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        let tls = tls.clone();
        connections.spawn(async move {
            // A client that does not trust the certificate hangs up amid the handshake.
            if let (Ok(mut outside), Ok(mut inside)) = (tls.accept(stream).await, TcpStream::connect(upstream).await) {
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
