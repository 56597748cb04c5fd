//! Shows what a plugin sees: each part of a request in a request header, each part of a response in a response header.

use serde::Deserialize;
use witgate_plugin::{Attribute, Param, Part, RequestHeader, ResponseHeader};
use witgate_plugin::{Error, Plugin, Request, Response, Setup, Verdict, export_plugin, info};

/// What to ask for beside the parts that every request has.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    header: String,
    attribute: String,
    params: Vec<String>,
    own: Option<String>,
}

struct Probe {
    /// Under their names in `x-probe-NAME`.
    parts: [(&'static str, Part); 7],
    path: Part,
    params: Vec<(String, Param)>,
    header: RequestHeader,
    response_header: ResponseHeader,
    attribute: Attribute,
}

impl Plugin for Probe {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        if let Some(name) = config.own {
            setup.own_header(&name);
        }
        let or = |name: &str, default: &str| {
            if name.is_empty() { default.to_owned() } else { name.to_owned() }
        };
        let header = or(&config.header, "x-probe");
        let path = setup.want_path();
        Ok(Probe {
            parts: [
                ("method", setup.want_method()),
                ("scheme", setup.want_scheme()),
                ("authority", setup.want_authority()),
                ("path", path),
                ("client", setup.want_client()),
                ("route", setup.want_route()),
                ("request-id", setup.want_request_id()),
            ],
            path,
            params: config.params.into_iter().map(|name| (name.clone(), setup.want_param(&name))).collect(),
            header: setup.want_request_header(&header),
            response_header: setup.want_response_header(&header),
            attribute: setup.want_attribute(&or(&config.attribute, "probe")),
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        info!("probed {}", request.part(self.path));
        for (name, key) in self.parts {
            request.set_header(&format!("x-probe-{name}"), request.part(key));
        }
        let params = self.params.iter().map(|(name, key)| format!("{name}={}", request.param(*key).unwrap_or("-")));
        let params: Vec<_> = params.collect();
        request.set_header("x-probe-params", params.join(","));
        request.set_header("x-probe-attribute", request.attribute(self.attribute).unwrap_or("-"));
        request.set_header("x-probe-listener", request.fetch_listener());
        let headers: Vec<_> = request.headers(self.header).collect();
        request.set_header("x-probe-headers", headers.join(&b'|'));
        request.set_header("x-probe-fetched", request.fetch_header("x-fetch").join(&b'|'));
        request.keep(request.part(self.path));
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        let headers: Vec<_> = response.headers(self.response_header).collect();
        response.set_header("x-probe-headers", headers.join(&b'|'));
        response.set_header("x-probe-status", response.status().to_string());
        response.set_header("x-probe-origin", format!("{:?}", response.origin()).to_lowercase());
        response.set_header("x-probe-attribute", response.attribute(self.attribute).unwrap_or("-"));
        response.set_header("x-probe-kept", response.kept().unwrap_or(b"-"));
        response.set_header("x-probe-listener", response.fetch_listener());
        response.set_header("x-probe-fetched", response.fetch_header("x-fetch").join(&b'|'));
        response.set_header("x-probe-request-fetched", response.fetch_request_header("x-fetch").join(&b'|'));
        Verdict::Next
    }
}

export_plugin!(Probe: request, response);
