//! Which requests stay together: the hash that a balancer goes by, and the cookie that makes a session of a client's requests.
//!
//! The cookie's value is random and says nothing: its hash finds the endpoint, in every gateway and after a restart alike.

use http::HeaderValue;
use http::header::SET_COOKIE;

use crate::filter::Exchange;
use crate::message::{cookie, hash};
use crate::upstream::Upstream;

/// Where a request belongs.
pub(super) struct Place {
    /// `None`: anywhere.
    pub(super) hash: Option<u64>,
    /// To be set with the response: the session begins with this request.
    cookie: Option<HeaderValue>,
}

impl Place {
    pub(super) fn of(upstream: &Upstream, exchange: &Exchange) -> Self {
        let Some(affinity) = &upstream.affinity else {
            return Self { hash: upstream.hash_on.as_ref().and_then(|key| exchange.hash_by(key)), cookie: None };
        };
        if let Some(value) = cookie(&exchange.headers, &affinity.cookie) {
            return Self { hash: Some(hash(value.as_bytes())), cookie: None };
        }
        let value = format!("{:032x}", fastrand::u128(..));
        let mut cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", affinity.cookie);
        if let Some(ttl) = affinity.ttl {
            cookie.push_str(&format!("; Max-Age={}", ttl.as_secs().max(1)));
        }
        if exchange.connection.scheme == "https" {
            cookie.push_str("; Secure");
        }
        let cookie = HeaderValue::try_from(cookie).expect("a token, and what is written here");
        Self { hash: Some(hash(value.as_bytes())), cookie: Some(cookie) }
    }

    /// Tells the client its session, if it is new.
    pub(super) fn tell(self, exchange: &mut Exchange) {
        if let Some(cookie) = self.cookie {
            exchange.response.headers.append(SET_COOKIE, cookie);
        }
    }
}
