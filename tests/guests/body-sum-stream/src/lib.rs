//! Adds up the bytes of a request's body while it passes, and tells length and sum in a header of the response.

#[path = "../../sum.rs"]
mod sum;

use sum::sum;
use witgate_plugin::config::NoConfig;
use witgate_plugin::{End, Error, Plugin, Request, Response, Setup, Step, Transform, Verdict, export_plugin};

struct BodySum;

impl Plugin for BodySum {
    type Config = NoConfig;

    fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(BodySum)
    }

    fn on_request_body(&self, _request: &Request) -> Option<Box<dyn Transform>> {
        Some(Box::new(Sum { bytes: 0, sum: 0 }))
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.set_header("x-bench-body", response.kept().unwrap_or(b"0:0"));
        Verdict::Next
    }
}

struct Sum {
    bytes: u64,
    sum: u64,
}

impl Transform for Sum {
    fn chunk(&mut self, data: &[u8]) -> Step {
        self.bytes += data.len() as u64;
        self.sum += sum(data);
        Step::Unchanged
    }

    fn finish(&mut self) -> End {
        End::done().keep(format!("{}:{}", self.bytes, self.sum))
    }
}

export_plugin!(BodySum: response, request_body);
