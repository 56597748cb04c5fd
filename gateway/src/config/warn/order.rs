//! The order of a route's filters: what stands where it cannot do what it is for.

use std::collections::HashSet;

use super::super::fault::Fault;
use super::super::lists::each_filter;
use super::super::model::{Config, Isolation, PluginSource};

pub(super) fn find(config: &Config, warnings: &mut Vec<Fault>) {
    // A chain has its faults once, however many routes use it.
    let mut told = HashSet::new();
    for index in 0..config.routes.len() {
        let mut rewrites: Option<String> = None;
        let mut seen: Vec<(&str, &serde_json::Value, String)> = Vec::new();
        each_filter(config, index, &mut |filter, at| {
            let place = at.to_string();
            if let Some((.., first)) = seen.iter().find(|(name, it, _)| *name == filter.name && *it == filter.config)
                && told.insert((place.clone(), "twice"))
            {
                let route = &config.routes[index].name;
                let message = format!("`{}` stands twice in the filters of the route `{route}`", filter.name);
                let fault = Fault::value(&place, message).related(first, "first here");
                warnings.push(fault.help("remove one of them, or `skip` the one of `defaults`"));
            }
            if is_auth(config, filter.name)
                && let Some(rewrite) = &rewrites
                && told.insert((place.clone(), "rewritten"))
            {
                let message = format!("`{}` decides on a request that was rewritten before", filter.name);
                let fault = Fault::value(&place, message).related(rewrite, "this one rewrites it");
                warnings.push(fault.help("let who asks be known before anything is changed: put it first"));
            }
            let is_fresh = config.plugins.get(filter.name).is_some_and(|plugin| plugin.isolation == Isolation::Fresh);
            if is_fresh && !told.contains(&(place.clone(), "large")) {
                let bytes = filter.config.to_string().len();
                if bytes > FRESH_CONFIG_BYTES {
                    told.insert((place.clone(), "large"));
                    let message =
                        format!("`{}` reads these {bytes} bytes of config anew for each request", filter.name);
                    let fault = Fault::value(at.key("config"), message);
                    warnings
                        .push(fault.help("put what is large into `tables`, or let the plugin be `isolation: shared`"));
                }
            }
            if is_rewrite(config, filter.name) {
                rewrites.get_or_insert_with(|| place.clone());
            }
            seen.push((filter.name, filter.config, place));
        });
    }
}

/// More costs a request that begins with it more than the plugin itself.
const FRESH_CONFIG_BYTES: usize = 4096;

/// Whether a filter finds out who asks.
pub(super) fn is_auth(config: &Config, name: &str) -> bool {
    matches!(name, "basic-auth" | "forward-auth") || is_builtin(config, name, &["jwt", "api-key"])
}

fn is_rewrite(config: &Config, name: &str) -> bool {
    is_builtin(config, name, &["rewrite"])
}

fn is_builtin(config: &Config, name: &str, wanted: &[&str]) -> bool {
    let source = config.plugins.get(name).map(|plugin| &plugin.source);
    matches!(source, Some(PluginSource::Builtin(builtin)) if wanted.contains(&builtin.as_str()))
}
