//! The plugins of a snapshot: declared ones are loaded, used ones are configured, unchanged ones are carried over.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::HeaderName;

use super::Snapshot;
use super::resources::{Resources, with_remedy};
use crate::config::model::{self as config, Config, PluginSource};
use crate::config::{At, Fault};
use crate::filter::{Filter, OnError, PluginFilter, Policy};
use crate::plugin::{Attachment, Declaration, Digest, Failure, Grants, Isolation, Limits, LoadError, Runtime, Version};

/// The plugins of the snapshot that is being built.
pub(super) struct Plugins<'b> {
    config: &'b Config,
    previous: Option<&'b Snapshot>,
    runtime: &'b Runtime,
    resources: &'b Resources,
    declarations: Vec<Arc<Declaration>>,
    places: BTreeMap<&'b str, usize>,
    attachments: HashMap<Key, Arc<Attachment>>,
    /// The previous snapshot's, until they are used again.
    carried: HashMap<Key, Arc<Attachment>>,
    /// What plugins refused; a fault of the configuration goes elsewhere.
    refusals: Vec<Fault>,
}

/// A declaration, by identity, and a config.
type Key = (*const Declaration, Box<str>);

/// What a snapshot keeps of its plugins.
pub(super) struct Loaded {
    pub(super) declarations: Vec<Arc<Declaration>>,
    pub(super) attachments: Vec<Arc<Attachment>>,
    pub(super) owned_headers: Vec<HeaderName>,
}

impl<'b> Plugins<'b> {
    pub(super) fn new(
        config: &'b Config,
        previous: Option<&'b Snapshot>,
        runtime: &'b Runtime,
        resources: &'b Resources,
    ) -> Self {
        Self {
            config,
            previous,
            runtime,
            resources,
            declarations: Vec::new(),
            places: BTreeMap::new(),
            attachments: HashMap::new(),
            carried: previous
                .into_iter()
                .flat_map(|previous| &previous.attachments)
                .map(|old| ((Arc::as_ptr(&old.declaration), old.config().into()), old.clone()))
                .collect(),
            refusals: Vec::new(),
        }
    }

    /// Loads every declared plugin. A component that several declare, or that the previous snapshot runs, is loaded once.
    pub(super) async fn load(&mut self, faults: &mut Vec<Fault>) {
        let mut versions: HashMap<Digest, Arc<Version>> = self
            .previous
            .into_iter()
            .flat_map(|previous| &previous.plugins)
            .map(|old| (old.version.digest(), old.version.clone()))
            .collect();
        for (name, raw) in &self.config.plugins {
            let declared = self.version(raw, &mut versions).await.and_then(|version| {
                let grants = self.resources.grants(&raw.grants, self.runtime.trust());
                grants.check(&version)?;
                Ok(self.declaration(name, raw, version, grants))
            });
            match declared {
                Ok(declaration) => {
                    self.places.insert(name, self.declarations.len());
                    self.declarations.push(declaration);
                }
                Err(error) => {
                    let fault = self.source_fault(name, &error);
                    match error {
                        LoadError::UnknownBuiltin { .. } => faults.push(fault),
                        _ => self.refusals.push(fault),
                    }
                }
            }
        }
    }

    /// Configures a plugin for a route, or finds the attachment that has the same plugin and config already.
    ///
    /// `at` is the entry of the filter list, `route` the route it serves. `None` when something is wrong, which is noted.
    pub(super) async fn attach(
        &mut self,
        name: &str,
        config: &serde_json::Value,
        on_error: config::OnError,
        at: &At<'_>,
        route: &str,
    ) -> Option<Arc<dyn Filter>> {
        let place = *self.places.get(name)?;
        let declaration = self.declarations[place].clone();
        let config: Box<str> = config.to_string().into();
        let key = (Arc::as_ptr(&declaration), config.clone());
        let known = self.attachments.get(&key).cloned().or_else(|| self.carried.remove(&key));
        let attachment = match known {
            Some(attachment) => attachment,
            None => match Attachment::configure(self.runtime, declaration, config).await {
                Ok(attachment) => Arc::new(attachment),
                Err(failure) => {
                    self.refusals.push(config_fault(name, route, &at.key("config"), &failure));
                    return None;
                }
            },
        };
        self.attachments.insert(key, attachment.clone());
        let policy = policy(on_error);
        if policy_is_open(policy) && !attachment.setup.may_fail_open {
            let message =
                format!("plugin `{name}` on route `{route}` may not fail open: it does not declare `may-fail-open`");
            self.refusals.push(Fault::value(at.key("on_error"), message).help("leave `on_error` closed"));
        }
        Some(Arc::new(PluginFilter::new(attachment, place, policy)))
    }

    pub(super) fn finish(self) -> Result<Loaded, Vec<Fault>> {
        if !self.refusals.is_empty() {
            return Err(self.refusals);
        }
        let mut owned_headers: Vec<HeaderName> =
            self.attachments.values().flat_map(|attachment| attachment.setup.owned_headers.iter().cloned()).collect();
        owned_headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        owned_headers.dedup();
        Ok(Loaded {
            declarations: self.declarations,
            attachments: self.attachments.into_values().collect(),
            owned_headers,
        })
    }

    async fn version(
        &self,
        raw: &config::Plugin,
        versions: &mut HashMap<Digest, Arc<Version>>,
    ) -> Result<Arc<Version>, LoadError> {
        let component: Cow<'static, [u8]> = match &raw.source {
            PluginSource::Builtin(name) => Version::builtin(name)?.into(),
            PluginSource::File(path) => Version::read(path, self.config.runtime.component.0)?.into(),
            PluginSource::Https { url } => {
                let error = std::io::Error::new(std::io::ErrorKind::Unsupported, "nothing fetches it yet");
                return Err(LoadError::Read { path: url.clone(), error });
            }
        };
        let digest = Digest::of(&component);
        if let Some(pinned) = raw.sha256.map(Digest::from)
            && pinned != digest
        {
            return Err(LoadError::Digest { found: digest, pinned });
        }
        if let Some(version) = versions.get(&digest) {
            return Ok(version.clone());
        }
        let version = Arc::new(Version::load(self.runtime, &component, digest).await?);
        versions.insert(digest, version.clone());
        Ok(version)
    }

    /// The previous snapshot's declaration when nothing about it changed: its pools stay warm.
    fn declaration(&self, name: &str, raw: &config::Plugin, version: Arc<Version>, grants: Grants) -> Arc<Declaration> {
        let isolation = match raw.isolation {
            config::Isolation::Shared => Isolation::Shared,
            config::Isolation::Fresh => Isolation::Fresh,
        };
        let limits = Limits {
            memory_bytes: raw.limits.memory.in_memory(),
            deadline: raw.limits.deadline,
            timeout: raw.limits.timeout,
            instances: raw.limits.instances,
            reply_bytes: raw.limits.reply.in_memory(),
            log_lines: raw.limits.log_lines,
            host_calls: raw.limits.host_calls,
            outbound_calls: raw.limits.outbound_calls,
            handles: raw.limits.handles as usize,
            metrics: raw.limits.metrics,
        };
        let old = self.previous.into_iter().flat_map(|previous| &previous.plugins).find(|old| {
            *old.name == *name
                && old.version.digest() == version.digest()
                && old.isolation == isolation
                && old.limits == limits
                && old.grants.same_as(&grants)
        });
        old.cloned().unwrap_or_else(|| {
            Arc::new(Declaration { name: name.into(), version, isolation, limits, grants: Arc::new(grants) })
        })
    }

    fn source_fault(&self, name: &str, error: &LoadError) -> Fault {
        let message = match error {
            LoadError::Read { error, .. } => format!("cannot read plugin `{name}`: {error}"),
            LoadError::TooLarge { size_bytes, .. } => format!(
                "plugin `{name}` has {size_bytes} bytes, more than `runtime.component: {}` allows",
                self.config.runtime.component
            ),
            other => format!("plugin `{name}` cannot be loaded: {other}"),
        };
        with_remedy(Fault::value(At::ROOT.key("plugins").key(name).key("source"), message), error)
    }
}

fn config_fault(name: &str, route: &str, at: &At<'_>, failure: &Failure) -> Fault {
    let message = match failure {
        Failure::Configure(words) => format!("plugin `{name}` refuses its config on route `{route}`: {words}"),
        other => format!("plugin `{name}` failed in `configure` on route `{route}`: it {other}"),
    };
    Fault::value(at, message)
}

fn policy(on_error: config::OnError) -> Policy {
    let one = |failure| match failure {
        config::Failure::Closed => OnError::Closed,
        config::Failure::Open => OnError::Open,
    };
    Policy { load: one(on_error.load), trap: one(on_error.trap), deadline: one(on_error.deadline) }
}

fn policy_is_open(policy: Policy) -> bool {
    [policy.load, policy.trap, policy.deadline].contains(&OnError::Open)
}
