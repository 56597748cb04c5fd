//! What a verified token says: whether it suffices, and what the upstream and later filters get to know of it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use witgate_plugin::PreparedEdits;
use witgate_plugin::config::OneOrMany;
use witgate_plugin::identity::{Inject, Scopes, tell};
use witgate_plugin::json::pick_all;
use witgate_plugin::jwt::{Refusal, Verifier};

/// Claims, and the values of which each must have one.
type Required = BTreeMap<String, OneOrMany<Value>>;

/// The claims that an attachment reads; a token's others are passed over.
pub(crate) struct Wanted {
    /// Each once.
    names: Vec<String>,
    inject: Inject,
    required: Required,
    scopes: Scopes,
    /// What the tokens say that the gateway remembers, each at the place that its number gives it: the latest numbers are there.
    known: RefCell<Vec<Option<Known>>>,
    keeps: bool,
}

/// A token's number, and what it says.
type Known = (u64, Rc<Said>);

/// What is made of a token's claims.
pub(crate) struct Said {
    /// Whether all scopes are there, and each required claim has, or has among its items, one of the values that it may have.
    pub(crate) suffices: bool,
    /// Headers for the upstream, and attributes for later filters.
    pub(crate) edits: PreparedEdits,
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
    ///
    /// # Errors
    /// The token is not to be believed.
    pub(crate) fn said_by(&self, token: &[u8], verifier: &Verifier) -> Result<Option<Rc<Said>>, Refusal> {
        let number = || if self.keeps { verifier.known(token) } else { None };
        let place = |number: u64| (number % KNOWN_MAX as u64) as usize;
        if let Some(number) = number()
            && let Some(Some((known, said))) = self.known.borrow().get(place(number))
            && *known == number
        {
            return Ok(Some(said.clone()));
        }
        let claims = verifier.verify(token)?.into_json();
        let is_short = claims.len() <= KNOWN_BYTES_MAX;
        let said = self.read(claims).map(Rc::new);
        // It has a number only now that it is verified.
        if let (Some(said), true) = (&said, is_short)
            && let Some(number) = number()
        {
            let mut known = self.known.borrow_mut();
            known.resize(KNOWN_MAX, None);
            known[place(number)] = Some((number, said.clone()));
        }
        Ok(said)
    }

    fn read(&self, claims: String) -> Option<Said> {
        let values = pick_all(&claims, &self.names).ok()?;
        let get = |name: &str| values[self.names.iter().position(|known| known == name)?].as_ref();
        let fits = |(name, may): (&String, &OneOrMany<Value>)| match get(name) {
            Some(Value::Array(items)) => items.iter().any(|item| may.contains(item)),
            Some(value) => may.contains(value),
            None => false,
        };
        let scopes = SCOPES.iter().filter_map(|name| get(name)).map(list).collect::<Vec<_>>().join(" ");
        let suffices = self.scopes.are_in(&scopes) && self.required.iter().all(fits);
        let user = get(SUBJECT).map(|user| user.as_str().map_or_else(|| user.to_string(), str::to_owned));
        let mut edits = self.inject.edits(|name| get(name).cloned())?;
        tell(&mut edits, user.as_deref(), scopes, claims);
        Some(Said { suffices, edits })
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
