//! Has edits repeated in ways that the SDK never does.
#![cfg(target_arch = "wasm32")]

use serde::Deserialize;
use witgate_plugin::bindings::imports::witgate::plugin::edits::{remember_request, remember_response, repeat};
use witgate_plugin::bindings::imports::witgate::plugin::types::{RequestEdit, ResponseEdit};
use witgate_plugin::{Error, Plugin, Reply, Request, Response, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does")]
enum Parrot {
    /// Has a header of so many bytes remembered, and repeats it so often.
    Repeat { bytes: usize, times: usize },
    /// Repeats edits of a response in the request hook, and those of a request in the response hook.
    Confuse { in_request: bool },
    /// Repeats numbers that it never got, and tells whether one of them was known.
    Guess,
    /// Has lists remembered without end.
    RememberAll,
    /// Repeats `x-a: 1`, sets `x-a: 2` and answers all the same.
    Respond,
    /// Has an edit remembered that is none.
    Malformed,
}

impl Plugin for Parrot {
    type Config = Parrot;

    fn configure(config: Parrot, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        match *self {
            Parrot::Repeat { bytes, times } => {
                let number = on_request("x-a", &"1".repeat(bytes));
                let made = (0..times).filter(|_| repeat(number)).count();
                request.append_header("x-made", made.to_string());
            }
            Parrot::Confuse { in_request: true } => {
                repeat(on_response());
            }
            Parrot::Guess => {
                let is_known = (1 << 20..(1 << 20) + 100).chain([u64::MAX]).any(repeat);
                request.append_header("x-made", is_known.to_string());
            }
            Parrot::RememberAll => loop {
                on_request("x-a", &"1".repeat(4 << 10));
            },
            Parrot::Respond => {
                repeat(on_request("x-a", "1"));
                request.set_header("x-a", "2");
                return Reply::new(204).into();
            }
            Parrot::Malformed => {
                repeat(on_request("x a", "1"));
            }
            Parrot::Confuse { in_request: false } => {}
        }
        Verdict::Next
    }

    fn on_response(&self, _: &mut Response) -> Verdict {
        if let Parrot::Confuse { in_request: false } = self {
            repeat(on_request("x-a", "1"));
        }
        Verdict::Next
    }
}

export_plugin!(Parrot: request, response);

fn on_request(name: &str, value: &str) -> u64 {
    let header = (name.to_owned(), value.to_owned().into_bytes());
    remember_request(&[RequestEdit::SetHeader(header)]).expect("it is not too much")
}

fn on_response() -> u64 {
    let header = ("x-a".to_owned(), b"1".to_vec());
    remember_response(&[ResponseEdit::SetHeader(header)]).expect("it is not too much")
}
