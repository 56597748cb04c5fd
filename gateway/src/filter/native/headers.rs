//! `headers`: sets, adds and removes fields of requests and responses.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::filter::{Exchange, Filter, Step, Verdict};
use crate::message::is_framing;

/// The filter, checked: applying it cannot fail.
#[derive(Debug)]
pub struct Headers {
    request: Edits,
    response: Edits,
}

/// Removals first, then replacements, then additions.
#[derive(Debug, Default)]
struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeaders {
    #[serde(default)]
    request: RawEdits,
    #[serde(default)]
    response: RawEdits,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawEdits {
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    add: BTreeMap<String, String>,
    #[serde(default)]
    remove: Vec<String>,
}

impl Headers {
    pub fn new(config: &serde_json::Value) -> Result<Self, String> {
        let config = if config.is_null() { &serde_json::json!({}) } else { config };
        let raw: RawHeaders = serde_path_to_error::deserialize(config).map_err(|error| error.to_string())?;
        Ok(Self { request: Edits::new(raw.request)?, response: Edits::new(raw.response)? })
    }
}

impl Filter for Headers {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        self.request.apply(&mut exchange.headers);
        Step::Done(Verdict::Next)
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        self.response.apply(&mut exchange.response.headers);
        Step::Done(Verdict::Next)
    }
}

impl Edits {
    fn new(raw: RawEdits) -> Result<Self, String> {
        let fields = |map: BTreeMap<String, String>| {
            let field = |(name, value): (String, String)| Ok((field_name(&name)?, field_value(&name, &value)?));
            map.into_iter().map(field).collect::<Result<Vec<_>, String>>()
        };
        Ok(Self {
            remove: raw.remove.iter().map(|name| field_name(name)).collect::<Result<_, String>>()?,
            set: fields(raw.set)?,
            add: fields(raw.add)?,
        })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

fn field_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
    if is_framing(&parsed) {
        return Err(format!("`{name}` frames or routes the message and is the gateway's to write"));
    }
    Ok(parsed)
}

fn field_value(name: &str, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|_| format!("the value of `{name}` has characters that no header may carry"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn edits_apply_in_order() {
        let filter =
            Headers::new(&json!({"request": {"remove": ["a"], "set": {"b": "2"}, "add": {"b": "3"}}})).expect("valid");
        let mut headers = HeaderMap::new();
        headers.insert("a", HeaderValue::from_static("1"));
        headers.insert("b", HeaderValue::from_static("1"));
        filter.request.apply(&mut headers);
        assert!(!headers.contains_key("a"));
        assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({"request": {"sett": {}}}), "request.sett"),
            (json!({"response": {"set": {"a b": "1"}}}), "`a b` is not a header name"),
            (json!({"response": {"set": {"a": "1\n"}}}), "value of `a`"),
            (json!({"request": {"remove": ["Content-Length"]}}), "`Content-Length` frames"),
        ] {
            let error = Headers::new(&config).expect_err("invalid");
            assert!(error.contains(expected), "{error}");
        }
    }
}
