//! What conditions read of a request: asked of the gateway, and bound to their names for each request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, Env, Value};
use regex_lite::Regex;
use serde_json::Value as Json;

use super::Condition;
use super::types::Type;
use crate::json::pick_all;
use crate::text::Name;
use crate::{Attribute, Request, RequestValue, Setup};

/// What some conditions read of a request, each thing once. Made when the attachment is configured; see [the module](super).
///
/// ```
/// use witgate_plugin::condition::{Condition, Inputs};
/// use witgate_plugin::{Request, Setup};
///
/// /// Rules that are decided together ask for what they share once.
/// struct Rules {
///     conditions: Vec<Condition>,
///     inputs: Inputs,
/// }
///
/// impl Rules {
///     fn new(conditions: Vec<Condition>, setup: &mut Setup) -> Self {
///         Rules { inputs: Inputs::of(&conditions, setup), conditions }
///     }
///
///     /// The first that holds.
///     fn first(&self, request: &Request) -> Option<usize> {
///         let values = self.inputs.read(request);
///         self.conditions.iter().position(|condition| condition.holds(&values) == Ok(true))
///     }
/// }
/// ```
pub struct Inputs {
    env: Arc<Env>,
    patterns: Arc<BTreeMap<String, Regex>>,
    wanted: Vec<(Input, RequestValue)>,
    /// Members of the attribute `claims` that are wanted, and its key.
    claims: Vec<String>,
    claims_key: Option<Attribute>,
}

/// What a request says to the conditions that asked: see [`Inputs::read`].
///
/// ```
/// use witgate_plugin::condition::{Condition, Values};
///
/// fn all_hold(conditions: &[Condition], values: &Values<'_>) -> bool {
///     conditions.iter().all(|condition| condition.holds(values) == Ok(true))
/// }
/// ```
pub struct Values<'v>(pub(super) Context<'v, 'v>);

/// What a condition reads of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// By which the expression names it.
    pub(super) name: String,
    /// Whether the question is only if it is there.
    is_test: bool,
    form: Form,
    source: Name,
}

/// How text of the request is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Text,
    /// In lower case, without the port.
    Host,
    /// Text, or the JSON that it is.
    Json,
    /// A text of several words.
    Words,
    /// This member of the JSON that it is.
    Member(String),
}

impl Input {
    /// The input that these members lead to; `None` when they lead into one, or past all of them.
    ///
    /// # Errors
    /// They lead to something that requests do not have.
    pub(super) fn at(members: &[String], is_test: bool) -> Result<Option<Self>, String> {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let (form, source) = match members[..] {
            ["request", "host"] => (Form::Host, "request.host".to_owned()),
            ["request", "client_ip"] => (Form::Text, "client.ip".to_owned()),
            ["request", "headers", name] => (Form::Text, format!("request.header.{name}")),
            ["request", "headers"] | ["request" | "params" | "attributes"] => {
                return Err(format!("name what of `{0}` is meant, as in `{0}[\"x\"]`", members.join(".")));
            }
            ["request", part] => (Form::Text, format!("request.{part}")),
            ["route"] => (Form::Text, "route".to_owned()),
            ["params", name] => (Form::Text, format!("param.{name}")),
            ["attributes", name] => (Form::Json, format!("attribute.{name}")),
            [name @ ("claims" | "user")] => (Form::Json, format!("attribute.{name}")),
            ["claims" | "user", name] => (Form::Member(name.to_owned()), "attribute.claims".to_owned()),
            ["scopes"] => (Form::Words, "attribute.scopes".to_owned()),
            _ => return Ok(None),
        };
        let name = if is_test { format!("has({})", members.join(".")) } else { members.join(".") };
        Ok(Some(Input { name, is_test, form, source: Name::parse(&source)? }))
    }

    pub(super) fn of(&self) -> Type {
        match self.form {
            _ if self.is_test => Type::Bool,
            Form::Text | Form::Host => Type::Text,
            Form::Words => Type::List,
            Form::Json | Form::Member(_) => Type::Any,
        }
    }
}

impl Inputs {
    /// Ask for what these conditions read.
    pub fn of<'c>(conditions: impl IntoIterator<Item = &'c Condition>, setup: &mut Setup) -> Self {
        let mut inputs = Inputs {
            env: Arc::new(Env::stdlib()),
            patterns: Arc::default(),
            wanted: Vec::new(),
            claims: Vec::new(),
            claims_key: None,
        };
        let mut patterns = BTreeMap::new();
        for condition in conditions {
            patterns.extend(condition.patterns.clone());
            for input in &condition.inputs {
                if inputs.wanted.iter().all(|(known, _)| known != input) {
                    inputs.want(input, setup);
                }
            }
        }
        inputs.patterns = Arc::new(patterns);
        inputs
    }

    fn want(&mut self, input: &Input, setup: &mut Setup) {
        if let Form::Member(name) = &input.form
            && !self.claims.contains(name)
        {
            self.claims_key = Some(setup.want_attribute("claims"));
            self.claims.push(name.clone());
        }
        self.wanted.push((input.clone(), input.source.want(setup)));
    }

    /// The values of a request. What it does not have stays unbound, and a condition that reads it cannot be decided.
    pub fn read<'v>(&self, request: &Request<'v>) -> Values<'v> {
        let Values(mut context) = Values::none(self.env.clone(), &self.patterns);
        let claims = self.claims_key.and_then(|key| request.attribute(key));
        let claims = claims.and_then(|json| pick_all(json, &self.claims).ok()).unwrap_or_default();
        for (input, value) in &self.wanted {
            let value = match &input.form {
                Form::Member(name) => self
                    .claims
                    .iter()
                    .position(|known| known == name)
                    .and_then(|at| claims.get(at)?.clone())
                    .map(from_json),
                form => value.read(request).map(|text| form.take(&text)),
            };
            let value = if input.is_test { Some(value.is_some().into()) } else { value };
            if let Some(value) = value {
                context.add_variable_from_value(&input.name, value);
            }
        }
        Values(context)
    }
}

impl Values<'_> {
    /// Of no request, so that only what reads none is decided by them.
    pub(super) fn none(env: Arc<Env>, patterns: &Arc<BTreeMap<String, Regex>>) -> Self {
        let mut context = Context::with_env(env);
        if !patterns.is_empty() {
            let patterns = patterns.clone();
            let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
                patterns.get(&*pattern).is_some_and(|regex| regex.is_match(&text))
            };
            context.add_function("matches", matches).expect("the standard library has no `matches`");
        }
        Values(context)
    }
}

impl Form {
    fn take(&self, text: &str) -> Value {
        match self {
            Form::Host => host(text).into(),
            Form::Words => text.split_whitespace().map(Value::from).collect::<Vec<_>>().into(),
            Form::Json if text.starts_with(['{', '[']) => {
                serde_json::from_str(text).map_or_else(|_| text.into(), from_json)
            }
            Form::Text | Form::Json | Form::Member(_) => text.into(),
        }
    }
}

/// A client may write it as it likes.
fn host(authority: &str) -> String {
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    host.map_or(authority, |(host, _)| host).to_ascii_lowercase()
}

/// JSON as CEL sees it; a whole number is an `int`.
fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => truth.into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(from_json).collect::<Vec<_>>().into(),
        Json::Object(members) => {
            members.into_iter().map(|(name, member)| (name, from_json(member))).collect::<HashMap<_, _>>().into()
        }
    }
}
