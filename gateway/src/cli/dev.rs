//! `witgate dev`: serves, and builds the plugins whose source is `cargo:DIR`, again on each save. A new component takes its old
//! one's place as any watched file does; while one does not build, the old one serves on.

use std::process::ExitCode;
use std::sync::Arc;

use super::{Format, complain, refuse, run};
use crate::author::{BuildError, Built, Workshop};
use crate::config::model::{PluginSource, Reload};
use crate::config::{At, Fault, Faults, Loaded};
use crate::control::Sources;
use crate::gateway;
use crate::outbound::Trust;
use crate::sockets::Inheritance;

pub(super) fn dev(words: &[String], inheritance: Inheritance, format: Format) -> ExitCode {
    let sources = match Sources::parse(words, &Trust::default()) {
        Ok(sources) => sources,
        Err(error) => return refuse(&error.into(), format),
    };
    let workshop = Arc::new(Workshop::default());
    let reader = workshop.clone();
    let source = gateway::Source::with(sources, move |loaded| built(loaded, &reader));
    std::thread::spawn(move || {
        if let Err(error) = workshop.keep_building(|plugin, built| tell(plugin, built, format)) {
            tracing::error!(%error, "files cannot be watched: nothing is built again");
        }
    });
    run::run(source, inheritance, format)
}

/// The configuration with each `cargo:DIR` built, and its component in its place.
fn built(mut loaded: Loaded, workshop: &Workshop) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    for (name, plugin) in &mut loaded.config.plugins {
        let PluginSource::Cargo(folder) = &plugin.source else { continue };
        match workshop.component(name, folder) {
            Ok(component) => {
                plugin.source = PluginSource::File(component);
                plugin.reload = Reload::Watch;
            }
            Err(error) => {
                let at = At::ROOT.key("plugins");
                faults.push(Fault::value(at.key(name).key("source"), format!("plugin `{name}`: {error}")));
            }
        }
    }
    if faults.is_empty() { Ok(loaded) } else { Err(loaded.document.faults(faults)) }
}

fn tell(plugin: &str, built: &Built, format: Format) {
    match built {
        Built::Changed => tracing::info!(plugin, "built"),
        Built::Same => tracing::debug!(plugin, "built, and nothing has changed"),
        Built::Failed(error) => {
            let output = match error {
                BuildError::Failed { output, .. } => output.as_str(),
                _ => "",
            };
            match format {
                Format::Text => {
                    tracing::error!(plugin, %error, "not built: the version before serves on");
                    complain(output);
                }
                Format::Json => tracing::error!(plugin, %error, output, "not built: the version before serves on"),
            }
        }
    }
}
