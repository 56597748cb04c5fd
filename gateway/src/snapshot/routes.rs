//! The routes of a snapshot: what the router looks for, and what becomes of a request that it found one for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::config_fault::ConfigFault;
use super::plugins::Plugins;
use super::{Route, Target};
use crate::config::model::{self as config, Config, FieldMatch, PathMatch};
use crate::config::{At, Fault, Listed, each_filter};
use crate::filter::native::{ConfigError, Natives};
use crate::filter::{Chain, Filter, Reply};
use crate::router::{FieldSpec, PathSpec, RouteField, RouteSpec, Router};
use crate::upstream::Weighted;

/// The router, or `None` with the faults of patterns noted.
pub(super) fn router(config: &Config, faults: &mut Vec<Fault>) -> Option<Router> {
    let specs = config.routes.iter().map(|route| spec(config, route)).collect();
    match Router::build(specs) {
        Ok(router) => Some(router),
        Err(errors) => {
            faults.extend(errors.iter().map(|error| {
                let routes = At::ROOT.key("routes");
                let route = routes.item(error.route);
                let matches = route.key("match");
                let raw = &config.routes[error.route].matches;
                match error.field {
                    RouteField::Host(index) => Fault::value(matches.key("hosts").item(index), &error.message),
                    RouteField::Path => Fault::value(matches.key("path").key(path_key(&raw.path)), &error.message),
                    RouteField::Header(index) => {
                        field_fault(&matches.key("headers"), &raw.headers, index, &error.message)
                    }
                    RouteField::Query(index) => field_fault(&matches.key("query"), &raw.query, index, &error.message),
                }
            }));
            None
        }
    }
}

/// The routes in the file's order; those with faults are left out, the faults noted.
pub(super) fn routes(
    config: &Config,
    plugins: &mut Plugins<'_>,
    natives: &mut Natives,
    faults: &mut Vec<Fault>,
) -> Vec<Route> {
    // The snapshot's upstreams stand in the map's order.
    let places = config.upstreams.keys().map(String::as_str).zip(0..).collect();
    let mut routes = Vec::with_capacity(config.routes.len());
    for (index, raw) in config.routes.iter().enumerate() {
        let mut filters = Vec::new();
        let name: Arc<str> = raw.name.as_str().into();
        let mut build = Build { plugins, natives, faults, route: raw, name: &name, filters: &mut filters };
        each_filter(config, index, &mut |listed, at| build.add(listed, at));
        filters.sort_by_key(|filter| !filter.goes_first());
        routes.push(Route {
            name,
            chain: Chain::new(filters),
            target: target(&places, raw),
            timeout: raw.timeout.unwrap_or(config.defaults.timeout),
            upgrades: raw.upgrades.iter().filter_map(|name| HeaderValue::from_str(name).ok()).collect(),
            stream_idle_timeout: raw.stream_idle_timeout,
            pattern: pattern(&raw.matches.path),
            trace_sample: raw.trace_sample,
        });
    }
    routes
}

/// The filters of one route, while its lists are walked.
struct Build<'b, 'p> {
    plugins: &'b mut Plugins<'p>,
    natives: &'b mut Natives,
    faults: &'b mut Vec<Fault>,
    route: &'b config::Route,
    name: &'b Arc<str>,
    filters: &'b mut Vec<Arc<dyn Filter>>,
}

impl Build<'_, '_> {
    fn add(&mut self, listed: Listed<'_>, at: &At<'_>) {
        let Listed { name, config, on_error, .. } = listed;
        match self.natives.build(self.name, name, config) {
            Some(Ok(filter)) => self.filters.push(filter),
            Some(Err(error)) => {
                let refused = match error {
                    ConfigError::Schema(faults) => faults.into_iter().map(ConfigFault::by_schema).collect(),
                    ConfigError::Filter(words) => vec![ConfigFault::by_filter(words, config)],
                };
                for refused in refused {
                    let fault =
                        refused.place(&at.to_string(), format!("filter `{name}` refuses its config: {refused}"));
                    // A chain has its faults once, however many routes use it.
                    if !self.faults.contains(&fault) {
                        self.faults.push(fault);
                    }
                }
            }
            None => self.filters.extend(self.plugins.attach(name, config, on_error, at, &self.route.name)),
        }
    }
}

/// What the router is told of a route.
pub(super) fn spec(config: &Config, route: &config::Route) -> RouteSpec {
    let listeners = (0u16..)
        .zip(&config.listeners)
        .filter(|(_, listener)| route.matches.listeners.contains(&listener.name))
        .map(|(number, _)| number)
        .collect();
    RouteSpec {
        hosts: route.matches.hosts.clone(),
        path: match route.matches.path.clone() {
            PathMatch::Exact(path) => PathSpec::Exact(path),
            PathMatch::Prefix(path) => PathSpec::Prefix(path),
            PathMatch::Template(path) => PathSpec::Template(path),
            PathMatch::Regex(path) => PathSpec::Regex(path),
        },
        methods: route.matches.methods.iter().filter_map(|method| Method::from_bytes(method.as_bytes()).ok()).collect(),
        headers: route
            .matches
            .headers
            .iter()
            .filter_map(|(name, field)| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, field_spec(field))))
            .collect(),
        query: route.matches.query.iter().map(|(name, field)| (name.clone(), field_spec(field))).collect(),
        listeners,
        priority: route.priority,
    }
}

fn field_spec(field: &FieldMatch) -> FieldSpec {
    match field.clone() {
        FieldMatch::Equals(value) => FieldSpec::Equals(value),
        FieldMatch::Regex(value) => FieldSpec::Regex(value),
        FieldMatch::Present(value) => FieldSpec::Present(value),
    }
}

fn target(places: &HashMap<&str, usize>, raw: &config::Route) -> Target {
    match &raw.target {
        config::Target::Upstream(choices) => Target::Upstreams {
            places: choices.iter().filter_map(|(name, _)| places.get(name.as_str()).copied()).collect(),
            turns: Weighted::new(&choices.iter().map(|(_, weight)| *weight).collect::<Vec<_>>()),
            sticky: raw.sticky.clone(),
        },
        config::Target::Respond(respond) => Target::Respond(Reply {
            status: StatusCode::from_u16(respond.status).unwrap_or(StatusCode::OK),
            headers: respond
                .headers
                .iter()
                .filter_map(|(name, value)| {
                    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
                })
                .collect::<HeaderMap>(),
            body: Bytes::from(respond.body.clone()),
        }),
    }
}

fn pattern(path: &PathMatch) -> Arc<str> {
    match path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Template(path) | PathMatch::Regex(path) => {
            path.as_str().into()
        }
    }
}

fn path_key(path: &PathMatch) -> &'static str {
    match path {
        PathMatch::Exact(_) => "exact",
        PathMatch::Prefix(_) => "prefix",
        PathMatch::Template(_) => "template",
        PathMatch::Regex(_) => "regex",
    }
}

fn field_fault(
    at: &At<'_>,
    fields: &std::collections::BTreeMap<String, FieldMatch>,
    index: usize,
    message: &str,
) -> Fault {
    let name = fields.keys().nth(index).map(String::as_str).unwrap_or_default();
    let at = at.key(name);
    match fields.get(name) {
        Some(FieldMatch::Regex(_)) => Fault::value(at.key("regex"), message),
        _ => Fault::value(at, message),
    }
}
