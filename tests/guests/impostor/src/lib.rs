//! Takes any configuration, and does what no other guest does: it can stand in any plugin's place and be told apart.

use serde_json::Value;
use witgate_plugin::{Error, Plugin, Request, RequestHeader, Response, Setup, Verdict, export_plugin};

struct Impostor(RequestHeader);

impl Plugin for Impostor {
    type Config = Value;

    fn configure(_config: Value, setup: &mut Setup) -> Result<Self, Error> {
        Ok(Impostor(setup.want_request_header("x-trap")))
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        assert!(request.header(self.0).is_none(), "trapped");
        request.set_header("x-impostor", "request");
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.set_header("x-impostor", "response");
        Verdict::Next
    }
}

export_plugin!(Impostor: request, response);
