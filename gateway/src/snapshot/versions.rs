//! Which component serves a plugin: from its source, or, when that fails, the one that served last; compiled once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::Snapshot;
use crate::config::model::{ByteSize, PluginSource};
use crate::plugin::{Digest, LoadError, Runtime, Version};

/// Versions for the snapshot that is being built.
pub struct Versions<'b> {
    runtime: &'b Runtime,
    component_max: ByteSize,
    known: HashMap<Digest, Arc<Version>>,
}

impl<'b> Versions<'b> {
    /// Those that `previous` runs are at hand.
    pub fn new(runtime: &'b Runtime, component_max: ByteSize, previous: Option<&Snapshot>) -> Self {
        let releases = previous.into_iter().flat_map(|previous| &previous.plugins).flat_map(|plugin| plugin.releases());
        let versions = releases.map(|release| release.declaration.version.clone());
        Self { runtime, component_max, known: versions.map(|version| (version.digest(), version)).collect() }
    }

    /// The version that `source` gives now; when it gives none, the last that served `plugin` from there.
    ///
    /// # Errors
    /// Any [`LoadError`].
    pub async fn of_source(
        &mut self,
        plugin: &str,
        source: &PluginSource,
        pinned: Option<Digest>,
    ) -> Result<Arc<Version>, LoadError> {
        let loaded = match self.fetch(source).await {
            Ok(component) => self.of_component(&component, pinned).await,
            Err(error) => Err(error),
        };
        match loaded {
            // A name that the binary does not bundle is a mistake, and a pin that does not fit may be an attack.
            Err(error @ (LoadError::UnknownBuiltin { .. } | LoadError::Digest { .. })) => Err(error),
            Err(error) => match self.last_good(plugin, source, pinned).await {
                Some(version) => {
                    let serving = version.digest().label();
                    tracing::warn!(plugin, %source, %error, serving, "the source gives no plugin: the last good version serves");
                    Ok(version)
                }
                None => Err(error),
            },
            Ok(version) => {
                if let Err(error) = self.runtime.library().remember(plugin, &source.to_string(), version.digest()) {
                    tracing::warn!(plugin, %error, "the last good version cannot be noted");
                }
                Ok(version)
            }
        }
    }

    /// The version of a component that is at hand.
    ///
    /// # Errors
    /// Any [`LoadError`] but the reading ones.
    pub async fn of_component(&mut self, component: &[u8], pinned: Option<Digest>) -> Result<Arc<Version>, LoadError> {
        let size_bytes = component.len() as u64;
        if size_bytes > self.component_max.0 {
            return Err(LoadError::TooLarge { size_bytes, max_bytes: self.component_max.0 });
        }
        let found = Digest::of(component);
        if let Some(pinned) = pinned.filter(|pinned| *pinned != found) {
            return Err(LoadError::Digest { found, pinned });
        }
        if let Some(version) = self.known.get(&found) {
            return Ok(version.clone());
        }
        let version = Arc::new(Version::load(self.runtime, component, found).await?);
        if let Err(error) = self.runtime.library().put(component) {
            tracing::warn!(%error, "a component cannot be kept");
        }
        self.known.insert(found, version.clone());
        Ok(version)
    }

    /// A version that was loaded before, in this process or an earlier one; `None` when its component is not kept.
    ///
    /// # Errors
    /// Any [`LoadError`] but the reading ones.
    pub async fn of_digest(&mut self, digest: Digest) -> Result<Option<Arc<Version>>, LoadError> {
        if let Some(version) = self.known.get(&digest) {
            return Ok(Some(version.clone()));
        }
        match self.runtime.library().get(digest) {
            Some(component) => self.of_component(&component, Some(digest)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn last_good(&mut self, plugin: &str, source: &PluginSource, pinned: Option<Digest>) -> Option<Arc<Version>> {
        let digest = self.runtime.library().recall(plugin, &source.to_string())?;
        if pinned.is_some_and(|pinned| pinned != digest) {
            return None;
        }
        self.of_digest(digest).await.ok().flatten()
    }

    async fn fetch(&self, source: &PluginSource) -> Result<Cow<'static, [u8]>, LoadError> {
        match source {
            PluginSource::Builtin(name) => Version::builtin(name).map(Cow::from),
            PluginSource::File(path) => Version::read(path, self.component_max.0).map(Cow::from),
            PluginSource::Https { .. } => Err(LoadError::NotAComponent("`https:` sources are not supported yet")),
        }
    }
}
