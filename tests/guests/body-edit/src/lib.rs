//! Does one thing to a body that passes in pieces, in either direction: changes it, lets go of it, breaks it off, or fails.

use serde::Deserialize;
use witgate_plugin::{End, Error, Plugin, Reply, Request, RequestHeader, Response, ResponseHeader, Setup};
use witgate_plugin::{Step, Transform, export_plugin};

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "in")]
    direction: Direction,
    #[serde(rename = "do")]
    what: What,
    /// What to do begins with the piece that comes after so many bytes; those before pass.
    #[serde(default)]
    after: usize,
    #[serde(default)]
    at: Place,
    tail: Option<String>,
    /// Declines a message that carries this header.
    unless: Option<String>,
    #[serde(default)]
    may_fail_open: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Request,
    Response,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum What {
    Unchanged,
    Upper,
    Double,
    Flood,
    Drop,
    PassRest,
    Abort,
    Trap,
    Spin,
}

#[derive(Deserialize, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Open,
    #[default]
    Chunk,
    Finish,
}

struct BodyEdit {
    config: Config,
    unless: Option<(RequestHeader, ResponseHeader)>,
}

impl Plugin for BodyEdit {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if config.may_fail_open {
            setup.may_fail_open();
        }
        let keys = |name: &String| (setup.want_request_header(name), setup.want_response_header(name));
        let unless = config.unless.as_ref().map(keys);
        Ok(BodyEdit { config, unless })
    }

    fn on_request_body(&self, request: &Request) -> Option<Box<dyn Transform>> {
        let declined = self.unless.is_some_and(|(header, _)| request.header(header).is_some());
        self.open(Direction::Request, declined)
    }

    fn on_response_body(&self, response: &Response) -> Option<Box<dyn Transform>> {
        let declined = self.unless.is_some_and(|(_, header)| response.header(header).is_some());
        self.open(Direction::Response, declined)
    }
}

impl BodyEdit {
    fn open(&self, direction: Direction, declined: bool) -> Option<Box<dyn Transform>> {
        if direction != self.config.direction || declined {
            return None;
        }
        if self.config.at == Place::Open {
            fail(self.config.what);
        }
        Some(Box::new(Edit { config: self.config.clone(), seen: 0 }))
    }
}

struct Edit {
    config: Config,
    seen: usize,
}

impl Transform for Edit {
    fn chunk(&mut self, data: &[u8]) -> Step {
        let due = self.config.at == Place::Chunk && self.seen >= self.config.after;
        self.seen += data.len();
        if !due {
            return Step::Unchanged;
        }
        match self.config.what {
            What::Unchanged => Step::Unchanged,
            What::Upper => Step::Replace(data.to_ascii_uppercase()),
            What::Double => Step::Replace([data, data].concat()),
            What::Flood => Step::Replace(vec![b'x'; 4 << 20]),
            What::Drop => Step::Replace(Vec::new()),
            What::PassRest => Step::PassRest,
            What::Abort => refusal().into(),
            What::Trap | What::Spin => fail(self.config.what),
        }
    }

    fn finish(&mut self) -> End {
        if self.config.at == Place::Finish {
            match self.config.what {
                What::Abort => return refusal().into(),
                what => fail(what),
            }
        }
        match &self.config.tail {
            Some(tail) => End::done().tail(tail.as_str()),
            None => End::done(),
        }
    }
}

fn refusal() -> Reply {
    Reply::new(422).header("content-type", "text/plain").body("refused")
}

fn fail(what: What) -> ! {
    match what {
        What::Spin => loop {
            std::hint::spin_loop();
        },
        _ => panic!("trapped amid a body"),
    }
}

export_plugin!(BodyEdit: request_body, response_body);
