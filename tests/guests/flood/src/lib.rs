//! Returns what the gateway must refuse: too much of something, or something that is not HTTP.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flood {
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Edits,
    HeaderName,
    HeaderValue,
    Path,
    Method,
    Keep,
    Upstream,
    Status,
    Reply,
}

impl Plugin for Flood {
    type Config = Flood;

    fn configure(config: Flood, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        match self.kind {
            Kind::Edits => (0..100_000).for_each(|_| request.append_header("x-flood", "1")),
            Kind::HeaderName => request.set_header("x flood", "1"),
            Kind::HeaderValue => request.set_header("x-flood", "1\r\nx-smuggled: 1"),
            Kind::Path => request.set_path("http://elsewhere.test/"),
            Kind::Method => request.set_method("GET / HTTP/1.1\r\n"),
            Kind::Keep => request.keep(vec![b'x'; 4097]),
            Kind::Upstream => request.select_upstream("nobody-named-this"),
            Kind::Status => return Reply::new(99).into(),
            Kind::Reply => return Reply::new(200).body(vec![b'x'; 2 << 20]).into(),
        }
        Verdict::Next
    }
}

export_plugin!(Flood: request);
