//! Does one thing to a whole body, in either direction: looks at it, replaces it, answers in its place, or fails.

use serde::Deserialize;
use witgate_plugin::{Body, Error, Plugin, Reply, Request, Response, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeEdit {
    #[serde(rename = "in")]
    direction: Direction,
    #[serde(rename = "do")]
    what: What,
    max: Option<u32>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Request,
    Response,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum What {
    Unchanged,
    Upper,
    Double,
    Empty,
    Respond,
    Trap,
}

impl Plugin for WholeEdit {
    type Config = WholeEdit;

    fn configure(config: WholeEdit, setup: &mut Setup) -> Result<Self, Error> {
        // It asks to fail open, to prove that a body hook never does.
        setup.may_fail_open();
        if let Some(max) = config.max {
            setup.buffer_request(max);
            setup.buffer_response(max);
        }
        Ok(config)
    }

    fn on_whole_request(&self, request: &mut Request, body: &mut Body) -> Verdict {
        if self.direction != Direction::Request {
            return Verdict::Next;
        }
        request.set_header("x-whole", body.bytes().len().to_string());
        self.act(body)
    }

    fn on_whole_response(&self, response: &mut Response, body: &mut Body) -> Verdict {
        if self.direction != Direction::Response {
            return Verdict::Next;
        }
        response.set_header("x-whole", body.bytes().len().to_string());
        self.act(body)
    }
}

impl WholeEdit {
    fn act(&self, body: &mut Body) -> Verdict {
        match self.what {
            What::Unchanged => {}
            What::Upper => body.replace(body.bytes().to_ascii_uppercase()),
            What::Double => body.replace([body.bytes(), body.bytes()].concat()),
            What::Empty => body.replace(""),
            What::Respond => {
                return Reply::new(422).header("content-type", "text/plain").body("refused").into();
            }
            What::Trap => panic!("trapped over a whole body"),
        }
        Verdict::Next
    }
}

export_plugin!(WholeEdit: whole_request, whole_response);
