//! Says on the span of its call what the request tells it to say, and tells where in the trace it stands.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Request, RequestHeader, Response, Setup, Verdict, export_plugin, trace};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

struct Narrator {
    say: RequestHeader,
    fall_silent: RequestHeader,
}

impl Plugin for Narrator {
    type Config = Config;

    fn configure(_config: Config, setup: &mut Setup) -> Result<Self, Error> {
        trace::set_attribute("too.early", true);
        assert_eq!(trace::context(), None, "no call runs yet");
        Ok(Narrator { say: setup.want_request_header("x-say"), fall_silent: setup.want_request_header("x-trap") })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        for said in request.headers(self.say) {
            say(std::str::from_utf8(said).expect("the test says text"));
        }
        assert!(request.header(self.fall_silent).is_none(), "the test says so");
        if let Some(context) = trace::context() {
            request.set_header("x-trace-id", &context.trace_id);
            request.set_header("x-span-id", &context.span_id);
            request.set_header("x-sampled", context.is_sampled.to_string());
        }
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        trace::set_attribute("app.status", i64::from(response.status()));
        Verdict::Next
    }
}

/// `NAME KIND VALUE`: `text`, `long` (so many bytes), `broken` (with control characters), `whole`, `fraction`, `truth`; or `many COUNT`.
fn say(said: &str) {
    let words: Vec<_> = said.split(' ').collect();
    match *words {
        [name, "text", text] => trace::set_attribute(name, text),
        [name, "long", count] => trace::set_attribute(name, "v".repeat(count.parse().expect("a number"))),
        [name, "whole", number] => trace::set_attribute(name, number.parse::<i64>().expect("a number")),
        [name, "fraction", number] => trace::set_attribute(name, number.parse::<f64>().expect("a number")),
        [name, "truth", truth] => trace::set_attribute(name, truth == "true"),
        [name, "broken", text] => trace::set_attribute(name, format!("{text}\n{text}\0")),
        ["many", count] => {
            (0..count.parse().expect("a number")).for_each(|n: i64| trace::set_attribute(&format!("n{n}"), n))
        }
        _ => panic!("{said}"),
    }
}

export_plugin!(Narrator: request, response);
