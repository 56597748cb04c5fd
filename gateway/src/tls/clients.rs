//! Clients that show certificates: whether they must, who vouches for them, and the headers that tell who they are.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::{CertificateError, certificates, digest, provider};
use super::identity::Part;

/// What is asked of the clients of a listener.
pub struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Request headers, and what each says of the client's certificate.
    pub headers: Vec<(HeaderName, Part)>,
    /// Of all that decides who is let in.
    digest: [u8; 32],
}

/// The same, as files say it; all in PEM.
pub struct ClientTerms<'t> {
    pub authorities: &'t [u8],
    pub revoked: Option<&'t [u8]>,
    pub is_required: bool,
    pub headers: Vec<(HeaderName, Part)>,
}

/// Why clients cannot be told apart on these terms.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    #[error("{0}")]
    Authorities(CertificateError),
    #[error("a certificate in it cannot be used: {0}")]
    Authority(rustls::Error),
    #[error("it is not PEM: {0}")]
    RevokedPem(pem::Error),
    #[error("it has no revocation list")]
    NoList,
    #[error("a revocation list in it cannot be used: {0}")]
    Revoked(rustls::server::VerifierBuilderError),
}

impl ClientsError {
    /// Whether it is the fault of the revocation lists, and not of the authorities.
    pub fn is_of_lists(&self) -> bool {
        matches!(self, Self::RevokedPem(_) | Self::NoList | Self::Revoked(_))
    }
}

impl Clients {
    /// Terms that were read before from the same bytes are taken as they are.
    ///
    /// # Errors
    /// Any [`ClientsError`].
    pub fn new(terms: ClientTerms<'_>, old: Option<&Arc<Self>>) -> Result<Arc<Self>, ClientsError> {
        let ClientTerms { authorities, revoked, is_required, headers } = terms;
        let mode: &[u8] = if is_required { b"required" } else { b"optional" };
        let digest = digest([mode, authorities].into_iter().chain(revoked));
        if let Some(old) = old.filter(|old| old.digest == digest && old.headers == headers) {
            return Ok(old.clone());
        }
        let mut roots = RootCertStore::empty();
        let found = certificates(authorities).map_err(ClientsError::Authorities)?;
        found.into_iter().try_for_each(|authority| roots.add(authority)).map_err(ClientsError::Authority)?;
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
        if let Some(revoked) = revoked {
            // Only what is listed is refused: an authority need not have a list, and an old list is better than none.
            verifier = verifier
                .with_crls(lists(revoked)?)
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status();
        }
        if !is_required {
            verifier = verifier.allow_unauthenticated();
        }
        let verifier = verifier.build().map_err(ClientsError::Revoked)?;
        Ok(Arc::new(Self { verifier, headers, digest }))
    }

    /// Whether the same clients are let in: then sessions of one are sessions of the other.
    pub(super) fn lets_in_the_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.headers == other.headers
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("headers", &self.headers).finish_non_exhaustive()
    }
}

fn lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, ClientsError> {
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(ClientsError::RevokedPem)?;
    if found.is_empty() { Err(ClientsError::NoList) } else { Ok(found) }
}
