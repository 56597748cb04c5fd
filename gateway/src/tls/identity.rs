//! Who a client is, by the certificate that it has shown: as attributes for filters, and as headers for upstreams.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::distinguished_name::{self, hex};

/// What the certificate of a client says. It was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As RFC 4514 writes it: `CN=ada,O=Example`.
    subject: Box<str>,
    issuer: Box<str>,
    /// In hex, without leading zeros.
    serial: Box<str>,
    /// SHA-256 of the certificate, in hex.
    fingerprint: Box<str>,
    /// All alternative names: `DNS:client.example,URI:spiffe://example/ada`.
    san: Box<str>,
    /// The first DNS name.
    dns: Option<Box<str>>,
    /// The first URI, such as a SPIFFE id.
    uri: Option<Box<str>>,
    pub(super) not_after: i64,
}

/// A part of an [`Identity`], or the certificates themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Subject,
    Issuer,
    Serial,
    Fingerprint,
    San,
    Dns,
    Uri,
    /// RFC 9440 §2.2, for `Client-Cert`.
    Certificate,
    /// RFC 9440 §2.3, for `Client-Cert-Chain`: those above the client's own.
    Chain,
}

impl Part {
    pub const ALL: [Self; 9] = [
        Self::Subject,
        Self::Issuer,
        Self::Serial,
        Self::Fingerprint,
        Self::San,
        Self::Dns,
        Self::Uri,
        Self::Certificate,
        Self::Chain,
    ];

    /// As the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::Serial => "serial",
            Self::Fingerprint => "fingerprint",
            Self::San => "san",
            Self::Dns => "dns",
            Self::Uri => "uri",
            Self::Certificate => "certificate",
            Self::Chain => "chain",
        }
    }
}

impl Identity {
    /// Reads a certificate; `None` when it is none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let alternatives = parsed.subject_alternative_name().ok()?;
        let names = alternatives.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
        let first = |wanted: fn(&GeneralName<'_>) -> Option<Box<str>>| names.iter().find_map(wanted);
        Some(Self {
            subject: distinguished_name::text(parsed.subject()).into(),
            issuer: distinguished_name::text(parsed.issuer()).into(),
            serial: parsed.serial.to_str_radix(16).into(),
            fingerprint: fingerprint(certificate).into(),
            san: names.iter().filter_map(alternative).collect::<Vec<_>>().join(",").into(),
            dns: first(|name| match name {
                GeneralName::DNSName(name) => Some(printable(name).into()),
                _ => None,
            }),
            uri: first(|name| match name {
                GeneralName::URI(name) => Some(printable(name).into()),
                _ => None,
            }),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// What it says in one respect; nothing of the certificates themselves.
    pub fn part(&self, part: Part) -> Option<&str> {
        match part {
            Part::Subject => Some(&self.subject),
            Part::Issuer => Some(&self.issuer),
            Part::Serial => Some(&self.serial),
            Part::Fingerprint => Some(&self.fingerprint),
            Part::San => (!self.san.is_empty()).then_some(&*self.san),
            Part::Dns => self.dns.as_deref(),
            Part::Uri => self.uri.as_deref(),
            Part::Certificate | Part::Chain => None,
        }
    }

    /// The value of a header that tells it; `chain` begins with the certificate that this was read from.
    pub(super) fn header(&self, part: Part, chain: &[CertificateDer<'_>]) -> Option<HeaderValue> {
        let text = match part {
            Part::Certificate => byte_sequence(chain.first()?),
            Part::Chain if chain.len() < 2 => return None,
            Part::Chain => chain[1..].iter().map(byte_sequence).collect::<Vec<_>>().join(", "),
            part => return HeaderValue::from_str(self.part(part)?).ok(),
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// RFC 8941 §3.3.5.
fn byte_sequence(certificate: &CertificateDer<'_>) -> String {
    format!(":{}:", STANDARD.encode(certificate))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    Sha256::digest(certificate).iter().for_each(|byte| hex(*byte, &mut text));
    text
}

/// In the way that OpenSSL writes them. Names of other kinds are left out.
fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", printable(name))),
        GeneralName::URI(name) => Some(format!("URI:{}", printable(name))),
        GeneralName::RFC822Name(name) => Some(format!("email:{}", printable(name))),
        GeneralName::IPAddress(bytes) => Some(format!("IP:{}", address(bytes)?)),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// A name in which nothing can pass for the next name, nor for the end of a header: commas, spaces and what is not printable
/// ASCII are escaped as in a URI.
fn printable(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b',' | b'"' | b'\\' => {
                text.push('%');
                hex(byte, &mut text);
            }
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => {
                text.push('%');
                hex(byte, &mut text);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// A certificate whose every value tries to be more than it is.
    const PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIICpzCCAk6gAwIBAgIBKjAKBggqhkjOPQQDAjCBiTELMAkGA1UEBhMCREUxFjAU
BgNVBAoMDUV4YW1wbGUsIEluYy4xDzANBgNVBAsMBnBlb3BsZTERMA8GA1UECwwI
IzEgPGE9Yj4xMTARBgoJkiaJk/IsZAEBDANhZGEwHAYDVQQDDBVhZGEgInRoZSBm
aXJzdCI7IFpvw6sxCzAJBgJTBAwDb2RkMCAXDTI2MTEzMDA3MjI1N1oYDzIxMjYx
MTA2MDcyMjU3WjCBiTELMAkGA1UEBhMCREUxFjAUBgNVBAoMDUV4YW1wbGUsIElu
Yy4xDzANBgNVBAsMBnBlb3BsZTERMA8GA1UECwwIIzEgPGE9Yj4xMTARBgoJkiaJ
k/IsZAEBDANhZGEwHAYDVQQDDBVhZGEgInRoZSBmaXJzdCI7IFpvw6sxCzAJBgJT
BAwDb2RkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBeljmGKZ8FARQSCzHkDD
6axeaGcPgr7mrLDjanYsYuGslxmhYMPPrbVWxxiFyDYdcjNDkogEowmAEg+KMU5o
CqOBojCBnzAJBgNVHRMEAjAAMHMGA1UdEQRsMGqCC0FkYS5leGFtcGxlgg1vdGhl
ci5leGFtcGxlhiNzcGlmZmU6Ly9leGFtcGxlL2EsRE5TOnJvb3QuZXhhbXBsZYEP
YWRhQGV4YW1wbGUuY29thwTAAAIHhxAgAQ24AAAAAAAAAAAAAAABMB0GA1UdDgQW
BBTIBqN+DIPDc3J8BYButKR5/i5CETAKBggqhkjOPQQDAgNHADBEAiAni/rD/4q1
a/wrZBMvsCIKkww8XjElE097FTKX30X9pAIgULER3V0Oy5qPVK+KP9ZwDWy/cYQH
e6cgJ82RqREIHLc=
-----END CERTIFICATE-----
";

    fn identity() -> (Identity, CertificateDer<'static>) {
        let certificate = CertificateDer::from_pem_slice(PEM.as_bytes()).expect("a certificate");
        (Identity::of(&certificate).expect("it can be read"), certificate)
    }

    #[test]
    fn no_value_passes_for_several() {
        let (identity, _) = identity();
        let part = |part| identity.part(part).expect("it is there");
        let subject = r#"2.3.4=#0c036f6464,UID=ada+CN=ada \"the first\"\; Zo\c3\ab,OU=\#1 \<a\=b\>,OU=people,O=Example\, Inc.,C=DE"#;
        assert_eq!((part(Part::Subject), part(Part::Issuer)), (subject, subject));
        let names = "DNS:Ada.example,DNS:other.example,URI:spiffe://example/a%2cDNS:root.example,email:ada@example.com,\
                     IP:192.0.2.7,IP:2001:db8::1";
        assert_eq!(part(Part::San), names);
        assert_eq!((part(Part::Dns), part(Part::Uri)), ("Ada.example", "spiffe://example/a%2cDNS:root.example"));
        assert_eq!(part(Part::Serial), "2a");
        assert_eq!(part(Part::Fingerprint), "3d0e04947f4ace8c58cb8c8bd73555a1e41844448edf6518ad2706bb9746a232");
        assert_eq!(identity.part(Part::Certificate), None, "attributes are no place for it");
    }

    #[test]
    fn certificates_are_byte_sequences_and_a_chain_has_those_above_only() {
        let (identity, certificate) = identity();
        let told = |chain: &[CertificateDer<'_>], part| {
            identity.header(part, chain).map(|value| value.to_str().expect("ASCII").to_owned())
        };
        let one = format!(":{}:", STANDARD.encode(&certificate));
        let chain = [certificate.clone(), certificate.clone(), certificate];
        assert_eq!(told(&chain, Part::Certificate).as_deref(), Some(&*one));
        assert_eq!(told(&chain[..1], Part::Chain), None);
        assert_eq!(told(&chain, Part::Chain), Some(format!("{one}, {one}")));
        assert_eq!(Identity::of(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
