//! Sends the requests that the client's request describes, and answers with what came of the last.

use std::time::Duration;

use serde::Deserialize;
use witgate_plugin::http::{self, SendError};
use witgate_plugin::{Error, Plugin, Reply, Request, RequestHeader, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Whether to send one while it is configured, which must not work.
    #[serde(default)]
    in_configure: bool,
}

struct Outbound {
    /// `METHOD URL`.
    what: RequestHeader,
    /// `NAME: VALUE`, each.
    headers: RequestHeader,
    /// Milliseconds.
    timeout: RequestHeader,
    /// How often; 1.
    times: RequestHeader,
}

impl Plugin for Outbound {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if config.in_configure {
            let _ = http::Request::get("http://127.0.0.1:9/").send();
        }
        Ok(Outbound {
            what: setup.want_request_header("x-send"),
            headers: setup.want_request_header("x-send-header"),
            timeout: setup.want_request_header("x-send-timeout"),
            times: setup.want_request_header("x-send-times"),
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let times = request.header_str(self.times).map_or(1, |times| times.parse().expect("a number"));
        let mut last = self.send(request);
        for _ in 1..times {
            last = self.send(request);
        }
        match last {
            Ok(response) => {
                let mut reply = Reply::new(200).header("x-status", response.status().to_string());
                for (name, value) in response.headers() {
                    reply = reply.header(&format!("x-got-{name}"), value);
                }
                reply.body(response.into_bytes()).into()
            }
            Err(error) => Reply::new(502).body(format!("{error:?}")).into(),
        }
    }
}

impl Outbound {
    fn send(&self, request: &Request) -> Result<http::Response, SendError> {
        let what = request.header_str(self.what).expect("the test says what to send");
        let (method, url) = what.split_once(' ').expect("a method and a URL");
        let mut outgoing = http::Request::new(method, url);
        for header in request.headers(self.headers) {
            let header = str::from_utf8(header).expect("text");
            let (name, value) = header.split_once(": ").expect("a name and a value");
            outgoing = outgoing.header(name, value.replace("\\n", "\n"));
        }
        if let Some(timeout) = request.header_str(self.timeout) {
            outgoing = outgoing.timeout(Duration::from_millis(timeout.parse().expect("a number")));
        }
        if method == "POST" {
            outgoing = outgoing.body("asked by a plugin");
        }
        outgoing.send()
    }
}

export_plugin!(Outbound: request);
