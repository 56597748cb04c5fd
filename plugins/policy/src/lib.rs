//! `builtin:policy`: rules in the Common Expression Language. The README says what rules see and do; how a condition is compiled
//! and evaluated is the SDK's.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::condition::{Condition, Inputs};
use witgate_plugin::config::{HeaderName, HeaderValue};
use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin, log, schemars};

/// What is done with which requests.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// In this order.
    rules: Vec<Rule>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// The rule applies where this expression (CEL) is true.
    when: Condition,
    /// Answer; later rules are not looked at.
    deny: Option<Deny>,
    /// Tell later filters and the upstream.
    tag: Option<Tag>,
    /// Where the request goes, if the route names it; the first rule that applies and names one decides.
    upstream: Option<String>,
    /// What becomes of a request for which the rule cannot be decided.
    #[serde(default)]
    on_error: OnError,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Deny {
    /// From 400 to 599.
    status: u16,
    /// Told to the client.
    detail: String,
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Tag {
    /// For later filters, logs and spans.
    attributes: BTreeMap<String, String>,
    /// For the upstream; stripped from what clients send, on every route.
    headers: BTreeMap<HeaderName, HeaderValue>,
}

/// What becomes of a request for which a rule cannot be decided.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// It is denied.
    #[default]
    Closed,
    /// It passes, as if the rule did not apply.
    Open,
}

/// One attachment.
pub struct Policy {
    inputs: Inputs,
    rules: Vec<Rule>,
}

impl Plugin for Policy {
    type Config = Config;

    fn configure(Config { rules }: Config, setup: &mut Setup) -> Result<Self, Error> {
        for (number, rule) in rules.iter().enumerate() {
            rule.check().map_err(|(key, why)| Error::at(format!("rules[{number}]{key}"), why))?;
            rule.tag.iter().flat_map(|tag| tag.headers.keys()).for_each(|header| setup.own_header(header));
        }
        Ok(Policy { inputs: Inputs::of(rules.iter().map(|rule| &rule.when), setup), rules })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let values = self.inputs.read(request);
        let mut upstream = None;
        for (number, rule) in self.rules.iter().enumerate() {
            match rule.when.holds(&values) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) if rule.on_error == OnError::Open => continue,
                Err(why) => {
                    log::warn(&format!("rules[{number}] cannot be decided, and the request is denied: {why}"));
                    return Reply::problem(403, "the request cannot be judged").into();
                }
            }
            if let Some(deny) = &rule.deny {
                return Reply::problem(deny.status, &deny.detail).into();
            }
            rule.tag.iter().for_each(|tag| tag.apply(request));
            upstream = upstream.or(rule.upstream.as_ref());
        }
        if let Some(upstream) = upstream {
            request.select_upstream(upstream);
        }
        Verdict::Next
    }
}

export_plugin!(Policy: describe, request);

impl Rule {
    /// Or the key that is wrong, and why.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let acts = self.tag.is_some() || self.upstream.is_some();
        match &self.deny {
            Some(deny) if !(400..=599).contains(&deny.status) => Err((".deny.status", "must be from 400 to 599")),
            Some(_) if acts => Err(("", "who is denied is neither tagged nor sent anywhere: make it two rules")),
            None if !acts => Err(("", "does nothing: give `deny`, `tag` or `upstream`")),
            _ => Ok(()),
        }
    }
}

impl Tag {
    fn apply(&self, request: &mut Request<'_>) {
        for (name, value) in &self.attributes {
            request.set_attribute(name, value);
        }
        for (name, value) in &self.headers {
            request.set_header(name, value);
        }
    }
}

impl Default for Deny {
    fn default() -> Self {
        Deny { status: 403, detail: "a policy of this route does not allow it".to_owned() }
    }
}
