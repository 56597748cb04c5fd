//! Never returns: from `configure`, from a hook, or from `release`.

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Request, Response, Setup, Verdict, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "in")]
    place: Place,
    #[serde(default)]
    may_fail_open: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Place {
    Configure,
    Request,
    Response,
    Release,
}

struct Spin(Place);

impl Plugin for Spin {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if config.may_fail_open {
            setup.may_fail_open();
        }
        spin_if(config.place == Place::Configure);
        Ok(Spin(config.place))
    }

    fn on_request(&self, _request: &mut Request) -> Verdict {
        spin_if(self.0 == Place::Request);
        Verdict::Next
    }

    fn on_response(&self, _response: &mut Response) -> Verdict {
        spin_if(self.0 == Place::Response);
        Verdict::Next
    }
}

impl Drop for Spin {
    fn drop(&mut self) {
        spin_if(self.0 == Place::Release);
    }
}

fn spin_if(here: bool) {
    if here {
        loop {
            std::hint::spin_loop();
        }
    }
}

export_plugin!(Spin: request, response);
