//! Never returns: from the request hook, or from `configure`.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "in")]
    place: Place,
    #[serde(default)]
    may_fail_open: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Place {
    Configure,
    Request,
}

struct Spin;

impl Plugin for Spin {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if config.may_fail_open {
            setup.may_fail_open();
        }
        if config.place == Place::Configure { spin() } else { Ok(Spin) }
    }

    fn on_request(&self, _request: &mut Request) -> Verdict {
        spin()
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

export_plugin!(Spin: request);
