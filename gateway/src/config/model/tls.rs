//! TLS of a listener: certificates, versions, protocols, and who clients must be.

use std::path::PathBuf;

use http::HeaderName;

use super::SecretRef;
use crate::tls::{Alpn, Part};

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// At least one, that of `acme` last. The first is for clients that ask for no name, or for one that no certificate has.
    pub certificates: Vec<CertificateFiles>,
    pub acme: Option<Acme>,
    pub min_version: TlsVersion,
    /// In the order of preference; at least one.
    pub alpn: Vec<Alpn>,
    pub client_certificates: Option<ClientCertificates>,
}

/// A certificate that the gateway orders by itself (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// In lower case; at least one.
    pub domains: Vec<String>,
    pub contact: Vec<String>,
    /// A URL.
    pub directory: String,
    /// For certificates, keys and the account.
    pub folder: PathBuf,
    /// The file in it that certificate and key are kept in.
    pub file: PathBuf,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// `cert` as it is written: what metrics and the log call it.
    pub name: String,
    pub cert: PathBuf,
    pub key: KeySource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    Secret(SecretRef),
}

/// The oldest version that is spoken; the newest is 1.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    #[default]
    V12,
    V13,
}

/// What is asked of clients.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientCertificates {
    pub ca: PathBuf,
    pub crl: Option<PathBuf>,
    /// Key `mode`.
    pub is_required: bool,
    /// Request headers, and what each says of the client's certificate.
    pub headers: Vec<(HeaderName, Part)>,
}
