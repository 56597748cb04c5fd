//! What a handshake settled: all requests of the connection share it.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

use super::challenges::ACME_TLS;
use super::clients::Clients;
use super::identity::{Identity, Part};

/// A protocol that clients choose by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    Http2,
    Http1,
}

/// The TLS of a connection.
#[derive(Debug)]
pub struct Session {
    /// The name that the client asked for (RFC 6066 §3), in lower case.
    pub server_name: Option<Box<str>>,
    /// What was chosen by ALPN; `None` where the client offered no choice.
    pub alpn: Option<Alpn>,
    /// Whether an earlier session was taken up again.
    pub is_resumed: bool,
    version: &'static str,
    cipher: &'static str,
    /// There where the client showed a certificate.
    pub client: Option<Box<Identity>>,
    /// Request headers that tell who the client is.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why there is no session, though the handshake went well.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Verified, yet in a form that is not understood: nobody may pass as nobody.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// It was an authority, which looked at a challenge (RFC 8737).
    #[error("a challenge was looked at")]
    Challenge,
    /// A session that is taken up again is not verified again.
    #[error("the client's certificate has expired since its session began")]
    Expired,
}

impl Alpn {
    /// In the order of preference, unless the configuration has another.
    pub const ALL: [Self; 2] = [Self::Http2, Self::Http1];

    /// As the registry of ALPN has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

impl Session {
    pub(super) fn of(connection: &ServerConnection, clients: Option<&Clients>) -> Result<Self, SessionError> {
        if connection.alpn_protocol() == Some(ACME_TLS) {
            return Err(SessionError::Challenge);
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let client = match chain.first() {
            None => None,
            Some(certificate) => Some(Box::new(Identity::of(certificate).ok_or(SessionError::Unreadable)?)),
        };
        if client.as_ref().is_some_and(|client| client.not_after < now()) {
            return Err(SessionError::Expired);
        }
        let wanted = clients.map(|clients| clients.headers.as_slice()).unwrap_or_default();
        let header = |(name, part): &(HeaderName, Part)| Some((name.clone(), client.as_ref()?.header(*part, chain)?));
        let alpn = connection.alpn_protocol();
        Ok(Self {
            server_name: connection.server_name().map(|name| name.to_ascii_lowercase().into()),
            alpn: Alpn::ALL.into_iter().find(|known| alpn == Some(known.name().as_bytes())),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            cipher: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default(),
            headers: wanted.iter().filter_map(header).collect(),
            client,
        })
    }

    /// The attributes of a connection: `tls.version`, `tls.cipher`, `tls.server_name`, and `tls.client.…`, a name of [`Part`].
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let name = name.strip_prefix(TLS_ATTRIBUTES)?;
        match name {
            "version" => Some(self.version),
            "cipher" => Some(self.cipher),
            "server_name" => self.server_name.as_deref(),
            name => {
                let name = name.strip_prefix("client.")?;
                let part = Part::ALL.into_iter().find(|part| part.name() == name)?;
                self.client.as_ref()?.part(part)
            }
        }
    }

    /// Whether this is an attribute that connections have, and nothing else may set.
    pub fn owns_attribute(name: &str) -> bool {
        name.starts_with(TLS_ATTRIBUTES)
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

const TLS_ATTRIBUTES: &str = "tls.";
