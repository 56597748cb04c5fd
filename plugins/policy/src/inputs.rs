//! What rules read of a request: found while they are compiled, asked of the gateway, and bound for each request.

use std::collections::HashMap;

use cel::{Context, Value};
use serde_json::Value as Json;
use witgate_plugin::json::pick_all;
use witgate_plugin::{Attribute, Param, Part, Request, RequestHeader, Setup};

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
    Part(Part),
    Host(Part),
    Path(Part),
    Query(Part),
    Header(RequestHeader),
    Param(Param),
    /// Text, or the JSON that it is.
    Attribute(Attribute),
    /// A text of several words.
    Words(Attribute),
    /// By its place in `claims`.
    Claim(usize),
}

impl Inputs {
    /// The variable that stands for these members; `None` when they lead into an input, or past all of them.
    ///
    /// # Errors
    /// They lead to something that requests do not have.
    pub(crate) fn want(
        &mut self,
        members: &[String],
        is_test: bool,
        setup: &mut Setup,
    ) -> Result<Option<String>, String> {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let source = match members[..] {
            ["request", "method"] => Source::Part(setup.want_method()),
            ["request", "scheme"] => Source::Part(setup.want_scheme()),
            ["request", "host"] => Source::Host(setup.want_authority()),
            ["request", "client_ip"] => Source::Part(setup.want_client()),
            ["request", "path"] => Source::Path(setup.want_path()),
            ["request", "query"] => Source::Query(setup.want_path()),
            ["request", "headers", name] => Source::Header(setup.want_request_header(name)),
            ["params", name] => Source::Param(setup.want_param(name)),
            ["attributes", name] => Source::Attribute(setup.want_attribute(name)),
            ["claims"] => Source::Attribute(setup.want_attribute("claims")),
            ["user"] => Source::Attribute(setup.want_attribute("user")),
            ["claims" | "user", name] => Source::Claim(self.want_claim(name, setup)),
            ["scopes"] => Source::Words(setup.want_attribute("scopes")),
            ["request", "headers"] | ["params" | "attributes"] => {
                return Err(format!("name what of `{0}` is meant, as in `{0}[\"x\"]`", members.join(".")));
            }
            ["request"] | ["request", _] => {
                return Err(format!("a request has no `{}`: see the README", members[1..].join("")));
            }
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
        match self {
            Source::Part(key) => Some(request.part(*key).into()),
            Source::Host(key) => Some(host(request.part(*key)).into()),
            Source::Path(key) => Some(request.path(*key).into()),
            Source::Query(key) => Some(request.query(*key).unwrap_or_default().into()),
            Source::Header(key) => {
                // Several are one, as if they had come in one line (RFC 9110 §5.3).
                let values: Vec<_> = request.headers(*key).map(String::from_utf8_lossy).collect();
                (!values.is_empty()).then(|| values.join(", ").into())
            }
            Source::Param(key) => request.param(*key).map(Value::from),
            Source::Attribute(key) => request.attribute(*key).map(|text| match text.starts_with(['{', '[']) {
                true => serde_json::from_str(text).map_or_else(|_| text.into(), value),
                false => text.into(),
            }),
            Source::Words(key) => {
                request.attribute(*key).map(|text| text.split_whitespace().map(Value::from).collect::<Vec<_>>().into())
            }
            Source::Claim(place) => claims.get(*place).cloned().flatten().map(value),
        }
    }
}

/// Without the port, and in lower case: a client may write it as it likes.
fn host(authority: &str) -> String {
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    host.map_or(authority, |(host, _)| host).to_ascii_lowercase()
}

/// JSON as CEL sees it; a whole number is an `int`.
fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => truth.into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(value).collect::<Vec<_>>().into(),
        Json::Object(members) => {
            members.into_iter().map(|(name, member)| (name, value(member))).collect::<HashMap<_, _>>().into()
        }
    }
}
