//! `witgate validate`: every fault of a configuration, found without serving it; and what is legal, but probably not meant.

use std::process::ExitCode;

use super::{EXIT_CONFIG, Format, color, compiler, complain, load, print, refuse};
use crate::config::{Fault, Loaded, warnings};
use crate::gateway::{Gateway, GatewayError};

pub(super) fn validate(words: &[String], deny_warnings: bool, format: Format) -> ExitCode {
    let (Loaded { config, document, .. }, mut found) = match check(words) {
        Ok(checked) => checked,
        Err(error) => return refuse(&error, format),
    };
    let (routes, upstreams, plugins) = (config.routes.len(), config.upstreams.len(), config.plugins.len());
    found.extend(warnings(&config));
    let warnings = document.warnings(found);
    match format {
        Format::Text => {
            if let Some(warnings) = &warnings {
                complain(&warnings.render(color()));
            }
            let warned = match warnings.as_ref().map_or(0, |warnings| warnings.len()) {
                0 => String::new(),
                1 => ", 1 warning".to_owned(),
                count => format!(", {count} warnings"),
            };
            print(&format!("ok: {routes} routes, {upstreams} upstreams, {plugins} plugins{warned}"));
        }
        Format::Json => {
            let warnings = warnings.as_ref().map_or_else(|| serde_json::json!([]), |warnings| warnings.to_json());
            let found = serde_json::json!({
                "routes": routes, "upstreams": upstreams, "plugins": plugins, "warnings": warnings
            });
            print(&found.to_string());
        }
    }
    if deny_warnings && warnings.is_some() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS }
}

fn check(words: &[String]) -> Result<(Loaded, Vec<Fault>), GatewayError> {
    let loaded = load(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::Worker)?;
    let warnings = runtime.block_on(Gateway::check(&loaded, compiler()))?;
    Ok((loaded, warnings))
}
