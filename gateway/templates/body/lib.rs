//! Refuses bodies that hold a forbidden word, while they pass: nothing is collected.

use std::rc::Rc;

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Step, Transform, export_plugin, schemars};

/// What no body may hold.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// A word, as its bytes.
    forbidden: String,
}

struct Censor {
    forbidden: Rc<[u8]>,
}

/// Looks through one body.
struct Search {
    forbidden: Rc<[u8]>,
    /// The end of what was seen, where a word may have begun.
    tail: Vec<u8>,
}

impl Plugin for Censor {
    type Config = Config;

    fn configure(config: Config, _setup: &mut Setup) -> Result<Self, Error> {
        if config.forbidden.is_empty() {
            return Err(Error::at("forbidden", "must not be empty"));
        }
        Ok(Censor { forbidden: config.forbidden.into_bytes().into() })
    }

    fn on_request_body(&self, _request: &Request) -> Option<Box<dyn Transform>> {
        Some(Box::new(Search { forbidden: self.forbidden.clone(), tail: Vec::new() }))
    }
}

impl Transform for Search {
    fn chunk(&mut self, data: &[u8]) -> Step {
        // The network cuts a body anywhere, so a word may lie in two pieces.
        self.tail.extend_from_slice(data);
        if self.tail.windows(self.forbidden.len()).any(|window| *window == *self.forbidden) {
            return Reply::problem(422, "the body holds a forbidden word").into();
        }
        let keep = self.tail.len().min(self.forbidden.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
        Step::Unchanged
    }
}

export_plugin!(Censor: describe, request_body);

#[cfg(test)]
mod tests {
    use witgate_plugin::test::{Harness, TestRequest, json};

    use super::*;

    #[test]
    fn a_word_is_found_wherever_the_body_is_cut() -> Result<(), Error> {
        let mut censor = Harness::<Censor>::new(json!({ "forbidden": "xyzzy" }))?;
        let clean = censor.request(TestRequest::new("POST", "/").piece("xyz").piece("zebra"));
        assert_eq!(clean.passed().body.concat(), b"xyzzebra");
        for pieces in [["plugh xyzzy", "!"], ["plugh xy", "zzy!"]] {
            let request = pieces.iter().fold(TestRequest::new("POST", "/"), |request, piece| request.piece(piece));
            assert_eq!(censor.request(request).reply().status(), 422, "{pieces:?}");
        }
        Ok(())
    }
}
