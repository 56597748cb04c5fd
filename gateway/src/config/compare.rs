//! What differs between two configurations, as a reload would take it: entries that come, go or change, and in those the values that do.
//!
//! Whether an entry differs is told by its checked values, so that a default that somebody writes out is no difference. What differs in it is
//! told in the words of the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_yaml::Value;

use super::load::Loaded;
use super::mask::MASK;
use super::model::{Config, FilterUse};

/// One entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `route`, `upstream` …; or a key of the top level.
    pub what: String,
    pub name: Option<String>,
    /// `added`, `removed`, `changed`, `reordered`.
    pub kind: &'static str,
    pub details: Vec<Detail>,
    /// How many details there are beyond those.
    pub more: usize,
    /// What else there is to know.
    pub note: Option<String>,
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// Below the entry; empty for the entry itself.
    pub path: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// What would change if `new` took the place of `old`.
pub fn compare(old: &Loaded, new: &Loaded) -> Vec<Change> {
    Compared { old: &old.config, new: &new.config, loaded: Some((old, new)), changes: Vec::new() }.all()
}

/// The same without the values, for those who have no texts: what differs beside the named entries is one change of the `settings`.
pub fn compare_entries(old: &Config, new: &Config) -> Vec<Change> {
    Compared { old, new, loaded: None, changes: Vec::new() }.all()
}

fn named<T>(list: &[T], name: impl Fn(&T) -> &String) -> BTreeMap<&str, &T> {
    list.iter().map(|one| (name(one).as_str(), one)).collect()
}

struct Compared<'a> {
    old: &'a Config,
    new: &'a Config,
    /// Where their values are found.
    loaded: Option<(&'a Loaded, &'a Loaded)>,
    changes: Vec<Change>,
}

impl<'a> Compared<'a> {
    fn all(mut self) -> Vec<Change> {
        let (a, b) = (self.old, self.new);
        self.rest();
        self.list(
            "listeners",
            "listener",
            &named(&a.listeners, |one| &one.name),
            &named(&b.listeners, |one| &one.name),
        );
        self.map("secrets", "secret", &a.secrets, &b.secrets);
        self.map("key_sets", "key set", &a.key_sets, &b.key_sets);
        self.map("tables", "table", &a.tables, &b.tables);
        self.map("stores", "store", &a.stores, &b.stores);
        self.map("limiters", "limiter", &a.limiters, &b.limiters);
        self.map("plugins", "plugin", &a.plugins, &b.plugins);
        self.map("upstreams", "upstream", &a.upstreams, &b.upstreams);
        self.map("chains", "chain", &a.chains, &b.chains);
        self.list("routes", "route", &named(&a.routes, |one| &one.name), &named(&b.routes, |one| &one.name));
        self.order();
        self.changes
    }

    fn map<T: PartialEq>(&mut self, key: &str, what: &str, old: &'a BTreeMap<String, T>, new: &'a BTreeMap<String, T>) {
        let borrowed = |map: &'a BTreeMap<String, T>| map.iter().map(|(name, one)| (name.as_str(), one)).collect();
        self.list(key, what, &borrowed(old), &borrowed(new));
    }

    fn list<T: PartialEq>(&mut self, key: &str, what: &str, old: &BTreeMap<&str, &T>, new: &BTreeMap<&str, &T>) {
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        let of = |loaded: Option<&'a Loaded>| loaded.map_or_else(HashMap::new, |loaded| entries(&loaded.tree, key));
        let (was, is) = (of(self.loaded.map(|(old, _)| old)), of(self.loaded.map(|(_, new)| new)));
        for name in names {
            let kind = match (old.get(name), new.get(name)) {
                (None, _) => "added",
                (_, None) => "removed",
                (Some(old), Some(new)) if old == new => continue,
                _ => "changed",
            };
            let (before, after) = (was.get(name).copied(), is.get(name).copied());
            let details = if kind == "changed" { self.details(before, after) } else { Vec::new() };
            self.note(what, Some(name), kind, details);
        }
    }

    /// All that is no list of named entries.
    fn rest(&mut self) {
        if !settings_differ(self.old, self.new) {
            return;
        }
        let Some((old, new)) = self.loaded else { return self.note("settings", None, "changed", Vec::new()) };
        let keys = |tree: &'a Value| {
            let map = tree.as_mapping();
            map.into_iter().flat_map(|map| map.keys()).filter_map(Value::as_str)
        };
        let keys: BTreeSet<&str> = keys(&old.tree).chain(keys(&new.tree)).collect();
        for key in keys.into_iter().filter(|key| !SECTIONS.contains(key)) {
            let (before, after) = (old.tree.get(key), new.tree.get(key));
            let details = self.details(before, after);
            if !details.is_empty() {
                let kind = match (before, after) {
                    (None, _) => "added",
                    (_, None) => "removed",
                    _ => "changed",
                };
                self.note(key, None, kind, details);
            }
        }
    }

    /// The order of routes decides between those that are alike.
    fn order(&mut self) {
        let names = |config: &'a Config| config.routes.iter().map(|route| route.name.as_str());
        let new: BTreeSet<&str> = names(self.new).collect();
        let old: BTreeSet<&str> = names(self.old).collect();
        let before = names(self.old).filter(|name| new.contains(name));
        let after = names(self.new).filter(|name| old.contains(name));
        if !before.eq(after) {
            self.note("routes", None, "reordered", Vec::new());
        }
    }

    fn note(&mut self, what: &str, name: Option<&str>, kind: &'static str, mut details: Vec<Detail>) {
        let more = details.len().saturating_sub(DETAILS_MAX);
        details.truncate(DETAILS_MAX);
        let note = match (what, name) {
            ("chain", Some(name)) if kind == "changed" => {
                let uses = |list: &Vec<FilterUse>| list.contains(&FilterUse::Chain(name.to_owned()));
                let routes = self.new.routes.iter().filter(|route| uses(&route.filters)).count();
                Some(format!("{routes} routes name it"))
            }
            ("workers" | "state_dir" | "runtime", _) => Some("takes effect after a restart".to_owned()),
            _ => None,
        };
        let name = name.map(str::to_owned);
        self.changes.push(Change { what: what.to_owned(), name, kind, details, more, note });
    }

    fn details(&self, old: Option<&Value>, new: Option<&Value>) -> Vec<Detail> {
        let mut details = Vec::new();
        let Some((known, next)) = self.loaded else { return details };
        differences(String::new(), old, new, &mut |path, old, new| {
            let is_secret = ["password", "secret", "token"].iter().any(|name| path.ends_with(name));
            let shown = |value: Option<&Value>, loaded: &Loaded| {
                let text = loaded.document.conceal(short(value?));
                let is_plain = !is_secret || text.contains("secret://");
                Some(if is_plain { without_password(text) } else { MASK.to_owned() })
            };
            details.push(Detail { old: shown(old, known), new: shown(new, next), path });
        });
        details
    }
}

/// Whether anything differs beside the named entries.
fn settings_differ(old: &Config, new: &Config) -> bool {
    // By name, so that a new field has to find its place.
    let Config {
        version,
        follow,
        workers,
        state_dir,
        runtime,
        overload,
        admin,
        probes,
        drain,
        upgrade,
        pid_file,
        defaults,
        telemetry,
        secrets: _,
        key_sets: _,
        tables: _,
        stores: _,
        limiters: _,
        listeners: _,
        plugins: _,
        upstreams: _,
        chains: _,
        routes: _,
    } = old;
    (version, follow, workers, state_dir, runtime, overload)
        != (&new.version, &new.follow, &new.workers, &new.state_dir, &new.runtime, &new.overload)
        || (admin, probes, drain, upgrade, pid_file, defaults, telemetry)
            != (&new.admin, &new.probes, &new.drain, &new.upgrade, &new.pid_file, &new.defaults, &new.telemetry)
}

const SECTIONS: [&str; 11] = [
    "listeners",
    "secrets",
    "key_sets",
    "tables",
    "stores",
    "limiters",
    "plugins",
    "upstreams",
    "chains",
    "routes",
    // Files that are included may change hands without a difference.
    "include",
];

/// The entries of a section by their names.
fn entries<'t>(tree: &'t Value, section: &str) -> HashMap<&'t str, &'t Value> {
    match tree.get(section) {
        Some(Value::Sequence(items)) => {
            items.iter().filter_map(|item| Some((item.get("name")?.as_str()?, item))).collect()
        }
        Some(Value::Mapping(map)) => map.iter().filter_map(|(name, one)| Some((name.as_str()?, one))).collect(),
        _ => HashMap::new(),
    }
}

/// Hears of a value that differs: its path, what it was and what it is.
type Tell<'t> = dyn FnMut(String, Option<&Value>, Option<&Value>) + 't;

/// Calls with each value that differs, and its path.
fn differences(path: String, old: Option<&Value>, new: Option<&Value>, tell: &mut Tell<'_>) {
    match (old, new) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Mapping(a)), Some(Value::Mapping(b))) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(key)));
            for key in keys {
                let name = key.as_str().unwrap_or("?");
                let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                differences(below, a.get(key), b.get(key), tell);
            }
        }
        (Some(Value::Sequence(a)), Some(Value::Sequence(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(format!("{path}[{index}]"), Some(a), Some(b), tell);
            }
        }
        _ => tell(path, old, new),
    }
}

/// On one line, and not more than somebody reads.
fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    };
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn without_password(text: String) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text };
    match rest.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{before}://{user}:{MASK}@{host}"),
        None => text,
    }
}

const DETAILS_MAX: usize = 20;
const SHOWN_CHARS_MAX: usize = 120;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_text;

    const BASE: &str = "version: 1\nlisteners: [{ name: http, address: 127.0.0.1:80 }]\n\
        upstreams: { u: { endpoints: [{ url: http://a }] } }\nchains: { c: [{ use: compress }] }\n\
        stores: { s: { redis: 'redis://me:hunter2@h' } }\n\
        routes:\n- { name: a, filters: [{ chain: c }], upstream: u }\n- { name: b, upstream: u, timeout: 5s }\n";

    fn load(text: &str) -> Loaded {
        load_text(Path::new("a.yaml"), text.to_owned(), &|name| (name == "T").then(|| "7s".to_owned())).unwrap()
    }

    /// As `KIND WHAT NAME: PATH OLD -> NEW`.
    fn changes(old: &str, new: &str) -> Vec<String> {
        let told = compare(&load(old), &load(new)).into_iter().map(|change| {
            let details = change.details.iter().map(|detail| {
                format!(
                    ": {} {} -> {}",
                    detail.path,
                    detail.old.as_deref().unwrap_or("-"),
                    detail.new.as_deref().unwrap_or("-")
                )
            });
            let name = change.name.as_deref().unwrap_or("*");
            format!("{} {} {name}{}", change.kind, change.what, details.collect::<String>())
        });
        told.collect()
    }

    #[test]
    fn only_what_makes_a_difference_is_told() {
        assert!(changes(BASE, BASE).is_empty());
        let spelt =
            BASE.replace("http://a", "http://a:80").replace("version: 1", "# more words\nversion: 1\nworkers: auto");
        assert!(changes(BASE, &spelt).is_empty(), "a default that is written out");
        let other = BASE
            .replace("timeout: 5s", "timeout: '${env:T}'")
            .replace("compress", "cors")
            .replace("hunter2", "hunter3")
            .replace("{ u:", "{ v: { endpoints: [{ url: http://b }] }, u:")
            .replace("version: 1", "version: 1\nworkers: 2");
        assert_eq!(
            changes(BASE, &other),
            [
                "added workers *:  - -> 2",
                "changed store s: redis redis://me:<masked>@h -> redis://me:<masked>@h",
                "added upstream v",
                "changed chain c: [0].use compress -> cors",
                "changed route b: timeout 5s -> ${env:T}",
            ]
        );
        assert_eq!(changes(&other, BASE)[2], "removed upstream v");
        let by_entries = compare_entries(&load(BASE).config, &load(&other).config);
        let told = by_entries.iter().map(|change| (change.kind, &*change.what, change.name.as_deref()));
        let chain = ("changed", "chain", Some("c"));
        assert!(
            told.clone().any(|change| change == chain) && by_entries.iter().all(|change| change.details.is_empty())
        );
        assert_eq!(told.count(), 5, "{by_entries:?}");
    }

    #[test]
    fn another_order_of_routes_is_a_difference() {
        let lines: Vec<&str> = BASE.lines().collect();
        let turned = [&lines[..6], &[lines[7], lines[6]]].concat().join("\n");
        assert_eq!(changes(BASE, &turned), ["reordered routes *"]);
    }
}
