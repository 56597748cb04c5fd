//! The harness plays the gateway faithfully: what a plugin sees, what becomes of its edits, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Deserialize;
use witgate_plugin::config::NoConfig;
use witgate_plugin::test::{Harness, Level, TestRequest, TestResponse, json};
use witgate_plugin::{
    Attribute, Error, Origin, Param, Part, Plugin, PreparedEdits, Reply, Request, RequestHeader, Response,
    ResponseHeader, Setup, Verdict, export_plugin, schemars,
};

/// Asks for everything, and writes what it saw to the log.
struct Everything {
    method: Part,
    scheme: Part,
    authority: Part,
    path: Part,
    client: Part,
    route: Part,
    request_id: Part,
    id: Param,
    none: Param,
    tenant: RequestHeader,
    vary: ResponseHeader,
    user: Attribute,
}

impl Plugin for Everything {
    type Config = NoConfig;

    fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
        setup.own_header("X-User-Id");
        setup.may_fail_open();
        let unrelated = setup.want_request_header("x-other");
        let tenant = setup.want_request_header("X-Tenant");
        assert_ne!(unrelated, tenant);
        assert_eq!(tenant, setup.want_request_header("x-tenant"));
        Ok(Everything {
            tenant,
            // The order of asking is nobody's concern but the gateway's.
            path: setup.want_path(),
            user: setup.want_attribute("user"),
            request_id: setup.want_request_id(),
            none: setup.want_param("none"),
            id: setup.want_param("id"),
            vary: setup.want_response_header("Vary"),
            route: setup.want_route(),
            client: setup.want_client(),
            authority: setup.want_authority(),
            scheme: setup.want_scheme(),
            method: setup.want_method(),
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let part = |key| request.part(key);
        witgate_plugin::debug!("{} {}", part(self.method), part(self.path));
        witgate_plugin::info!("{} {:?}", request.path(self.path), request.query(self.path));
        witgate_plugin::warn!("{} {} {}", part(self.scheme), part(self.authority), part(self.client));
        witgate_plugin::error!("{} {}", part(self.route), part(self.request_id).len());
        let tenants: Vec<_> = request.headers(self.tenant).collect();
        let text = request.header_str(self.tenant);
        witgate_plugin::log::info(&format!("{tenants:?} {text:?} {:?}", request.attribute(self.user)));
        witgate_plugin::log::info(&format!("{:?} {:?}", request.param(self.id), request.param(self.none)));
        witgate_plugin::log::info(&format!("{:?}", request.fetch_header("x-user-id")));
        witgate_plugin::log::info(&format!("{:?} {}", request.fetch_header("X-Rare"), request.fetch_listener()));
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        let vary: Vec<_> = response.headers(self.vary).map(String::from_utf8_lossy).collect();
        let first = response.header_str(self.vary);
        witgate_plugin::log::info(&format!("{} {:?} {vary:?} {first:?}", response.status(), response.origin()));
        witgate_plugin::log::info(&format!("{:?} {:?}", response.kept(), response.attribute(self.user)));
        let fetched = (response.fetch_header("age"), response.fetch_request_header("x-rare"));
        witgate_plugin::log::info(&format!("{fetched:?} {}", response.fetch_listener()));
        Verdict::Next
    }
}

export_plugin!(Everything: request, response);

fn messages(plugin: &Harness<Everything>) -> Vec<String> {
    plugin.log().into_iter().map(|line| line.message).collect()
}

#[test]
fn a_request_arrives_in_the_parts_that_were_asked_for() {
    let mut plugin = Harness::<Everything>::new(json!({})).unwrap();
    let request = TestRequest::new("PUT", "/users/42?full=1")
        .authority("api.example.test:8080")
        .client("203.0.113.9")
        .param("id", "42")
        .attribute("user", "ada")
        .header("x-tenant", [0xff])
        .header("x-rare", "1")
        .header("X-Tenant", "b")
        .header("x_user_id", "forged")
        .header("X-User-Id", "forged");
    let outcome = plugin.request(request);
    assert_eq!(
        messages(&plugin),
        [
            "PUT /users/42?full=1",
            "/users/42 Some(\"full=1\")",
            "http api.example.test:8080 203.0.113.9",
            "test 36",
            "[[255], [98]] None Some(\"ada\")",
            "Some(\"42\") None",
            "[]",
            "[[49]] http",
        ]
    );
    let levels: Vec<_> = plugin.log().iter().map(|line| line.level).take(4).collect();
    assert_eq!(levels, [Level::Debug, Level::Info, Level::Warn, Level::Error]);
    // A header that a plugin owns is stripped in either spelling, for the upstream too.
    assert_eq!(outcome.passed().values("x-user-id"), [""; 0]);
    assert_eq!(outcome.passed().values("x_user_id"), [""; 0]);
}

#[test]
fn a_response_arrives_with_its_request_behind_it() {
    let mut plugin = Harness::<Everything>::new(json!(null)).unwrap();
    plugin.request(TestRequest::get("/").header("x-rare", "1").attribute("user", "ada"));
    let before = plugin.log().len();
    let response = TestResponse::new(503).origin(Origin::Gateway).header("vary", "a").header("Vary", "b");
    plugin.response(response.header("age", "3"));
    let expected =
        ["503 Gateway [\"a\", \"b\"] Some(\"a\")", "None Some(\"ada\")", "([[51]], [[49]]) http"].map(str::to_owned);
    assert_eq!(messages(&plugin)[before..], expected);
}

#[test]
fn asking_is_recorded() {
    let asked = Harness::<Everything>::new(json!({})).unwrap().asked();
    assert!(asked.method && asked.scheme && asked.authority && asked.path && asked.client);
    assert!(asked.route && asked.request_id && asked.may_fail_open);
    assert_eq!(asked.params, ["none", "id"]);
    assert_eq!(asked.request_headers, ["x-other", "x-tenant"]);
    assert_eq!(asked.response_headers, ["vary"]);
    assert_eq!(asked.attributes, ["user"]);
    assert_eq!(asked.owned_headers, ["x-user-id"]);
    assert_eq!(Harness::<Script>::new(json!({})).unwrap().asked(), Default::default());
}

/// Does in its request hook what its configuration says, and nothing in `configure`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    steps: Vec<Step>,
    respond: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Set(String, String),
    Append(String, String),
    Remove(String),
    Path(String),
    Query(String),
    Method(String),
    Authority(String),
    Attribute(String, String),
    Upstream(String),
    Keep(usize),
    Prepared,
    Panic(String),
}

impl Plugin for Script {
    type Config = Script;

    fn configure(config: Script, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        for step in &self.steps {
            match step {
                Step::Set(name, value) => request.set_header(name, value),
                Step::Append(name, value) => request.append_header(name, value),
                Step::Remove(name) => request.remove_header(name),
                Step::Path(path) => request.set_path(path),
                Step::Query(query) => request.set_query(query),
                Step::Method(method) => request.set_method(method),
                Step::Authority(authority) => request.set_authority(authority),
                Step::Attribute(name, value) => request.set_attribute(name, value),
                Step::Upstream(name) => request.select_upstream(name),
                Step::Keep(length) => request.keep(vec![b'k'; *length]),
                Step::Prepared => request.apply(&prepared()),
                Step::Panic(message) => panic!("{message}"),
            }
        }
        self.respond.map_or(Verdict::Next, |status| Reply::new(status).body("no").into())
    }
}

export_plugin!(Script: request);

fn prepared() -> PreparedEdits {
    let mut edits = PreparedEdits::default();
    edits.append_header("X-A", "prepared");
    edits.set_header("X-B", [0xff]);
    edits.append_header("x-c", "1");
    edits.remove_header("X-C");
    edits
}

fn script(steps: serde_json::Value) -> Harness<Script> {
    Harness::new(json!({ "steps": steps })).unwrap()
}

/// The message of the panic that ends a call.
fn panic_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("the call should panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

#[test]
fn edits_apply_in_order() {
    let mut plugin = script(json!([
        { "append": ["X-A", "2"] },
        { "set": ["X-B", "1"] },
        { "set": ["x-b", "2"] },
        { "append": ["x-gone", "2"] },
        { "remove": "X-Gone" },
        { "path": "/new" },
        { "query": "b=2" },
        { "method": "PATCH" },
        { "authority": "other.test" },
        { "attribute": ["user", "ada"] },
        { "upstream": "v2" },
        { "keep": 1 },
        { "keep": 2 },
    ]));
    let request = TestRequest::get("/old?a=1").header("x-a", "1").header("x-b", "0").header("x-gone", "1");
    let outcome = plugin.request(request);
    let passed = outcome.passed();
    assert_eq!(passed.values("x-a"), ["1", "2"]);
    assert_eq!(passed.values("x-b"), ["2"]);
    assert_eq!(passed.value("x-gone"), None);
    assert_eq!((passed.method.as_str(), passed.target().as_str()), ("PATCH", "/new?b=2"));
    assert_eq!((passed.authority.as_str(), passed.upstream.as_deref()), ("other.test", Some("v2")));
    assert_eq!(plugin.attribute("user"), Some("ada"));
    assert_eq!(plugin.kept(), Some(b"kk".as_slice()));

    let outcome = script(json!([{ "query": "" }])).request(TestRequest::get("/a?b"));
    assert_eq!(outcome.passed().target(), "/a");
}

#[test]
fn prepared_edits_take_their_place_among_the_others() {
    let mut plugin = script(json!([{ "append": ["x-a", "first"] }, "prepared", { "append": ["x-a", "last"] }]));
    let outcome = plugin.request(TestRequest::get("/").header("x-b", "1").header("x-b", "2").header("x-c", "0"));
    let passed = outcome.passed();
    assert_eq!(passed.values("x-a"), ["first", "prepared", "last"]);
    assert_eq!(
        passed.headers.iter().filter(|(name, _)| name == "x-b").map(|(_, value)| value).collect::<Vec<_>>(),
        [&[0xff]]
    );
    assert_eq!(passed.value("x-c"), None);
}

#[test]
fn a_reply_drops_the_edits() {
    let config =
        json!({ "steps": [{ "set": ["x-a", "1"] }, { "attribute": ["a", "1"] }, { "keep": 1 }], "respond": 403 });
    let mut plugin = Harness::<Script>::new(config).unwrap();
    let outcome = plugin.request(TestRequest::get("/"));
    assert_eq!((outcome.reply().status(), outcome.reply().bytes()), (403, b"no".as_slice()));
    assert_eq!((plugin.kept(), plugin.attribute("a")), (None, None));
    assert!(panic_of(|| _ = outcome.passed()).contains("it responded"));
}

#[test]
fn what_is_not_http_is_refused() {
    for (step, what) in [
        (json!({ "set": ["x a", "1"] }), "a header name"),
        (json!({ "append": ["", "1"] }), "a header name"),
        (json!({ "remove": "a:b" }), "a header name"),
        (json!({ "set": ["x-a", "1\r\nx-b: 2"] }), "a header value"),
        (json!({ "append": ["x-a", "\u{0}"] }), "a header value"),
        (json!({ "path": "a" }), "a path"),
        (json!({ "path": "/a?b" }), "a path"),
        (json!({ "path": "/a b" }), "a path"),
        (json!({ "query": "a#b" }), "a query"),
        (json!({ "method": "G E T" }), "a method"),
        (json!({ "authority": "" }), "an authority"),
        (json!({ "authority": "user@host" }), "an authority"),
        (json!({ "keep": 4097 }), "keeps 4096 bytes"),
    ] {
        let mut plugin = script(json!([step]));
        let message = panic_of(|| _ = plugin.request(TestRequest::get("/")));
        assert!(message.contains("the gateway") && message.contains(what), "{step}: {message}");
    }
    assert_eq!(script(json!([{ "keep": 4096 }])).request(TestRequest::get("/")).passed().path, "/");
    let mut plugin = Harness::<Script>::new(json!({ "respond": 199 })).unwrap();
    assert!(panic_of(|| _ = plugin.request(TestRequest::get("/"))).contains("a status"));
}

#[test]
fn a_hook_that_is_not_exported_does_not_run() {
    let message = panic_of(|| _ = script(json!([])).response(TestResponse::new(200)));
    assert!(message.contains("no response hook"), "{message}");
}

#[test]
fn a_panic_leaves_other_attachments_alone() {
    let mut broken = script(json!([{ "panic": "boom" }]));
    let mut sound = script(json!([{ "set": ["x-a", "1"] }]));
    assert_eq!(panic_of(|| _ = broken.request(TestRequest::get("/"))), "boom");
    assert_eq!(sound.request(TestRequest::get("/")).passed().value("x-a"), Some("1"));
}

/// Changes responses, and counts the attachments that live.
struct Stateful {
    config: StatefulConfig,
    _alive: Arc<()>,
}

#[derive(Deserialize)]
struct StatefulConfig {
    name: String,
    #[serde(default)]
    respond: bool,
}

thread_local! {
    static ALIVE: Arc<()> = Arc::new(());
}

impl Plugin for Stateful {
    type Config = StatefulConfig;

    fn configure(config: StatefulConfig, _setup: &mut Setup) -> Result<Self, Error> {
        if config.name.is_empty() {
            return Err(Error::at("name", "must not be empty"));
        }
        Ok(Stateful { config, _alive: ALIVE.with(Arc::clone) })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        request.keep(self.config.name.as_bytes());
        Verdict::Next
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.set_status(299);
        response.set_header("x-name", response.kept().unwrap_or(b"nothing"));
        response.append_header("via", "1.1 witgate");
        response.remove_header("Server");
        response.set_attribute("name", self.config.name.as_str());
        if self.config.respond { Reply::problem(502, "no").into() } else { Verdict::Next }
    }
}

export_plugin!(Stateful: request, response);

#[test]
fn attachments_share_an_instance_and_keep_apart() {
    let mut first = Harness::<Stateful>::new(json!({ "name": "first" })).unwrap();
    let mut second = Harness::<Stateful>::new(json!({ "name": "second" })).unwrap();
    first.request(TestRequest::get("/"));
    second.request(TestRequest::get("/"));
    let response = || TestResponse::new(200).header("server", "x").header("via", "1.0 a");
    for (plugin, name) in [(&mut first, "first"), (&mut second, "second")] {
        let outcome = plugin.response(response());
        let passed = outcome.passed();
        assert_eq!((passed.status, passed.value("x-name"), passed.value("server")), (299, Some(name), None));
        assert_eq!(passed.values("via"), ["1.0 a", "1.1 witgate"]);
        assert_eq!(plugin.attribute("name"), Some(name));
    }
    // A response without a request has nothing that was kept.
    let mut third = Harness::<Stateful>::new(json!({ "name": "third" })).unwrap();
    assert_eq!(third.response(response()).passed().value("x-name"), Some("nothing"));
}

#[test]
fn a_released_attachment_is_dropped() {
    let alive = || ALIVE.with(Arc::strong_count) - 1;
    let plugin = Harness::<Stateful>::new(json!({ "name": "a" })).unwrap();
    assert_eq!(alive(), 1);
    drop(plugin);
    assert_eq!(alive(), 0);
}

#[test]
fn a_response_can_be_replaced() {
    let mut plugin = Harness::<Stateful>::new(json!({ "name": "a", "respond": true })).unwrap();
    let outcome = plugin.response(TestResponse::new(200));
    assert_eq!(outcome.reply().status(), 502);
    assert_eq!(plugin.attribute("name"), None);
    assert!(panic_of(|| _ = plugin.response(TestResponse::new(200)).passed()).contains("it responded"));
}

#[test]
fn a_refused_configuration_names_its_key() {
    for (config, expected) in [
        (json!({ "name": "" }), "name: must not be empty"),
        (json!({ "name": 1 }), "name: invalid type: integer `1`, expected a string"),
        (json!(null), "missing field `name`"),
    ] {
        assert_eq!(Harness::<Stateful>::new(config).err().unwrap().to_string(), expected);
    }
}

/// Takes what its schema does not.
struct Strict;

#[derive(Deserialize, schemars::JsonSchema)]
struct StrictConfig {
    #[schemars(range(max = 3))]
    tries: u8,
}

impl Plugin for Strict {
    type Config = StrictConfig;

    fn configure(config: StrictConfig, _setup: &mut Setup) -> Result<Self, Error> {
        if config.tries == 0 { Err(Error::at("tries", "must not be 0")) } else { Ok(Strict) }
    }
}

export_plugin!(Strict: describe, request);

#[test]
#[cfg_attr(not(feature = "schema-tests"), ignore = "needs the feature")]
fn what_the_components_schema_refuses_is_refused() {
    let error = |config| Harness::<Strict>::new(config).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error(json!({ "tries": 3 })), "");
    assert_eq!(error(json!({ "tries": 0 })), "tries: must not be 0", "the plugin's own words come first");
    let refused = error(json!({ "tries": 4 }));
    assert!(refused.starts_with("tries: the component's schema refuses it: 4 is greater"), "{refused}");
}
