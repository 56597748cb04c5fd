//! What a verified token says: whether it suffices, and what the upstream and later filters get to know of it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use witgate_plugin::config::OneOrMany;
use witgate_plugin::credential::Keyring;
use witgate_plugin::identity::{Inject, Scopes, tell};
use witgate_plugin::json::pick_all;
use witgate_plugin::jwt::Claims;
use witgate_plugin::{HeaderEdits, Request};

/// Claims, and the values of which each must have one.
type Required = BTreeMap<String, OneOrMany<Value>>;

/// The claims that an attachment reads; a token's others are passed over.
pub(crate) struct Wanted {
    /// Each once.
    names: Vec<String>,
    inject: Inject,
    required: Required,
    scopes: Scopes,
    /// What was read of claims that may come again: to read them takes a third of a call. They are found as secrets are, which is fast.
    known: RefCell<Keyring<Rc<Said>>>,
    keeps: bool,
}

/// What is made of a token's claims.
pub(crate) struct Said {
    user: Option<String>,
    /// Separated by spaces.
    scopes: String,
    /// Whether all scopes are there, and each required claim has, or has among its items, one of the values that it may have.
    pub(crate) suffices: bool,
    headers: HeaderEdits,
}

impl Wanted {
    pub(crate) fn new(inject: Inject, required: Required, scopes: Scopes, keeps: bool) -> Self {
        let mut names: Vec<String> = Vec::new();
        let configured = inject.claims().chain(required.keys().map(String::as_str));
        for name in configured.chain([SUBJECT]).chain(SCOPES) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Wanted { names, inject, required, scopes, known: RefCell::default(), keeps }
    }

    /// `None` for a token that is not to be used: it says nothing, or what no header can carry.
    pub(crate) fn said(&self, claims: &Claims) -> Option<Rc<Said>> {
        let json = claims.json();
        if let Some(said) = self.known.borrow().get(json) {
            return Some(said.clone());
        }
        let said = Rc::new(self.read(json)?);
        if self.keeps && json.len() <= KNOWN_BYTES_MAX {
            let mut known = self.known.borrow_mut();
            if known.len() == KNOWN_MAX {
                *known = Keyring::default();
            }
            known.insert(json, said.clone());
        }
        Some(said)
    }

    fn read(&self, json: &str) -> Option<Said> {
        let values = pick_all(json, &self.names).ok()?;
        let get = |name: &str| values[self.names.iter().position(|known| known == name)?].as_ref();
        let fits = |(name, may): (&String, &OneOrMany<Value>)| match get(name) {
            Some(Value::Array(items)) => items.iter().any(|item| may.contains(item)),
            Some(value) => may.contains(value),
            None => false,
        };
        let scopes = SCOPES.iter().filter_map(|name| get(name)).map(list).collect::<Vec<_>>().join(" ");
        Some(Said {
            user: get(SUBJECT).map(|user| user.as_str().map_or_else(|| user.to_string(), str::to_owned)),
            suffices: self.scopes.are_in(&scopes) && self.required.iter().all(fits),
            headers: self.inject.edits(|name| get(name).cloned())?,
            scopes,
        })
    }
}

impl Said {
    /// Tells the upstream by headers, and later filters by attributes.
    pub(crate) fn tell(&self, request: &mut Request<'_>, claims: Claims) {
        tell(request, self.user.as_deref(), self.scopes.as_str(), claims.into_json());
        request.edit_headers(&self.headers);
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
/// Of so many tokens at a time is known what they say, each with claims of so many bytes: half a MiB for an attachment of an instance.
const KNOWN_MAX: usize = 256;
const KNOWN_BYTES_MAX: usize = 2 << 10;
