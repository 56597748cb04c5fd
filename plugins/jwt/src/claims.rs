//! What a verified token says: whether it suffices, and what the upstream and later filters get to know of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use witgate_plugin::config::{HeaderName, OneOrMany};
use witgate_plugin::json::pick_all;
use witgate_plugin::jwt::Claims;
use witgate_plugin::{Error, Request};

/// The claims that an attachment reads; a token's others are passed over.
pub(crate) struct Wanted {
    /// Each once; the rest of this names them by their place.
    names: Vec<String>,
    inject: Vec<(HeaderName, usize)>,
    required: Vec<(usize, OneOrMany<Value>)>,
    scopes: Vec<String>,
}

/// A token's claims, in the order of `names`.
pub(crate) struct Said<'w> {
    wanted: &'w Wanted,
    values: Vec<Option<Value>>,
    scopes: String,
}

/// These come first among the names: RFC 7519 §4.1.2, RFC 8693 §4.2, and what others call the latter.
const SUBJECT: usize = 0;
const SCOPES: [usize; 3] = [1, 2, 3];
const FIRST: [&str; 4] = ["sub", "scope", "scp", "scopes"];

impl Wanted {
    pub(crate) fn new(
        inject: BTreeMap<HeaderName, String>,
        required: BTreeMap<String, OneOrMany<Value>>,
        scopes: Vec<String>,
    ) -> Result<Self, Error> {
        // They stand in a header, between quotes.
        let is_scope = |scope: &String| {
            !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
        };
        if let Some(at) = scopes.iter().position(|scope| !is_scope(scope)) {
            return Err(Error::at(format!("scopes[{at}]"), "is no scope (RFC 6749 §3.3)"));
        }
        let mut names = FIRST.map(str::to_owned).to_vec();
        let mut place = |name: String| {
            names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            })
        };
        let inject = inject.into_iter().map(|(header, claim)| (header, place(claim))).collect();
        let required = required.into_iter().map(|(claim, values)| (place(claim), values)).collect();
        Ok(Wanted { names, inject, required, scopes })
    }

    /// `None` for a token that says what cannot be passed on: a line break in a claim would end its header and begin another.
    pub(crate) fn read(&self, claims: &Claims) -> Option<Said<'_>> {
        let values = pick_all(claims.json(), &self.names).ok()?;
        let is_field =
            |place: &usize| !values[*place].as_ref().is_some_and(|value| text(value).contains(char::is_control));
        if !self.inject.iter().all(|(_, place)| is_field(place)) {
            return None;
        }
        let scopes: Vec<_> = SCOPES.iter().filter_map(|place| values[*place].as_ref()).map(list).collect();
        Some(Said { wanted: self, scopes: scopes.join(" "), values })
    }
}

impl Said<'_> {
    /// Whether all scopes are there, and each required claim has, or has among its items, one of the values that it may have.
    pub(crate) fn suffices(&self) -> bool {
        let has_scope = |scope: &String| self.scopes.split(' ').any(|one| one == scope);
        let fits = |(place, may): &(usize, OneOrMany<Value>)| match &self.values[*place] {
            Some(Value::Array(items)) => items.iter().any(|item| may.contains(item)),
            Some(value) => may.contains(value),
            None => false,
        };
        self.wanted.scopes.iter().all(has_scope) && self.wanted.required.iter().all(fits)
    }

    /// Tells the upstream by headers, of which no client's copy is left, and later filters by attributes.
    pub(crate) fn tell(self, request: &mut Request<'_>, claims: Claims) {
        for (header, place) in &self.wanted.inject {
            if let Some(value) = &self.values[*place] {
                request.set_header(header, text(value).as_bytes());
            }
        }
        if let Some(user) = &self.values[SUBJECT] {
            request.set_attribute("user", text(user));
        }
        request.set_attribute("scopes", self.scopes);
        request.set_attribute("claims", claims.into_json());
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::Borrowed)
}

/// Scopes come as one text with spaces, or as a list.
fn list(scopes: &Value) -> Cow<'_, str> {
    match scopes {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ").into(),
        other => other.as_str().unwrap_or_default().into(),
    }
}
