//! `builtin:rewrite`: changes headers and path of requests, and headers of responses. The README says what its keys mean;
//! how a path is rewritten stands in `path`.

mod path;

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::config::{HeaderName, HeaderValue, OneOrMany};
use witgate_plugin::{Error, HeaderEdits, Part, Plugin, Request, Response, Setup, Verdict, export_plugin, schemars};

/// What `rewrite` changes.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// On the way to the upstream.
    request: RequestConfig,
    /// On the way to the client.
    response: ResponseConfig,
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RequestConfig {
    headers: Headers,
    path: path::Config,
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ResponseConfig {
    headers: Headers,
}

/// Removed first, then set, then added.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Headers {
    /// In place of every value that is there.
    set: BTreeMap<HeaderName, OneOrMany<HeaderValue>>,
    /// Beside the values that are there.
    add: BTreeMap<HeaderName, OneOrMany<HeaderValue>>,
    /// Every value of these.
    remove: Vec<HeaderName>,
}

/// One attachment: all that can be decided without a request has been.
pub struct Rewrite {
    path: Option<(Part, path::Rewrite)>,
    request: HeaderEdits,
    response: HeaderEdits,
}

impl Headers {
    /// In the order that the README promises.
    fn into_edits(self) -> HeaderEdits {
        let mut edits = HeaderEdits::default();
        for name in &self.remove {
            edits.remove(name);
        }
        for (name, values) in &self.set {
            // The first value replaces, the others join it.
            edits.set(name, &values[0]);
            values[1..].iter().for_each(|value| edits.append(name, value));
        }
        for (name, values) in &self.add {
            values.iter().for_each(|value| edits.append(name, value));
        }
        edits
    }
}

impl Plugin for Rewrite {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        let path = config.request.path.check()?.map(|rewrite| (setup.want_path(), rewrite));
        Ok(Rewrite {
            path,
            request: config.request.headers.into_edits(),
            response: config.response.headers.into_edits(),
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        if let Some(path) = self.path.as_ref().and_then(|(key, rewrite)| rewrite.apply(request.path(*key))) {
            request.set_path(path);
        }
        request.edit_headers(&self.request);
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.edit_headers(&self.response);
        Verdict::Next
    }
}

export_plugin!(Rewrite: describe, request, response);
