//! `redirect`: sends clients elsewhere (RFC 9110 §15.4).

use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use super::template::Template;
use crate::config::scalar::Whole;
use crate::filter::{Exchange, Filter, Reply, Step, Verdict};

/// Where to. Each part may have `${…}`; one that is left out stays as the request has it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redirect")]
pub(super) struct Options {
    /// `http` or `https`.
    #[schemars(extend("enum" = ["http", "https"]))]
    scheme: Option<String>,
    /// A name or address, perhaps with a port. One that is left out loses its port where `scheme` changes.
    host: Option<String>,
    /// A path, perhaps with a query in the place of the request's.
    path: Option<String>,
    /// 301, 302, 303, 307 or 308. Default: 302.
    #[serde(default)]
    #[schemars(schema_with = "status_schema")]
    status: Option<Whole>,
}

fn status_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "enum": STATUSES })
}

/// The filter.
struct Redirect {
    scheme: Option<Box<str>>,
    host: Option<Template>,
    path: Option<Template>,
    status: StatusCode,
}

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        if self.scheme.is_none() && self.host.is_none() && self.path.is_none() {
            return Err("without `scheme`, `host` or `path`, clients would be sent where they are".to_owned());
        }
        let template = |at: &str, text: Option<String>| {
            text.map(|text| Template::parse(&text).map_err(|why| format!("{at}: {why}"))).transpose()
        };
        let Whole(status) = self.status.unwrap_or(Whole(302));
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        Ok(Arc::new(Redirect {
            scheme: self.scheme.map(Into::into),
            host: template("host", self.host)?,
            path: template("path", self.path)?,
            status: status.expect("the schema has few"),
        }))
    }
}

impl Filter for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let location = self.location(exchange);
        let escaped = utf8_percent_encode(&location, UNSAFE).to_string();
        let location = HeaderValue::try_from(escaped).expect("what no field may carry is escaped");
        let headers = HeaderMap::from_iter([(LOCATION, location)]);
        Step::Done(Verdict::Respond(Box::new(Reply { status: self.status, headers, body: Bytes::new() })))
    }
}

impl Redirect {
    fn location(&self, exchange: &Exchange) -> String {
        let path = match &self.path {
            Some(path) => path.fill(exchange),
            None => exchange.uri.path().to_owned(),
        };
        // Two slashes would begin an authority.
        let mut path = format!("/{}", path.trim_start_matches(['/', '\\']));
        if let Some(query) = exchange.uri.query()
            && !path.contains('?')
        {
            path.push('?');
            path.push_str(query);
        }
        if self.scheme.is_none() && self.host.is_none() {
            return path;
        }
        let here = exchange.connection.scheme;
        let scheme = self.scheme.as_deref().unwrap_or(here);
        let host = match &self.host {
            Some(host) => host.fill(exchange),
            None if scheme == here => exchange.authority().to_owned(),
            None => without_port(exchange.authority()).to_owned(),
        };
        format!("{scheme}://{host}{path}")
    }
}

/// An IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
/// What stands in no URI (RFC 3986 §2), nor in a field.
const UNSAFE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    fn location(config: serde_json::Value, host: &str, uri: &str) -> (u16, String) {
        let mut exchange = exchange("GET", uri, &[("host", host)]);
        exchange.set_attribute("page".into(), "/\\evil.net/a b\n".into());
        let Step::Done(Verdict::Respond(reply)) = filter("redirect", config).on_request(&mut exchange) else {
            panic!("answered");
        };
        (reply.status.as_u16(), reply.headers[LOCATION].to_str().expect("text").to_owned())
    }

    #[test]
    fn what_is_left_out_stays() {
        for (config, expected) in [
            (json!({"scheme": "https"}), (302, "https://a.example/x/y?z=1")),
            (json!({"scheme": "https", "status": 308}), (308, "https://a.example/x/y?z=1")),
            (json!({"scheme": "http"}), (302, "http://a.example:8080/x/y?z=1")),
            (json!({"host": "b.example"}), (302, "http://b.example/x/y?z=1")),
            (json!({"path": "/v2${request.path}"}), (302, "/v2/x/y?z=1")),
            (
                json!({"path": "/?from=${request.path}", "host": "www.${request.host}"}),
                (302, "http://www.a.example:8080/?from=/x/y"),
            ),
            (json!({"path": "${attribute.page}"}), (302, "/evil.net/a%20b%0A?z=1")),
        ] {
            let told = config.to_string();
            assert_eq!(location(config, "a.example:8080", "/x/y?z=1"), (expected.0, expected.1.to_owned()), "{told}");
        }
        assert_eq!(location(json!({"scheme": "https"}), "[::1]:80", "/").1, "https://[::1]/");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "clients would be sent where they are"),
            (json!({"path": "/", "status": 200}), "expected"),
            (json!({"scheme": "ftp"}), "expected `http` or `https`"),
            (json!({"path": "/${capture.1}"}), "path: `${capture.1}`"),
        ] {
            let error = faults("redirect", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
