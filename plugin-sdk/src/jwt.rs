//! JSON Web Tokens (RFC 7519), verified by the gateway: it has the keys, keeps them fresh, and remembers what it verified. Where the
//! same signature costs a plugin two milliseconds, it costs the gateway some microseconds.
//!
//! Needs `grants: { key_sets: [NAME] }`.
//!
//! ```
//! use witgate_plugin::jwt::{Rules, Verifier};
//! use witgate_plugin::{Error, Plugin, Reply, Request, RequestHeader, Setup, Verdict, config::NoConfig};
//!
//! struct Bearer {
//!     verifier: Verifier,
//!     authorization: RequestHeader,
//! }
//!
//! impl Plugin for Bearer {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
//!         let rules = Rules::new().issuer("https://idp.example.com").audience("api").cache(1024);
//!         setup.own_header("x-user-id");
//!         Ok(Bearer {
//!             verifier: Verifier::open("idp", &rules)?,
//!             authorization: setup.want_request_header("authorization"),
//!         })
//!     }
//!
//!     fn on_request(&self, request: &mut Request) -> Verdict {
//!         let token = request.header_str(self.authorization).and_then(|value| value.strip_prefix("Bearer "));
//!         match token.map(|token| self.verifier.verify(token)) {
//!             Some(Ok(claims)) => {
//!                 request.set_header("x-user-id", claims.text("sub").unwrap_or_default());
//!                 Verdict::Next
//!             }
//!             // Which of the reasons it was is nobody's business.
//!             _ => Reply::problem(401, "a valid token is needed").header("www-authenticate", "Bearer").into(),
//!         }
//!     }
//! }
//! ```

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;
use crate::error::decode;
use crate::host::jwt::{self, JwtError};
use crate::json::pick;

/// What a token must be, beside well signed by a key of the set.
///
/// ```
/// # use witgate_plugin::jwt::Rules;
/// let rules = Rules::new().algorithm("RS256").issuer("https://idp.example.com").requires("sub").leeway_s(30);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    algorithms: Vec<String>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    required: Vec<String>,
    leeway_s: u32,
    cache: u32,
}

/// A key set of the configuration with rules, opened.
#[derive(Debug)]
pub struct Verifier(jwt::Verifier);

/// What a verified token says.
///
/// ```
/// use witgate_plugin::{Request, jwt::Claims, log};
///
/// fn tell(request: &mut Request, claims: Claims) {
///     log::debug(claims.json());
///     if let Some(subject) = claims.text("sub") {
///         request.set_attribute("user", subject);
///     }
///     request.set_attribute("claims", claims.into_json());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(String);

/// Why a token is not to be believed. Clients should not be told which.
///
/// ```
/// use witgate_plugin::{Reply, jwt::Refusal};
///
/// fn reply(refusal: Refusal) -> Reply {
///     match refusal {
///         // That is no fault of the client's.
///         Refusal::Unavailable => Reply::problem(503, "tokens cannot be verified now"),
///         _ => Reply::problem(401, "the token is not valid").header("www-authenticate", "Bearer"),
///     }
/// }
/// assert_eq!(reply(Refusal::Expired), reply(Refusal::Signature));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no signed token in compact form (RFC 7515 §7.1), or one with a header that must not be trusted.
    Malformed,
    /// Its algorithm is not among those allowed, or not the key's.
    Algorithm,
    /// The key set has no key of its id.
    UnknownKey,
    /// The signature is not the key's.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Somebody else made it.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// A required claim is missing.
    MissingClaim,
    /// The key set could not be loaded so far.
    Unavailable,
}

impl Rules {
    /// Any token that the keys verify, without leeway, and none remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allow an algorithm, such as `RS256` or `EdDSA`; without any, all that fit the keys are.
    #[must_use]
    pub fn algorithm(mut self, name: impl Into<String>) -> Self {
        self.algorithms.push(name.into());
        self
    }

    /// Accept this issuer; without any, all are.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// Be this audience; without any, a token may be for anybody.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Require a claim.
    #[must_use]
    pub fn requires(mut self, claim: impl Into<String>) -> Self {
        self.required.push(claim.into());
        self
    }

    /// Let clocks differ by so many seconds.
    #[must_use]
    pub fn leeway_s(mut self, seconds: u32) -> Self {
        self.leeway_s = seconds;
        self
    }

    /// Remember about so many verified tokens, so that a client's next request costs no signature. The gateway keeps them for all
    /// verifiers of the same set and rules together, and forgets them when they expire or the keys change.
    #[must_use]
    pub fn cache(mut self, tokens: u32) -> Self {
        self.cache = tokens;
        self
    }
}

impl Verifier {
    /// Open a key set by its name in the configuration; do it in [`Plugin::configure`](crate::Plugin::configure), so that a wrong
    /// name is found before any request comes.
    ///
    /// # Errors
    ///
    /// The plugin's declaration is not granted this key set, or an algorithm is not known.
    ///
    /// ```
    /// # use witgate_plugin::{Error, jwt::{Rules, Verifier}};
    /// # fn configure() -> Result<Verifier, Error> {
    /// Verifier::open("idp", &Rules::new().audience("api"))
    /// # }
    /// ```
    pub fn open(key_set: &str, rules: &Rules) -> Result<Verifier, Error> {
        let rules = jwt::Rules {
            algorithms: rules.algorithms.clone(),
            issuers: rules.issuers.clone(),
            audiences: rules.audiences.clone(),
            required_claims: rules.required.clone(),
            leeway_s: rules.leeway_s,
            cache: rules.cache,
        };
        jwt::Verifier::open(key_set, &rules).map(Verifier).map_err(Error::new)
    }

    /// What a token says, if it is to be believed. A token that names a key which the set does not have may wait a moment, while
    /// the gateway looks whether the key has come.
    ///
    /// # Errors
    ///
    /// Any [`Refusal`].
    ///
    /// ```
    /// # use witgate_plugin::jwt::{Refusal, Verifier};
    /// # fn subject(verifier: &Verifier, token: &str) -> Result<Option<String>, Refusal> {
    /// Ok(verifier.verify(token)?.text("sub"))
    /// # }
    /// ```
    pub fn verify(&self, token: impl AsRef<[u8]>) -> Result<Claims, Refusal> {
        let token = str::from_utf8(token.as_ref()).map_err(|_| Refusal::Malformed)?;
        self.0.verify(token).map(Claims).map_err(Refusal::from)
    }

    /// The number of a token that was verified before, is still to be believed, and is among those that the gateway remembers
    /// ([`Rules::cache`]). It is the token's own until it is verified anew, so who knows by it what the claims said need not
    /// have them again from [`verify`](Self::verify).
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// # use witgate_plugin::jwt::{Refusal, Verifier};
    ///
    /// fn subject(verifier: &Verifier, token: &str, subjects: &mut BTreeMap<u64, String>) -> Result<String, Refusal> {
    ///     if let Some(subject) = verifier.known(token).and_then(|number| subjects.get(&number)) {
    ///         return Ok(subject.clone());
    ///     }
    ///     let subject = verifier.verify(token)?.text("sub").unwrap_or_default();
    ///     // It has a number only now. Who serves more than a few tokens bounds this memory.
    ///     subjects.extend(verifier.known(token).map(|number| (number, subject.clone())));
    ///     Ok(subject)
    /// }
    /// ```
    pub fn known(&self, token: impl AsRef<[u8]>) -> Option<u64> {
        self.0.known(token.as_ref())
    }
}

impl Claims {
    /// As JSON.
    pub fn json(&self) -> &str {
        &self.0
    }

    /// As JSON, for an attribute.
    pub fn into_json(self) -> String {
        self.0
    }

    /// One claim, if it is text.
    pub fn text(&self, name: &str) -> Option<String> {
        match pick(&self.0, [name]) {
            Ok([Some(Value::String(text))]) => Some(text),
            _ => None,
        }
    }

    /// All of them, decoded.
    ///
    /// # Errors
    ///
    /// The claims are not what `T` takes.
    ///
    /// ```
    /// use serde::Deserialize;
    /// # use witgate_plugin::{Error, jwt::Claims};
    ///
    /// #[derive(Deserialize)]
    /// struct Ours {
    ///     sub: String,
    ///     #[serde(default)]
    ///     roles: Vec<String>,
    /// }
    /// # fn read(claims: &Claims) -> Result<Ours, Error> {
    /// claims.decode()
    /// # }
    /// ```
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(&self.0)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "the token is malformed",
            Refusal::Algorithm => "the token's algorithm is not allowed",
            Refusal::UnknownKey => "the token's key is unknown",
            Refusal::Signature => "the token's signature is wrong",
            Refusal::Expired => "the token has expired",
            Refusal::NotYetValid => "the token is not valid yet",
            Refusal::Issuer => "the token's issuer is another",
            Refusal::Audience => "the token's audience is another",
            Refusal::MissingClaim => "the token lacks a claim",
            Refusal::Unavailable => "the keys are not there",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<JwtError> for Refusal {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::Malformed => Refusal::Malformed,
            JwtError::Algorithm => Refusal::Algorithm,
            JwtError::UnknownKey => Refusal::UnknownKey,
            JwtError::Signature => Refusal::Signature,
            JwtError::Expired => Refusal::Expired,
            JwtError::NotYetValid => Refusal::NotYetValid,
            JwtError::Issuer => Refusal::Issuer,
            JwtError::Audience => Refusal::Audience,
            JwtError::MissingClaim => Refusal::MissingClaim,
            JwtError::Unavailable => Refusal::Unavailable,
        }
    }
}
