//! Takes memory on a request until there is none.

use std::hint::black_box;

use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, config::NoConfig, export_plugin};

struct Hog;

impl Plugin for Hog {
    type Config = NoConfig;

    fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
        // It asks to fail open, to prove that a limit never does.
        setup.may_fail_open();
        Ok(Hog)
    }

    fn on_request(&self, _request: &mut Request) -> Verdict {
        let mut hoard = Vec::new();
        loop {
            hoard.push(black_box(vec![1_u8; 1 << 20]));
        }
    }
}

export_plugin!(Hog: request);
