//! Looking keys up: by hash, and compared as a whole, so that the time that a wrong one takes says nothing of the right ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use witgate_plugin::credential::Keyring;
use witgate_plugin::identity::{Inject, Scopes, tell};
use witgate_plugin::table::Table;
use witgate_plugin::{Error, PreparedEdits, schemars};

/// A key and whose it is; in a table, what stands under a key.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The key; this or `sha256`.
    key: Option<String>,
    /// Its hash, in 64 hexadecimal digits.
    sha256: Option<String>,
    /// Whose key it is.
    id: String,
    /// What it may be used for.
    #[serde(default)]
    scopes: Scopes,
    /// Anything else that is to be known of the client.
    #[serde(default)]
    context: Map<String, Value>,
}

/// Who has a key.
pub(crate) struct Client {
    /// What it may be used for, separated by spaces.
    pub(crate) scope: String,
    /// What is told of them, made ready.
    pub(crate) edits: PreparedEdits,
}

/// Where keys are looked up.
pub(crate) enum Keys {
    Listed(Listed),
    Table(Table, Inject),
}

/// Those of the configuration. SHA-256 takes a third of a call, so only those are found by it of which nothing else is known.
#[derive(Default)]
pub(crate) struct Listed {
    plain: Keyring<Rc<Client>>,
    hashed: BTreeMap<Digested, Rc<Client>>,
}

type Digested = [u8; 32];

impl Keys {
    pub(crate) fn open(keys: Option<Vec<Entry>>, table: Option<String>, inject: Inject) -> Result<Self, Error> {
        let keys = match (keys, table) {
            (Some(keys), None) => keys,
            (None, Some(name)) => return Ok(Keys::Table(Table::open(&name)?, inject)),
            _ => return Err(Error::new("give `keys` or `table`")),
        };
        let mut listed = Listed::default();
        let mut hashes = BTreeSet::new();
        for (number, entry) in keys.into_iter().enumerate() {
            let fault = |key: &str, why: &str| Error::at(format!("keys[{number}]{key}"), why);
            let hash = match (&entry.key, &entry.sha256) {
                (Some(key), None) if key.is_empty() => return Err(fault(".key", "must not be empty")),
                (Some(key), None) => hash(key),
                (None, Some(hex)) => parse(hex).ok_or_else(|| fault(".sha256", "must have 64 hexadecimal digits"))?,
                _ => return Err(fault("", "give `key` or `sha256`")),
            };
            if !hashes.insert(hash) {
                return Err(fault("", "is the key of an earlier one"));
            }
            let key = entry.key.clone();
            let client = Client::new(entry, &inject).ok_or_else(|| fault("", "injects a control character"))?;
            match key {
                Some(key) => listed.plain.insert(&key, Rc::new(client)),
                None => listed.hashed.insert(hash, Rc::new(client)),
            };
        }
        Ok(Keys::Listed(listed))
    }

    /// Whose key it is.
    ///
    /// # Errors
    /// The table has the key, and its entry is not to be used.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Rc<Client>>, Error> {
        match self {
            Keys::Listed(listed) => Ok(listed.find(key)),
            Keys::Table(table, inject) => {
                let mut entry: Option<Entry> = table.get(&named(hash(key)))?;
                // A hash is no key: who reads the table must not get in by what stands there.
                if let (None, Ok(key)) = (&entry, str::from_utf8(key))
                    && !key.starts_with(HASHED)
                {
                    entry = table.get(key)?;
                }
                let client =
                    entry.map(|entry| Client::new(entry, inject).ok_or(Error::new("a header cannot be injected")));
                client.transpose().map(|client| client.map(Rc::new))
            }
        }
    }
}

impl Listed {
    fn find(&self, key: &[u8]) -> Option<Rc<Client>> {
        let plain = self.plain.get(key).cloned();
        let hashed = || (!self.hashed.is_empty()).then(|| self.hashed.get(&hash(key)).cloned()).flatten();
        plain.or_else(hashed)
    }
}

impl Client {
    /// `None` where a header would get a control character.
    fn new(entry: Entry, inject: &Inject) -> Option<Self> {
        let Entry { id, scopes, context: mut claims, .. } = entry;
        let scope = scopes.to_string();
        // As a token would say it.
        claims.insert("sub".to_owned(), id.as_str().into());
        claims.insert("scope".to_owned(), scope.as_str().into());
        let mut edits = inject.edits(|member| match member {
            "id" => claims.get("sub").cloned(),
            "scopes" => claims.get("scope").cloned(),
            other => claims.get(other).cloned(),
        })?;
        tell(&mut edits, Some(&id), scope.as_str(), Value::Object(claims).to_string());
        Some(Client { scope, edits })
    }
}

fn hash(key: impl AsRef<[u8]>) -> Digested {
    Sha256::digest(key).into()
}

/// As a table names a hashed key.
fn named(hash: Digested) -> String {
    hash.iter().fold(HASHED.to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

fn parse(hex: &str) -> Option<Digested> {
    let mut hash = Digested::default();
    let digits = hex.as_bytes().chunks_exact(2);
    if hex.len() != 2 * hash.len() || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

const HASHED: &str = "sha256:";
