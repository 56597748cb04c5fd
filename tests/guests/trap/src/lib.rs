//! Panics where its configuration says: in `configure`, in a hook, when the request carries a header, or when it is let go.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Request, RequestHeader, Response, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    on: String,
    #[serde(default)]
    may_fail_open: bool,
}

struct Trap {
    on: String,
    header: Option<RequestHeader>,
}

impl Plugin for Trap {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        assert!(config.on != "configure", "trapped in configure");
        if config.may_fail_open {
            setup.may_fail_open();
        }
        let header = config.on.strip_prefix("header:").map(|name| setup.want_request_header(name));
        Ok(Trap { on: config.on, header })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let carried = self.header.is_some_and(|header| request.header(header).is_some());
        assert!(self.on != "request" && !carried, "trapped in the request hook");
        Verdict::Next
    }

    fn on_response(&self, _response: &mut Response) -> Verdict {
        assert!(self.on != "response", "trapped in the response hook");
        Verdict::Next
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        assert!(self.on != "release", "trapped in release");
    }
}

export_plugin!(Trap: request, response);
