//! A certificate with its key: read from PEM, checked to belong together, and the names that it is for.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate that can be shown to clients.
pub struct Certificate {
    /// As the configuration writes its file.
    pub name: Arc<str>,
    /// DNS names, in lower case; a wildcard as it is written, `*.example.com`.
    pub names: Vec<Box<str>>,
    /// In seconds of Unix time.
    pub not_before: i64,
    pub not_after: i64,
    pub(super) key: Arc<CertifiedKey>,
    /// How it signs: two certificates for one name are told apart by it.
    pub(super) scheme: Option<SignatureScheme>,
    digest: [u8; 32],
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("it is not PEM: {0}")]
    Pem(pem::Error),
    #[error("it has no certificate")]
    NoCertificate,
    #[error("its certificate cannot be read: {0}")]
    Malformed(String),
    #[error("it is not PEM: {0}")]
    KeyPem(pem::Error),
    #[error("it has no private key")]
    NoKey,
    #[error("its private key cannot be used: {0}")]
    Key(rustls::Error),
    #[error("the private key is not that of the certificate")]
    Mismatch,
}

impl CertificateError {
    /// Whether it is the fault of the key, and not of the certificate.
    pub fn is_of_key(&self) -> bool {
        matches!(self, Self::KeyPem(_) | Self::NoKey | Self::Key(_) | Self::Mismatch)
    }
}

impl Certificate {
    /// Reads a certificate with those up to its authority, and its key, both in PEM. One that was read before from the same
    /// bytes is taken as it is.
    ///
    /// # Errors
    /// Any [`CertificateError`].
    pub fn load(name: &str, chain: &[u8], key: &[u8], old: Option<&Arc<Self>>) -> Result<Arc<Self>, CertificateError> {
        let digest = digest([chain, key]);
        if let Some(old) = old.filter(|old| old.digest == digest && *old.name == *name) {
            return Ok(old.clone());
        }
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateError::NoKey,
            error => CertificateError::KeyPem(error),
        })?;
        let (names, not_before, not_after) = {
            let malformed = |error: &dyn fmt::Display| CertificateError::Malformed(error.to_string());
            let (_, parsed) = X509Certificate::from_der(&chain[0]).map_err(|error| malformed(&error))?;
            let names = names(&parsed).map_err(|error| malformed(&error))?;
            (names, parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp())
        };
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
            rustls::Error::InvalidCertificate(error) => CertificateError::Malformed(error.to_string()),
            error => CertificateError::Key(error),
        })?;
        let scheme = SCHEMES.into_iter().find(|scheme| key.key.choose_scheme(&[*scheme]).is_some());
        Ok(Arc::new(Self { name: name.into(), names, not_before, not_after, key: Arc::new(key), scheme, digest }))
    }

    /// Whether a client that wants `host`, in lower case, would take it (RFC 9525 §6.3: a wildcard stands for one label).
    pub(super) fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| **name == *host || (parent.is_some() && name.strip_prefix("*.") == parent))
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.digest == other.digest
    }
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).field("names", &self.names).finish_non_exhaustive()
    }
}

/// Where cryptography comes from; named here, because a process may have been built with several.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// A digest of several texts, each told from the next.
pub(super) fn digest<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> [u8; 32] {
    let mut sum = Sha256::new();
    for text in texts {
        sum.update(text.len().to_le_bytes());
        sum.update(text);
    }
    sum.finalize().into()
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(CertificateError::Pem)?;
    if found.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(found) }
}

/// The DNS names of a certificate; where it has none, as old ones do, the common name of its subject, which browsers ignore.
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Box<str>>, x509_parser::error::X509Error> {
    let alternatives = certificate.subject_alternative_name()?;
    let mut names: Vec<Box<str>> = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            _ => None,
        })
        .collect();
    if alternatives.is_none() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(|name| name.to_ascii_lowercase().into()));
    }
    Ok(names)
}

/// One scheme of each kind of key.
const SCHEMES: [SignatureScheme; 5] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
];
