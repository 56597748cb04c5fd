//! `witgate plugin inspect`: what a component is and may do, told without serving it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::author::{crate_folder, make};
use super::rehearse::refused;
use super::stage::StageError;
use super::{EXIT_FAILURE, EXIT_PLUGIN, Format, compiler, complain, load, print, refuse};
use crate::author::Profile;
use crate::config::model::{self as config, PluginSource};
use crate::gateway::{GatewayError, plugin_runtime};
use crate::plugin::{Capability, Delivery, Inspection, LoadError, Proof, Source, builtin};

/// What is looked at, and what a configuration says of it.
#[derive(Default)]
pub(super) struct Terms {
    runtime: config::Runtime,
    /// Those of its declaration, if it is a declared plugin.
    grants: Option<config::Grants>,
}

/// Everything that is told.
pub(super) struct Report {
    source: Source,
    delivery: Delivery,
    inspection: Inspection,
    grants: Option<config::Grants>,
}

pub(super) fn inspect(component: &str, config: Option<&Path>, format: Format) -> ExitCode {
    let (source, terms) = match subject(component, config) {
        Ok(subject) => subject,
        Err(error) => return refused(error, format),
    };
    match look(source, terms) {
        Ok(Ok(report)) => {
            match format {
                Format::Text => print(report.text().trim_end()),
                Format::Json => print(&format!("{:#}", report.json())),
            }
            if report.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_PLUGIN) }
        }
        Ok(Err(error)) => {
            match format {
                Format::Text => complain(&format!("error: `{component}` cannot be loaded: {error}")),
                Format::Json => complain(&json!({ "error": error.to_string() }).to_string()),
            }
            ExitCode::from(if error.is_unreachable() { EXIT_FAILURE } else { EXIT_PLUGIN })
        }
        Err(error) => refuse(&error, format),
    }
}

/// What the argument names: a declared plugin, a crate, which is built, a source, or else a file.
fn subject(component: &str, config: Option<&Path>) -> Result<(Source, Terms), StageError> {
    let built = |folder: &Path| make(folder, Profile::Dev).map(Source::File).map_err(StageError::Build);
    let mut terms = Terms::default();
    let mut declared = None;
    if let Some(path) = config {
        let mut config = load(&[path.display().to_string()])?.config;
        terms.runtime = config.runtime;
        declared = config.plugins.remove(component);
    }
    let source = match declared {
        Some(plugin) => {
            terms.grants = Some(plugin.grants);
            match plugin.source {
                PluginSource::File(path) => Source::File(path),
                PluginSource::Cargo(folder) => built(&folder)?,
                other => other.to_string().parse().unwrap_or_else(|_| file(component)),
            }
        }
        None => match crate_folder(component) {
            Some(folder) => built(folder)?,
            None => component.parse().unwrap_or_else(|_| file(component)),
        },
    };
    Ok((source, terms))
}

fn file(path: &str) -> Source {
    Source::File(PathBuf::from(path))
}

/// Works in a folder of its own: the state of a gateway that serves belongs to that one, and often to another user.
pub(super) fn look(source: Source, terms: Terms) -> Result<Result<Report, LoadError>, GatewayError> {
    let folder = tempfile::tempdir().map_err(GatewayError::Worker)?;
    let limits = config::Runtime { slots: 1, ..terms.runtime };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::Worker)?;
    let runtime = plugin_runtime(&limits, folder.path(), compiler())?;
    Ok(tokio.block_on(async {
        let delivery = runtime.fetch_unproved(&source, &Proof::default(), limits.component.0).await?;
        let inspection = runtime.inspect(&delivery).await?;
        Ok(Report { source, delivery, inspection, grants: terms.grants })
    }))
}

impl Report {
    /// Whether the component has nothing to do with the WIT package.
    pub(super) fn is_foreign(&self) -> bool {
        self.inspection.outline.package_versions.is_empty()
    }

    /// What somebody wants to see who has just built it.
    pub(super) fn summary(&self) -> String {
        self.rows().into_iter().filter(|(name, _)| !DETAILS.contains(name)).map(row).collect()
    }

    /// What keeps the component from serving here, or under its declaration.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.inspection.outline.faults.clone();
        // A bundled plugin may use what its attachments name.
        if let Some(grants) = self.grants.as_ref().filter(|_| !builtin::includes(self.delivery.digest)) {
            let missing = self.inspection.outline.rights.capabilities().filter(|needed| !is_granted(grants, needed));
            faults.extend(missing.map(|Capability { interface, grant }| {
                format!("imports `{interface}`, and its declaration has no `grants.{grant}`")
            }));
        }
        faults
    }

    fn text(&self) -> String {
        self.rows().into_iter().map(row).collect()
    }

    fn rows(&self) -> [(&'static str, String); 11] {
        let Inspection { outline, memory_bytes, schema } = &self.inspection;
        let faults = self.faults();
        let capabilities = outline.rights.capabilities();
        let needs: Vec<_> =
            capabilities.map(|needed| format!("{} (grants.{})", needed.interface, needed.grant)).collect();
        let versions: Vec<_> =
            outline.package_versions.iter().map(|version| format!("witgate:plugin@{version}")).collect();
        let wasi = match outline.wasi.len() {
            0 => "none".to_owned(),
            _ => format!("{} (linked, and empty)", listed(outline.wasi.iter())),
        };
        let memory = match memory_bytes {
            Some(bytes) => format!("{bytes} bytes to begin with"),
            None => "known to an instance only".to_owned(),
        };
        let config = match schema {
            Some(schema) => format!("{schema:#}"),
            None => "not described (list `describe` in `export_plugin!`)".to_owned(),
        };
        let fits = if faults.is_empty() { "yes".to_owned() } else { format!("no: it {}", faults.join("; it ")) };
        [
            ("source", self.source.to_string()),
            ("sha256", self.delivery.digest.to_string()),
            ("size", format!("{} bytes", self.delivery.component.len())),
            ("contract", listed(&versions)),
            ("hooks", listed(&self.hooks())),
            ("imports", listed(outline.rights.imports.iter())),
            ("needs", listed(&needs)),
            ("wasi", wasi),
            ("memory", memory),
            ("config", config),
            ("fits", fits),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let Inspection { outline, memory_bytes, schema } = &self.inspection;
        let capabilities = outline.rights.capabilities();
        let faults = self.faults();
        json!({
            "source": self.source.to_string(),
            "sha256": self.delivery.digest.to_string(),
            "size_bytes": self.delivery.component.len(),
            "package_versions": outline.package_versions,
            "hooks": self.hooks(),
            "imports": outline.rights.imports,
            "capabilities": capabilities
                .map(|needed| json!({ "interface": needed.interface, "grant": needed.grant }))
                .collect::<Vec<_>>(),
            "wasi": outline.wasi,
            "memory_bytes": memory_bytes,
            "config_schema": schema,
            "fits": faults.is_empty(),
            "faults": faults,
        })
    }

    fn hooks(&self) -> Vec<&'static str> {
        self.inspection.outline.rights.hooks.iter().map(|hook| hook.name()).collect()
    }
}

fn row((name, value): (&'static str, String)) -> String {
    format!("{name:<9} {}\n", value.replace('\n', "\n          "))
}

fn is_granted(grants: &config::Grants, needed: &Capability<'_>) -> bool {
    let names = match needed.grant {
        "http" => &grants.http,
        "stores" => &grants.stores,
        "tables" => &grants.tables,
        "key_sets" => &grants.key_sets,
        "limiters" => &grants.limiters,
        "secrets" => &grants.secrets,
        _ => return false,
    };
    !names.is_empty()
}

fn listed(names: impl IntoIterator<Item: AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Rows that only an inspection shows.
const DETAILS: [&str; 2] = ["imports", "wasi"];
