//! TLS in front of an upstream: what comes over it is handed on byte for byte. Keys and certificates are made for each test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::upstream::Upstream;

/// A server whose certificate is for `localhost`. Dropping it closes everything.
pub struct Tls {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    asked_for: watch::Receiver<Vec<String>>,
    folder: TempDir,
}

/// What the server does beyond that.
#[derive(Default)]
pub struct TlsOptions {
    /// What it chooses from by ALPN (RFC 7301); nothing, and it knows of no such thing.
    pub protocols: &'static [&'static str],
    /// It wants a certificate of its client, see [`Tls::identity`].
    pub wants_identity: bool,
}

impl Tls {
    /// Speak TLS for an upstream.
    pub async fn before(upstream: &Upstream) -> Tls {
        Tls::with(upstream.address(), TlsOptions::default()).await
    }

    /// Speak TLS for whoever listens there.
    pub async fn with(upstream: SocketAddr, options: TlsOptions) -> Tls {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the machine makes keys");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a key signs");
        let signed = |name: &str| {
            let key = KeyPair::generate().expect("the machine makes keys");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            (params.signed_by(&key, &authority).expect("an authority signs"), key)
        };
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a temporary folder takes files");
        };
        let (certificate, key) = signed("localhost");
        let (client, client_key) = signed("client");
        write("authority.pem", &authority.pem());
        write("client.pem", &client.pem());
        write("client.key", &client_key.serialize_pem());

        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS");
        let builder = if options.wants_identity {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("there is an authority"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("key and certificate belong together");
        config.alpn_protocols = options.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (asked, asked_for) = watch::channel(Vec::new());
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), upstream, asked));
        Tls { address, accepting, asked_for, folder }
    }

    /// `https://localhost:PORT`.
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// `https://127.0.0.1:PORT`, which its certificate is not for.
    pub fn nameless_origin(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate that vouches for the server's, as PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A certificate that the server takes from its client, and the key to it, as PEM.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        let folder: &Path = self.folder.path();
        (folder.join("client.pem"), folder.join("client.key"))
    }

    /// The names that clients asked for (RFC 6066 §3), one for each handshake that went well; empty where none was named.
    pub fn asked_for(&self) -> Vec<String> {
        self.asked_for.borrow().clone()
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, upstream: SocketAddr, asked: watch::Sender<Vec<String>>) {
    let mut connections = JoinSet::new();
    let asked = Arc::new(asked);
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        let (tls, asked) = (tls.clone(), asked.clone());
        connections.spawn(async move {
            // A client that does not trust the certificate hangs up amid the handshake.
            let Ok(mut outside) = tls.accept(stream).await else { return };
            let name = outside.get_ref().1.server_name().unwrap_or_default().to_owned();
            asked.send_modify(|names| names.push(name));
            if let Ok(mut inside) = TcpStream::connect(upstream).await {
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
