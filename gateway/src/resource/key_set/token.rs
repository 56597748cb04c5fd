//! A token's text as its parts: the compact form of JWS (RFC 7515 §7.1), read strictly, and nothing of it believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::json::{self, Object};

/// A token whose header was read.
#[derive(Debug)]
pub(super) struct Token<'t> {
    /// What the signature is over: header and payload as they stand.
    pub(super) signed: &'t [u8],
    /// `None`: a name that nobody here knows, `none` among them.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) key_id: Option<String>,
    pub(super) signature: Vec<u8>,
    payload: &'t str,
}

/// It is no token, or one that must not be read on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'t> Token<'t> {
    /// Reads a text of at most [`TOKEN_BYTES_MAX`].
    pub(super) fn read(text: &'t str) -> Result<Self, Malformed> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Malformed)?;
        let (header, payload) =
            signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or(Malformed)?;
        let header = json::object(&decode(header)?).map_err(|_| Malformed)?;
        if MISTRUSTED.iter().any(|name| header.contains_key(*name)) {
            return Err(Malformed);
        }
        let Some(Value::String(algorithm)) = header.get("alg") else { return Err(Malformed) };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Malformed),
        };
        Ok(Self {
            signed: signed.as_bytes(),
            algorithm: Algorithm::named(algorithm),
            key_id,
            signature: decode(signature)?,
            payload,
        })
    }

    /// The payload, as JSON and as what it says.
    pub(super) fn claims(&self) -> Result<(String, Object), Malformed> {
        let text = String::from_utf8(decode(self.payload)?).map_err(|_| Malformed)?;
        let claims = json::object(text.as_bytes()).map_err(|_| Malformed)?;
        Ok((text, claims))
    }
}

/// Canonical base64url: no padding, and no bits left over that could be anything (RFC 4648 §3.5).
fn decode(part: &str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed)
}

/// Parameters by which a token would bring its own key (RFC 8725 §3.10), and those that change how it is to be read and
/// that nobody here understands: `crit` says so of others (RFC 7515 §4.1.11), `b64` is one of them (RFC 7797), `zip` and
/// `enc` belong to encrypted tokens.
const MISTRUSTED: [&str; 8] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"];
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;
