//! Whose certificates are believed: the system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

use super::caller::Caller;
use super::client::Client;
use super::collector::{Collector, ExportError};
use super::fetch::Fetcher;
use crate::telemetry::TracingRules;

/// What all outbound requests of a process share. The certificates are read once, when something first needs them: some
/// milliseconds of file access, so that the control plane has to be who asks first (see [`Self::prepare`]).
#[derive(Clone, Default)]
pub struct Trust {
    config: Arc<OnceLock<ClientConfig>>,
}

impl Trust {
    /// Reads the certificates now, so that no request waits for files.
    pub fn prepare(&self) {
        self.tls();
    }

    /// A client for the requests of plugins, with connections of its own: one for each worker.
    /// Whoever lets it be used has called [`Self::prepare`] before.
    pub fn client(&self) -> Client {
        Client::new(self.clone())
    }

    /// A client for documents that the configuration names.
    pub fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.tls())
    }

    /// A client for servers that the configuration names.
    pub fn caller(&self) -> Caller {
        Caller::new(self.tls())
    }

    /// A collector of spans.
    ///
    /// # Errors
    /// The environment or the rules say something that cannot be done.
    pub fn collector(&self, rules: &TracingRules) -> Result<Collector, ExportError> {
        Collector::new(self.tls(), rules)
    }

    pub(super) fn tls(&self) -> &ClientConfig {
        self.config.get_or_init(|| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider speaks TLS 1.2 and 1.3")
                .with_root_certificates(roots())
                .with_no_client_auth()
        })
    }
}

/// A file that cannot be read, or a certificate that cannot be parsed, leaves the others in force.
pub(super) fn roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a trusted certificate cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (taken, refused) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        tracing::warn!(refused, "no certificate authority is trusted: every outbound https request will fail");
    }
    roots
}
