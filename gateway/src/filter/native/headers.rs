//! `headers`: sets, adds and removes fields of requests and responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use super::template::Template;
use crate::filter::{Exchange, Filter, Step, Verdict};
use crate::message::is_framing;

/// Fields that are changed on the way. The order is `remove`, `set`, `add`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Headers")]
pub(super) struct Options {
    /// Fields of the request, before it goes to the upstream.
    #[serde(default)]
    request: EditOptions,
    /// Fields of the response, before it goes to the client.
    #[serde(default)]
    response: EditOptions,
}

/// Changes of one message's fields.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HeaderEdits")]
struct EditOptions {
    /// Values by name, in the place of those that are there. They may have `${…}`, which is filled in from the request.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Values by name, beside those that are there. They may have `${…}`, which is filled in from the request.
    #[serde(default)]
    add: BTreeMap<String, String>,
    /// Names of fields that go, with all their values.
    #[serde(default)]
    remove: Vec<String>,
}

/// The filter, checked: applying it cannot fail.
struct Headers {
    request: Edits,
    response: Edits,
}

/// Removals first, then replacements, then additions.
struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
}

enum Value {
    Fixed(HeaderValue),
    Filled(Template),
}

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        Ok(Arc::new(Headers {
            request: Edits::new("request", self.request)?,
            response: Edits::new("response", self.response)?,
        }))
    }
}

impl Filter for Headers {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        self.request.apply(exchange, |exchange| &mut exchange.headers);
        Step::Done(Verdict::Next)
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        self.response.apply(exchange, |exchange| &mut exchange.response.headers);
        Step::Done(Verdict::Next)
    }
}

impl Edits {
    fn new(at: &str, options: EditOptions) -> Result<Self, String> {
        let fields = |key: &str, map: BTreeMap<String, String>| {
            let field = |(name, text): (String, String)| {
                let at = format!("{at}.{key}.{name}");
                Ok((field_name(&at, &name)?, value(&at, &text)?))
            };
            map.into_iter().map(field).collect::<Result<Vec<_>, String>>()
        };
        let removed = options.remove.iter().enumerate();
        Ok(Self {
            remove: removed
                .map(|(index, name)| field_name(&format!("{at}.remove[{index}]"), name))
                .collect::<Result<_, String>>()?,
            set: fields("set", options.set)?,
            add: fields("add", options.add)?,
        })
    }

    fn apply(&self, exchange: &mut Exchange, headers: fn(&mut Exchange) -> &mut HeaderMap) {
        for name in &self.remove {
            headers(exchange).remove(name);
        }
        for (name, value) in &self.set {
            if let Some(value) = value.of(exchange) {
                headers(exchange).insert(name, value);
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.of(exchange) {
                headers(exchange).append(name, value);
            }
        }
    }
}

impl Value {
    /// `None` where what was filled in is no value that a field may carry.
    fn of(&self, exchange: &Exchange) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Filled(template) => HeaderValue::try_from(template.fill(exchange)).ok(),
        }
    }
}

fn field_name(at: &str, name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{at}: `{name}` is not a header name"))?;
    if is_framing(&parsed) {
        return Err(format!("{at}: `{name}` frames or routes the message and is the gateway's to write"));
    }
    Ok(parsed)
}

fn value(at: &str, text: &str) -> Result<Value, String> {
    let template = Template::parse(text).map_err(|why| format!("{at}: {why}"))?;
    match template.text() {
        Some(text) => HeaderValue::from_str(text)
            .map(Value::Fixed)
            .map_err(|_| format!("{at}: the value has characters that no header may carry")),
        None => Ok(Value::Filled(template)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::filter::native::tests::{exchange, faults, filter};
    use crate::filter::{Step, Verdict};

    #[test]
    fn edits_apply_in_order() {
        let filter = filter(
            "headers",
            json!({"request": {"remove": ["a"], "set": {"b": "2"}, "add": {"b": "${request.method} by ${request.header.c}"}}}),
        );
        let mut exchange = exchange("GET", "/", &[("a", "1"), ("b", "1"), ("c", "3")]);
        assert!(matches!(filter.on_request(&mut exchange), Step::Done(Verdict::Next)));
        assert!(!exchange.headers.contains_key("a"));
        assert_eq!(exchange.headers.get_all("b").iter().collect::<Vec<_>>(), ["2", "GET by 3"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({"request": {"sett": {}}}), "unknown key `sett`"),
            (json!({"response": {"set": {"a b": "1"}}}), "response.set.a b: `a b` is not a header name"),
            (json!({"response": {"set": {"a": "1\n"}}}), "response.set.a: the value"),
            (json!({"response": {"add": {"a": "${capture.1}"}}}), "response.add.a: `${capture.1}`"),
            (json!({"request": {"remove": ["Content-Length"]}}), "request.remove[0]: `Content-Length` frames"),
        ] {
            let error = faults("headers", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
