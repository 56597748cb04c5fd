//! `cors`: which pages of other origins may use a route (WHATWG Fetch, §3.3).
//!
//! It stands before all other filters: a preflight has no credentials that they could check, and an error that they answer is as
//! much for the page to read as any other response. What the upstream says about it is replaced.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use crate::config::scalar::Span;
use crate::filter::{Exchange, Filter, Reply, Step, Verdict};
use crate::message::has_token;

/// Who may read the responses of a route, and which requests they may make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cors")]
pub(super) struct Options {
    /// Origins: `https://app.example.com`, `https://*.example.com` for all names below one, or `*` for everybody.
    allow_origins: Vec<String>,
    /// Methods beside GET, HEAD and POST, which need no leave; `*` for all. Default: none.
    #[serde(default)]
    allow_methods: Vec<String>,
    /// Request fields that pages may set; `*` for all. Default: none beside those that need no leave.
    #[serde(default)]
    allow_headers: Vec<String>,
    /// Response fields that pages may read beside those that need no leave. Default: none.
    #[serde(default)]
    expose_headers: Vec<String>,
    /// Whether requests may carry cookies and other credentials. Not with the origin `*`. Default: false.
    #[serde(default)]
    allow_credentials: bool,
    /// How long browsers may remember a preflight. Default: as they like.
    max_age: Option<Span>,
}

/// The filter.
struct Cors {
    origins: Vec<Origin>,
    /// `None` for all.
    methods: Option<HeaderValue>,
    /// `None` for all.
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    allow_credentials: bool,
    max_age: Option<Duration>,
}

enum Origin {
    Any,
    /// As browsers write it: in lower case, without a port that is the scheme's own.
    Exact(Box<str>),
    /// What stands before and after the `*`.
    Below {
        scheme: Box<str>,
        domain: Box<str>,
    },
}

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        if self.allow_origins.is_empty() {
            return Err("allow_origins: nobody is allowed anything, as without this filter".to_owned());
        }
        let origins = self.allow_origins.iter().enumerate();
        let origins: Vec<Origin> = origins
            .map(|(at, text)| Origin::parse(text).ok_or_else(|| format!("allow_origins[{at}]: `{text}` is no origin")))
            .collect::<Result<_, _>>()?;
        if self.allow_credentials && origins.iter().any(|origin| matches!(origin, Origin::Any)) {
            return Err("allow_credentials: with the origin `*`, any page could act for its visitors".to_owned());
        }
        let methods = list("allow_methods", &self.allow_methods, |name| Method::from_bytes(name.as_bytes()).is_ok())?;
        let is_field = |name: &str| HeaderName::from_bytes(name.as_bytes()).is_ok();
        let headers = list("allow_headers", &self.allow_headers, is_field)?;
        let expose = list("expose_headers", &self.expose_headers, is_field)?;
        Ok(Arc::new(Cors {
            origins,
            methods,
            headers,
            expose: expose.filter(|expose| !expose.is_empty()),
            allow_credentials: self.allow_credentials,
            max_age: self.max_age.map(|Span(age)| age),
        }))
    }
}

/// A list as one field; `None` where all are meant.
fn list(at: &str, names: &[String], is_name: impl Fn(&str) -> bool) -> Result<Option<HeaderValue>, String> {
    if names.iter().any(|name| name == "*") {
        return Ok(None);
    }
    if let Some((index, name)) = names.iter().enumerate().find(|(_, name)| !is_name(name)) {
        return Err(format!("{at}[{index}]: `{name}` is no valid name"));
    }
    Ok(Some(HeaderValue::try_from(names.join(", ")).expect("names are ASCII")))
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (scheme, host) = text.split_once("://")?;
        let is_plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*\\".contains(&byte))
        };
        let lower = |text: &str| Box::from(text.to_ascii_lowercase());
        match host.strip_prefix('*') {
            Some(domain) if is_plain(scheme) && domain.starts_with('.') && is_plain(domain) => {
                Some(Self::Below { scheme: lower(&format!("{scheme}://")), domain: lower(domain) })
            }
            None if is_plain(scheme) && is_plain(host) => Some(Self::Exact(lower(text))),
            _ => None,
        }
    }

    fn admits(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(known) => **known == *origin,
            Self::Below { scheme, domain } => {
                let below = origin.strip_prefix(&**scheme).and_then(|host| host.strip_suffix(&**domain));
                // Nothing but labels of a name may stand there.
                below.is_some_and(|labels| {
                    !labels.is_empty()
                        && labels.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
                })
            }
        }
    }
}

impl Filter for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn goes_first(&self) -> bool {
        true
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if exchange.method != Method::OPTIONS || !exchange.headers.contains_key(ORIGIN) {
            return Step::Done(Verdict::Next);
        }
        let Some(wanted) = exchange.headers.get(ACCESS_CONTROL_REQUEST_METHOD) else {
            return Step::Done(Verdict::Next);
        };
        let mut headers = HeaderMap::new();
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            headers.append(VARY, HeaderValue::from(name));
        }
        // Who is not allowed anything is told nothing; the browser then refuses the request by itself.
        if self.admitted(exchange).is_some() {
            // `*` is no wildcard with credentials, so that what is asked for is said back.
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.as_ref().unwrap_or(wanted).clone());
            let fields = self.headers.as_ref().or(exchange.headers.get(ACCESS_CONTROL_REQUEST_HEADERS));
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields.clone());
            }
            if let Some(age) = self.max_age {
                headers.insert(ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
            }
        }
        Step::Done(Verdict::Respond(Box::new(Reply {
            status: StatusCode::NO_CONTENT,
            headers,
            body: bytes::Bytes::new(),
        })))
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let admitted = self.admitted(exchange);
        let headers = &mut exchange.response.headers;
        for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
            headers.remove(name);
        }
        // Also where the origin is not allowed: the next one may be, and caches must not mix them up.
        let varies = !self.origins.iter().any(|origin| matches!(origin, Origin::Any));
        if varies && !has_token(headers, &VARY, "origin") {
            headers.append(VARY, HeaderValue::from(ORIGIN));
        }
        if let Some(origin) = admitted {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if self.allow_credentials {
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
            if let Some(expose) = &self.expose {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
        }
        Step::Done(Verdict::Next)
    }
}

impl Cors {
    /// What the request's origin is told, if it is allowed anything.
    fn admitted(&self, exchange: &Exchange) -> Option<HeaderValue> {
        let value = exchange.headers.get(ORIGIN)?;
        let origin = value.to_str().ok()?;
        let admitting = self.origins.iter().find(|known| known.admits(origin))?;
        Some(if matches!(admitting, Origin::Any) { HeaderValue::from_static("*") } else { value.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    fn allowed(config: serde_json::Value, origin: &str) -> Option<String> {
        let filter = filter("cors", config);
        let mut exchange = exchange("GET", "/", &[("origin", origin)]);
        assert!(matches!(filter.on_request(&mut exchange), Step::Done(Verdict::Next)));
        assert!(matches!(filter.on_response(&mut exchange), Step::Done(Verdict::Next)));
        let value = exchange.response.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(value.to_str().expect("text").to_owned())
    }

    #[test]
    fn origins_are_matched_whole() {
        let named = || json!({"allow_origins": ["https://App.example.com", "https://*.example.org", "http://a:8080"]});
        for origin in ["https://app.example.com", "https://a.example.org", "https://b.a.example.org", "http://a:8080"] {
            assert_eq!(allowed(named(), origin).as_deref(), Some(origin));
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com.evil.net",
            "https://example.org",
            "https://evil.net/.example.org",
            "https://evilexample.org",
            "http://a",
            "null",
        ] {
            assert_eq!(allowed(named(), origin), None, "{origin}");
        }
        assert_eq!(allowed(json!({"allow_origins": ["*"]}), "null").as_deref(), Some("*"));
    }

    #[test]
    fn a_preflight_is_answered_and_other_options_pass() {
        let config = json!({
            "allow_origins": ["https://a.example"], "allow_methods": ["PUT"], "allow_headers": ["*"],
            "allow_credentials": true, "max_age": "10m",
        });
        let filter = filter("cors", config);
        let fields = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, x-b"),
        ];
        let mut preflight = exchange("OPTIONS", "/", &fields);
        let Step::Done(Verdict::Respond(reply)) = filter.on_request(&mut preflight) else { panic!("answered") };
        let field = |name: HeaderName| reply.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
        assert_eq!(field(ACCESS_CONTROL_ALLOW_METHODS), Some("PUT"));
        assert_eq!(field(ACCESS_CONTROL_ALLOW_HEADERS), Some("x-a, x-b"));
        assert_eq!(field(ACCESS_CONTROL_MAX_AGE), Some("600"));
        let mut plain = exchange("OPTIONS", "/", &fields[..1]);
        assert!(matches!(filter.on_request(&mut plain), Step::Done(Verdict::Next)));
        let mut foreign = exchange("OPTIONS", "/", &[("origin", "https://b.example"), fields[1]]);
        let Step::Done(Verdict::Respond(reply)) = filter.on_request(&mut foreign) else { panic!("answered") };
        assert!(!reply.headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "`allow_origins` is missing"),
            (json!({"allow_origins": []}), "allow_origins: nobody"),
            (json!({"allow_origins": ["a.example"]}), "allow_origins[0]: `a.example`"),
            (json!({"allow_origins": ["https://*example.com"]}), "allow_origins[0]"),
            (json!({"allow_origins": ["https://a.example/"]}), "allow_origins[0]"),
            (json!({"allow_origins": ["*"], "allow_credentials": true}), "allow_credentials: with"),
            (json!({"allow_origins": ["*"], "allow_headers": ["a b"]}), "allow_headers[0]: `a b`"),
        ] {
            let error = faults("cors", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
