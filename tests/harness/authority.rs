//! A certificate authority of a test: what it signs is trusted by whoever trusts it, and by nobody else.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// An authority with a key of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate shall say.
#[derive(Default)]
pub struct Wanted<'w> {
    /// DNS names, or URIs where they have a `:`.
    pub names: &'w [&'w str],
    pub common_name: Option<&'w str>,
    pub organisation: Option<&'w str>,
    pub serial: Option<u64>,
    /// The last year in which it is valid; 4096 unless said otherwise.
    pub last_year: Option<i32>,
    pub is_rsa: bool,
}

/// A certificate and its key.
pub struct Issued {
    /// In PEM.
    pub cert: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("the machine makes keys");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a key signs") }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate for these DNS names.
    pub fn certificate(&self, names: &[&str]) -> Issued {
        self.issue(Wanted { names, ..Wanted::default() })
    }

    /// A certificate that says this.
    pub fn issue(&self, wanted: Wanted<'_>) -> Issued {
        let key = if wanted.is_rsa {
            KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("the machine makes keys")
        } else {
            KeyPair::generate().expect("the machine makes keys")
        };
        let (uris, names): (Vec<&str>, Vec<&str>) = wanted.names.iter().partition(|name| name.contains(':'));
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("names");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
        }
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = wanted.organisation {
            params.distinguished_name.push(DnType::OrganizationName, name);
        }
        if let Some(name) = wanted.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.serial_number = wanted.serial.map(SerialNumber::from);
        params.not_after = date_time_ymd(wanted.last_year.unwrap_or(4096), 12, 31);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(&key, &self.issuer).expect("an authority signs");
        Issued { cert: signed.pem(), key: key.serialize_pem(), der: signed.der().clone() }
    }

    /// A certificate for these names and the key of a request (RFC 2986), as PEM.
    pub(crate) fn sign(&self, names: &[&str], request: &[u8]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        params.signed_by(&RequestedKey(key_of(request)), &self.issuer).expect("an authority signs").pem()
    }

    /// A list on which it revokes the certificates of these serial numbers, in PEM.
    pub fn revoking(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("an authority signs").pem().expect("a list is PEM")
    }
}

/// An ECDSA key that somebody else has.
struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The point in a request for a certificate: version, subject and key stand in its first part.
fn key_of(request: &[u8]) -> Vec<u8> {
    let (outer, _) = element(request);
    let (info, _) = element(outer);
    let (_, after_version) = element(info);
    let (_, after_subject) = element(after_version);
    let (key, _) = element(after_subject);
    let (_, after_algorithm) = element(key);
    let (bits, _) = element(after_algorithm);
    // The first octet tells that no bit is left over.
    bits[1..].to_vec()
}

/// The contents of the first element of DER, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let octets = usize::from(long & 0x7f);
            (der[2..2 + octets].iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), 2 + octets)
        }
    };
    der[start..].split_at(length)
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Issued {
    /// Write `NAME.pem` and `NAME.key`, in the place of those that were there.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&cert, &self.cert).expect("a folder takes files");
        fs::write(&key, &self.key).expect("a folder takes files");
        (cert, key)
    }
}
