//! A stage for one plugin: the real runtime, filter and chain around it, and no server. `plugin run` and `plugin bench` play on it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tempfile::TempDir;
use tokio::runtime::LocalRuntime;

use super::author::{crate_folder, make};
use super::{compiler, load};
use crate::author::{self, Profile};
use crate::config::model as config;
use crate::config::{self as configuration, Loaded};
use crate::filter::{Chain, Connection, Exchange};
use crate::gateway::{GatewayError, plugin_runtime};
use crate::message::{Body, WholeBody};
use crate::plugin::{GuestTime, Lane, Pool, Runtime, Side};
use crate::snapshot::{self, BuildError, Choices, Snapshot};

/// Which plugin, and how it is configured.
#[derive(Debug, Args)]
pub(super) struct Cast {
    /// A file, a crate's folder, a source such as `builtin:jwt`, or with `-c` a declared plugin.
    component: String,
    /// Its config as JSON, or `@FILE` with one. Without it: what `-c` has on the first route that uses it, or else none.
    #[arg(long, value_name = "JSON|@FILE")]
    config: Option<String>,
    /// A configuration, for the plugins it declares and what they are granted.
    #[arg(short = 'c', long = "gateway", value_name = "SOURCE")]
    gateway: Vec<String>,
}

/// The request that it sees.
#[derive(Debug, Args)]
pub(super) struct Script {
    /// Method and target, such as `GET /users?id=1`.
    #[arg(default_value = "GET /", value_name = "METHOD TARGET")]
    request: String,
    /// A field of the request, `NAME: VALUE`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// What an earlier filter told, `NAME=VALUE`, such as `claims={"sub":"ada"}`; may be repeated.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Its body, or `@FILE` with one.
    #[arg(long, value_name = "TEXT|@FILE", default_value = "")]
    body: String,
    /// The body that the upstream answers with, or `@FILE` with one; its status is 200.
    #[arg(long, value_name = "TEXT|@FILE", default_value = "")]
    answer: String,
}

/// A request, read.
pub(super) struct Scene {
    head: Request<()>,
    attributes: Vec<(Arc<str>, Arc<str>)>,
    body: Bytes,
    pub(super) answer: Bytes,
}

pub(super) struct Stage {
    pub(super) tokio: LocalRuntime,
    snapshot: Snapshot,
    runtime: Runtime,
    connection: Rc<Connection>,
    _folder: TempDir,
}

/// Why nothing can be played.
pub(super) enum StageError {
    /// The command line makes no sense.
    Usage(String),
    /// There is no component of this name.
    Nothing(String),
    /// The crate does not become one.
    Build(author::BuildError),
    Gateway(GatewayError),
}

impl From<GatewayError> for StageError {
    fn from(error: GatewayError) -> Self {
        Self::Gateway(error)
    }
}

impl Script {
    pub(super) fn read(&self) -> Result<Scene, StageError> {
        let (method, target) = self.request.split_once(' ').unwrap_or(("GET", &self.request));
        let usage = |what: &str, text: &str| StageError::Usage(format!("`{text}` is no {what}"));
        let method: Method = method.parse().map_err(|_| usage("method", method))?;
        let uri: Uri =
            target.trim().parse().map_err(|_| usage("target: write a path, such as `/users?id=1`", target))?;
        if !uri.path().starts_with('/') || uri.host().is_some() {
            return Err(usage("target: write a path, such as `/users?id=1`", target));
        }
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, HeaderValue::from_static("localhost"));
        for field in &self.headers {
            let (name, value) = field.split_once(':').ok_or_else(|| usage("field: write `NAME: VALUE`", field))?;
            let name: HeaderName = name.trim().parse().map_err(|_| usage("field: write `NAME: VALUE`", field))?;
            let value: HeaderValue = value.trim().parse().map_err(|_| usage("field: write `NAME: VALUE`", field))?;
            if name == http::header::HOST {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
        }
        let attribute = |text: &String| {
            let (name, value) = text.split_once('=').ok_or_else(|| usage("attribute: write `NAME=VALUE`", text))?;
            Ok::<_, StageError>((name.into(), value.into()))
        };
        let attributes = self.attributes.iter().map(attribute).collect::<Result<_, _>>()?;
        let mut head = Request::new(());
        (*head.method_mut(), *head.uri_mut(), *head.headers_mut()) = (method, uri, headers);
        Ok(Scene { head, attributes, body: text_or_file(&self.body)?, answer: text_or_file(&self.answer)? })
    }
}

impl Stage {
    /// Loads and configures the plugin, as a gateway does that starts. A crate is built first.
    pub(super) fn set(cast: &Cast, profile: Profile) -> Result<Self, StageError> {
        let Loaded { config, document, .. } = cast.configuration(profile)?;
        let folder = tempfile::tempdir().map_err(GatewayError::Worker)?;
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default())
            .map_err(GatewayError::Worker)?;
        let runtime = plugin_runtime(&config.runtime, folder.path(), compiler())?;
        let built = tokio.block_on(snapshot::build(&config, &Choices::new(), None, &runtime));
        let snapshot = built.map_err(|error| match error {
            BuildError::Config(faults) => GatewayError::Config(document.faults(faults)),
            BuildError::Plugin(faults) => GatewayError::Plugin(document.faults(faults)),
        })?;
        let connection = Rc::new(Connection::new("stage".into(), IpAddr::V4(Ipv4Addr::LOCALHOST), "http"));
        Ok(Self { tokio, snapshot, runtime, connection, _folder: folder })
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.snapshot.routes[0].chain
    }

    /// The plugin's instances, none so far.
    pub(super) fn lanes(&self) -> Rc<[Lane]> {
        let lane = |plugin: &snapshot::Plugin| {
            let release = &plugin.deployment.stable;
            let pool = Rc::new(Pool::new(release.declaration.clone(), self.runtime.worker_gate()));
            Lane { stable: Side::new(pool, release), trial: None }
        };
        self.snapshot.plugins.iter().map(lane).collect()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn exchange(&self, scene: &Scene, lanes: &Rc<[Lane]>) -> Exchange {
        let (head, ()) = scene.head.clone().into_parts();
        let time = GuestTime::new(self.snapshot.request_deadline);
        let mut exchange = Exchange::new(self.connection.clone(), head, lanes.clone(), time);
        exchange.route = self.snapshot.routes[0].name.clone();
        exchange.request_id = HeaderValue::from_static("rehearsal");
        exchange.deadline = tokio::time::Instant::now() + PATIENCE;
        crate::message::strip_owned(&mut exchange.headers, &self.snapshot.owned_headers);
        exchange.attributes.clone_from(&scene.attributes);
        exchange.request_body = body(&scene.body);
        exchange
    }
}

impl Cast {
    /// One route with the plugin on it, and what a configuration has beside it.
    fn configuration(&self, profile: Profile) -> Result<Loaded, StageError> {
        let given = self.given_config()?;
        let outer = if self.gateway.is_empty() { None } else { Some(load(&self.gateway)?.config) };
        let attached = || outer.as_ref().and_then(|outer| attached(outer, &self.component));
        let config = given.or_else(attached).unwrap_or_else(|| "{}".to_owned());
        let mut declared = outer.as_ref().and_then(|outer| outer.plugins.get(&self.component)).cloned();
        if let Some(plugin) = &mut declared
            && let config::PluginSource::Cargo(folder) = &plugin.source
        {
            plugin.source = config::PluginSource::File(make(folder, profile).map_err(StageError::Build)?);
        }
        let name = if declared.is_some() { &self.component } else { NAME };
        let source = match &declared {
            // What is fetched proves itself by its own declaration.
            Some(config::Plugin { source: config::PluginSource::Https { .. }, .. }) => format!("builtin:{name}"),
            Some(plugin) => plugin.source.to_string(),
            None => self.undeclared(profile)?,
        };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        // JSON is YAML; on a line of its own it is easy to point at.
        let frame = FRAME.replace("<name>", &quoted(name)).replace("<source>", &quoted(&source));
        let text = format!("{frame}{}\n", config.replace('\n', " "));
        let loaded = configuration::load_text(Path::new("the command line"), text, &|_| None);
        let mut loaded = loaded.map_err(GatewayError::Config)?;
        loaded
            .config
            .plugins
            .extend(declared.map(|plugin| (name.to_owned(), config::Plugin { canary: None, ..plugin })));
        if let Some(outer) = outer {
            let config::Config { runtime, secrets, key_sets, tables, stores, limiters, .. } = outer;
            loaded.config = config::Config { runtime, secrets, key_sets, tables, stores, limiters, ..loaded.config };
        }
        Ok(loaded)
    }

    fn given_config(&self) -> Result<Option<String>, StageError> {
        let Some(config) = &self.config else { return Ok(None) };
        let config = String::from_utf8(text_or_file(config)?.into())
            .map_err(|_| StageError::Usage("the config is not UTF-8".to_owned()))?;
        match serde_json::from_str::<serde::de::IgnoredAny>(&config) {
            Ok(_) => Ok(Some(config)),
            Err(error) => Err(StageError::Usage(format!("the config is not JSON: {error}"))),
        }
    }

    /// Where the component is that no configuration declares.
    fn undeclared(&self, profile: Profile) -> Result<String, StageError> {
        let component = &self.component;
        if let Some(folder) = crate_folder(component) {
            let built = make(folder, profile).map_err(StageError::Build)?;
            Ok(format!("file:{}", built.display()))
        } else if configuration::plugin_source(component).is_ok() {
            Ok(component.clone())
        } else if Path::new(component).exists() {
            Ok(format!("file:{component}"))
        } else {
            let declared = if self.gateway.is_empty() { "" } else { ", no plugin that the configuration declares" };
            let nothing = format!(
                "`{component}` is no file, no folder of a crate{declared}, and no source such as `builtin:jwt`"
            );
            Err(StageError::Nothing(nothing))
        }
    }
}

/// What a configuration has for a plugin where it is used first: on a route, in a chain, or by default.
fn attached(outer: &config::Config, plugin: &str) -> Option<String> {
    let routes = outer.routes.iter().flat_map(|route| &route.filters);
    let mut filters = routes.chain(outer.chains.values().flatten()).chain(&outer.defaults.filters);
    filters.find_map(|filter| match filter {
        config::FilterUse::Use { name, config, .. } if name == plugin => Some(config.to_string()),
        _ => None,
    })
}

fn text_or_file(text: &str) -> Result<Bytes, StageError> {
    match text.strip_prefix('@') {
        Some(path) => {
            std::fs::read(path).map(Bytes::from).map_err(|error| StageError::Usage(format!("{path}: {error}")))
        }
        None => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// A whole body; a hook that streams runs while it is read.
pub(super) async fn read_all(body: Body) -> Result<Bytes, String> {
    let whole = WholeBody::collect(body, BODY_BYTES_MAX).await.map_err(|error| error.to_string())?;
    match whole.send_on(&mut HeaderMap::new()) {
        Body::Full(bytes) => Ok(bytes),
        _ => Ok(Bytes::new()),
    }
}

fn body(bytes: &Bytes) -> Body {
    if bytes.is_empty() { Body::Empty } else { Body::Full(bytes.clone()) }
}

const BODY_BYTES_MAX: usize = 64 << 20;

/// What a plugin is called that no configuration declares.
const NAME: &str = "it";

const FRAME: &str = "version: 1
listeners: [{ name: stage, address: 127.0.0.1:0 }]
plugins:
  <name>:
    source: <source>
routes:
  - name: stage
    match: {}
    respond: { status: 200 }
    filters:
      - use: <name>
        config:
          ";

/// For what a plugin waits for: bodies, and requests of its own.
const PATIENCE: Duration = Duration::from_secs(30);
