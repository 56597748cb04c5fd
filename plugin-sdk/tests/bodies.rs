//! The harness drives the body hooks as the gateway does: pieces in order, an end, and limits.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde::Deserialize;
use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};
use witgate_plugin::{
    Body, End, Error, Plugin, Reply, Request, RequestHeader, Response, Setup, Step, Transform, Verdict, export_plugin,
};

/// Marks the pieces of requests, and counts their bytes; replaces one response.
struct Numbered {
    limit: usize,
    kind: RequestHeader,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: usize,
}

struct Numbering {
    limit: usize,
    bytes: usize,
}

impl Transform for Numbering {
    fn chunk(&mut self, data: &[u8]) -> Step {
        self.bytes += data.len();
        match data {
            b"rest" => Step::PassRest,
            b"drop" => Step::Replace(Vec::new()),
            _ if self.bytes > self.limit => Reply::problem(413, "too much").into(),
            _ => Step::Replace([data, b";"].concat()),
        }
    }

    fn finish(&mut self) -> End {
        End::done().tail(format!("{} bytes", self.bytes)).keep(self.bytes.to_string())
    }
}

impl Plugin for Numbered {
    type Config = Limit;

    fn configure(config: Limit, setup: &mut Setup) -> Result<Self, Error> {
        setup.buffer_response(8);
        Ok(Numbered { limit: config.limit, kind: setup.want_request_header("x-kind") })
    }

    fn on_request_body(&self, request: &Request) -> Option<Box<dyn Transform>> {
        let wanted = request.header(self.kind).is_none();
        wanted.then(|| Box::new(Numbering { limit: self.limit, bytes: 0 }) as Box<dyn Transform>)
    }

    fn on_whole_response(&self, response: &mut Response, body: &mut Body) -> Verdict {
        response.set_header("x-bytes", body.bytes().len().to_string());
        response.set_header("x-kept", response.kept().unwrap_or(b"-"));
        if body.bytes() == b"swap" {
            body.replace("swapped");
        }
        Verdict::Next
    }
}

export_plugin!(Numbered: request_body, whole_response);

fn numbered(limit: usize) -> Harness<Numbered> {
    Harness::new(json!({ "limit": limit })).unwrap()
}

#[test]
fn a_transform_sees_each_piece_and_then_the_end() {
    let mut plugin = numbered(100);
    let post = || TestRequest::new("POST", "/");
    let text = |request: TestRequest, plugin: &mut Harness<Numbered>| {
        let body = plugin.request(request).passed().body.clone();
        body.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(text(post().piece("ab").piece("cd"), &mut plugin), ["ab;", "cd;", "4 bytes"]);
    assert_eq!(plugin.kept(), Some(b"4".as_slice()));
    assert_eq!(text(post().piece("a").piece("drop").piece("b"), &mut plugin), ["a;", "b;", "6 bytes"]);
    assert_eq!(text(post().piece("a").piece("rest").piece("b"), &mut plugin), ["a;", "rest", "b"]);
    assert_eq!(plugin.kept(), None);
    assert_eq!(text(post().piece("a").header("x-kind", "raw"), &mut plugin), ["a"]);
    assert_eq!(text(post(), &mut plugin), [""; 0], "no body, no transform");
}

#[test]
fn a_transform_gets_pieces_of_64_kib_at_most() {
    let outcome = numbered(1 << 20).request(TestRequest::new("POST", "/").piece(vec![b'x'; 100_000]));
    let lengths: Vec<_> = outcome.passed().body.iter().map(Vec::len).collect();
    assert_eq!(lengths, [65_537, 34_465, "100000 bytes".len()]);
}

#[test]
fn a_transform_can_break_off() {
    let outcome = numbered(3).request(TestRequest::new("POST", "/").piece("ab").piece("cd"));
    assert_eq!(outcome.reply().status(), 413);
}

#[test]
fn a_whole_body_is_seen_up_to_what_was_asked_for() {
    let mut plugin = numbered(100);
    assert_eq!((plugin.asked().buffer_request, plugin.asked().buffer_response), (None, Some(8)));
    plugin.request(TestRequest::new("POST", "/").piece("abc"));
    let outcome = plugin.response(TestResponse::new(200).piece("sw").piece("ap"));
    assert_eq!(outcome.passed().body, [b"swapped"]);
    assert_eq!((outcome.passed().value("x-bytes"), outcome.passed().value("x-kept")), (Some("4"), Some("3")));
    let outcome = plugin.response(TestResponse::new(200).piece("12345678"));
    assert_eq!(outcome.passed().body, [b"12345678"]);
    assert_eq!(plugin.response(TestResponse::new(200).piece("123456789")).reply().status(), 502);
    assert_eq!(plugin.response(TestResponse::new(200)).passed().value("x-bytes"), Some("0"), "an empty body is one");
    assert_eq!(plugin.response(TestResponse::new(204)).passed().value("x-bytes"), None, "there can be no body");
}
