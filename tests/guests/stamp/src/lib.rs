//! Appends a configured header to requests and responses; the response's value has travelled with the exchange.

use serde::Deserialize;
use witgate_plugin::config::{HeaderName, HeaderValue};
use witgate_plugin::{Error, Plugin, Request, Response, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    name: HeaderName,
    value: HeaderValue,
}

impl Plugin for Stamp {
    type Config = Stamp;

    fn configure(config: Stamp, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        request.append_header(&self.name, &self.value);
        request.keep(self.value.as_bytes());
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.append_header(&self.name, response.kept().unwrap_or(b"nothing was kept"));
        Verdict::Next
    }
}

export_plugin!(Stamp: request, response);
