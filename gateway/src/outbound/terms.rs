//! TLS to servers that are trusted on terms of their own: other authorities, a certificate of the gateway's, or no check at all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::caller::Caller;
use super::trust::{Trust, roots};

/// The terms, as the files say: all in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsTerms {
    /// `None`: the authorities that all outbound requests believe.
    pub authorities: Option<Vec<u8>>,
    /// Certificates and key of the gateway itself.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
}

/// Why there can be no TLS on these terms.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("it is not PEM: {0}")]
    Pem(pem::Error),
    #[error("it has no certificate")]
    NoCertificate,
    #[error("a certificate in it cannot be used: {0}")]
    Authority(rustls::Error),
    #[error("certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
}

impl Trust {
    /// A client of the control plane for a server on these terms.
    ///
    /// # Errors
    /// Any [`TlsError`].
    pub fn caller_on(&self, terms: &TlsTerms) -> Result<Caller, TlsError> {
        Ok(Caller::new(&self.tls_on(terms)?))
    }

    /// The client's side of TLS on these terms. Reads the system's authorities where they count: not for the request path.
    ///
    /// # Errors
    /// Any [`TlsError`].
    pub fn tls_on(&self, terms: &TlsTerms) -> Result<ClientConfig, TlsError> {
        if *terms == TlsTerms::default() {
            return Ok(self.tls().clone());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = match (&terms.authorities, terms.verify) {
            (_, false) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
            (None, true) => builder.with_root_certificates(roots()),
            (Some(pem), true) => builder.with_root_certificates(authorities(pem)?),
        };
        match &terms.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Pem)?;
                builder.with_client_auth_cert(certificates(chain)?, key).map_err(TlsError::Identity)
            }
        }
    }
}

impl Default for TlsTerms {
    /// Those of all outbound requests.
    fn default() -> Self {
        Self { authorities: None, identity: None, verify: true }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(TlsError::Pem)?;
    if found.is_empty() { Err(TlsError::NoCertificate) } else { Ok(found) }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    certificates(pem)?.into_iter().try_for_each(|certificate| roots.add(certificate)).map_err(TlsError::Authority)?;
    Ok(roots)
}

/// Takes any certificate, but checks that the server has the key to it.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
