//! Uses the host so often, or so much of it at a time, as its configuration says.

use serde::Deserialize;
use witgate_plugin::kv::Store;
use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, clock, export_plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Storm {
    /// Calls in each request.
    #[serde(default)]
    calls: u32,
    /// Handles that are held at a time in each request.
    #[serde(default)]
    handles: u32,
    store: String,
}

impl Plugin for Storm {
    type Config = Storm;

    fn configure(config: Storm, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        for _ in 0..self.calls {
            clock::monotonic();
        }
        let handles: Vec<_> = (0..self.handles).map(|_| Store::open(&self.store).expect("a grant")).collect();
        request.set_header("x-handles", handles.len().to_string());
        Verdict::Next
    }
}

export_plugin!(Storm: request);
