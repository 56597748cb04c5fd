//! Who a request is from: what a plugin that finds it out tells later filters and the upstream, in the way in which all of them do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde_json::Value;

use crate::config::HeaderName;
use crate::{PreparedEdits, Setup};

/// Headers for the upstream, by the claim that each of them gets: a field of a configuration. A claim that is no text is written as JSON,
/// and where a request has none of its name, the header is absent: no client's copy of it reaches anybody.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin};
/// use serde_json::json;
/// use witgate_plugin::identity::{Inject, Scopes, tell};
///
/// # #[derive(serde::Deserialize)]
/// struct Config {
///     inject: Inject,
///     #[serde(default)]
///     scopes: Scopes,
/// }
///
/// struct Guests(Config);
///
/// impl Plugin for Guests {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         config.inject.own(setup);
///         Ok(Guests(config))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         let claims = json!({ "sub": "guest", "rooms": [1, 2] });
///         let headers = self.0.inject.edits(|claim| claims.get(claim).cloned());
///         let Some(mut edits) = headers.filter(|_| self.0.scopes.are_in("read")) else {
///             return Reply::problem(403, "guests may not do this").into();
///         };
///         tell(&mut edits, Some("guest"), "read", claims.to_string());
///         request.apply(&edits);
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Guests: request);
/// # use witgate_plugin::test::{Harness, TestRequest};
/// let inject = json!({ "x-user": "sub", "x-rooms": "rooms", "x-plan": "plan" });
/// let mut plugin = Harness::<Guests>::new(json!({ "inject": inject }))?;
/// let outcome = plugin.request(TestRequest::get("/").header("x-plan", "gold"));
/// let header = |name| outcome.passed().value(name);
/// assert_eq!((header("x-user"), header("x-rooms"), header("x-plan")), (Some("guest"), Some("[1,2]"), None));
/// assert_eq!(plugin.attribute("user"), Some("guest"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(inline, description = "Headers for the upstream, by the claim that each of them gets.")]
pub struct Inject(BTreeMap<HeaderName, String>);

/// Scopes (RFC 6749 §3.3), such as those that a route needs or that a client has: a field of a configuration.
///
/// ```
/// use witgate_plugin::identity::Scopes;
///
/// let scopes: Scopes = serde_json::from_str(r#"["read", "write"]"#)?;
/// assert!(scopes.are_in("admin write read") && !scopes.are_in("read writes"));
/// assert_eq!((scopes.to_string().as_str(), scopes.is_empty()), ("read write", false));
/// assert!(serde_json::from_str::<Scopes>(r#"["read write"]"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(inline, description = "Scopes (RFC 6749 §3.3).")]
pub struct Scopes(Vec<Scope>);

#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(inline)]
struct Scope(#[schemars(regex(pattern = r#"^[!#-\[\]-~]+$"#))] String);

/// Add what tells later filters, logs and spans who a request is from: the attributes `user`, `scopes` (a text with spaces) and `claims` (a JSON
/// object), which `rate-limit`, `policy` and others read.
///
/// ```
/// # use witgate_plugin::{PreparedEdits, identity::tell};
/// let mut ada = PreparedEdits::default();
/// tell(&mut ada, Some("ada"), "read write", r#"{"sub":"ada","plan":"gold"}"#);
/// // For all her requests: `request.apply(&ada)`.
/// # assert!(!ada.is_empty());
/// ```
pub fn tell(edits: &mut PreparedEdits, user: Option<&str>, scopes: impl Into<String>, claims: impl Into<String>) {
    if let Some(user) = user {
        edits.set_attribute("user", user);
    }
    edits.set_attribute("scopes", scopes);
    edits.set_attribute("claims", claims);
}

impl Inject {
    /// Declare that the upstream believes these headers: the gateway strips them from what clients send, on every route.
    pub fn own(&self, setup: &mut Setup) {
        self.0.keys().for_each(|header| setup.own_header(header));
    }

    /// The claims that are wanted.
    ///
    /// ```
    /// let inject: witgate_plugin::identity::Inject = serde_json::from_str(r#"{"x-user": "sub"}"#)?;
    /// assert_eq!(inject.claims().collect::<Vec<_>>(), ["sub"]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// The headers as edits that are made ready, for a client whose claims are known. `None` where a claim has a control character: a line
    /// break would end its header and begin another.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use witgate_plugin::{PreparedEdits, identity::Inject};
    /// let inject: Inject = serde_json::from_str(r#"{"x-user": "sub"}"#)?;
    /// let mut edits = PreparedEdits::default();
    /// edits.set_header("x-user", "ada");
    /// assert_eq!(inject.edits(|_| Some(json!("ada"))), Some(edits));
    /// assert_eq!(inject.edits(|_| Some(json!("a\nb"))), None);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn edits(&self, claim: impl Fn(&str) -> Option<Value>) -> Option<PreparedEdits> {
        let mut edits = PreparedEdits::default();
        for (header, name) in &self.0 {
            let Some(value) = claim(name) else { continue };
            let value = text(&value);
            if value.contains(char::is_control) {
                return None;
            }
            edits.set_header(header, value.as_bytes());
        }
        Some(edits)
    }
}

impl Scopes {
    /// Whether all of them are among those, which a space separates.
    pub fn are_in(&self, held: &str) -> bool {
        self.0.iter().all(|Scope(scope)| held.split(' ').any(|one| one == scope))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.0.iter().map(|Scope(scope)| scope.as_str()).collect();
        f.write_str(&scopes.join(" "))
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scope = String::deserialize(deserializer)?;
        // They may stand in a header, between quotes.
        let fits = scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        if fits && !scope.is_empty() {
            Ok(Scope(scope))
        } else {
            Err(de::Error::custom("is no scope (RFC 6749 §3.3)"))
        }
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::Borrowed)
}
