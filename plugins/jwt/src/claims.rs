//! What a verified token says: whether it suffices, and what the upstream and later filters get to know of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use witgate_plugin::Request;
use witgate_plugin::config::OneOrMany;
use witgate_plugin::identity::{Inject, Scopes, tell};
use witgate_plugin::json::pick_all;
use witgate_plugin::jwt::Claims;

/// The claims that an attachment reads; a token's others are passed over.
pub(crate) struct Wanted {
    /// Each once.
    names: Vec<String>,
    inject: Inject,
    required: BTreeMap<String, OneOrMany<Value>>,
    scopes: Scopes,
}

/// A token's claims, in the order of `names`.
pub(crate) struct Said<'w> {
    wanted: &'w Wanted,
    values: Vec<Option<Value>>,
}

impl Wanted {
    pub(crate) fn new(inject: Inject, required: BTreeMap<String, OneOrMany<Value>>, scopes: Scopes) -> Self {
        let mut names: Vec<String> = Vec::new();
        let configured = inject.claims().chain(required.keys().map(String::as_str));
        for name in configured.chain([SUBJECT]).chain(SCOPES) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Wanted { names, inject, required, scopes }
    }

    /// `None` for a token that says nothing, which the gateway would not have believed.
    pub(crate) fn read(&self, claims: &Claims) -> Option<Said<'_>> {
        pick_all(claims.json(), &self.names).ok().map(|values| Said { wanted: self, values })
    }
}

impl Said<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        let place = self.wanted.names.iter().position(|known| known == name)?;
        self.values[place].as_ref()
    }

    /// All of them, as one text.
    fn scopes(&self) -> String {
        let scopes: Vec<_> = SCOPES.iter().filter_map(|name| self.get(name)).map(list).collect();
        scopes.join(" ")
    }

    /// Whether all scopes are there, and each required claim has, or has among its items, one of the values that it may have.
    pub(crate) fn suffices(&self) -> bool {
        let fits = |(name, may): (&String, &OneOrMany<Value>)| match self.get(name) {
            Some(Value::Array(items)) => items.iter().any(|item| may.contains(item)),
            Some(value) => may.contains(value),
            None => false,
        };
        self.wanted.scopes.are_in(&self.scopes()) && self.wanted.required.iter().all(fits)
    }

    /// Tells the upstream by headers, and later filters by attributes. `false` where the token says what no header can carry.
    pub(crate) fn tell(&self, request: &mut Request<'_>, claims: Claims) -> bool {
        let user = self.get(SUBJECT).map(|user| user.as_str().map_or_else(|| user.to_string().into(), Cow::Borrowed));
        tell(request, user.as_deref(), self.scopes(), claims.into_json());
        self.wanted.inject.edit_request(request, |name| self.get(name))
    }
}

/// Scopes come as one text with spaces, or as a list.
fn list(scopes: &Value) -> Cow<'_, str> {
    match scopes {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ").into(),
        other => other.as_str().unwrap_or_default().into(),
    }
}

/// RFC 7519 §4.1.2.
const SUBJECT: &str = "sub";
/// RFC 8693 §4.2, and what others call it.
const SCOPES: [&str; 3] = ["scope", "scopes", "scp"];
