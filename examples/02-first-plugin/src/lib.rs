//! Greets by name: tells the upstream who asks, and signs the response.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Request, RequestHeader, Response, Setup, Verdict, export_plugin, schemars};

/// How the plugin greets.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Stands before the name, such as `Hello`.
    greeting: String,
}

struct Greeter {
    greeting: String,
    name: RequestHeader,
}

impl Plugin for Greeter {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if config.greeting.is_empty() {
            return Err(Error::at("greeting", "must not be empty"));
        }
        Ok(Greeter { greeting: config.greeting, name: setup.want_request_header("x-name") })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let name = request.header_str(self.name).unwrap_or("stranger");
        let greeting = format!("{}, {name}!", self.greeting);
        request.set_header("x-greeting", &greeting);
        // The response hook may run on another instance: what it needs travels with the exchange.
        request.keep(greeting);
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        if let Some(greeting) = response.kept() {
            response.set_header("x-greeting", greeting);
        }
        Verdict::Next
    }
}

export_plugin!(Greeter: describe, request, response);

#[cfg(test)]
mod tests {
    use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};

    use super::*;

    #[test]
    fn upstream_and_client_are_greeted() -> Result<(), Error> {
        let mut plugin = Harness::<Greeter>::new(json!({ "greeting": "Hello" }))?;
        let request = plugin.request(TestRequest::get("/").header("x-name", "Ada"));
        assert_eq!(request.passed().value("x-greeting"), Some("Hello, Ada!"));
        let response = plugin.response(TestResponse::new(200));
        assert_eq!(response.passed().value("x-greeting"), Some("Hello, Ada!"));
        Ok(())
    }

    #[test]
    fn an_empty_greeting_is_refused() {
        let error = Harness::<Greeter>::new(json!({ "greeting": "" })).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("greeting: must not be empty"));
    }
}
