//! Adds up the bytes of a request's whole body, and tells length and sum in a header of the response.

#[path = "../../sum.rs"]
mod sum;

use sum::sum;
use witgate_plugin::config::NoConfig;
use witgate_plugin::{Body, Error, Plugin, Request, Response, Setup, Verdict, export_plugin};

struct BodySum;

impl Plugin for BodySum {
    type Config = NoConfig;

    fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
        setup.buffer_request(1 << 20);
        Ok(BodySum)
    }

    fn on_whole_request(&self, request: &mut Request, body: &mut Body) -> Verdict {
        request.keep(format!("{}:{}", body.bytes().len(), sum(body.bytes())));
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.set_header("x-bench-body", response.kept().unwrap_or(b"0:0"));
        Verdict::Next
    }
}

export_plugin!(BodySum: response, whole_request);
