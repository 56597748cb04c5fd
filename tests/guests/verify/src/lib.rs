//! Answers with the claims of the bearer token, or with why it is not to be believed.

use serde::Deserialize;
use witgate_plugin::jwt::{Rules, Verifier};
use witgate_plugin::{Error, Plugin, Reply, Request, RequestHeader, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    key_set: String,
    #[serde(default)]
    algorithms: Vec<String>,
    issuer: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    cache: u32,
}

struct Verify {
    verifier: Verifier,
    authorization: RequestHeader,
}

impl Plugin for Verify {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        let mut rules = Rules::new().requires("sub").cache(config.cache);
        for algorithm in config.algorithms {
            rules = rules.algorithm(algorithm);
        }
        if let Some(issuer) = config.issuer {
            rules = rules.issuer(issuer);
        }
        if let Some(audience) = config.audience {
            rules = rules.audience(audience);
        }
        let verifier = Verifier::open(&config.key_set, &rules).map_err(|error| Error::at("key_set", error))?;
        Ok(Verify { verifier, authorization: setup.want_request_header("authorization") })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let authorization = request.header_str(self.authorization).unwrap_or_default();
        match self.verifier.verify(authorization.strip_prefix("Bearer ").unwrap_or_default()) {
            Ok(claims) => Reply::new(200).header("content-type", "application/json").body(claims.json()).into(),
            Err(refusal) => Reply::new(401).body(format!("{refusal:?}")).into(),
        }
    }
}

export_plugin!(Verify: request);
