//! Checks of `routes`: what a request must be, and what becomes of it.

use std::collections::BTreeMap;

use super::super::fault::Fault;
use super::super::form::{FieldForm, FieldRule, UpstreamForm};
use super::super::model::{FieldMatch, Match, PathMatch, Route, Target};
use super::super::path::At;
use super::super::raw::{Entries, Items, RawMatch, RawPathMatch, RawRoute};
use super::super::scalar::Whole;
use super::upstreams::WEIGHT_MAX;
use super::{Check, Seen, entries, items};
use crate::message::RequestKey;

impl Check<'_> {
    pub(super) fn routes(&mut self, at: &At<'_>, raw: Option<&Items<RawRoute>>) -> Vec<Route> {
        let mut names = Seen::new();
        let mut routes = Vec::with_capacity(raw.map_or(0, Vec::len));
        for (index, raw) in items(raw) {
            let at = at.item(index);
            if let Some(name) = &raw.name
                && let Some(first) = names.before(name.as_str(), index)
            {
                let fault = Fault::value(at.key("name"), format!("the route `{name}` is declared twice"));
                self.duplicate(fault, format!("routes[{first}].name"));
            }
            routes.extend(self.route(&at, raw));
        }
        routes
    }

    fn route(&mut self, at: &At<'_>, raw: &RawRoute) -> Option<Route> {
        let name = self.required(at, "name", raw.name.as_ref());
        if let Some(name) = name {
            self.name(|message| Fault::value(at.key("name"), message), name);
        }
        let matches = raw.matches.as_ref().map(|raw| self.matches(&at.key("match"), raw));
        let filters = self.filters(&at.key("filters"), raw.filters.as_ref());
        let skip = self.skip(&at.key("skip"), raw.skip.as_ref());
        let target = self.target(at, raw);
        let timeout_at = at.key("timeout");
        let timeout = raw.timeout.map(|span| self.duration(&timeout_at, Some(span), span.0));
        let sticky = raw.sticky.as_deref().and_then(|text| self.sticky(&at.key("sticky"), text, target.as_ref()));
        let upgrades = self.upgrades(&at.key("upgrades"), raw.upgrades.as_ref());
        let stream_idle_timeout =
            self.duration(&at.key("stream_idle_timeout"), raw.stream_idle_timeout, Route::STREAM_IDLE_TIMEOUT);
        let tracing_at = at.key("tracing");
        let sample = raw.tracing.as_ref().and_then(|raw| raw.sample);
        let trace_sample = sample.map(|share| self.sample(&tracing_at.key("sample"), Some(share)));
        let priority = raw.priority.map(|priority| self.priority(&at.key("priority"), priority));
        Some(Route {
            name: name?.clone(),
            matches: matches.unwrap_or_default(),
            filters,
            skip,
            target: target?,
            timeout,
            priority: priority.unwrap_or_default(),
            sticky,
            upgrades,
            stream_idle_timeout,
            trace_sample,
        })
    }

    /// Names of protocols (RFC 9110 §7.8), which have no case. A version of HTTP is none of them: behind such an upgrade a client could
    /// say requests that no filter sees.
    fn upgrades(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Vec<String> {
        let Some(raw) = raw else { return Route::UPGRADES.map(str::to_owned).to_vec() };
        let mut upgrades = Vec::new();
        for (index, name) in items(Some(raw)) {
            let at = at.item(index);
            let lower = name.to_ascii_lowercase();
            let base = lower.split('/').next().unwrap_or_default();
            if matches!(base, "h2c" | "h2" | "h3" | "http" | "tls") {
                let fault = Fault::value(at, format!("an upgrade to `{name}` never passes the gateway"));
                self.fault(fault.help("remove it: clients and upstreams choose their version of HTTP without it"));
            } else if lower.split('/').any(|part| http::Method::from_bytes(part.as_bytes()).is_err()) {
                let fault = Fault::value(at, format!("`{name}` is not the name of a protocol"));
                self.fault(fault.help("write it as in `websocket`"));
            }
            upgrades.push(lower);
        }
        upgrades
    }

    fn sticky(&mut self, at: &At<'_>, text: &str, target: Option<&Target>) -> Option<RequestKey> {
        let has_choice = |target: &Target| matches!(target, Target::Upstream(choices) if choices.len() > 1);
        if target.is_some_and(|target| !has_choice(target)) {
            let fault = Fault::key(at, "there is nothing to stay on: this route has no choice of upstreams");
            self.fault(
                fault.help("remove it, or write several with weights, as in `upstream: { users: 95, users-v2: 5 }`"),
            );
        }
        self.request_key(at, text)
    }

    fn priority(&mut self, at: &At<'_>, Whole(number): Whole) -> i32 {
        i32::try_from(number).unwrap_or_else(|_| {
            let message = format!("this number is out of range: a priority lies between {} and {}", i32::MIN, i32::MAX);
            self.fault(Fault::value(at, message));
            0
        })
    }

    fn skip(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Vec<String> {
        let mut skip = Vec::new();
        for (index, name) in items(raw) {
            if !self.names.skippable.admits(name) {
                let fault = Fault::value(
                    at.item(index),
                    format!("`defaults.filters` brings no `{name}` that could be skipped"),
                );
                self.known(fault, name, &self.names.skippable.list());
            }
            skip.push(name.clone());
        }
        skip
    }

    fn target(&mut self, at: &At<'_>, raw: &RawRoute) -> Option<Target> {
        match (&raw.upstream, &raw.respond) {
            (Some(form), None) => self.upstream_target(&at.key("upstream"), form),
            (None, Some(respond)) => Some(Target::Respond(self.respond(&at.key("respond"), respond))),
            (Some(_), Some(_)) => {
                let fault = Fault::key(at.key("respond"), "a route has `upstream` or `respond`, and this one has both");
                self.fault(fault.help("remove one of them"));
                None
            }
            (None, None) => {
                if !self.was_cut(&at.key("upstream")) && !self.was_cut(&at.key("respond")) {
                    let fault = Fault::value(at, "a route has `upstream` or `respond`, and this one has neither");
                    self.fault(fault.help("say what becomes of its requests, as in `upstream: NAME`"));
                }
                None
            }
        }
    }

    fn upstream_target(&mut self, at: &At<'_>, form: &UpstreamForm) -> Option<Target> {
        let weights = match form {
            UpstreamForm::Name(name) => {
                self.upstream_name(name, |message| Fault::value(at, message));
                return Some(Target::Upstream(vec![(name.clone(), 1)]));
            }
            UpstreamForm::Weights(weights) => weights,
        };
        let mut checked = Vec::new();
        for (name, weight) in weights {
            let at = at.key(name);
            self.upstream_name(name, |message| Fault::key(at, message));
            checked.push((name.clone(), self.whole(&at, *weight, 1, 0..=WEIGHT_MAX)));
        }
        if checked.iter().all(|(_, weight)| *weight == 0) {
            let message = match checked.as_slice() {
                [] => "no upstream is named here",
                _ => "every upstream has weight 0, so that none would be used",
            };
            self.fault(Fault::value(at, message));
        }
        Some(Target::Upstream(checked))
    }

    fn upstream_name(&mut self, name: &str, fault: impl FnOnce(String) -> Fault) {
        if !self.names.upstreams.admits(name) {
            let fault = fault(format!("there is no upstream `{name}`"));
            self.known(fault, name, &self.names.upstreams.list());
        }
    }

    fn matches(&mut self, at: &At<'_>, raw: &RawMatch) -> Match {
        let listeners_at = at.key("listeners");
        for (index, name) in items(raw.listeners.as_ref()) {
            if !self.names.listeners.admits(name) {
                let fault = Fault::value(listeners_at.item(index), format!("there is no listener `{name}`"));
                self.known(fault, name, &self.names.listeners.list());
            }
        }
        let path = raw.path.as_ref().and_then(|path| self.path_match(&at.key("path"), path));
        let strings = |raw: Option<&Items<String>>| items(raw).map(|(_, text)| text.clone()).collect();
        Match {
            listeners: strings(raw.listeners.as_ref()),
            hosts: strings(raw.hosts.as_ref()),
            path: path.unwrap_or_default(),
            methods: self.methods(&at.key("methods"), raw.methods.as_ref()),
            headers: self.header_fields(&at.key("headers"), raw.headers.as_ref()),
            query: self.query_fields(&at.key("query"), raw.query.as_ref()),
        }
    }

    fn path_match(&mut self, at: &At<'_>, raw: &RawPathMatch) -> Option<PathMatch> {
        let forms = [
            ("exact", raw.exact.clone().map(PathMatch::Exact)),
            ("prefix", raw.prefix.clone().map(PathMatch::Prefix)),
            ("template", raw.template.clone().map(PathMatch::Template)),
            ("regex", raw.regex.clone().map(PathMatch::Regex)),
        ];
        let (key, form) = self.one_of(at, "path", "remove one of them, or make two routes", forms)?;
        if let PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Template(path) = &form
            && !path.starts_with('/')
        {
            let fault = Fault::value(at.key(key), format!("the path `{path}` does not begin with `/`"));
            self.fault(fault.help(format!("write `/{path}`")));
        }
        Some(form)
    }

    /// Methods are tokens, and capitals matter in them (RFC 9110 §9.1).
    pub(super) fn methods(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Vec<String> {
        const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        let mut methods = Vec::new();
        for (index, method) in items(raw) {
            let at = at.item(index);
            let upper = method.to_ascii_uppercase();
            if http::Method::from_bytes(method.as_bytes()).is_err() {
                self.fault(Fault::value(at, format!("`{method}` is not a valid method")));
            } else if *method != upper && KNOWN.contains(&upper.as_str()) {
                let fault = Fault::value(at, format!("no request has the method `{method}`"));
                self.fault(fault.help("methods are in capitals, as in `GET`"));
            }
            methods.push(method.clone());
        }
        methods
    }

    fn header_fields(&mut self, at: &At<'_>, raw: Option<&Entries<FieldForm>>) -> BTreeMap<String, FieldMatch> {
        let mut fields = BTreeMap::new();
        for (name, form) in entries(raw) {
            let at = at.key(name);
            let lower = self.header_name(&at, name);
            let field = self.field(&at, form);
            if let (Some(lower), Some(field)) = (lower, field)
                && fields.insert(lower.clone(), field).is_some()
            {
                self.header_twice(&at, &lower);
            }
        }
        fields
    }

    fn query_fields(&mut self, at: &At<'_>, raw: Option<&Entries<FieldForm>>) -> BTreeMap<String, FieldMatch> {
        let mut fields = BTreeMap::new();
        for (name, form) in entries(raw) {
            let field = self.field(&at.key(name), form);
            fields.extend(field.map(|field| (name.to_owned(), field)));
        }
        fields
    }

    fn field(&mut self, at: &At<'_>, form: &FieldForm) -> Option<FieldMatch> {
        let rule = match form {
            FieldForm::Equals(value) => return Some(FieldMatch::Equals(value.clone())),
            FieldForm::Rule(rule) => rule,
        };
        match rule {
            FieldRule { regex: Some(regex), present: None } => Some(FieldMatch::Regex(regex.clone())),
            FieldRule { regex: None, present: Some(present) } => Some(FieldMatch::Present(*present)),
            FieldRule { regex: Some(_), present: Some(_) } => {
                let fault =
                    Fault::key(at.key("present"), "a field is matched by `regex` or by `present`, and this has both");
                self.fault(fault.help("remove `present`: what matches a regex is there"));
                None
            }
            FieldRule { regex: None, present: None } => {
                if !self.was_cut(&at.key("regex")) && !self.was_cut(&at.key("present")) {
                    let fault = Fault::value(at, "nothing is said about this field");
                    self.fault(fault.help("write `{ regex: … }`, `{ present: true }` or the value itself"));
                }
                None
            }
        }
    }
}
