//! What the benches share: an engine with bundled plugins, on one worker's runtime.

#![allow(dead_code, unreachable_pub, reason = "each bench uses its part of this")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tokio::runtime::LocalRuntime;
use witgate::filter::native::{Natives, Offer};
use witgate::filter::{Chain, Connection, Exchange, Filter, PluginFilter, Policy};
use witgate::outbound::Trust;
use witgate::plugin::{
    Attachment, CompileLimits, Declaration, Digest, EngineOptions, Grants, GuestTime, Isolation, Lane, Limits, Pool,
    Recycle, Release, Runtime, Side, Version, WorkerGate,
};

/// One worker and an engine.
pub struct Bench {
    pub tokio: LocalRuntime,
    runtime: Runtime,
    gate: WorkerGate,
    connection: Rc<Connection>,
}

/// The engine, with a state folder that outlives a bench: components are compiled once.
pub fn engine() -> Runtime {
    Runtime::new(EngineOptions {
        slots: 8,
        state_dir: std::env::temp_dir().join("witgate-bench"),
        cache_bytes: 1 << 30,
        compiler: PathBuf::from(env!("CARGO_BIN_EXE_witgate")),
        compile_limits: CompileLimits { timeout: Duration::from_secs(60), memory_bytes: 2 << 30, parallel: 2 },
        trust: Trust::default(),
    })
    .expect("an engine")
}

impl Bench {
    pub fn new() -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default())
            .expect("a runtime");
        let runtime = engine();
        let gate = runtime.worker_gate();
        let connection = Rc::new(Connection::new("http".into(), IpAddr::V4(Ipv4Addr::LOCALHOST), "http"));
        Self { tokio, runtime, gate, connection }
    }

    /// `builtin:rewrite` with a config, and its pool.
    pub fn attach(&self, config: &Value, isolation: Isolation) -> (Rc<Pool>, Arc<Attachment>) {
        self.attach_builtin("rewrite", config, isolation, Grants::default())
    }

    /// Any bundled plugin, with what it is granted.
    pub fn attach_builtin(
        &self,
        name: &str,
        config: &Value,
        isolation: Isolation,
        grants: Grants,
    ) -> (Rc<Pool>, Arc<Attachment>) {
        let component = witgate::plugin::builtin::component(name).expect("a bundled plugin");
        let version = Version::load(&self.runtime, component, Digest::of(component));
        let version = Arc::new(self.tokio.block_on(version).expect("it loads"));
        let limits = Limits {
            memory_bytes: 16 << 20,
            deadline: Duration::from_millis(10),
            timeout: Duration::from_secs(5),
            instances: 8,
            parked: 8,
            body_bytes: 1 << 20,
            restarts: 1000,
            reply_bytes: 1 << 20,
            host_bytes: 4 << 20,
            log_lines: 100,
            outbound_calls: 16,
            host_calls: 1000,
            handles: 1024,
            metrics: 64,
            span_attributes: 32,
            table_elements: 20_000,
            attributes: 64,
        };
        let recycle = Recycle { uses: u64::MAX, age: None, memory_bytes: None };
        let declaration = Arc::new(Declaration {
            name: name.into(),
            version,
            isolation,
            limits,
            recycle,
            grants: Arc::new(grants),
            is_shadow: false,
            log_rate: Arc::default(),
        });
        let configure = Attachment::configure(&self.runtime, declaration.clone(), config.to_string().into());
        let attachment = self.tokio.block_on(configure).expect("it takes the config");
        (Rc::new(Pool::new(declaration, self.gate.clone())), Arc::new(attachment))
    }

    /// So many native filters that add a header to request and response.
    pub fn native_chain(&self, count: usize) -> Chain {
        let config = json!({"request": {"add": {"x-bench-req": "1"}}, "response": {"add": {"x-bench-res": "1"}}});
        Chain::new(vec![native("headers", &config); count])
    }

    /// So many plugins that do the same; their lane is the one of the returned list.
    pub fn plugin_chain(&self, count: usize) -> (Chain, Rc<[Lane]>) {
        let (pool, attachment) = self.attach(&stamp(), Isolation::Shared);
        let filter: Arc<dyn Filter> = Arc::new(PluginFilter::new("rewrite".into(), 0, 0, Policy::default()));
        let release = Release { declaration: pool.declaration().clone(), attachments: [attachment].into() };
        let lane = Lane { stable: Side::new(pool, &release), trial: None };
        (Chain::new(vec![filter; count]), Rc::new([lane]))
    }

    /// One request down the chain and its response up.
    pub fn pass(&self, chain: &Chain, lanes: &Rc<[Lane]>) {
        let (head, ()) = Request::get("/v1/users/42").header("host", "a").body(()).expect("a request").into_parts();
        let mut exchange =
            Exchange::new(self.connection.clone(), head, lanes.clone(), GuestTime::new(Duration::from_secs(1)));
        self.tokio.block_on(async {
            chain.on_request(&mut exchange).await;
            let ran = chain.names().count();
            chain.on_response(&mut exchange, ran, |_, _| panic!("no filter answers here")).await;
        });
        assert_eq!(exchange.response.headers.len(), chain.names().count(), "every filter added one");
    }
}

/// A native filter of a route of its own.
pub fn native(name: &str, config: &Value) -> Arc<dyn Filter> {
    let filter = Natives::new(Offer::default(), None).build(&"bench".into(), name, config);
    filter.expect("it exists").unwrap_or_else(|error| panic!("it takes the config: {error:?}"))
}

/// A config of `rewrite` that adds one header each way.
pub fn stamp() -> Value {
    json!({
        "request": {"headers": {"add": {"x-bench-req": "1"}}},
        "response": {"headers": {"add": {"x-bench-res": "1"}}},
    })
}
