//! A plugin of a snapshot: what serves under its name, and all that is needed to put another version in its place.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;

use super::config_fault::ConfigFault;
use crate::config::At;
use crate::plugin::{
    Attachment, Declaration, Deployment, Failure, Grants, Isolation, Limits, Recycle, Release, Runtime, SetupFailure,
    Trial, Version, builtin,
};

/// A declared plugin with its attachments.
#[derive(Clone)]
pub struct Plugin {
    pub name: Arc<str>,
    pub settings: Arc<Settings>,
    /// By slot.
    pub uses: Arc<[Use]>,
    pub deployment: Deployment,
}

/// What the configuration says of a plugin, whichever version serves.
#[derive(Debug)]
pub struct Settings {
    pub isolation: Isolation,
    pub limits: Limits,
    pub recycle: Recycle,
    pub grants: Arc<Grants>,
}

/// What routes want of a plugin: one config, for one attachment of each release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// As JSON.
    pub config: Box<str>,
    /// Whether some route lets requests pass when the plugin fails.
    pub may_open: bool,
    /// The first route that wants it, and the entry of its filter list, as a path in the configuration.
    pub route: Box<str>,
    pub at: Box<str>,
}

/// Why a version cannot serve a plugin's routes.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("plugin `{plugin}` imports `witgate:plugin/{interface}`, and `grants` gives it no {}", thing(.grant))]
    Ungranted { plugin: Arc<str>, at: Box<str>, interface: Box<str>, grant: &'static str },
    #[error("plugin `{plugin}` refuses its config on route `{route}`: {fault}")]
    Config { plugin: Arc<str>, route: Box<str>, at: Box<str>, fault: Box<ConfigFault> },
    #[error("plugin `{plugin}` cannot be instantiated: it {failure}")]
    Start { plugin: Arc<str>, at: Box<str>, failure: Failure },
    #[error("plugin `{plugin}` failed in `configure` on route `{route}`: it {failure}")]
    Configure { plugin: Arc<str>, route: Box<str>, at: Box<str>, failure: Failure },
    #[error("plugin `{plugin}` on route `{route}` may not fail open: it does not declare `may-fail-open`")]
    FailOpen { plugin: Arc<str>, route: Box<str>, at: Box<str> },
}

impl Settings {
    /// A version under these settings. A shadow's guests change nothing outside themselves.
    fn declare(&self, name: &Arc<str>, version: Arc<Version>, is_shadow: bool) -> Declaration {
        let Self { isolation, limits, recycle, grants } = self;
        Declaration {
            name: name.clone(),
            version,
            isolation: *isolation,
            limits: limits.clone(),
            recycle: recycle.clone(),
            grants: if is_shadow { Arc::new(Grants::for_shadow(grants)) } else { grants.clone() },
            is_shadow,
            log_rate: Arc::default(),
        }
    }

    /// Whether a declaration was made under settings that are the same as these.
    fn fit(&self, declaration: &Declaration) -> bool {
        self.isolation == declaration.isolation
            && self.limits == declaration.limits
            && self.recycle == declaration.recycle
            && self.grants.same_as(&declaration.grants)
    }
}

/// Makes the release of a version: configures it for every use, or finds it in `old`, where nothing that it depends on has
/// changed. Its instances then stay, too.
///
/// # Errors
/// Every use that the version refuses.
pub(super) async fn release(
    runtime: &Runtime,
    name: &Arc<str>,
    settings: &Settings,
    uses: &[Use],
    version: Arc<Version>,
    is_shadow: bool,
    old: &[&Arc<Release>],
) -> Result<Arc<Release>, Vec<Refusal>> {
    let ungranted: Vec<_> = ungranted(name, settings, &version).collect();
    if !ungranted.is_empty() {
        return Err(ungranted);
    }
    let fits = |release: &&&Arc<Release>| {
        let declaration = &release.declaration;
        declaration.version.digest() == version.digest()
            && declaration.is_shadow == is_shadow
            && settings.fit(declaration)
    };
    let same = old.iter().find(fits).copied();
    let declaration = match same {
        Some(release) => release.declaration.clone(),
        None => Arc::new(settings.declare(name, version, is_shadow)),
    };
    let mut known: HashMap<&str, &Arc<Attachment>> =
        same.iter().flat_map(|release| &release.attachments).map(|known| (known.config(), known)).collect();
    let mut attachments = Vec::with_capacity(uses.len());
    let mut refusals = Vec::new();
    for wanted in uses {
        let faults = by_schema(&declaration.version, wanted);
        if !faults.is_empty() {
            // The plugin would find the first of them again.
            refusals.extend(faults.into_iter().map(|fault| refused(name, wanted, fault)));
            continue;
        }
        let attachment = match known.remove(&*wanted.config) {
            Some(attachment) => Ok(attachment.clone()),
            None => Attachment::configure(runtime, declaration.clone(), wanted.config.clone()).await.map(Arc::new),
        };
        match attachment {
            Ok(attachment) if wanted.may_open && !attachment.setup.may_fail_open => refusals.push(Refusal::FailOpen {
                plugin: name.clone(),
                route: wanted.route.clone(),
                at: wanted.at.clone(),
            }),
            Ok(attachment) => attachments.push(attachment),
            // So would every other.
            Err(failure @ SetupFailure::Start(_)) => return Err(vec![refusal(name, wanted, failure)]),
            Err(failure) => refusals.push(refusal(name, wanted, failure)),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    // The very same release lets every worker keep its lane.
    let is_unchanged = |release: &&Arc<Release>| {
        let mut pairs = release.attachments.iter().zip(&attachments);
        release.attachments.len() == attachments.len() && pairs.all(|(old, new)| Arc::ptr_eq(old, new))
    };
    Ok(match same.filter(is_unchanged) {
        Some(release) => release.clone(),
        None => Arc::new(Release { declaration, attachments: attachments.into() }),
    })
}

/// What the component imports and the plugin may not have. A bundled one may import what it has no grant of: it then opens
/// nothing, such as a table where its keys stand in the config.
fn ungranted<'v>(
    name: &Arc<str>,
    settings: &Settings,
    version: &'v Version,
) -> impl Iterator<Item = Refusal> + use<'v> {
    let missing = version.rights().capabilities();
    let (name, grants) = (name.clone(), settings.grants.clone());
    let may_import = move |interface| grants.admits(interface) || builtin::includes(version.digest());
    missing.filter(move |capability| !may_import(capability.interface)).map(move |capability| Refusal::Ungranted {
        plugin: name.clone(),
        at: declared(&name),
        interface: capability.interface.into(),
        grant: capability.grant,
    })
}

/// Where the configuration declares a plugin.
fn declared(plugin: &str) -> Box<str> {
    At::ROOT.key("plugins").key(plugin).to_string().into()
}

/// One of what a key of `grants` lists.
fn thing(grant: &str) -> &str {
    match grant {
        "stores" => "store",
        "tables" => "table",
        "secrets" => "secret",
        "limiters" => "limiter",
        "key_sets" => "key set",
        "http" => "origin",
        other => other,
    }
}

fn refusal(plugin: &Arc<str>, wanted: &Use, failure: SetupFailure) -> Refusal {
    let (plugin, route, at) = (plugin.clone(), wanted.route.clone(), wanted.at.clone());
    match failure {
        SetupFailure::Start(failure) => Refusal::Start { at: declared(&plugin), plugin, failure },
        SetupFailure::Configure(Failure::Configure(words)) => {
            refused(&plugin, wanted, ConfigFault::by_filter(words, &wanted.value()))
        }
        SetupFailure::Configure(failure) => Refusal::Configure { plugin, route, at, failure },
    }
}

fn refused(plugin: &Arc<str>, wanted: &Use, fault: ConfigFault) -> Refusal {
    let (plugin, route, at) = (plugin.clone(), wanted.route.clone(), wanted.at.clone());
    Refusal::Config { plugin, route, at, fault: Box::new(fault) }
}

/// What the version's own schema does not take of a config.
fn by_schema(version: &Version, wanted: &Use) -> Vec<ConfigFault> {
    let Some(schema) = version.schema() else { return Vec::new() };
    schema.check(&wanted.value()).into_iter().map(ConfigFault::by_schema).collect()
}

impl Use {
    fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.config).expect("the config was written as JSON by this gateway")
    }
}

impl Plugin {
    /// Every release that requests may meet.
    pub fn releases(&self) -> impl Iterator<Item = &Arc<Release>> {
        std::iter::once(&self.deployment.stable).chain(self.deployment.trial.iter().map(|trial| &trial.release))
    }

    /// The release of another version for the same uses.
    ///
    /// # Errors
    /// As [`release`].
    pub async fn release(
        &self,
        runtime: &Runtime,
        version: Arc<Version>,
        is_shadow: bool,
    ) -> Result<Arc<Release>, Vec<Refusal>> {
        let old: Vec<_> = self.releases().collect();
        release(runtime, &self.name, &self.settings, &self.uses, version, is_shadow, &old).await
    }

    /// The same plugin with other releases.
    pub fn with(&self, stable: Arc<Release>, trial: Option<Arc<Trial>>) -> Self {
        Self { deployment: Deployment { stable, trial }, ..self.clone() }
    }

    pub(super) fn owned_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let attachments = self.releases().flat_map(|release| &release.attachments);
        attachments.flat_map(|attachment| &attachment.setup.owned_headers)
    }
}

impl Refusal {
    /// The entry of the configuration that it is about.
    pub fn at(&self) -> &str {
        let (Self::Ungranted { at, .. }
        | Self::Start { at, .. }
        | Self::Config { at, .. }
        | Self::Configure { at, .. }
        | Self::FailOpen { at, .. }) = self;
        at
    }
}
