//! What rules read of a request: found while they are compiled, asked of the gateway, and bound for each request.

use std::collections::HashMap;

use cel::{Context, Value};
use serde_json::Value as Json;
use witgate_plugin::json::pick_all;
use witgate_plugin::{Attribute, Request, RequestValue, Setup};

/// All inputs of an attachment, each once.
#[derive(Default)]
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    /// Members of the attribute `claims` that inputs want, and its key.
    claims: Vec<String>,
    claims_key: Option<Attribute>,
}

struct Input {
    name: String,
    /// Whether the question is only if it is there.
    is_test: bool,
    source: Source,
}

enum Source {
    Text(RequestValue),
    /// Text in lower case, without the port.
    Host(RequestValue),
    /// Text, or the JSON that it is.
    Json(RequestValue),
    /// A text of several words.
    Words(RequestValue),
    /// By its place in `claims`.
    Claim(usize),
}

impl Inputs {
    /// The variable that stands for these members; `None` when they lead into an input, or past all of them.
    ///
    /// # Errors
    /// They lead to something that requests do not have.
    pub(crate) fn want(&mut self, path: &[String], is_test: bool, setup: &mut Setup) -> Result<Option<String>, String> {
        let members: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut value = |name: &str| RequestValue::of(name, setup);
        let source = match members[..] {
            ["request", "host"] => Source::Host(value("request.host")?),
            ["request", "client_ip"] => Source::Text(value("client.ip")?),
            ["request", "headers", name] => Source::Text(value(&format!("request.header.{name}"))?),
            ["request", "headers"] | ["request" | "params" | "attributes"] => {
                return Err(format!("name what of `{0}` is meant, as in `{0}[\"x\"]`", members.join(".")));
            }
            ["request", part] => Source::Text(value(&format!("request.{part}"))?),
            ["params", name] => Source::Text(value(&format!("param.{name}"))?),
            ["attributes", name] => Source::Json(value(&format!("attribute.{name}"))?),
            ["claims" | "user"] => Source::Json(value(&format!("attribute.{}", members[0]))?),
            ["claims" | "user", name] => Source::Claim(self.want_claim(name, setup)),
            ["scopes"] => Source::Words(value("attribute.scopes")?),
            _ => return Ok(None),
        };
        let name = if is_test { format!("has({})", members.join(".")) } else { members.join(".") };
        if !self.inputs.iter().any(|known| known.name == name) {
            self.inputs.push(Input { name: name.clone(), is_test, source });
        }
        Ok(Some(name))
    }

    fn want_claim(&mut self, name: &str, setup: &mut Setup) -> usize {
        self.claims_key = Some(setup.want_attribute("claims"));
        self.claims.iter().position(|known| known == name).unwrap_or_else(|| {
            self.claims.push(name.to_owned());
            self.claims.len() - 1
        })
    }

    /// What a request does not have stays unbound, and reading it is an error of the rule.
    pub(crate) fn bind(&self, request: &Request<'_>, context: &mut Context<'_, '_>) {
        let claims = self.claims_key.and_then(|key| request.attribute(key));
        let claims = claims.and_then(|json| pick_all(json, &self.claims).ok()).unwrap_or_default();
        for Input { name, is_test, source } in &self.inputs {
            let value = source.read(request, &claims);
            let value = if *is_test { Some(value.is_some().into()) } else { value };
            if let Some(value) = value {
                context.add_variable_from_value(name, value);
            }
        }
    }
}

impl Source {
    fn read(&self, request: &Request<'_>, claims: &[Option<Json>]) -> Option<Value> {
        Some(match self {
            Source::Text(value) => value.read(request)?.into_owned().into(),
            Source::Host(value) => host(&value.read(request)?).into(),
            Source::Json(value) => {
                let text = value.read(request)?;
                let json = serde_json::from_str(&text).ok().filter(|_| text.starts_with(['{', '[']));
                json.map_or_else(|| text.into_owned().into(), cel_value)
            }
            Source::Words(value) => value.read(request)?.split_whitespace().map(Value::from).collect::<Vec<_>>().into(),
            Source::Claim(place) => cel_value(claims.get(*place)?.clone()?),
        })
    }
}

/// A client may write it as it likes.
fn host(authority: &str) -> String {
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    host.map_or(authority, |(host, _)| host).to_ascii_lowercase()
}

/// JSON as CEL sees it; a whole number is an `int`.
fn cel_value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => truth.into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(cel_value).collect::<Vec<_>>().into(),
        Json::Object(members) => {
            members.into_iter().map(|(name, member)| (name, cel_value(member))).collect::<HashMap<_, _>>().into()
        }
    }
}
