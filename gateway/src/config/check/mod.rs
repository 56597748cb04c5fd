//! Raw to checked: what must hold for a value where it stands, and between values. Later code never checks again.
//!
//! Nothing stops at the first fault. A check that fails notes it and yields `None` or a stand-in; the caller of this room drops the result
//! as soon as there is any fault. Left to later stages: the syntax of hosts, templates and regexes (router), what a plugin thinks of its
//! config (plugin), what a native filter thinks of its own (filter).
//!
//! A message quotes a value as a whole or not at all: `document` knows what came from the environment, but not parts of it, nor other
//! ways to write it.

mod control;
mod filters;
mod grants;
mod listeners;
mod names;
mod overload;
mod plugins;
mod resources;
mod respond;
mod rollout;
mod routes;
mod telemetry;
mod upstreams;
mod traffic;
mod tls;
mod urls;
mod balancing;
mod health;
mod discovery;
mod include;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use self::names::{Kind, Names};
pub use self::plugins::{PLUGIN_MEMORY_MAX, plugin_source};
use super::document::Document;
use super::fault::{Fault, Finding};
use super::model::{ByteSize, Config, Defaults, Runtime};
use super::path::At;
use super::raw::{RawConfig, RawDefaults, RawRuntime};
use super::scalar::{AutoOrWhole, Size, Span, Whole};
use super::suggest::{did_you_mean, nearest};
use crate::message::RequestKey;

/// Names of the filters that are part of the gateway; no plugin may have one of them.
pub const NATIVE_FILTERS: [&str; 12] = [
    "basic-auth",
    "circuit-breaker",
    "compress",
    "cors",
    "forward-auth",
    "headers",
    "ip-access",
    "mirror",
    "rate-limit",
    "redirect",
    "request-limits",
    "timeout",
];

/// Threads beyond which `workers` is taken for a mistake.
const WORKERS_MAX: u64 = 1024;

/// Checks a configuration: `document` is what it came from, `cut` the paths whose faults are known already.
///
/// The configuration counts only if there is no finding here or before.
pub(super) fn check(raw: &RawConfig, document: &Document, cut: &HashSet<String>) -> (Config, Vec<Finding>) {
    let names = Names::of(raw, cut);
    let mut check = Check { document: Some(document), state_dir: None, cut, names, findings: Vec::new() };
    check.state_dir = raw.state_dir.as_ref().map(|path| check.path(&At::ROOT.key("state_dir"), path));
    let at = At::ROOT;
    check.version(&at, raw);
    check.includes(&at.key("include"), raw.include.as_ref());
    let config = Config {
        version: 1,
        follow: check.follow(&at.key("config"), raw.config.as_ref()),
        workers: check.workers(&at.key("workers"), raw.workers),
        state_dir: check.state_dir.clone(),
        runtime: check.runtime(&at.key("runtime"), raw.runtime.as_ref()),
        overload: check.overload(&at.key("overload"), raw.overload.as_ref()),
        admin: raw.admin.as_ref().and_then(|admin| check.admin(&at.key("admin"), admin, raw)),
        probes: raw.probes.as_ref().and_then(|probes| check.probes(&at.key("probes"), probes, raw)),
        drain: check.drain(&at.key("drain"), raw.drain.as_ref()),
        upgrade: check.upgrade(&at.key("upgrade"), raw.upgrade.as_ref()),
        pid_file: raw.pid_file.as_ref().map(|path| check.path(&at.key("pid_file"), path)),
        secrets: check.secrets(&at.key("secrets"), raw.secrets.as_ref()),
        key_sets: check.key_sets(&at.key("key_sets"), raw.key_sets.as_ref()),
        tables: check.tables(&at.key("tables"), raw.tables.as_ref()),
        stores: check.stores(&at.key("stores"), raw.stores.as_ref()),
        limiters: check.limiters(&at.key("limiters"), raw.limiters.as_ref()),
        listeners: check.listeners(&at, raw.listeners.as_ref()),
        plugins: check.plugins(&at.key("plugins"), raw.plugins.as_ref()),
        upstreams: check.upstreams(&at.key("upstreams"), raw.upstreams.as_ref()),
        chains: check.chains(&at.key("chains"), raw.chains.as_ref()),
        defaults: check.defaults(&at.key("defaults"), raw.defaults.as_ref()),
        routes: check.routes(&at.key("routes"), raw.routes.as_ref()),
        telemetry: check.telemetry(&at.key("telemetry"), raw.telemetry.as_ref()),
    };
    (config, check.findings)
}

/// What the checks share. The methods for each part of the configuration stand in the files of that name.
struct Check<'a> {
    /// `None` where a value is from no file.
    document: Option<&'a Document>,
    state_dir: Option<PathBuf>,
    cut: &'a HashSet<String>,
    names: Names<'a>,
    findings: Vec<Finding>,
}

/// The parts that have no file of their own.
impl Check<'_> {
    fn version(&mut self, at: &At<'_>, raw: &RawConfig) {
        if let Some(Whole(version)) = self.required(at, "version", raw.version.as_ref())
            && *version != 1
        {
            let fault = Fault::value(at.key("version"), format!("version {version} of the format is not known"));
            self.fault(fault.help("this gateway reads `version: 1`"));
        }
    }

    fn workers(&mut self, at: &At<'_>, raw: Option<AutoOrWhole>) -> Option<usize> {
        let whole = raw?.0?;
        Some(self.whole(at, Some(whole), 1, 1..=WORKERS_MAX))
    }

    fn runtime(&mut self, at: &At<'_>, raw: Option<&RawRuntime>) -> Runtime {
        let default = Runtime::default();
        let Some(raw) = raw else { return default };
        Runtime {
            slots: self.whole(&at.key("slots"), raw.slots, default.slots, 1..=SLOTS_MAX),
            component: self.size(&at.key("component"), raw.component, default.component, 1),
            compile_timeout: self.duration(&at.key("compile_timeout"), raw.compile_timeout, default.compile_timeout),
            compile_memory: self.size(&at.key("compile_memory"), raw.compile_memory, default.compile_memory, 1),
            parallel_compiles: self.whole(
                &at.key("parallel_compiles"),
                raw.parallel_compiles,
                default.parallel_compiles,
                1..=PARALLEL_COMPILES_MAX,
            ),
            cache: self.size(&at.key("cache"), raw.cache, default.cache, 1),
            request_deadline: self.duration(
                &at.key("request_deadline"),
                raw.request_deadline,
                default.request_deadline,
            ),
        }
    }

    fn defaults(&mut self, at: &At<'_>, raw: Option<&RawDefaults>) -> Defaults {
        let default = Defaults::default();
        let Some(raw) = raw else { return default };
        Defaults {
            filters: self.filters(&at.key("filters"), raw.filters.as_ref()),
            timeout: self.duration(&at.key("timeout"), raw.timeout, default.timeout),
        }
    }
}

/// Memory is reserved for each slot at start; more than this is taken for a mistake.
const SLOTS_MAX: u64 = 100_000;

/// Each compilation may take all of `compile_memory`; more than this is taken for a mistake.
const PARALLEL_COMPILES_MAX: u64 = 64;

/// The checks that are the same everywhere.
impl<'a> Check<'a> {
    fn fault(&mut self, fault: Fault) {
        self.findings.push(fault.into());
    }

    /// Notes something that is there twice, where `first` is the path of the value that has it already.
    fn duplicate(&mut self, fault: Fault, first: String) {
        self.fault(fault.related(first, "first here"));
    }

    /// A key that must be there: notes that it is missing, unless it was cut out.
    fn required<'v, T>(&mut self, at: &At<'_>, key: &str, value: Option<&'v T>) -> Option<&'v T> {
        if value.is_none() && !self.was_cut(&at.key(key)) {
            let fault = Fault::key(at, format!("missing key `{key}`"));
            self.fault(fault.label(format!("`{key}` belongs in here")));
        }
        value
    }

    fn was_cut(&self, at: &At<'_>) -> bool {
        // Most configurations have no fault, and then no path need be written.
        !self.cut.is_empty() && self.cut.contains(&at.to_string())
    }

    /// A whole number that is 0 or more, within `range`.
    fn whole<T: TryFrom<u64> + Copy>(
        &mut self,
        at: &At<'_>,
        raw: Option<Whole>,
        default: T,
        range: RangeInclusive<u64>,
    ) -> T {
        let Some(Whole(number)) = raw else {
            return default;
        };
        let allowed = u64::try_from(number).ok().filter(|number| range.contains(number));
        if let Some(number) = allowed.and_then(|number| T::try_from(number).ok()) {
            return number;
        }
        let (least, most) = range.into_inner();
        let message = if number < 0 || number.unsigned_abs() < least {
            format!("this number is too small: at least {least} is needed")
        } else {
            format!("this number is too large: at most {most} is allowed")
        };
        self.fault(Fault::value(at, message));
        default
    }

    /// A duration that is not zero.
    fn duration(&mut self, at: &At<'_>, raw: Option<Span>, default: Duration) -> Duration {
        let Some(Span(duration)) = raw else {
            return default;
        };
        if duration.is_zero() {
            let fault = Fault::value(at, "a duration of zero would let nothing pass");
            self.fault(fault.help("to be without this limit in effect, write a long duration"));
        }
        duration
    }

    /// A size of at least `least` bytes.
    fn size(&mut self, at: &At<'_>, raw: Option<Size>, default: ByteSize, least: u64) -> ByteSize {
        let Some(Size(size)) = raw else {
            return default;
        };
        if size.0 < least {
            let least = ByteSize(least);
            self.fault(Fault::value(at, format!("this size is too small: at least {least} is needed")));
        }
        size
    }

    /// One of a few words.
    fn word<T: Clone>(&mut self, at: &At<'_>, word: &str, known: &[(&str, T)]) -> Option<T> {
        if let Some((_, meaning)) = known.iter().find(|(name, _)| *name == word) {
            return Some(meaning.clone());
        }
        let names = known.iter().map(|(name, _)| *name);
        let list: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
        let fault = Fault::value(at, format!("expected {}, found `{word}`", list.join(" or ")));
        let meant = nearest(word, names);
        self.fault(Fault { help: meant.map(did_you_mean), ..fault });
        None
    }

    /// The one key of a few that is given, and its value; `what` they say and `remedy` against two of them complete the messages.
    fn one_of<T, const N: usize>(
        &mut self,
        at: &At<'_>,
        what: &str,
        remedy: &str,
        forms: [(&'static str, Option<T>); N],
    ) -> Option<(&'static str, T)> {
        let keys = forms.each_ref().map(|(key, _)| *key);
        let mut given = forms.into_iter().filter_map(|(key, form)| Some((key, form?)));
        let Some((key, form)) = given.next() else {
            if !keys.iter().any(|key| self.was_cut(&at.key(key))) {
                let [others @ .., last] = keys.as_slice() else {
                    return None;
                };
                let others: Vec<String> = others.iter().map(|key| format!("`{key}`")).collect();
                let fault = Fault::key(at, format!("no {what} is given here"));
                self.fault(fault.help(format!("write one of {} and `{last}`", others.join(", "))));
            }
            return None;
        };
        if let Some((other, _)) = given.next() {
            let fault = Fault::key(at.key(other), format!("a {what} is either `{key}` or `{other}`"));
            self.fault(fault.help(remedy));
        }
        Some((key, form))
    }

    /// A reference to something that has been given a name.
    fn known(&mut self, fault: Fault, name: &str, candidates: &[&str]) {
        let help = match nearest(name, candidates.iter().copied()) {
            Some(meant) => Some(did_you_mean(meant)),
            None if (1..=CANDIDATES_LISTED_MAX).contains(&candidates.len()) => {
                Some(format!("there is: {}", candidates.join(", ")))
            }
            None => None,
        };
        self.fault(Fault { help, ..fault });
    }

    /// A reference to one of `secrets`, `key_sets`, `tables`, `stores` or `limiters`.
    fn reference(&mut self, at: &At<'_>, kind: Kind, name: &str) {
        let group = self.names.group(kind);
        if !group.admits(name) {
            let candidates = group.list();
            self.known(Fault::value(at, format!("there is no {} `{name}`", kind.word())), name, &candidates);
        }
    }

    /// What requests are told apart by.
    fn request_key(&mut self, at: &At<'_>, text: &str) -> Option<RequestKey> {
        let key = text.parse();
        if key.is_err() {
            let fault = Fault::value(at, format!("`{text}` is nothing that clients could be told apart by"));
            self.fault(fault.help("write `header:NAME`, `cookie:NAME`, `query:NAME`, `client-ip` or `path`"));
        }
        key.ok()
    }

    /// The syntax of a name: names become metric labels, log fields and parts of file names.
    fn name(&mut self, fault: impl FnOnce(String) -> Fault, name: &str) {
        let mut bytes = name.bytes();
        let begins = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
        let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !begins || !goes_on || name.len() > NAME_BYTES_MAX {
            let fault = fault(format!("`{name}` is not a valid name"));
            self.fault(fault.help(format!(
                "1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, beginning with a letter or a digit"
            )));
        }
    }

    /// A path of the file system: a relative one is meant from the folder of the file that names it.
    fn path(&self, at: &At<'_>, path: &str) -> PathBuf {
        self.document.map_or_else(|| PathBuf::from(path), |document| document.folder(at).join(path))
    }
}

const NAME_BYTES_MAX: usize = 63;

/// Names that are listed where none is near enough to be suggested.
const CANDIDATES_LISTED_MAX: usize = 8;

/// The items of a list that were not cut out, with their paths.
fn items<T>(list: Option<&Vec<Option<T>>>) -> impl Iterator<Item = (usize, &T)> {
    let items = list.into_iter().flatten().enumerate();
    items.filter_map(|(index, item)| Some((index, item.as_ref()?)))
}

/// The entries of a map whose values were not cut out.
fn entries<T>(map: Option<&BTreeMap<String, Option<T>>>) -> impl Iterator<Item = (&str, &T)> {
    let entries = map.into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?)))
}

/// Tells which values were there before: yields the earlier one's place.
struct Seen<K>(HashMap<K, usize>);

impl<K: Hash + Eq> Seen<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// Notes `key` at `index`; yields the index where it was noted first, if it was.
    fn before(&mut self, key: K, index: usize) -> Option<usize> {
        match self.0.entry(key) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(free) => {
                free.insert(index);
                None
            }
        }
    }
}
