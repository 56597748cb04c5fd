//! What a test grants its plugin of the network: origins that answer what the test says, and key sets whose tokens are known.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::Value;

use super::Harness;
use super::gateway::position;
use super::grants::Grants;
use crate::Exported;
use crate::host::http::{HttpError, OutboundRequest, OutboundResponse};
use crate::host::jwt::{JwtError, Rules};
use crate::host::{Capabilities, Network};
use crate::http::{Request, Response, SendError};
use crate::jwt::Refusal;

/// The network's part of [`Grants`].
#[derive(Default)]
pub(super) struct Granted {
    origins: BTreeMap<String, Rc<Server>>,
    key_sets: BTreeMap<String, BTreeMap<String, Result<Value, Refusal>>>,
    sent: RefCell<Vec<Request>>,
    /// Tokens that were verified and are remembered: a number is a position here.
    verified: RefCell<Vec<String>>,
}

/// What answers at an origin.
type Server = dyn Fn(&Request) -> Result<Response, SendError>;

impl Grants {
    /// Grant an origin, and answer there.
    ///
    /// ```
    /// use witgate_plugin::http::{Response, SendError};
    /// use witgate_plugin::test::{Grants, Harness, TestRequest, json};
    /// # use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, config::NoConfig, export_plugin, http};
    /// # struct Ask;
    /// # impl Plugin for Ask {
    /// #     type Config = NoConfig;
    /// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Ask) }
    /// #     fn on_request(&self, _: &mut Request) -> Verdict {
    /// #         match http::Request::get("https://auth.example/check").send() {
    /// #             Ok(response) => Reply::new(response.status()).into(),
    /// #             Err(_) => Reply::new(503).into(),
    /// #         }
    /// #     }
    /// # }
    /// # export_plugin!(Ask: request);
    ///
    /// let grants = Grants::new().origin("https://auth.example", |request| {
    ///     assert_eq!(request.url(), "https://auth.example/check");
    ///     Ok(Response::new(204))
    /// });
    /// let mut plugin = Harness::<Ask>::granted(grants, json!({}))?;
    /// assert_eq!(plugin.request(TestRequest::get("/")).reply().status(), 204);
    /// assert_eq!(plugin.sent().len(), 1);
    ///
    /// let down = Grants::new().origin("https://auth.example", |_| Err(SendError::Unavailable));
    /// let mut plugin = Harness::<Ask>::granted(down, json!({}))?;
    /// assert_eq!(plugin.request(TestRequest::get("/")).reply().status(), 503);
    /// # Ok::<(), witgate_plugin::Error>(())
    /// ```
    #[must_use]
    pub fn origin(mut self, origin: &str, answer: impl Fn(&Request) -> Result<Response, SendError> + 'static) -> Self {
        self.network.origins.insert(origin.to_owned(), Rc::new(answer));
        self
    }

    /// Grant a key set. These are the tokens that its keys have signed, with what each says; `Err` is a token that the gateway
    /// would refuse so, and any other token has a wrong signature. The plugin's rules are judged as the gateway does, by the
    /// clock of the test.
    ///
    /// ```
    /// use witgate_plugin::jwt::Refusal;
    /// use witgate_plugin::test::{Grants, json};
    ///
    /// let grants = Grants::new()
    ///     .key_set("idp", [("ada", Ok(json!({ "sub": "ada" }))), ("old", Err(Refusal::UnknownKey))]);
    /// ```
    #[must_use]
    pub fn key_set<'t>(
        mut self,
        name: &str,
        tokens: impl IntoIterator<Item = (&'t str, Result<Value, Refusal>)>,
    ) -> Self {
        let tokens = tokens.into_iter().map(|(token, claims)| (token.to_owned(), claims)).collect();
        self.network.key_sets.insert(name.to_owned(), tokens);
        self
    }
}

impl<P: Exported> Harness<P> {
    /// The requests that the plugin sent so far, to granted origins.
    pub fn sent(&self) -> Vec<Request> {
        self.gateway.grants().network.sent.borrow().clone()
    }
}

impl Network for Grants {
    fn send(&self, request: &OutboundRequest) -> Result<OutboundResponse, HttpError> {
        let request = Request::from_wire(request);
        let server = self.network.origins.get(origin_of(request.url()).ok_or(HttpError::Invalid)?);
        let server = server.ok_or(HttpError::Denied)?;
        self.network.sent.borrow_mut().push(request.clone());
        match server(&request) {
            Ok(answer) => Ok(OutboundResponse {
                status: answer.status(),
                headers: answer.headers().to_vec(),
                body: answer.into_bytes(),
            }),
            Err(SendError::Invalid) => Err(HttpError::Invalid),
            Err(SendError::Denied) => Err(HttpError::Denied),
            Err(SendError::Timeout) => Err(HttpError::Timeout),
            Err(SendError::Unavailable) => Err(HttpError::Unavailable),
            Err(SendError::TooLarge) => Err(HttpError::TooLarge),
            Err(SendError::Busy) => Err(HttpError::Busy),
        }
    }

    fn open_key_set(&self, key_set: &str) -> Result<(), String> {
        let is_granted = self.network.key_sets.contains_key(key_set);
        if is_granted { Ok(()) } else { Err(format!("this plugin is granted no key set `{key_set}`")) }
    }

    fn verify(&self, key_set: &str, rules: &Rules, token: &str) -> Result<String, JwtError> {
        match self.network.key_sets[key_set].get(token) {
            Some(Ok(claims)) => {
                judge(claims, rules, self.unix_ms() / 1000)?;
                if rules.cache > 0 {
                    position(&mut self.network.verified.borrow_mut(), token.to_owned());
                }
                Ok(claims.to_string())
            }
            Some(Err(refusal)) => Err(refused(*refusal)),
            None => Err(JwtError::Signature),
        }
    }

    fn known(&self, key_set: &str, rules: &Rules, token: &[u8]) -> Option<u64> {
        let number = self.network.verified.borrow().iter().position(|known| known.as_bytes() == token)?;
        self.verify(key_set, rules, str::from_utf8(token).ok()?).ok()?;
        u64::try_from(number).ok()
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self.origins.keys().collect();
        f.debug_struct("Granted").field("origins", &origins).field("key_sets", &self.key_sets).finish_non_exhaustive()
    }
}

/// `scheme://host[:port]`, as the URL has it.
fn origin_of(url: &str) -> Option<&str> {
    let rest = url.find("://")? + 3;
    let end = url[rest..].find(['/', '?', '#']).map_or(url.len(), |end| rest + end);
    (end > rest).then(|| &url[..end])
}

fn judge(claims: &Value, rules: &Rules, now: u64) -> Result<(), JwtError> {
    let (now, leeway) = (now as f64, f64::from(rules.leeway_s));
    if claims["nbf"].as_f64().is_some_and(|not_before| now + leeway < not_before) {
        return Err(JwtError::NotYetValid);
    }
    if claims["exp"].as_f64().is_some_and(|expires| now >= expires + leeway) {
        return Err(JwtError::Expired);
    }
    let is_one_of =
        |value: &Value, names: &[String]| value.as_str().is_some_and(|text| names.iter().any(|n| n == text));
    if !rules.issuers.is_empty() && !is_one_of(&claims["iss"], &rules.issuers) {
        return Err(JwtError::Issuer);
    }
    let is_for_us = match &claims["aud"] {
        Value::Array(list) => list.iter().any(|one| is_one_of(one, &rules.audiences)),
        one => is_one_of(one, &rules.audiences),
    };
    if !rules.audiences.is_empty() && !is_for_us {
        return Err(JwtError::Audience);
    }
    let all_there = rules.required_claims.iter().all(|name| claims.get(name).is_some_and(|value| !value.is_null()));
    if all_there { Ok(()) } else { Err(JwtError::MissingClaim) }
}

fn refused(refusal: Refusal) -> JwtError {
    match refusal {
        Refusal::Malformed => JwtError::Malformed,
        Refusal::Algorithm => JwtError::Algorithm,
        Refusal::UnknownKey => JwtError::UnknownKey,
        Refusal::Signature => JwtError::Signature,
        Refusal::Expired => JwtError::Expired,
        Refusal::NotYetValid => JwtError::NotYetValid,
        Refusal::Issuer => JwtError::Issuer,
        Refusal::Audience => JwtError::Audience,
        Refusal::MissingClaim => JwtError::MissingClaim,
        Refusal::Unavailable => JwtError::Unavailable,
    }
}
