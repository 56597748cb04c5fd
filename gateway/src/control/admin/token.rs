//! Tokens: what a client shows to be known by a name, and to have that name's role.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use sha2::{Digest as _, Sha256};

use crate::config::model::Role;

/// A token with its secret.
#[derive(Clone)]
pub struct AdminToken {
    /// Who acts: stands in the audit log.
    pub name: String,
    pub secret: String,
    pub role: Role,
}

/// Why a token cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the admin token `{0}` is too short: it needs {SECRET_CHARACTERS_MIN} characters or more")]
    Short(String),
    #[error("the admin token `{0}` has characters that a header cannot carry: use visible ASCII without spaces")]
    Characters(String),
    #[error("two admin tokens are called `{0}`")]
    Twice(String),
    #[error("the admin tokens `{0}` and `{1}` have the same secret")]
    Same(String, String),
}

/// The tokens of a server, without their secrets.
pub(super) struct Tokens(Vec<Known>);

/// A known token.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    hash: [u8; 32],
}

impl Tokens {
    pub(super) fn new(tokens: &[AdminToken]) -> Result<Self, TokenError> {
        let mut names = BTreeSet::new();
        let mut all: Vec<Known> = Vec::with_capacity(tokens.len());
        for AdminToken { name, secret, role } in tokens {
            if secret.len() < SECRET_CHARACTERS_MIN {
                return Err(TokenError::Short(name.clone()));
            }
            if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(TokenError::Characters(name.clone()));
            }
            if !names.insert(name) {
                return Err(TokenError::Twice(name.clone()));
            }
            let hash = hash(secret);
            if let Some(same) = all.iter().find(|known| known.hash == hash) {
                return Err(TokenError::Same(same.name.to_string(), name.clone()));
            }
            all.push(Known { name: name.as_str().into(), role: *role, hash });
        }
        Ok(Self(all))
    }

    /// Whose secret this is. The time it takes tells neither how much of a secret was right nor whose it is.
    pub(super) fn find(&self, secret: &str) -> Option<&Known> {
        let hash = hash(secret);
        let is_it = |known: &Known| constant_time::verify_slices_are_equal(&known.hash, &hash).is_ok();
        // It looks at each of them, also when one was found.
        self.0.iter().fold(None, |found, known| if is_it(known) { Some(known) } else { found })
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// An empty variable, or a word that somebody meant to replace, must not open this door.
const SECRET_CHARACTERS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, secret: &str) -> AdminToken {
        AdminToken { name: name.to_owned(), secret: secret.to_owned(), role: Role::Viewer }
    }

    #[test]
    fn a_secret_leads_to_its_name() {
        let tokens = Tokens::new(&[token("one", "aaaaaaaaaaaaaaaa"), token("two", "bbbbbbbbbbbbbbbb")]).unwrap();
        assert_eq!(&*tokens.find("bbbbbbbbbbbbbbbb").unwrap().name, "two");
        for unknown in ["", "bbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbbb", "two"] {
            assert!(tokens.find(unknown).is_none(), "{unknown:?}");
        }
        assert!(Tokens::new(&[]).unwrap().find("").is_none());
    }

    #[test]
    fn secrets_that_protect_nothing_are_refused() {
        let refused = |tokens: &[AdminToken]| Tokens::new(tokens).err().expect("a refusal").to_string();
        assert!(refused(&[token("bot", "")]).contains("`bot` is too short"));
        assert!(refused(&[token("bot", &"x".repeat(15))]).contains("16 characters"));
        assert!(refused(&[token("bot", "aaaaaaaaaaaaaaaa\n")]).contains("visible ASCII"));
        let same = "aaaaaaaaaaaaaaaa";
        assert!(refused(&[token("bot", same), token("bot", "bbbbbbbbbbbbbbbb")]).contains("two admin tokens"));
        assert!(refused(&[token("one", same), token("two", same)]).contains("`one` and `two`"));
    }

    #[test]
    fn a_token_does_not_print_its_secret() {
        assert!(!format!("{:?}", token("bot", "aaaaaaaaaaaaaaaa")).contains("aaaa"));
    }
}
