//! `builtin:rewrite`: changes requests and responses. The README says what its keys mean; how headers, paths and queries are
//! rewritten stands in the modules of their names.

mod headers;
mod path;
mod query;

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::{Error, Part, Plugin, Request, Response, Setup, Verdict, export_plugin, schemars};

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
    headers: headers::Config,
    path: path::Config,
    query: query::Config,
    /// What the upstream sees for the client's method.
    method: Option<String>,
    /// What the upstream sees for the client's host.
    authority: Option<String>,
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ResponseConfig {
    headers: headers::Config,
    /// The status that goes to the client, by the one that came.
    status: BTreeMap<u16, u16>,
}

/// One attachment: all that can be decided without a request has been.
pub struct Rewrite {
    headers: headers::Rewrite,
    path: Option<(Part, path::Rewrite)>,
    query: Option<(Part, query::Rewrite)>,
    method: Option<String>,
    authority: Option<String>,
    response_headers: headers::Rewrite,
    statuses: BTreeMap<u16, u16>,
}

impl Plugin for Rewrite {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        let Config { request, response } = config;
        check_word("method", request.method.as_deref(), "!#$%&'*+-.^_`|~")?;
        check_word("authority", request.authority.as_deref(), ".-_:[]")?;
        if let Some(status) = response.status.values().find(|status| !(200..=599).contains(*status)) {
            return Err(Error::at("response.status", format!("{status} is no status from 200 to 599")));
        }
        Ok(Rewrite {
            headers: request.headers.check("request", setup)?,
            path: request.path.check(setup)?.map(|rewrite| (setup.want_path(), rewrite)),
            query: request.query.check(setup)?.map(|rewrite| (setup.want_path(), rewrite)),
            method: request.method,
            authority: request.authority,
            response_headers: response.headers.check("response", setup)?,
            statuses: response.status,
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        if let Some(path) = self.path.as_ref().and_then(|(key, rewrite)| rewrite.apply(request.path(*key), request)) {
            request.set_path(path);
        }
        if let Some(query) = self.query.as_ref().and_then(|(key, rewrite)| rewrite.apply(request.query(*key), request))
        {
            request.set_query(query);
        }
        if let Some(method) = &self.method {
            request.set_method(method);
        }
        if let Some(authority) = &self.authority {
            request.set_authority(authority);
        }
        self.headers.request(request);
        self.response_headers.keep(request);
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        if let Some(status) = self.statuses.get(&response.status()) {
            response.set_status(*status);
        }
        self.response_headers.response(response);
        Verdict::Next
    }
}

export_plugin!(Rewrite: describe, request, response);

/// Letters, digits and these.
fn check_word(key: &str, word: Option<&str>, others: &str) -> Result<(), Error> {
    match word {
        Some(word) if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c)) => {
            Err(Error::at(format!("request.{key}"), format!("{word:?} is no {key}")))
        }
        _ => Ok(()),
    }
}
