//! Native twins of what the gateway does over a network (`http`, `jwt` of `wit/capabilities.wit`): each function asks the
//! host of the running test.

use super::host;

/// The gateway's side of them.
pub(crate) trait Network {
    fn send(&self, request: &http::OutboundRequest) -> Result<http::OutboundResponse, http::HttpError>;
    /// The error says that there is no such grant.
    fn open_key_set(&self, key_set: &str) -> Result<(), String>;
    fn verify(&self, key_set: &str, rules: &jwt::Rules, token: &str) -> Result<String, jwt::JwtError>;
    fn known(&self, key_set: &str, rules: &jwt::Rules, token: &[u8]) -> Option<u64>;
}

pub(crate) mod http {
    use super::host;
    use crate::wire::Header;

    #[derive(Debug, Clone)]
    pub(crate) struct OutboundRequest {
        pub(crate) method: String,
        pub(crate) url: String,
        pub(crate) headers: Vec<Header>,
        pub(crate) body: Vec<u8>,
        pub(crate) timeout_ms: Option<u32>,
    }

    #[derive(Debug)]
    pub(crate) struct OutboundResponse {
        pub(crate) status: u16,
        pub(crate) headers: Vec<Header>,
        pub(crate) body: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy)]
    pub(crate) enum HttpError {
        Invalid,
        Denied,
        Timeout,
        Unavailable,
        TooLarge,
        Busy,
    }

    pub(crate) fn send(request: &OutboundRequest) -> Result<OutboundResponse, HttpError> {
        host().capabilities().send(request)
    }
}

pub(crate) mod jwt {
    use super::host;

    #[derive(Debug, Clone)]
    pub(crate) struct Rules {
        pub(crate) algorithms: Vec<String>,
        pub(crate) issuers: Vec<String>,
        pub(crate) audiences: Vec<String>,
        pub(crate) required_claims: Vec<String>,
        pub(crate) leeway_s: u32,
        pub(crate) cache: u32,
    }

    #[derive(Debug, Clone, Copy)]
    pub(crate) enum JwtError {
        Malformed,
        Algorithm,
        UnknownKey,
        Signature,
        Expired,
        NotYetValid,
        Issuer,
        Audience,
        MissingClaim,
        Unavailable,
    }

    #[derive(Debug)]
    pub(crate) struct Verifier {
        key_set: String,
        rules: Rules,
    }

    impl Verifier {
        pub(crate) fn open(key_set: &str, rules: &Rules) -> Result<Self, String> {
            if let Some(unknown) = rules.algorithms.iter().find(|name| !ALGORITHMS.contains(&name.as_str())) {
                return Err(format!("`{unknown}` is no algorithm that tokens are verified with"));
            }
            host().capabilities().open_key_set(key_set)?;
            Ok(Verifier { key_set: key_set.to_owned(), rules: rules.clone() })
        }
        pub(crate) fn verify(&self, token: &str) -> Result<String, JwtError> {
            host().capabilities().verify(&self.key_set, &self.rules, token)
        }
        pub(crate) fn known(&self, token: &[u8]) -> Option<u64> {
            host().capabilities().known(&self.key_set, &self.rules, token)
        }
    }

    const ALGORITHMS: [&str; 13] = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
        "EdDSA",
    ];
}
