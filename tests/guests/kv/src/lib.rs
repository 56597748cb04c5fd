//! Does to a store what the request's header `x-do` says, and answers with what came of it.

use std::time::Duration;

use serde::Deserialize;
use witgate_plugin::kv::{Store, StoreError};
use witgate_plugin::{Error, Plugin, Reply, Request, RequestHeader, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    store: String,
}

struct Kv {
    store: Store,
    command: RequestHeader,
}

impl Plugin for Kv {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        let store = Store::open(&config.store).map_err(|error| Error::at("store", error))?;
        Ok(Kv { store, command: setup.want_request_header("x-do") })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let command = request.header_str(self.command).expect("the test says what to do");
        let outcomes = command.split(';').map(|command| {
            let words: Vec<_> = command.split_whitespace().map(expand).collect();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            self.execute(&words).unwrap_or_else(|error| format!("{error:?}"))
        });
        let outcomes: Vec<_> = outcomes.collect();
        Reply::new(200).body(outcomes.join(";")).into()
    }
}

impl Kv {
    fn execute(&self, words: &[&str]) -> Result<String, StoreError> {
        let store = &self.store;
        Ok(match *words {
            ["get", key] => match store.get(key)? {
                Some(value) => String::from_utf8_lossy(&value).into_owned(),
                None => "-".to_owned(),
            },
            ["set", key, value, ref ttl @ ..] => format!("{:?}", store.set(key, value, milliseconds(ttl))?),
            ["delete", key] => store.delete(key)?.to_string(),
            ["increment", key, by, ref ttl @ ..] => {
                store.increment(key, by.parse().expect("a number"), milliseconds(ttl))?.to_string()
            }
            ["compare-and-set", key, expected, value, ref ttl @ ..] => {
                let expected = (expected != "-").then_some(expected.as_bytes());
                store.compare_and_set(key, expected, value, milliseconds(ttl))?.to_string()
            }
            ["spin"] => loop {
                std::hint::spin_loop();
            },
            _ => panic!("no such command: {words:?}"),
        })
    }
}

/// `x*3` stands for `xxx`.
fn expand(word: &str) -> String {
    match word.split_once('*') {
        Some((text, times)) => text.repeat(times.parse().expect("a number")),
        None => word.to_owned(),
    }
}

fn milliseconds(words: &[&str]) -> Option<Duration> {
    words.first().map(|word| Duration::from_millis(word.parse().expect("a number")))
}

export_plugin!(Kv: request);
