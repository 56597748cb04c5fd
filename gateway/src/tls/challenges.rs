//! Challenges of a certificate authority (RFC 8737): whoever asks for a name by the protocol `acme-tls/1` is shown a certificate that
//! proves nothing but that an order is this gateway's.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

/// The challenges of a listener that wait to be looked at.
#[derive(Debug, Default)]
pub struct Challenges(RwLock<HashMap<Box<str>, Arc<CertifiedKey>>>);

impl Challenges {
    /// What is shown to whoever makes this hello; `None` where it is an ordinary client.
    pub(super) fn answer(&self, hello: &ClientHello<'_>) -> Option<Option<Arc<CertifiedKey>>> {
        let mut offered = hello.alpn()?;
        if offered.next() != Some(ACME_TLS) || offered.next().is_some() {
            return None;
        }
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).get(&*name).cloned())
    }

    /// Nobody needs to look at this name any more.
    pub fn forget(&self, domain: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }
}

/// RFC 8737 §3.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

#[cfg(feature = "acme")]
mod making {
    use std::sync::{Arc, PoisonError};

    use rcgen::{CertificateParams, CustomExtension, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::sign::CertifiedKey;

    use super::Challenges;
    use crate::tls::Certificate;
    use crate::tls::certificate::provider;

    impl Challenges {
        /// Shows this digest of a key authorization to whoever asks for `domain`.
        ///
        /// # Errors
        /// Why a certificate cannot be made.
        pub fn show(&self, domain: &str, digest: &[u8; 32]) -> Result<(), String> {
            let made = self_signed(&[domain.to_owned()], Some(digest));
            let (certificate, key) = made.map_err(|error| error.to_string())?;
            let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            let key = provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
            // Nobody asks whether they belong together: that would refuse the extension, which is critical and serves nothing else.
            let key = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(domain.into(), key);
            Ok(())
        }
    }

    impl Certificate {
        /// What is shown until a certificate has come: nobody vouches for it.
        ///
        /// # Errors
        /// Why it cannot be made.
        pub fn placeholder(name: &str, domains: &[String]) -> Result<Arc<Self>, String> {
            let (certificate, key) = self_signed(domains, None).map_err(|error| error.to_string())?;
            Self::load(name, certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), None)
                .map_err(|error| error.to_string())
        }
    }

    fn self_signed(names: &[String], digest: Option<&[u8; 32]>) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.custom_extensions.extend(digest.map(|digest| CustomExtension::new_acme_identifier(digest)));
        Ok((params.self_signed(&key)?, key))
    }
}
