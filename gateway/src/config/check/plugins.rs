//! Checks of `plugins`: sources, digests, limits. Whether a component exists and what it exports is for the loader to say.

use std::collections::BTreeMap;

use super::super::fault::Fault;
use super::super::model::{ByteSize, Isolation, Plugin, PluginLimits, PluginSource};
use super::super::path::At;
use super::super::raw::{Entries, RawPlugin, RawPluginLimits};
use super::{Check, NATIVE_FILTERS, entries};

/// What the pooling allocator reserves for each linear memory.
pub const PLUGIN_MEMORY_MAX: ByteSize = ByteSize::mib(64);

/// One page of WebAssembly memory, the least that an instance can have.
const PLUGIN_MEMORY_BYTES_MIN: u64 = 64 << 10;

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
        let source = self.required(at, "source", raw.source.as_ref());
        let source = source.and_then(|source| self.source(&at.key("source"), source));
        let sha256 = raw.sha256.as_deref().map(|text| self.digest(&at.key("sha256"), text));
        let isolation = raw.isolation.as_deref().and_then(|word| {
            let known = [("shared", Isolation::Shared), ("fresh", Isolation::Fresh)];
            self.word(&at.key("isolation"), word, &known)
        });
        let limits = self.plugin_limits(&at.key("limits"), raw.limits.as_ref());
        Some(Plugin { source: source?, sha256, isolation: isolation.unwrap_or_default(), limits })
    }

    fn source(&mut self, at: &At<'_>, text: &str) -> Option<PluginSource> {
        let help = match text.split_once(':') {
            Some(("builtin", name)) if !name.is_empty() => {
                return Some(PluginSource::Builtin(name.to_owned()));
            }
            Some(("file", path)) if !path.is_empty() => {
                return Some(PluginSource::File(self.path(path)));
            }
            Some(("builtin" | "file", _)) => "say which one: `builtin:NAME` or `file:PATH`".to_owned(),
            Some((kind @ ("cargo" | "https" | "oci"), _)) => {
                format!("`{kind}:` is not supported yet: build or fetch the component, and write `file:PATH`")
            }
            _ if text.ends_with(".wasm") => format!("for a file write `file:{text}`"),
            _ => "write `builtin:NAME` or `file:PATH`".to_owned(),
        };
        let fault = Fault::value(at, format!("`{text}` is not a source that a plugin can be loaded from"));
        self.fault(fault.help(help));
        None
    }

    /// Yields zeros where the text is no digest, since the fault says enough.
    fn digest(&mut self, at: &At<'_>, text: &str) -> [u8; 32] {
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

    fn plugin_limits(&mut self, at: &At<'_>, raw: Option<&RawPluginLimits>) -> PluginLimits {
        let default = PluginLimits::default();
        let Some(raw) = raw else { return default };
        let memory = self.size(&at.key("memory"), raw.memory, default.memory, PLUGIN_MEMORY_BYTES_MIN);
        if memory > PLUGIN_MEMORY_MAX {
            let message = format!("this size is too large: at most {PLUGIN_MEMORY_MAX} is allowed");
            self.fault(Fault::value(at.key("memory"), message));
        }
        PluginLimits {
            memory,
            deadline: self.duration(&at.key("deadline"), raw.deadline, default.deadline),
            timeout: self.duration(&at.key("timeout"), raw.timeout, default.timeout),
            instances: self.whole(&at.key("instances"), raw.instances, default.instances, 1..=u64::from(u32::MAX)),
            reply: self.size(&at.key("reply"), raw.reply, default.reply, 1),
            log_lines: self.whole(&at.key("log_lines"), raw.log_lines, default.log_lines, 0..=u64::from(u32::MAX)),
        }
    }
}
