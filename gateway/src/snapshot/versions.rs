//! Which component serves a plugin: from its source, or, when that fails, the one that served last; compiled once.

use std::collections::HashMap;
use std::sync::Arc;

use super::Snapshot;
use crate::config::model::{ByteSize, PluginSource};
use crate::plugin::{Delivery, Digest, LoadError, Proof, Runtime, Source, Version};

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

    /// The same with others at hand, which are loaded and serve nothing.
    pub fn beside(mut self, others: impl IntoIterator<Item = Arc<Version>>) -> Self {
        self.known.extend(others.into_iter().map(|version| (version.digest(), version)));
        self
    }

    /// The version that `source` gives now; when it gives none, the last that served `plugin` from there.
    ///
    /// # Errors
    /// Any [`LoadError`].
    pub async fn of_source(
        &mut self,
        plugin: &str,
        source: &PluginSource,
        proof: &Proof,
    ) -> Result<Arc<Version>, LoadError> {
        let source = plugin_source(source)?;
        let loaded = match self.runtime.fetch(&source, proof, self.component_max.0).await {
            Ok(delivery) => self.of_delivery(&delivery).await,
            Err(error) => Err(error),
        };
        match loaded {
            Err(error) if error.is_suspicious() => Err(error),
            Err(error) => match self.last_good(plugin, &source, proof).await {
                Some(version) => {
                    let serving = version.digest().label();
                    tracing::warn!(plugin, %source, %error, serving, "the source gives no plugin: the last good version serves");
                    Ok(version)
                }
                None => Err(error),
            },
            Ok(version) => Ok(version),
        }
    }

    /// The version that `source` gives now, and nothing in its place.
    ///
    /// # Errors
    /// Any [`LoadError`].
    pub async fn ordered(
        &mut self,
        source: &PluginSource,
        sha256: Option<Digest>,
        public_key: Option<&str>,
    ) -> Result<Arc<Version>, LoadError> {
        let proof = Proof { sha256, public_key: public_key.map(str::parse).transpose()? };
        let delivery = self.runtime.fetch(&plugin_source(source)?, &proof, self.component_max.0).await?;
        self.of_delivery(&delivery).await
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
        let delivery = Delivery::of(component.to_vec().into());
        if let Some(pinned) = pinned.filter(|pinned| *pinned != delivery.digest) {
            return Err(LoadError::Digest { found: delivery.digest, pinned });
        }
        self.of_delivery(&delivery).await
    }

    async fn of_delivery(&mut self, delivery: &Delivery) -> Result<Arc<Version>, LoadError> {
        let Delivery { digest, component } = delivery;
        if let Some(version) = self.known.get(digest) {
            return Ok(version.clone());
        }
        let version = Arc::new(Version::load(self.runtime, component, *digest).await?);
        if let Err(error) = self.runtime.library().put(component) {
            tracing::warn!(%error, "a component cannot be kept");
        }
        self.known.insert(*digest, version.clone());
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

    async fn last_good(&mut self, plugin: &str, source: &Source, proof: &Proof) -> Option<Arc<Version>> {
        let delivery = self.runtime.last_good(plugin, source, proof)?;
        if delivery.component.len() as u64 > self.component_max.0 {
            return None;
        }
        self.of_delivery(&delivery).await.ok()
    }
}

/// Notes which component serves a plugin from its source, for a time when the source gives none.
pub fn remember(runtime: &Runtime, plugin: &str, source: &PluginSource, serving: Digest) {
    // A source that is none has given nothing.
    let Ok(source) = plugin_source(source) else { return };
    if let Err(error) = runtime.library().remember(plugin, &source.to_string(), serving) {
        tracing::warn!(plugin, %error, "the last good version cannot be noted");
    }
}

/// What the notes call the canary of a plugin.
pub fn canary_of(plugin: &str) -> String {
    format!("{plugin}/canary")
}

fn plugin_source(source: &PluginSource) -> Result<Source, LoadError> {
    Ok(match source {
        PluginSource::Builtin(name) => Source::Builtin(name.clone()),
        PluginSource::File(path) => Source::File(path.clone()),
        PluginSource::Cargo(_) => return Err(LoadError::Unbuilt),
        PluginSource::Https { url } => url.parse()?,
    })
}

/// What a component must prove, by the words of the configuration.
///
/// # Errors
/// [`LoadError::PublicKey`].
pub(super) fn proof(sha256: Option<[u8; 32]>, public_key: Option<&str>) -> Result<Proof, LoadError> {
    Ok(Proof { sha256: sha256.map(Digest::from), public_key: public_key.map(str::parse).transpose()? })
}
