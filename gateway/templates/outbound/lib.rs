//! Asks a service of yours whether a request may pass.

use std::time::Duration;

use serde::Deserialize;
use witgate_plugin::{
    Error, Part, Plugin, Reply, Request, RequestHeader, Setup, Verdict, export_plugin, http, schemars,
};

/// Whom to ask.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Absolute, of an origin that `grants.http` names. A 200 lets the request pass.
    url: String,
}

struct Ask {
    url: String,
    authorization: RequestHeader,
    path: Part,
}

impl Plugin for Ask {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        let authorization = setup.want_request_header("authorization");
        Ok(Ask { url: config.url, authorization, path: setup.want_path() })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let mut question = http::Request::get(&self.url).header("x-path", request.path(self.path)).timeout(PATIENCE);
        if let Some(credentials) = request.header_str(self.authorization) {
            question = question.header("authorization", credentials);
        }
        match question.send() {
            Ok(answer) if answer.status() == 200 => Verdict::Next,
            Ok(_) => Reply::problem(403, "not allowed").into(),
            // A service that is down must not open the door.
            Err(_) => Reply::problem(503, "it cannot be checked now").into(),
        }
    }
}

export_plugin!(Ask: describe, request);

const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use witgate_plugin::test::{Grants, Harness, TestRequest, json};

    use super::*;

    fn asked(answer: impl Fn() -> Result<http::Response, http::SendError> + 'static) -> Result<Harness<Ask>, Error> {
        let grants = Grants::new().origin("https://auth.example", move |_| answer());
        Harness::granted(grants, json!({ "url": "https://auth.example/check" }))
    }

    #[test]
    fn a_200_lets_the_request_pass() -> Result<(), Error> {
        let mut plugin = asked(|| Ok(http::Response::new(200)))?;
        let outcome = plugin.request(TestRequest::get("/users").header("authorization", "Bearer a"));
        assert_eq!(outcome.passed().target(), "/users");
        let sent = plugin.sent();
        assert_eq!((sent[0].value("x-path"), sent[0].value("authorization")), (Some("/users"), Some("Bearer a")));
        Ok(())
    }

    #[test]
    fn everything_else_does_not() -> Result<(), Error> {
        let mut denied = asked(|| Ok(http::Response::new(401)))?;
        assert_eq!(denied.request(TestRequest::get("/")).reply().status(), 403);
        let mut down = asked(|| Err(http::SendError::Unavailable))?;
        assert_eq!(down.request(TestRequest::get("/")).reply().status(), 503);
        Ok(())
    }
}
