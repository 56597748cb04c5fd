//! The TLS of a listener, ready for handshakes: immutable, made anew when a certificate changes.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::certificate::{Certificate, provider};
use super::challenges::{ACME_TLS, Challenges};
use super::choice::{Choice, Unreachable};
use super::clients::Clients;
use super::handshakes::Handshakes;
use super::session::{Alpn, Session, SessionError};

/// What a [`Termination`] is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// At least one.
    pub certificates: Vec<Arc<Certificate>>,
    /// `None`: clients are asked for no certificate.
    pub clients: Option<Arc<Clients>>,
    /// Whether nothing older than TLS 1.3 is spoken.
    pub needs_tls13: bool,
    /// In the order of preference.
    pub alpn: Vec<Alpn>,
    /// Whether the gateway orders certificates for this listener, and an authority will look at it.
    pub has_challenges: bool,
}

/// The TLS of a listener.
pub struct Termination {
    config: Arc<ServerConfig>,
    choice: Arc<Choice>,
    clients: Option<Arc<Clients>>,
    needs_tls13: bool,
    alpn: Vec<Alpn>,
    challenges: Option<Arc<Challenges>>,
    ticketer: Arc<dyn ProducesTickets>,
    pub handshakes: Arc<Handshakes>,
}

impl Termination {
    /// TLS from these parts. `previous` is that of the same listener before: where nothing has changed it is taken as it is, and
    /// where the same clients are let in, their sessions go on.
    ///
    /// # Errors
    /// Every certificate that no client would ever be shown.
    pub fn new(parts: Parts, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, Vec<Unreachable>> {
        if let Some(previous) = previous.filter(|previous| previous.is_of(&parts)) {
            return Ok(previous.clone());
        }
        let Parts { certificates, clients, needs_tls13, alpn, has_challenges } = parts;
        let known = previous.and_then(|previous| previous.challenges.clone());
        let challenges = has_challenges.then(|| known.unwrap_or_default());
        let choice = Arc::new(Choice::new(certificates, challenges.clone())?);
        let versions: &[&SupportedProtocolVersion] = if needs_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let mut provider = provider();
        // Stable: those of a kind stay in their order.
        provider.cipher_suites.sort_by_key(|suite| !QUICK.contains(&suite.suite()));
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("the provider speaks TLS 1.2 and 1.3");
        let verifier = match &clients {
            Some(clients) => clients.verifier.clone(),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(choice.clone());
        config.ignore_client_order = true;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.name().as_bytes().to_vec()).collect();
        config.alpn_protocols.extend(challenges.is_some().then(|| ACME_TLS.to_vec()));
        let same_clients = |previous: &&Arc<Self>| match (&previous.clients, &clients) {
            (None, None) => true,
            (Some(one), Some(other)) => one.lets_in_the_same(other),
            _ => false,
        };
        // A session that is taken up again is not verified again, so it must not outlive who let it in.
        let ticketer = match previous.filter(same_clients) {
            Some(previous) => previous.ticketer.clone(),
            None => Ticketer::new().expect("the system gives random numbers"),
        };
        config.ticketer = ticketer.clone();
        // Tickets need no memory here, and every client of today takes them.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let handshakes = previous.map(|previous| previous.handshakes.clone()).unwrap_or_default();
        let config = Arc::new(config);
        Ok(Arc::new(Self { config, choice, clients, needs_tls13, alpn, challenges, ticketer, handshakes }))
    }

    /// For handshakes.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// In the order of the configuration.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        self.choice.certificates()
    }

    pub fn clients(&self) -> Option<&Arc<Clients>> {
        self.clients.as_ref()
    }

    /// Those of orders under way, where the gateway orders certificates.
    pub fn challenges(&self) -> Option<&Arc<Challenges>> {
        self.challenges.as_ref()
    }

    /// What a handshake settled that has ended well.
    ///
    /// # Errors
    /// Any [`SessionError`]; then the connection must end.
    pub fn session(&self, connection: &ServerConnection) -> Result<Session, SessionError> {
        Session::of(connection, self.clients.as_deref())
    }

    /// Whether a request for `host` has come over a connection that was made for another name, and is not for this one: there is
    /// another certificate for it (RFC 9110 §15.5.20).
    pub fn is_misdirected(&self, session: &Session, host: &str) -> bool {
        // A client that named nobody cannot have meant somebody else.
        let Some(shown) = &session.server_name else { return false };
        if host.is_empty() || **shown == *host {
            return false;
        }
        self.choice.is_misdirected(shown, host.to_ascii_lowercase().trim_end_matches('.'))
    }

    fn is_of(&self, parts: &Parts) -> bool {
        let same_clients = match (&self.clients, &parts.clients) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_same(other),
            _ => false,
        };
        let same = |(one, other): (&Arc<Certificate>, &Arc<Certificate>)| one.is_same(other);
        let certificates = self.certificates();
        same_clients
            && self.needs_tls13 == parts.needs_tls13
            && self.alpn == parts.alpn
            && self.challenges.is_some() == parts.has_challenges
            && certificates.len() == parts.certificates.len()
            && certificates.iter().zip(&parts.certificates).all(same)
    }
}

impl fmt::Debug for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Termination").field("certificates", &self.certificates()).finish_non_exhaustive()
    }
}

/// The same listener keeps the same one as long as nothing of it changes.
impl PartialEq for Termination {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for Termination {}

/// Taken first of what a client offers. All suites here are sound; a handshake hashes a good deal, and processors have instructions for
/// SHA-256 but mostly none for SHA-384.
const QUICK: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
