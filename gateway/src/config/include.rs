//! `include`: files of others, and the bounds that they are held to.
//!
//! What a file within bounds says is judged before it becomes part of the whole, on its tree: it may hold routes, upstreams and chains, and
//! those may use what the file brings itself and what `allow` names. A route that names no hosts or listeners gets all those that are
//! allowed. A tree whose shape is wrong passes here: `typed` tells more about that.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::check::NATIVE_FILTERS;
use super::fault::{Fault, Finding, Include};
use super::path::At;
use super::raw::{RawAllow, RawInclude};
use super::texts::{Text, glance};

/// One entry of `include`, as far as it can be read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) include: Arc<Include>,
    pub(super) allow: Option<RawAllow>,
}

impl Entry {
    /// `folder` is that of the file that it stands in.
    pub(super) fn read(value: &Value, folder: &std::path::Path) -> Option<Self> {
        let RawInclude { path, allow, on_fault } = RawInclude::deserialize(value).ok()?;
        let pattern = folder.join(path.filter(|path| !path.is_empty())?);
        let keeps_last = on_fault.as_deref() == Some("keep-last");
        Some(Self { include: Arc::new(Include { pattern, keeps_last }), allow })
    }
}

/// The patterns that a text includes, each with its folder.
pub(super) fn patterns(text: &Text) -> Vec<PathBuf> {
    let Some(root) = glance(text) else { return Vec::new() };
    let entries = root.get("include").and_then(Value::as_sequence);
    let entries = entries.into_iter().flatten().filter_map(|entry| Entry::read(entry, &text.folder));
    entries.map(|entry| entry.include.pattern.clone()).collect()
}

/// Names that the files of one include bring themselves.
#[derive(Debug, Default)]
pub(super) struct Brought {
    upstreams: BTreeSet<String>,
    chains: BTreeSet<String>,
}

impl Brought {
    pub(super) fn note(&mut self, root: &Value) {
        let keys = |section: &str| {
            let map = root.get(section).and_then(Value::as_mapping);
            map.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str).map(str::to_owned)
        };
        self.upstreams.extend(keys("upstreams"));
        self.chains.extend(keys("chains"));
    }
}

/// Holds the tree of file number `file` to its bounds: notes what lies outside, and fills in hosts and listeners.
pub(super) fn hold(root: &mut Value, file: usize, allow: &RawAllow, brought: &Brought, findings: &mut Vec<Finding>) {
    let mut bounds = Bounds { allow, brought, file, findings };
    let Value::Mapping(map) = root else { return };
    map.retain(|key, _| {
        let key = key.as_str().unwrap_or_default();
        let is_within = SECTIONS.contains(&key);
        if !is_within {
            let fault = Fault::key(At::ROOT.key(key), format!("`{key}` lies outside the bounds of this file"));
            let help = "it may hold `routes`, `upstreams` and `chains`; ask who includes it for the rest";
            bounds.note(fault.help(help));
        }
        is_within
    });
    let at = At::ROOT;
    if let Some(Value::Mapping(chains)) = map.get("chains") {
        let at = at.key("chains");
        for (name, list) in chains {
            bounds.filters(list, &at.key(name.as_str().unwrap_or_default()));
        }
    }
    if let Some(Value::Mapping(upstreams)) = map.get("upstreams") {
        let at = at.key("upstreams");
        for (name, upstream) in upstreams {
            bounds.discovery(upstream, &at.key(name.as_str().unwrap_or_default()).key("discovery"));
        }
    }
    if let Some(Value::Sequence(routes)) = map.get_mut("routes") {
        let at = at.key("routes");
        for (index, route) in routes.iter_mut().enumerate() {
            bounds.route(route, &at.item(index));
        }
    }
}

/// What a file within bounds may hold at top level.
const SECTIONS: [&str; 4] = ["version", "routes", "upstreams", "chains"];

struct Bounds<'a> {
    allow: &'a RawAllow,
    brought: &'a Brought,
    file: usize,
    findings: &'a mut Vec<Finding>,
}

impl Bounds<'_> {
    fn route(&mut self, route: &mut Value, at: &At<'_>) {
        let Value::Mapping(route) = route else { return };
        self.matches(route, &at.key("match"));
        if let Some(filters) = route.get("filters") {
            self.filters(filters, &at.key("filters"));
        }
        let target_at = at.key("upstream");
        match route.get("upstream") {
            Some(Value::String(name)) => self.upstream(name, Fault::value(target_at, String::new())),
            Some(Value::Mapping(weights)) => {
                for name in weights.keys().filter_map(Value::as_str) {
                    self.upstream(name, Fault::key(target_at.key(name), String::new()));
                }
            }
            _ => {}
        }
        let skip_at = at.key("skip");
        for (index, name) in texts(route.get("skip")) {
            let allowed = names(self.allow.skip.as_ref());
            self.one_of("filter", name, &allowed, "skip", Fault::value(skip_at.item(index), String::new()));
        }
    }

    fn matches(&mut self, route: &mut Mapping, at: &At<'_>) {
        let hosts = names(self.allow.hosts.as_ref());
        let listeners = names(self.allow.listeners.as_ref());
        if hosts.is_empty() && listeners.is_empty() {
            return;
        }
        let matches = route.entry("match".into()).or_insert_with(|| Mapping::new().into());
        let Value::Mapping(matches) = matches else { return };
        for (key, allowed) in [("hosts", hosts), ("listeners", listeners)] {
            if allowed.is_empty() {
                continue;
            }
            let at = at.key(key);
            let given: Vec<(usize, String)> =
                texts(matches.get(key)).map(|(index, text)| (index, text.to_owned())).collect();
            // An empty list means any, as no list does.
            let is_open = matches.get(key).is_none_or(|list| list.as_sequence().is_some_and(Vec::is_empty));
            if is_open {
                matches.insert(key.into(), allowed.iter().map(|name| Value::from(*name)).collect());
            }
            for (index, text) in given {
                let fault = Fault::value(at.item(index), String::new());
                match key {
                    "hosts" if allowed.iter().any(|host| is_within(&text, host)) => {}
                    "hosts" => self.outside("host", &text, &allowed, fault),
                    _ => self.one_of("listener", &text, &allowed, "listeners", fault),
                }
            }
        }
    }

    /// Whoever names the server must not name whose secret it is shown.
    fn discovery(&mut self, upstream: &Value, at: &At<'_>) {
        for key in ["password", "token"] {
            if upstream.get("discovery").is_some_and(|discovery| discovery.get(key).is_some()) {
                let message = format!("the secret of `{key}` lies outside the bounds of this file");
                self.note(Fault::key(at.key(key), message).help("ask who includes it to bring this upstream"));
            }
        }
    }

    fn filters(&mut self, list: &Value, at: &At<'_>) {
        for (index, filter) in list.as_sequence().into_iter().flatten().enumerate() {
            let at = at.item(index);
            if let Some(name) = filter.get("use").and_then(Value::as_str)
                && !NATIVE_FILTERS.contains(&name)
            {
                let allowed = names(self.allow.plugins.as_ref());
                self.one_of("plugin", name, &allowed, "plugins", Fault::value(at.key("use"), String::new()));
            }
            if let Some(name) = filter.get("chain").and_then(Value::as_str)
                && !self.brought.chains.contains(name)
            {
                let allowed = names(self.allow.chains.as_ref());
                self.one_of("chain", name, &allowed, "chains", Fault::value(at.key("chain"), String::new()));
            }
            // The one native filter that sends requests elsewhere by name.
            if let (Some("mirror"), Some(name)) =
                (filter.get("use").and_then(Value::as_str), filter.get("config").and_then(|c| c.get("upstream")))
                && let Some(name) = name.as_str()
            {
                self.upstream(name, Fault::value(at.key("config").key("upstream"), String::new()));
            }
        }
    }

    fn upstream(&mut self, name: &str, fault: Fault) {
        if !self.brought.upstreams.contains(name) {
            let allowed = names(self.allow.upstreams.as_ref());
            self.one_of("upstream", name, &allowed, "upstreams", fault);
        }
    }

    fn one_of(&mut self, what: &str, name: &str, allowed: &[&str], key: &str, fault: Fault) {
        if !allowed.contains(&name) {
            let help = if allowed.is_empty() {
                format!("`allow` names no {key}")
            } else {
                format!("allowed here: {}", allowed.join(", "))
            };
            let message = format!("the {what} `{name}` lies outside the bounds of this file");
            self.note(Fault { message, ..fault }.help(help));
        }
    }

    fn outside(&mut self, what: &str, name: &str, allowed: &[&str], fault: Fault) {
        let message = format!("the {what} `{name}` lies outside the bounds of this file");
        self.note(Fault { message, ..fault }.help(format!("allowed here: {}", allowed.join(", "))));
    }

    fn note(&mut self, fault: Fault) {
        self.findings.push(Finding::of_file(self.file, fault));
    }
}

/// Whether every request for `host` is one for `allowed`, where either may be a wildcard.
fn is_within(host: &str, allowed: &str) -> bool {
    let lower = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (host, allowed) = (lower(host), lower(allowed));
    let below = |parent: &str| host.strip_suffix(parent).is_some_and(|front| front.ends_with('.') && front.len() > 1);
    host == allowed || allowed == "*" || allowed.strip_prefix("*.").is_some_and(below)
}

fn names(list: Option<&Vec<Option<String>>>) -> Vec<&str> {
    list.into_iter().flatten().flatten().map(String::as_str).collect()
}

/// The items of a list that are text.
fn texts(list: Option<&Value>) -> impl Iterator<Item = (usize, &str)> {
    let items = list.and_then(Value::as_sequence).into_iter().flatten().enumerate();
    items.filter_map(|(index, item)| Some((index, item.as_str()?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_allows_what_is_below_it() {
        for (host, allowed) in [
            ("a.example.com", "a.example.com"),
            ("A.example.com.", "a.example.com"),
            ("x.example.com", "*.example.com"),
            ("x.y.example.com", "*.example.com"),
            ("*.y.example.com", "*.example.com"),
            ("*.example.com", "*.example.com"),
            ("any", "*"),
        ] {
            assert!(is_within(host, allowed), "{host} {allowed}");
        }
        for (host, allowed) in [
            ("b.example.com", "a.example.com"),
            ("example.com", "*.example.com"),
            ("xexample.com", "*.example.com"),
            (".example.com", "*.example.com"),
            ("*.com", "*.example.com"),
            ("*", "*.example.com"),
        ] {
            assert!(!is_within(host, allowed), "{host} {allowed}");
        }
    }

    fn held(text: &str, allow: &str) -> (Value, Vec<String>) {
        let mut root: Value = serde_yaml::from_str(text).unwrap();
        let allow: RawAllow = serde_yaml::from_str(allow).unwrap();
        let mut brought = Brought::default();
        brought.note(&root);
        let mut findings = Vec::new();
        hold(&mut root, 1, &allow, &brought, &mut findings);
        (root, findings.into_iter().map(|one| one.fault.path).collect())
    }

    #[test]
    fn a_route_without_hosts_or_listeners_gets_those_that_are_allowed() {
        let (root, outside) =
            held("routes: [{ name: a }, { name: b, match: { hosts: [] } }]", "{ hosts: [h], listeners: [l] }");
        assert_eq!(root, serde_yaml::from_str::<Value>("routes: [{ name: a, match: { hosts: [h], listeners: [l] } }, { name: b, match: { hosts: [h], listeners: [l] } }]").unwrap());
        assert!(outside.is_empty());
    }

    #[test]
    fn what_is_not_allowed_and_not_its_own_is_outside() {
        let text = "
admin: {}
upstreams: { own: {} }
chains: { mine: [{ use: jwt }, { use: spy }, { chain: public }, { chain: secret }] }
routes:
- { name: a, match: { hosts: [b], listeners: [x] }, upstream: own, filters: [{ chain: mine }, { use: headers }], skip: [jwt] }
- { name: b, upstream: { own: 1, theirs: 1, shared: 1 }, filters: [{ use: mirror, config: { upstream: theirs } }] }
";
        let (_, outside) =
            held(text, "{ hosts: [a], listeners: [l], plugins: [jwt], chains: [public], upstreams: [shared] }");
        assert_eq!(
            outside,
            [
                "admin",
                "chains.mine[1].use",
                "chains.mine[3].chain",
                "routes[0].match.hosts[0]",
                "routes[0].match.listeners[0]",
                "routes[0].skip[0]",
                "routes[1].filters[0].config.upstream",
                "routes[1].upstream.theirs",
            ]
        );
    }
}
