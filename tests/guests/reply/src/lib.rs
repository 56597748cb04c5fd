//! Answers every request itself.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    body: String,
}

impl Plugin for Answer {
    type Config = Answer;

    fn configure(config: Answer, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, _request: &mut Request) -> Verdict {
        Reply::new(self.status).header("content-type", "text/plain").body(self.body.as_str()).into()
    }
}

export_plugin!(Answer: request);
