//! Building: a checked configuration in, a snapshot out, or everything that is wrong with it.
//!
//! Nothing that serves is touched before all of the new is made; what is unchanged is carried over from the old.

use std::sync::Arc;

use super::plugins::Plugins;
use super::resources::Resources;
use super::{Choices, Snapshot, listeners, owned_headers, routes, upstreams};
use crate::config::Fault;
use crate::config::model::Config;
use crate::filter::native::{Natives, Offer};
use crate::plugin::Runtime;
use crate::telemetry::{RouteNames, TelemetryRules};

/// Why there is no snapshot.
#[derive(Debug)]
pub enum BuildError {
    /// The configuration itself is wrong.
    Config(Vec<Fault>),
    /// The configuration is right, but a plugin cannot serve it.
    Plugin(Vec<Fault>),
}

/// Builds the generation after `previous`. `choices` go before what the configuration says of plugins.
///
/// # Errors
/// All faults of the configuration, or, when it has none, all faults of its plugins.
pub async fn build(
    config: &Config,
    choices: &Choices,
    previous: Option<&Snapshot>,
    runtime: &Runtime,
) -> Result<Snapshot, BuildError> {
    let mut faults = Vec::new();
    let router = routes::router(config, &mut faults);
    let resources =
        Resources::open(config, previous.map(|previous| &*previous.resources), runtime.trust(), &mut faults).await;
    let mut plugins = Plugins::new(config, previous, runtime, &resources);
    plugins.load(choices, &mut faults).await;
    let offer = Offer {
        limiters: resources.limiters.clone(),
        secrets: resources.secrets.clone(),
        upstreams: config.upstreams.keys().cloned().zip(0..).collect(),
        trust: runtime.trust().clone(),
    };
    let mut natives = Natives::new(offer, previous.map(|previous| previous.states.clone()));
    let routes = routes::routes(config, &mut plugins, &mut natives, &mut faults);
    let states = Arc::new(natives.finish());
    let upstreams = upstreams::upstreams(config, previous, &resources.secrets, runtime.trust(), &mut faults);
    let listeners = listeners::listeners(config, previous, &resources.secrets, &mut faults);
    let (Some(router), true) = (router, faults.is_empty()) else {
        return Err(BuildError::Config(faults));
    };
    let plugins = plugins.deploy().await.map_err(BuildError::Plugin)?;
    Ok(Snapshot {
        generation: previous.map_or(1, |previous| previous.generation + 1),
        router: Arc::new(router),
        route_names: RouteNames::new(routes.iter().map(|route| route.name.clone())),
        routes: routes.into(),
        upstreams,
        resources: Arc::new(resources),
        owned_headers: owned_headers(&plugins, &listeners),
        listeners,
        plugins,
        request_deadline: config.runtime.request_deadline,
        overload: config.overload.clone(),
        states,
        telemetry: Arc::new(telemetry(config)),
    })
}

/// OpenTelemetry's own switches go before the file.
fn telemetry(config: &Config) -> TelemetryRules {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let rules = config.telemetry.clone();
    if environment("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return TelemetryRules { tracing: None, ..rules };
    }
    let (Some(spans), Some(sampler)) = (&rules.tracing, environment("OTEL_TRACES_SAMPLER")) else { return rules };
    let argument = environment("OTEL_TRACES_SAMPLER_ARG");
    match spans.sampled_as(&sampler, argument.as_deref()) {
        Some(spans) => TelemetryRules { tracing: Some(Arc::new(spans)), ..rules },
        None => {
            let argument = argument.unwrap_or_default();
            tracing::warn!(sampler, argument, "OTEL_TRACES_SAMPLER is none that is known here, or its share is none");
            rules
        }
    }
}
