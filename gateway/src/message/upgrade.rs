//! Upgrades: what a request asks its connection to become (RFC 9110 §7.8, RFC 8441), and the handshake of WebSocket.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};

/// What a request asks for, once it is settled that it may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The one protocol that the upstream is asked for, in lower case.
    pub protocol: HeaderValue,
    pub via: Via,
}

/// How the client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By `Upgrade`; the whole connection becomes the tunnel.
    Http1,
    /// By an extended CONNECT (RFC 8441); one stream becomes it.
    Http2,
}

impl Upgrade {
    pub fn is_websocket(&self) -> bool {
        self.protocol == WEBSOCKET
    }
}

/// Whether a key is what RFC 6455 §4.1 asks for: 16 bytes in base64.
pub fn is_websocket_key(key: &HeaderValue) -> bool {
    let mut bytes = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key.as_bytes(), &mut bytes) == Ok(16)
}

/// A new key, for a handshake that the gateway makes in a client's place.
pub fn websocket_key() -> HeaderValue {
    // It keeps caches honest and is no secret.
    let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    HeaderValue::from_str(&key).expect("base64 is ASCII")
}

/// Whether `accept` is the answer to the request's key (RFC 6455 §4.2.2): whoever gave it has understood the request.
pub fn accepts_websocket(request: &HeaderMap, response: &HeaderMap) -> bool {
    let (Some(key), Some(accept)) = (request.get(SEC_WEBSOCKET_KEY), response.get(SEC_WEBSOCKET_ACCEPT)) else {
        return false;
    };
    let salted = [key.as_bytes(), GUID].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted)).as_bytes() == accept.as_bytes()
}

pub const WEBSOCKET: &str = "websocket";

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes() {
        for (key, good) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZSE=", false),
            ("dGhlIHNhbXBsZSBub25jZ!==", false),
            ("", false),
        ] {
            assert_eq!(is_websocket_key(&HeaderValue::from_static(key)), good, "{key}");
        }
        assert!(is_websocket_key(&websocket_key()));
        assert_ne!(websocket_key(), websocket_key());
    }

    #[test]
    fn only_the_answer_to_the_key_is_one() {
        // The example of RFC 6455 §1.3.
        let request = HeaderMap::from_iter([(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="))]);
        let answer = |accept| HeaderMap::from_iter([(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(accept))]);
        assert!(accepts_websocket(&request, &answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        assert!(!accepts_websocket(&request, &answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")));
        assert!(!accepts_websocket(&request, &HeaderMap::new()));
        assert!(!accepts_websocket(&HeaderMap::new(), &answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    }
}
