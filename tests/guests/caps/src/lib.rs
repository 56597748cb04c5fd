//! Calls the capability that the request's header `x-do` names, and answers with what it gave.

use std::fmt::Write as _;

use serde::Deserialize;
use witgate_plugin::crypto::{self, Hash};
use witgate_plugin::rate_limit::Limiter;
use witgate_plugin::secret::Secret;
use witgate_plugin::table::Table;
use witgate_plugin::{Error, Plugin, Reply, Request, RequestHeader, Setup, Verdict, clock, export_plugin, metrics};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    table: String,
    secret: String,
    limiter: String,
}

struct Caps {
    table: Table,
    secret: Secret,
    limiter: Limiter,
    command: RequestHeader,
}

impl Plugin for Caps {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        Ok(Caps {
            table: Table::open(&config.table).map_err(|error| Error::at("table", error))?,
            secret: Secret::open(&config.secret).map_err(|error| Error::at("secret", error))?,
            limiter: Limiter::open(&config.limiter).map_err(|error| Error::at("limiter", error))?,
            command: setup.want_request_header("x-do"),
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let command = request.header_str(self.command).expect("the test says what to do");
        let words: Vec<_> = command.split(' ').collect();
        let outcome = self.execute(&words).unwrap_or_else(|error| format!("error: {error}"));
        Reply::new(200).body(outcome).into()
    }
}

impl Caps {
    fn execute(&self, words: &[&str]) -> Result<String, Error> {
        Ok(match *words {
            ["digest", data] => HASHES.map(|hash| hex(&crypto::digest(hash, data.as_bytes()))).join(" "),
            ["hmac", key, data] => {
                HASHES.map(|hash| hex(&crypto::hmac(hash, key.as_bytes(), data.as_bytes()))).join(" ")
            }
            ["equal", a, b] => crypto::equal(a.as_bytes(), b.as_bytes()).to_string(),
            ["random"] => hex(&crypto::random::<1024>()),
            ["unix-ms"] => clock::unix_time().as_millis().to_string(),
            ["monotonic-ns"] => clock::monotonic().as_nanos().to_string(),
            ["count", name, by] => format!("{:?}", metrics::count(name, by.parse().expect("a number"))),
            ["gauge", name, value] => format!("{:?}", metrics::gauge(name, value.parse().expect("a number"))),
            ["table", key] => self.table.get_json(key).unwrap_or_else(|| "-".to_owned()),
            ["secret-hmac", data] => hex(&self.secret.hmac(Hash::Sha256, data.as_bytes())),
            ["secret-equals", data] => self.secret.equals(data.as_bytes()).to_string(),
            ["reveal"] => hex(&self.secret.reveal()?),
            ["take", key, cost] => {
                let decision = self.limiter.take(key, cost.parse().expect("a number"));
                format!("{} {}/{}", decision.allowed, decision.remaining, decision.limit)
            }
            _ => panic!("no such command: {words:?}"),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

export_plugin!(Caps: request);
