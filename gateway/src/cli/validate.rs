//! `witgate validate`: every fault of a configuration, found without serving it.

use std::path::Path;
use std::process::ExitCode;

use super::{Format, compiler, load, print, refuse};
use crate::config::model::Config;
use crate::gateway::{Gateway, GatewayError};

pub(super) fn validate(path: &Path, format: Format) -> ExitCode {
    match check(path) {
        Ok(config) => {
            let (routes, upstreams, plugins) = (config.routes.len(), config.upstreams.len(), config.plugins.len());
            match format {
                Format::Text => print(&format!("ok: {routes} routes, {upstreams} upstreams, {plugins} plugins")),
                Format::Json => {
                    let counts = serde_json::json!({ "routes": routes, "upstreams": upstreams, "plugins": plugins });
                    print(&counts.to_string());
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error, format),
    }
}

fn check(path: &Path) -> Result<Config, GatewayError> {
    let loaded = load(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::Worker)?;
    runtime.block_on(Gateway::check(&loaded, compiler()))?;
    Ok(loaded.config)
}
