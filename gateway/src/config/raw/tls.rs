//! `listeners[].tls` as it is written: certificates, versions, protocols, and who clients must be.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::TlsVersion;
use super::{Entries, Items};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerTls")]
pub(in crate::config) struct RawListenerTls {
    /// Certificates, each for the names in it; needed unless there is `acme`. The first is also for clients that ask for no name, or for one that no certificate has.
    #[schemars(length(min = 1))]
    pub(in crate::config) certificates: Option<Items<RawCertificate>>,
    /// A certificate that the gateway orders and renews by itself, behind those of `certificates`. Default: none.
    pub(in crate::config) acme: Option<RawAcme>,
    /// The oldest version that is spoken: 1.2 or 1.3. Default: 1.2.
    pub(in crate::config) min_version: Option<TlsVersion>,
    /// What clients can choose by ALPN, `h2` and `http/1.1`, the preferred one first. Default: [h2, http/1.1].
    pub(in crate::config) alpn: Option<Items<String>>,
    /// Certificates of clients. Default: clients are asked for none.
    pub(in crate::config) client_certificates: Option<RawClientCertificates>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Certificate")]
pub(in crate::config) struct RawCertificate {
    /// File of the certificate and those up to its authority, in PEM. Looked at every two seconds, and loaded again when it changes.
    #[schemars(required)]
    pub(in crate::config) cert: Option<String>,
    /// File of the private key, in PEM, or `secret://NAME`. A file is looked at as that of `cert` is.
    #[schemars(required)]
    pub(in crate::config) key: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Acme")]
pub(in crate::config) struct RawAcme {
    /// The names that the certificate is for. The authority must reach this listener by each of them at port 443.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) domains: Option<Items<String>>,
    /// Mail addresses that the authority may write to. Default: none.
    pub(in crate::config) contact: Option<Items<String>>,
    /// Where the authority tells what it can do (RFC 8555 §7.1.1). Default: that of Let's Encrypt.
    pub(in crate::config) directory: Option<String>,
    /// Folder for certificates, keys and the account. Default: `acme` in `state_dir`, where that is given.
    pub(in crate::config) folder: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientCertificates")]
pub(in crate::config) struct RawClientCertificates {
    /// File of the authorities that vouch for clients, in PEM.
    #[schemars(required)]
    pub(in crate::config) ca: Option<String>,
    /// File of revocation lists of these authorities, in PEM. Default: nothing is revoked.
    pub(in crate::config) crl: Option<String>,
    /// `required`: a client without a certificate is turned away. `optional`: it may have none. Default: required.
    #[schemars(extend("enum" = ["required", "optional"]))]
    pub(in crate::config) mode: Option<String>,
    /// Request headers that tell the upstream who the client is: `subject`, `issuer`, `serial`, `fingerprint`, `san`, `dns`, `uri`,
    /// `certificate` (RFC 9440, `Client-Cert`) or `chain` (`Client-Cert-Chain`). Nobody else's are believed, on any listener.
    pub(in crate::config) headers: Option<Entries<String>>,
}
