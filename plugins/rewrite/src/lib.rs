//! `builtin:rewrite`: changes requests and responses. The README says what its keys mean; how paths are rewritten stands in
//! the module of that name, how headers and queries are is the SDK's.

mod path;

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::config::{Authority, HeaderRules, Method, QueryRules, Status};
use witgate_plugin::{
    Error, HeaderRewrite, Part, Plugin, QueryRewrite, Request, Response, Setup, Verdict, export_plugin, schemars,
};

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
    headers: HeaderRules,
    path: path::Config,
    query: QueryRules,
    /// What the upstream sees for the client's method.
    method: Option<Method>,
    /// What the upstream sees for the client's host.
    authority: Option<Authority>,
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ResponseConfig {
    headers: HeaderRules,
    /// The status that goes to the client, by the one that came.
    status: BTreeMap<u16, Status>,
}

/// One attachment: all that can be decided without a request has been.
pub struct Rewrite {
    headers: HeaderRewrite,
    path: Option<(Part, path::Rewrite)>,
    query: Option<QueryRewrite>,
    method: Option<Method>,
    authority: Option<Authority>,
    response_headers: HeaderRewrite,
    statuses: BTreeMap<u16, Status>,
}

impl Plugin for Rewrite {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        let Config { request, response } = config;
        let rewrite = Rewrite {
            headers: request.headers.want(setup),
            path: request.path.check(setup)?.map(|rewrite| (setup.want_path(), rewrite)),
            query: request.query.want(setup),
            method: request.method,
            authority: request.authority,
            response_headers: response.headers.want(setup),
            statuses: response.status,
        };
        if rewrite.passes_requests() {
            setup.skip_request();
        }
        if rewrite.passes_responses() {
            setup.skip_response();
        }
        Ok(rewrite)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        // First, because edits that are made ready cost least there.
        self.headers.edit_request(request);
        if let Some(path) = self.path.as_ref().and_then(|(key, rewrite)| rewrite.apply(request.path(*key), request)) {
            request.set_path(path);
        }
        self.query.iter().for_each(|query| query.edit(request));
        if let Some(method) = &self.method {
            request.set_method(method.to_string());
        }
        if let Some(authority) = &self.authority {
            request.set_authority(authority.to_string());
        }
        self.response_headers.keep(request);
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        self.response_headers.edit_response(response);
        if let Some(status) = self.statuses.get(&response.status()) {
            response.set_status(status.code());
        }
        Verdict::Next
    }
}

impl Rewrite {
    fn passes_requests(&self) -> bool {
        let changes_target = self.path.is_some() || self.query.is_some() || self.authority.is_some();
        !changes_target && self.method.is_none() && self.headers.is_empty() && !self.response_headers.reads_requests()
    }

    fn passes_responses(&self) -> bool {
        self.statuses.is_empty() && self.response_headers.is_empty()
    }
}

export_plugin!(Rewrite: describe, request, response);
