//! What conditions read of a request: asked of the gateway, and bound to their names for each request.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cel::common::types::{CelBool, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::extractors::This;
use cel::{Context, Env, Value};
use regex_lite::Regex;
use serde_json::Value as Json;

use super::Condition;
use super::types::Type;
use crate::credential::Keyring;
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
    wanted: Vec<(Input, RequestValue)>,
    /// Members of the attribute `claims` that are wanted, and its key.
    claims: Vec<String>,
    claims_key: Option<Attribute>,
    /// What they are in the claims that were read last: to read them takes as long as to decide.
    known: Mutex<Keyring<Arc<Members>>>,
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
pub struct Values<'v> {
    inputs: &'v Inputs,
    /// One for each that is wanted, in the same order.
    read: Vec<Read<'v>>,
    claims: Option<&'v str>,
    /// The wanted members of `claims`, once one is looked at.
    members: OnceLock<Arc<Members>>,
}

/// The values of the members that are wanted, in their order.
type Members = Vec<Option<Boxed<'static>>>;

/// What stands in the request, and what it is to a condition once one looks at it.
struct Read<'v> {
    text: Option<Cow<'v, str>>,
    value: OnceLock<Option<Boxed<'v>>>,
}

type Boxed<'v> = Box<dyn Val + 'v>;

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
            wanted: Vec::new(),
            claims: Vec::new(),
            claims_key: None,
            known: Mutex::default(),
        };
        for condition in conditions {
            for input in &condition.inputs {
                if inputs.wanted.iter().all(|(known, _)| known != input) {
                    inputs.want(input, setup);
                }
            }
        }
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

    /// The values of a request. What it does not have is not there for conditions either, and one that reads it cannot be decided.
    pub fn read<'v>(&'v self, request: &Request<'v>) -> Values<'v> {
        let text = |value: &RequestValue| Read { text: value.read(request), value: OnceLock::new() };
        Values {
            inputs: self,
            read: self.wanted.iter().map(|(_, value)| text(value)).collect(),
            claims: self.claims_key.and_then(|key| request.attribute(key)),
            members: OnceLock::new(),
        }
    }

    fn members_of(&self, claims: &str) -> Arc<Members> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = known.get(claims) {
            return members.clone();
        }
        let picked = pick_all(claims, &self.claims).unwrap_or_default();
        let members = picked.into_iter().map(|member| member.map(|json| boxed(from_json(json))));
        let members: Arc<Members> = Arc::new(members.collect());
        if claims.len() <= KNOWN_BYTES_MAX {
            if known.len() == KNOWN_MAX {
                *known = Keyring::default();
            }
            known.insert(claims, members.clone());
        }
        members
    }

    /// The values of no request: only what reads none is decided by them.
    pub(super) fn nothing(&self) -> Values<'_> {
        Values { inputs: self, read: Vec::new(), claims: None, members: OnceLock::new() }
    }
}

impl Values<'_> {
    /// What an expression with these patterns is evaluated in.
    pub(super) fn context(&self, patterns: &Arc<BTreeMap<String, Regex>>) -> Context<'_, '_> {
        let mut context = Context::with_env(self.inputs.env.clone());
        context.set_variable_resolver(self);
        if !patterns.is_empty() {
            let patterns = patterns.clone();
            let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
                patterns.get(&*pattern).is_some_and(|regex| regex.is_match(&text))
            };
            context.add_function("matches", matches).expect("the standard library has no `matches`");
        }
        context
    }

    /// A member of `claims`.
    fn member(&self, name: &str) -> Option<&Boxed<'_>> {
        let claims = self.claims?;
        let members = self.members.get_or_init(|| self.inputs.members_of(claims));
        let at = self.inputs.claims.iter().position(|known| known == name)?;
        members.get(at)?.as_ref()
    }
}

impl VariableResolver for Values<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let at = self.inputs.wanted.iter().position(|(input, _)| input.name == name)?;
        let (input, _) = &self.inputs.wanted[at];
        let value = match &input.form {
            Form::Member(name) => self.member(name),
            form => {
                let Read { text, value } = self.read.get(at)?;
                value.get_or_init(|| text.clone().map(|text| form.take(text))).as_ref()
            }
        };
        match input.is_test {
            true => Some(CowVal::owned(CelBool::from(value.is_some()))),
            false => value.map(|value| CowVal::Borrowed(&**value)),
        }
    }
}

impl Form {
    fn take<'t>(&self, text: Cow<'t, str>) -> Boxed<'t> {
        match self {
            Form::Host => Box::new(CelString::from(host(&text))),
            Form::Words => boxed(text.split_whitespace().map(Value::from).collect::<Vec<_>>().into()),
            Form::Json if text.starts_with(['{', '[']) => match serde_json::from_str(&text) {
                Ok(json) => boxed(from_json(json)),
                Err(_) => Form::Text.take(text),
            },
            Form::Text | Form::Json | Form::Member(_) => match text {
                Cow::Borrowed(text) => Box::new(CelString::from(text)),
                Cow::Owned(text) => Box::new(CelString::from(text)),
            },
        }
    }
}

fn boxed<'v>(value: Value) -> Boxed<'v> {
    value.try_into().expect("a value of a kind that JSON has can be boxed")
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

/// Of so many claims, each of so many bytes at most, is known what stands in them.
const KNOWN_MAX: usize = 256;
const KNOWN_BYTES_MAX: usize = 2 << 10;
