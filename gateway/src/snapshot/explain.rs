//! What would become of a request: which route takes it and why no other one does, the filters that it passes, where it goes.
//!
//! Told from the configuration, by the router that serves; nothing is sent, and no filter runs.

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Serialize;
use serde_json::{Value, json};

use super::routes::spec;
use super::{Snapshot, upstreams};
use crate::config::model::{Config, ListenAddress, Route, Target};
use crate::config::{At, ListedFrom, each_filter};
use crate::message::path::normalise;
use crate::outbound::Trust;
use crate::plugin::Named;
use crate::router::{Condition, Request, RouteSpec, Standing, explain_standing, find_params};
use crate::upstream::{Pick, Upstream};

/// A request that somebody wonders about.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: Method,
    pub host: String,
    /// As it would be sent.
    pub target: Uri,
    pub headers: HeaderMap,
    /// By name; `None` is the one that the URL's port belongs to, or the first.
    pub listener: Option<String>,
    pub port: Option<u16>,
    pub client: IpAddr,
}

/// Why there is nothing to be explained.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    #[error("`{0}` is no method")]
    Method(String),
    #[error("`{0}` is no URL: write `http://HOST/PATH`, or a path")]
    Url(String),
    #[error("`{0}` is no field: write `NAME: VALUE`")]
    Field(String),
    #[error("there is no listener `{0}`")]
    Listener(String),
}

impl Question {
    /// Reads what people write: a URL or a path, and fields as `NAME: VALUE`.
    ///
    /// # Errors
    /// Any [`QuestionError`].
    pub fn parse(method: &str, url: &str, fields: &[String]) -> Result<Self, QuestionError> {
        let mut headers = HeaderMap::new();
        for field in fields {
            let wrong = || QuestionError::Field(field.clone());
            let (name, value) = field.split_once(':').ok_or_else(wrong)?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
            headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?);
        }
        let wrong = || QuestionError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_path = uri.host().is_none() && url.starts_with('/');
        if !is_path && (uri.host().is_none() || uri.scheme().is_none()) {
            return Err(wrong());
        }
        let named = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let authority = named.as_ref().or(uri.authority());
        let port = uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        });
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            method: method.parse().map_err(|_| QuestionError::Method(method.to_owned()))?,
            host: authority.map_or_else(String::new, |authority| authority.host().to_owned()),
            target: target.parse().map_err(|_| wrong())?,
            headers,
            listener: None,
            port,
            client: IpAddr::from([127, 0, 0, 1]),
        })
    }
}

/// What would become of it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    pub method: String,
    pub host: String,
    /// As the gateway would see it.
    pub path: String,
    pub listener: String,
    /// Why it is refused before any route is looked for.
    pub refused: Option<String>,
    pub route: Option<Placed>,
    /// What its path pattern takes from the path.
    pub params: Vec<(String, String)>,
    /// Other routes, those that were nearest to it first, and at most 100.
    pub others: Vec<Other>,
    /// How many other routes there are.
    pub others_count: usize,
    pub filters: Vec<Passed>,
    pub timeout_s: Option<f64>,
    /// `respond` with a status, or `upstreams` with their shares and endpoints.
    pub target: Value,
}

/// Something of the configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Placed {
    pub name: String,
    /// Its path in the configuration.
    pub at: String,
    /// `FILE:LINE`, where that is known.
    pub place: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Other {
    pub name: String,
    pub why: String,
    /// Whether it would take the request if no other one did.
    pub matches: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Passed {
    #[serde(flatten)]
    pub filter: Placed,
    /// `defaults`, `route`, or `chain NAME`.
    pub from: String,
}

impl Explanation {
    /// All that has a path in the configuration.
    pub fn placed(&mut self) -> impl Iterator<Item = &mut Placed> {
        self.route.iter_mut().chain(self.filters.iter_mut().map(|passed| &mut passed.filter))
    }
}

/// Explains by a configuration, and by what is known of its upstreams' health where it serves.
///
/// # Errors
/// [`QuestionError::Listener`].
pub fn explain(
    config: &Config,
    serving: Option<&Snapshot>,
    trust: &Trust,
    asked: &Question,
) -> Result<Explanation, QuestionError> {
    let made;
    let upstreams = match serving {
        Some(snapshot) => &snapshot.upstreams,
        None => {
            made = upstreams::upstreams(config, None, &Named::new(), trust, &mut Vec::new());
            &made
        }
    };
    let listener = listener(config, asked)?;
    let mut told = Explanation {
        method: asked.method.to_string(),
        host: asked.host.clone(),
        path: asked.target.path().to_owned(),
        listener: config.listeners.get(listener).map_or_else(String::new, |listener| listener.name.clone()),
        refused: None,
        route: None,
        params: Vec::new(),
        others: Vec::new(),
        others_count: 0,
        filters: Vec::new(),
        timeout_s: None,
        target: Value::Null,
    };
    let path = match normalise(asked.target.path()) {
        Ok(path) => path.into_owned(),
        Err(error) => {
            told.refused = Some(format!("400: {error}"));
            return Ok(told);
        }
    };
    told.path.clone_from(&path);
    let request = Request {
        listener: u16::try_from(listener).unwrap_or(u16::MAX),
        host: &asked.host,
        path: &path,
        query: asked.target.query(),
        method: &asked.method,
        headers: &asked.headers,
    };
    let specs: Vec<RouteSpec> = config.routes.iter().map(|route| spec(config, route)).collect();
    let standings = explain_standing(&specs, &request);
    let chosen = standings.iter().position(|standing| *standing == Standing::Chosen);
    told.others(config, &standings, chosen);
    let Some(index) = chosen else { return Ok(told) };
    let route = &config.routes[index];
    told.route = Some(placed(&route.name, At::ROOT.key("routes").item(index).to_string()));
    told.params = find_params(&specs[index], &request);
    told.filters(config, index);
    told.timeout_s = Some(route.timeout.unwrap_or(config.defaults.timeout).as_secs_f64());
    told.target = target(route, upstreams, asked);
    Ok(told)
}

fn listener(config: &Config, asked: &Question) -> Result<usize, QuestionError> {
    match &asked.listener {
        Some(name) => {
            let known = config.listeners.iter().position(|listener| listener.name == *name);
            known.ok_or_else(|| QuestionError::Listener(name.clone()))
        }
        None => {
            let is_of = |address: &ListenAddress, port| matches!(address, ListenAddress::Tcp(address) if address.port() == port);
            let of_port = |port| config.listeners.iter().position(|listener| is_of(&listener.address, port));
            Ok(asked.port.and_then(of_port).unwrap_or(0))
        }
    }
}

fn placed(name: &str, at: String) -> Placed {
    Placed { name: name.to_owned(), at, place: None }
}

impl Explanation {
    fn others(&mut self, config: &Config, standings: &[Standing], chosen: Option<usize>) {
        let winner = chosen.map_or("", |chosen| config.routes[chosen].name.as_str());
        let mut others: Vec<(Standing, &Route)> = standings.iter().copied().zip(&config.routes).collect();
        others.retain(|(standing, _)| *standing != Standing::Chosen);
        self.others_count = others.len();
        // Those that asked for the least that was missing are what somebody may have expected.
        others.sort_by_key(|(standing, _)| match standing {
            Standing::Chosen | Standing::Outranked(_) => (0, None),
            Standing::Missed(condition) => (1, Some(std::cmp::Reverse(*condition))),
        });
        others.truncate(OTHERS_MAX);
        let other = |(standing, route): (Standing, &Route)| Other {
            name: route.name.clone(),
            why: match standing {
                Standing::Chosen => String::new(),
                Standing::Outranked(advantage) => format!("`{winner}` {advantage}"),
                Standing::Missed(condition) => self.missed(condition, route),
            },
            matches: matches!(standing, Standing::Outranked(_)),
        };
        self.others = others.into_iter().map(other).collect();
    }

    fn missed(&self, condition: Condition, route: &Route) -> String {
        let name = |fields: &std::collections::BTreeMap<String, _>, index| {
            fields.keys().nth(index).cloned().unwrap_or_default()
        };
        match condition {
            Condition::Listener => format!("it is not for the listener `{}`", self.listener),
            Condition::Host => format!("it is not for the host `{}`", self.host),
            Condition::Path => format!("its path does not match `{}`", self.path),
            Condition::Method => format!("it does not take {}", self.method),
            Condition::Header(index) => {
                format!("the header `{}` is not as it asks", name(&route.matches.headers, index))
            }
            Condition::Query(index) => {
                format!("`{}` of the query is not as it asks", name(&route.matches.query, index))
            }
        }
    }

    fn filters(&mut self, config: &Config, index: usize) {
        let filters = &mut self.filters;
        each_filter(config, index, &mut |listed, at| {
            let from = match listed.from {
                ListedFrom::Defaults => "defaults".to_owned(),
                ListedFrom::Chain(name) => format!("chain {name}"),
                ListedFrom::Route => "route".to_owned(),
            };
            filters.push(Passed { filter: placed(listed.name, at.to_string()), from });
        });
        // Wherever it is listed.
        filters.sort_by_key(|passed| passed.filter.name != "cors");
    }
}

fn target(route: &Route, upstreams: &[Arc<Upstream>], asked: &Question) -> Value {
    let choices = match &route.target {
        Target::Respond(respond) => return json!({ "respond": { "status": respond.status } }),
        Target::Upstream(choices) => choices,
    };
    let whole: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let told = choices.iter().map(|(name, weight)| {
        let mut told = json!({ "name": name, "share": f64::from(*weight) / whole.max(1) as f64 });
        if let Some(upstream) = upstreams.iter().find(|upstream| *upstream.name == **name) {
            pick(upstream, asked, &mut told);
        }
        told
    });
    json!({ "upstreams": told.collect::<Vec<_>>(), "sticky": route.sticky.as_ref().map(ToString::to_string) })
}

fn pick(upstream: &Upstream, asked: &Question, told: &mut Value) {
    told["balance"] = upstream.balance.name().into();
    let members = upstream.endpoints.iter().zip(&upstream.weights).zip(&upstream.states);
    let endpoints = members.map(|((endpoint, weight), state)| {
        json!({ "address": endpoint.to_string(), "weight": weight, "healthy": state.is_healthy() })
    });
    told["endpoints"] = endpoints.collect();
    let Some(key) = &upstream.hash_on else { return };
    told["hash_on"] = key.to_string().into();
    // By a hash, the same request always goes to the same endpoint; by all else it depends on what goes on.
    let hash = key.hash(&asked.headers, &asked.target, asked.client);
    let place = hash.and_then(|hash| upstream.pick(&Pick { hash: Some(hash), avoid: &[] }));
    told["pick"] = place.map(|place| upstream.endpoints[place].to_string()).into();
}

/// Other routes that are told of.
const OTHERS_MAX: usize = 100;
