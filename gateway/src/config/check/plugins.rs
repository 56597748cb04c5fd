//! Checks of `plugins`: sources, digests, keys, limits. Whether a component exists and what it exports is for the loader to say.

use std::collections::{BTreeMap, HashSet};

use super::super::fault::Fault;
use super::super::model::{ByteSize, Isolation, Plugin, PluginLimits, PluginSource, Recycle, Reload};
use super::super::path::At;
use super::super::raw::{Entries, RawConfig, RawPlugin, RawPluginLimits, RawRecycle};
use super::super::scalar::SpanOrNever;
use super::names::Names;
use super::{Check, NATIVE_FILTERS, entries};

/// What the pooling allocator reserves for each linear memory.
pub const PLUGIN_MEMORY_MAX: ByteSize = ByteSize::mib(64);

/// One page of WebAssembly memory, the least that an instance can have.
const PLUGIN_MEMORY_BYTES_MIN: u64 = 64 << 10;

/// Characters of a minisign public key.
const PUBLIC_KEY_CHARS: usize = 56;

/// Reads a source as `plugins.NAME.source` takes it, from elsewhere than a file.
///
/// # Errors
/// What is wrong with it, and the remedy.
pub fn plugin_source(text: &str) -> Result<PluginSource, String> {
    let (raw, cut) = (RawConfig::default(), HashSet::new());
    let mut check =
        Check { document: None, state_dir: None, cut: &cut, names: Names::of(&raw, &cut), findings: Vec::new() };
    let source = check.source(&At::ROOT, text, true);
    match (source, check.findings.pop()) {
        (Some(source), None) => Ok(source),
        (_, fault) => Err(fault.map(|found| found.fault).map_or_else(String::new, |fault| match fault.help {
            Some(help) => format!("{}: {help}", fault.message),
            None => fault.message,
        })),
    }
}

impl Check<'_> {
    pub(super) fn plugins(&mut self, at: &At<'_>, raw: Option<&Entries<RawPlugin>>) -> BTreeMap<String, Plugin> {
        let mut plugins = BTreeMap::new();
        for (name, raw) in entries(raw) {
            let at = at.key(name);
            self.name(|message| Fault::key(at, message), name);
            if NATIVE_FILTERS.contains(&name) {
                let fault = Fault::key(at, format!("`{name}` is the name of a native filter"));
                self.fault(fault.help("give the plugin another name"));
            }
            plugins.extend(self.plugin(&at, raw).map(|plugin| (name.to_owned(), plugin)));
        }
        plugins
    }

    fn plugin(&mut self, at: &At<'_>, raw: &RawPlugin) -> Option<Plugin> {
        let is_signed = raw.public_key.is_some() || self.was_cut(&at.key("public_key"));
        let is_pinned = is_signed || raw.sha256.is_some() || self.was_cut(&at.key("sha256"));
        let source = self.required(at, "source", raw.source.as_ref());
        let source = source.and_then(|source| self.source(&at.key("source"), source, is_pinned));
        let sha256 = raw.sha256.as_deref().map(|text| self.digest(&at.key("sha256"), text));
        if let Some(key) = &raw.public_key {
            self.public_key(&at.key("public_key"), key);
        }
        let reload = raw.reload.as_deref().and_then(|word| self.reload(&at.key("reload"), word, source.as_ref()));
        let isolation = raw.isolation.as_deref().and_then(|word| {
            let known = [("shared", Isolation::Shared), ("fresh", Isolation::Fresh)];
            self.word(&at.key("isolation"), word, &known)
        });
        let recycle = self.recycle(&at.key("recycle"), raw.recycle.as_ref());
        let limits = self.plugin_limits(&at.key("limits"), raw.limits.as_ref());
        let grants = raw.grants.as_ref().map(|grants| self.grants(&at.key("grants"), grants));
        let canary = raw.canary.as_ref().map(|canary| self.canary(&at.key("canary"), canary, is_signed));
        Some(Plugin {
            source: source?,
            sha256,
            public_key: raw.public_key.clone(),
            reload: reload.unwrap_or_default(),
            isolation: isolation.unwrap_or_default(),
            recycle,
            limits,
            grants: grants.unwrap_or_default(),
            canary: canary.flatten(),
        })
    }

    /// `is_pinned`: whether a digest or a key tells that what was fetched is what was meant.
    pub(super) fn source(&mut self, at: &At<'_>, text: &str, is_pinned: bool) -> Option<PluginSource> {
        let help = match text.split_once(':') {
            Some(("builtin", name)) if !name.is_empty() => {
                return Some(PluginSource::Builtin(name.to_owned()));
            }
            Some(("file", path)) if !path.is_empty() => {
                return Some(PluginSource::File(self.path(at, path)));
            }
            Some(("cargo", path)) if !path.is_empty() => {
                return Some(PluginSource::Cargo(self.path(at, path)));
            }
            Some(("https" | "http", _)) => {
                let url = self.fetched(at, text)?;
                if !is_pinned {
                    let fault = Fault::value(at, "nothing tells whether what is fetched is what you meant");
                    self.fault(fault.help("add its digest (`sha256: …`) or its author's key (`public_key: …`)"));
                }
                return Some(PluginSource::Https { url });
            }
            Some(("builtin" | "file" | "cargo", _)) => {
                "say which one: `builtin:NAME`, `file:PATH` or `cargo:DIR`".to_owned()
            }
            Some(("oci", _)) => "`oci:` is not supported yet: fetch the component, and write `file:PATH`".to_owned(),
            _ if text.ends_with(".wasm") => format!("for a file write `file:{text}`"),
            _ => "write `builtin:NAME`, `file:PATH` or `https://HOST/PATH`".to_owned(),
        };
        let fault = Fault::value(at, format!("`{text}` is not a source that a plugin can be loaded from"));
        self.fault(fault.help(help));
        None
    }

    fn reload(&mut self, at: &At<'_>, word: &str, source: Option<&PluginSource>) -> Option<Reload> {
        let reload = self.word(at, word, &[("manual", Reload::Manual), ("watch", Reload::Watch)])?;
        if reload == Reload::Watch && source.is_some_and(|source| !matches!(source, PluginSource::File(_))) {
            let fault = Fault::value(at, "only a file can be watched, and `source` is none");
            self.fault(fault.help("remove it, or write `source: file:PATH`"));
        }
        Some(reload)
    }

    /// The base64 line of a minisign key: `Ed`, eight bytes of a number, 32 bytes of the key.
    fn public_key(&mut self, at: &At<'_>, text: &str) {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        // 42 bytes become 56 characters without padding, and `Ed` becomes what the first three say.
        let begins = text.starts_with("RW") && matches!(text.as_bytes().get(2), Some(b'Q'..=b'T'));
        if text.len() != PUBLIC_KEY_CHARS || !begins || !text.bytes().all(is_base64) {
            let fault = Fault::value(at, "this is not a minisign public key");
            self.fault(fault.help("write the second line of the `.pub` file that `minisign -G` makes"));
        }
    }

    /// Yields zeros where the text is no digest, since the fault says enough.
    pub(super) fn digest(&mut self, at: &At<'_>, text: &str) -> [u8; 32] {
        let mut digest = [0; 32];
        let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
        let mut pairs = text.bytes().map(nibble);
        let is_read = text.len() == 64
            && digest.iter_mut().all(|byte| match (pairs.next(), pairs.next()) {
                (Some(Some(high)), Some(Some(low))) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            });
        if !is_read {
            let fault = Fault::value(at, "this is not a SHA-256 digest");
            self.fault(fault.help("write 64 hexadecimal digits, as `sha256sum` prints them"));
        }
        digest
    }

    fn recycle(&mut self, at: &At<'_>, raw: Option<&RawRecycle>) -> Recycle {
        let default = Recycle::default();
        let Some(raw) = raw else { return default };
        let (age_at, memory_at) = (at.key("age"), at.key("memory"));
        let age =
            raw.age.map_or(default.age, |SpanOrNever(age)| age.map(|age| self.duration(&age_at, Some(age), age.0)));
        let memory = raw.memory.map(|size| self.size(&memory_at, Some(size), size.0, PLUGIN_MEMORY_BYTES_MIN));
        Recycle { uses: self.whole(&at.key("uses"), raw.uses, default.uses, 1..=u64::MAX), age, memory }
    }

    fn plugin_limits(&mut self, at: &At<'_>, raw: Option<&RawPluginLimits>) -> PluginLimits {
        let default = PluginLimits::default();
        let Some(raw) = raw else { return default };
        let memory = self.size(&at.key("memory"), raw.memory, default.memory, PLUGIN_MEMORY_BYTES_MIN);
        if memory > PLUGIN_MEMORY_MAX {
            let message = format!("this size is too large: at most {PLUGIN_MEMORY_MAX} is allowed");
            self.fault(Fault::value(at.key("memory"), message));
        }
        let u32_max = u64::from(u32::MAX);
        PluginLimits {
            memory,
            deadline: self.duration(&at.key("deadline"), raw.deadline, default.deadline),
            timeout: self.duration(&at.key("timeout"), raw.timeout, default.timeout),
            instances: self.whole(&at.key("instances"), raw.instances, default.instances, 1..=u32_max),
            reply: self.size(&at.key("reply"), raw.reply, default.reply, 1),
            log_lines: self.whole(&at.key("log_lines"), raw.log_lines, default.log_lines, 0..=u32_max),
            parked: self.whole(&at.key("parked"), raw.parked, default.parked, 1..=u32_max),
            tables: self.whole(&at.key("tables"), raw.tables, default.tables, 1..=u32_max),
            host_calls: self.whole(&at.key("host_calls"), raw.host_calls, default.host_calls, 1..=u32_max),
            host_bytes: self.size(&at.key("host_bytes"), raw.host_bytes, default.host_bytes, 1),
            outbound_calls: self.whole(
                &at.key("outbound_calls"),
                raw.outbound_calls,
                default.outbound_calls,
                1..=u32_max,
            ),
            body: self.size(&at.key("body"), raw.body, default.body, 1),
            attributes: self.whole(&at.key("attributes"), raw.attributes, default.attributes, 1..=u32_max),
            metrics: self.whole(&at.key("metrics"), raw.metrics, default.metrics, 1..=u32_max),
            span_attributes: self.whole(
                &at.key("span_attributes"),
                raw.span_attributes,
                default.span_attributes,
                0..=u32_max,
            ),
            handles: self.whole(&at.key("handles"), raw.handles, default.handles, 1..=u32_max),
            restarts: self.whole(&at.key("restarts"), raw.restarts, default.restarts, 1..=u32_max),
        }
    }
}
