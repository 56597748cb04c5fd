//! Lets pass who knows a token, and tells the upstream who that is.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::crypto;
use witgate_plugin::{Error, Plugin, Reply, Request, RequestHeader, Setup, Verdict, export_plugin, schemars};

/// Who may pass.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Who it is, by token.
    tokens: BTreeMap<String, String>,
    /// Where the upstream finds who it is.
    #[serde(default = "user_header")]
    header: String,
}

struct Doorkeeper {
    tokens: BTreeMap<String, String>,
    header: String,
    authorization: RequestHeader,
}

fn user_header() -> String {
    "x-user".to_owned()
}

impl Doorkeeper {
    fn user(&self, credentials: &str) -> Option<&str> {
        let token = credentials.strip_prefix("Bearer ")?;
        // Every token is compared, each in a time that does not tell how much of it was right.
        let mut known = None;
        for (candidate, user) in &self.tokens {
            if crypto::equal(candidate.as_bytes(), token.as_bytes()) {
                known = Some(user.as_str());
            }
        }
        known
    }
}

impl Plugin for Doorkeeper {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if config.tokens.is_empty() {
            return Err(Error::at("tokens", "must name at least one"));
        }
        // No client may claim to be somebody.
        setup.own_header(&config.header);
        let authorization = setup.want_request_header("authorization");
        Ok(Doorkeeper { tokens: config.tokens, header: config.header, authorization })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        match request.header_str(self.authorization).and_then(|credentials| self.user(credentials)) {
            Some(user) => {
                request.set_header(&self.header, user);
                Verdict::Next
            }
            None => Reply::problem(401, "a token is needed").header("www-authenticate", "Bearer").into(),
        }
    }
}

export_plugin!(Doorkeeper: describe, request);

#[cfg(test)]
mod tests {
    use witgate_plugin::test::{Harness, TestRequest, json};

    use super::*;

    #[test]
    fn only_who_knows_a_token_passes() -> Result<(), Error> {
        let mut door = Harness::<Doorkeeper>::new(json!({ "tokens": { "s3cret": "ada" } }))?;
        let known = door.request(TestRequest::get("/").header("authorization", "Bearer s3cret"));
        assert_eq!(known.passed().value("x-user"), Some("ada"));
        for stranger in [
            TestRequest::get("/"),
            TestRequest::get("/").header("authorization", "Bearer s3cre"),
            TestRequest::get("/").header("authorization", "s3cret"),
            TestRequest::get("/").header("x-user", "ada"),
        ] {
            assert_eq!(door.request(stranger).reply().status(), 401);
        }
        Ok(())
    }
}
