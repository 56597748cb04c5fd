//! Run a plugin natively, with the gateway's side of the contract played by a [`Harness`].
//!
//! ```
//! use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};
//! # use witgate_plugin::{Error, Part, Plugin, Request, Response, Setup, Verdict, config::NoConfig, export_plugin};
//! # struct Echo {
//! #     path: Part,
//! # }
//! # impl Plugin for Echo {
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
//! #         Ok(Echo { path: setup.want_path() })
//! #     }
//! #     fn on_request(&self, request: &mut Request) -> Verdict {
//! #         request.keep(request.path(self.path).as_bytes());
//! #         Verdict::Next
//! #     }
//! #     fn on_response(&self, response: &mut Response) -> Verdict {
//! #         response.set_header("x-path", response.kept().unwrap_or_default());
//! #         Verdict::Next
//! #     }
//! # }
//! # export_plugin!(Echo: request, response);
//!
//! let mut plugin = Harness::<Echo>::new(json!({}))?;
//! assert!(plugin.asked().path);
//!
//! plugin.request(TestRequest::get("/users?id=1"));
//! let outcome = plugin.response(TestResponse::new(200));
//! assert_eq!(outcome.passed().value("x-path"), Some("/users"));
//! # Ok::<(), witgate_plugin::Error>(())
//! ```
//!
//! A body travels in the pieces that the test gives it: [`TestRequest::piece`] and [`TestResponse::piece`] add one, and what came of
//! them is the `body` of the outcome.
//!
//! The harness passes what the plugin asked for and nothing else, strips the headers that it owns from the request, calls only
//! hooks that are exported, and refuses edits that are not HTTP. What it leaves to the gateway: normalising paths, which
//! upstreams a route names, deadlines and memory.

mod body;
mod edit;
mod gateway;
mod grants;
mod message;
mod network;
#[cfg(feature = "schema-tests")]
mod schema;

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

pub use serde_json::json;

pub use self::gateway::{Asked, LogLine};
pub use self::grants::Grants;
pub use self::message::{TestRequest, TestResponse};
pub use crate::host::log::Level;

use self::gateway::TestGateway;
use crate::host::trace::AttributeValue;
use crate::trace::Value;
use crate::wire::{
    RequestEdit, RequestVerdict, ResponseEdit, ResponseHead, ResponseVerdict, WholeRequestVerdict, WholeResponseVerdict,
};
use crate::{Error, Exported, Reply, glue, host};

/// One attachment of a plugin, in a gateway of its own.
///
/// ```
/// use std::time::Duration;
/// use witgate_plugin::kv::{Store, StoreError};
/// use witgate_plugin::test::{Grants, Harness, Level, TestRequest, TestResponse, json};
/// use witgate_plugin::{Error, Plugin, Request, Response, Setup, Verdict, config::NoConfig, export_plugin, info, metrics};
///
/// struct Visits(Store);
///
/// impl Plugin for Visits {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Visits(Store::open("local")?))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         let visits = self.0.increment("visits", 1, Some(Duration::from_secs(60))).unwrap_or(0);
///         info!("visit {visits}");
///         metrics::count("visits", 1);
///         request.set_attribute("visits", visits.to_string());
///         request.keep(visits.to_string());
///         Verdict::Next
///     }
///
///     fn on_response(&self, response: &mut Response) -> Verdict {
///         response.set_header("x-visits", response.kept().unwrap_or_default());
///         Verdict::Next
///     }
/// }
///
/// export_plugin!(Visits: request, response);
///
/// let refused = Harness::<Visits>::new(json!({})).err().map(|error| error.to_string());
/// assert_eq!(refused.as_deref(), Some("this plugin is granted no store `local`"));
/// let mut plugin = Harness::<Visits>::granted(Grants::new().store("local"), json!({}))?;
/// plugin.request(TestRequest::get("/")).passed();
/// assert_eq!((plugin.attribute("visits"), plugin.kept()), (Some("1"), Some(&b"1"[..])));
/// assert_eq!(plugin.response(TestResponse::new(200)).passed().value("x-visits"), Some("1"));
/// assert_eq!((plugin.log()[0].level, plugin.log()[0].message.as_str()), (Level::Info, "visit 1"));
/// assert_eq!((plugin.metric("visits"), plugin.stored("local", "visits")), (Some(1.0), Some(b"1".to_vec())));
/// // A minute later it begins anew; and a store may fail.
/// plugin.advance(Duration::from_secs(60));
/// assert_eq!(plugin.stored("local", "visits"), None);
/// plugin.break_store("local", Some(StoreError::Unavailable));
/// plugin.request(TestRequest::get("/")).passed();
/// assert_eq!(plugin.attribute("visits"), Some("0"));
/// assert!(plugin.sent().is_empty() && plugin.asked().request_headers.is_empty());
/// # Ok::<(), Error>(())
/// ```
///
///
/// # Panics
///
/// [`request`](Self::request) and [`response`](Self::response) panic where the gateway would fail the exchange: when the plugin
/// panics, exports no such hook, or makes an edit that the gateway refuses.
pub struct Harness<P: Exported> {
    attachment: u32,
    gateway: Rc<TestGateway>,
    exchange: Exchange,
    plugin: PhantomData<P>,
}

/// What the gateway remembers between the two hooks of an exchange.
#[derive(Default)]
struct Exchange {
    request: TestRequest,
    kept: Option<Vec<u8>>,
}

/// What the hooks decided, after their edits. [`passed`](Self::passed) and [`reply`](Self::reply) take one of them for granted.
///
/// ```
/// use witgate_plugin::{Reply, test::{Outcome, TestRequest}};
///
/// let outcome: Outcome<TestRequest> = Outcome::Respond(Reply::new(403));
/// assert_eq!(outcome.reply().status(), 403);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<M> {
    /// The message passed, and looks like this now.
    Next(M),
    /// The plugin answered in its place.
    Respond(Reply),
}

impl<P: Exported> Harness<P> {
    /// Configure an attachment. The configuration is what stands under `config` in the gateway's YAML.
    ///
    /// # Errors
    ///
    /// What the plugin refuses its configuration for, or what kept it from being decoded, as the operator reads it. With the feature
    /// `schema-tests`, and where the component exports `describe`, also what its schema refuses though it can be decoded: the gateway
    /// checks the schema first.
    pub fn new(config: serde_json::Value) -> Result<Self, Error> {
        Self::granted(Grants::new(), config)
    }

    /// Configure an attachment of a plugin that is granted something.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn granted(grants: Grants, config: serde_json::Value) -> Result<Self, Error> {
        // Numbers are never used twice, because tests on one thread share the plugin's attachments.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let attachment = NEXT.fetch_add(1, Ordering::Relaxed);
        let gateway = Rc::new(TestGateway::with(grants));
        host::enter(gateway.clone(), || glue::configure::<P>(attachment, &config.to_string())).map_err(Error::new)?;
        let harness = Harness { attachment, gateway, exchange: Exchange::default(), plugin: PhantomData };
        #[cfg(feature = "schema-tests")]
        P::exported_schema().map_or(Ok(()), |schema| schema::check(&schema, &config))?;
        Ok(harness)
    }

    /// Run what the component exports for requests, in the gateway's order: the request hook, the hook over the whole body, and the
    /// transform of the body, piece by piece. A new exchange begins.
    #[track_caller]
    pub fn request(&mut self, mut request: TestRequest) -> Outcome<TestRequest> {
        assert!(P::HOOKS.any_request(), "the component has no request hook: name it in `export_plugin!(…: request)`");
        self.gateway.begin_span();
        self.gateway.begin_request(&mut request);
        let mut kept = None;
        let reply = self.run_request(&mut request, &mut kept);
        self.exchange = Exchange { request: request.clone(), kept };
        match reply {
            Some(reply) => Outcome::Respond(edit::check_reply(reply)),
            None => Outcome::Next(request),
        }
    }

    /// Run what the component exports for responses, in the gateway's order: the response hook, the hook over the whole body, and
    /// the transform of the body. They run in the exchange that the last [`request`](Self::request) began; without one, in that of
    /// `GET /`, as if another filter had answered before this plugin kept anything.
    ///
    /// A transform that breaks a response off gives its reply as the outcome; from the gateway, the client would see the stream reset.
    #[track_caller]
    pub fn response(&mut self, mut response: TestResponse) -> Outcome<TestResponse> {
        assert!(
            P::HOOKS.any_response(),
            "the component has no response hook: name it in `export_plugin!(…: response)`"
        );
        self.gateway.begin_span();
        match self.run_response(&mut response) {
            Some(reply) => Outcome::Respond(edit::check_reply(reply)),
            None => Outcome::Next(response),
        }
    }

    #[track_caller]
    fn run_request(&self, request: &mut TestRequest, kept: &mut Option<Vec<u8>>) -> Option<Reply> {
        let head = |request: &TestRequest| self.gateway.request_head(request);
        if P::HOOKS.request && !self.asked().skip_request {
            let head = head(request);
            match self.enter(|| glue::on_request::<P>(self.attachment, head)) {
                RequestVerdict::Next(edits) => self.apply_to_request(edits, request, kept),
                RequestVerdict::Respond(reply) => return Some(Reply::from_wire(reply)),
            }
        }
        if P::HOOKS.whole_request {
            let whole = request.body.concat();
            if whole.len() > body::bytes_max(self.asked().buffer_request) {
                return Some(Reply::problem(413, "the request's body is larger than a filter of this route takes"));
            }
            let head = head(request);
            match self.enter(|| glue::on_whole_request::<P>(self.attachment, head, &whole)) {
                WholeRequestVerdict::Next((edits, replaced)) => {
                    self.apply_to_request(edits, request, kept);
                    body::replace(&mut request.body, replaced);
                }
                WholeRequestVerdict::Respond(reply) => return Some(Reply::from_wire(reply)),
            }
        }
        if P::HOOKS.request_body && !request.body.is_empty() {
            let head = head(request);
            let open = || glue::open_request_body::<P>(self.attachment, head);
            let passed = self.enter(|| body::pass(open, &request.body));
            match passed {
                Ok(passed) => {
                    request.body = passed.body;
                    *kept = passed.kept.or(kept.take());
                }
                Err(reply) => return Some(reply),
            }
        }
        None
    }

    #[track_caller]
    fn run_response(&mut self, response: &mut TestResponse) -> Option<Reply> {
        if P::HOOKS.response && !self.asked().skip_response {
            let head = self.response_head(response);
            match self.enter(|| glue::on_response::<P>(self.attachment, head)) {
                ResponseVerdict::Next(edits) => self.apply_to_response(edits, response),
                ResponseVerdict::Respond(reply) => return Some(Reply::from_wire(reply)),
            }
        }
        let may_have_body = !matches!(response.status, 204 | 304) && self.exchange.request.method != "HEAD";
        if P::HOOKS.whole_response && may_have_body {
            let whole = response.body.concat();
            if whole.len() > body::bytes_max(self.asked().buffer_response) {
                return Some(Reply::problem(502, "the upstream gave no usable response"));
            }
            let head = self.response_head(response);
            match self.enter(|| glue::on_whole_response::<P>(self.attachment, head, &whole)) {
                WholeResponseVerdict::Next((edits, replaced)) => {
                    self.apply_to_response(edits, response);
                    body::replace(&mut response.body, replaced);
                }
                WholeResponseVerdict::Respond(reply) => return Some(Reply::from_wire(reply)),
            }
        }
        if P::HOOKS.response_body && may_have_body && !response.body.is_empty() {
            let head = self.response_head(response);
            let open = || glue::open_response_body::<P>(self.attachment, head);
            match self.enter(|| body::pass(open, &response.body)) {
                Ok(passed) => response.body = passed.body,
                Err(reply) => return Some(reply),
            }
        }
        None
    }

    fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        self.gateway.begin_call();
        host::enter(self.gateway.clone(), call)
    }

    fn response_head(&self, response: &TestResponse) -> ResponseHead {
        self.gateway.begin_response(&self.exchange.request, response);
        self.gateway.response_head(&self.exchange.request, response, self.exchange.kept.clone())
    }

    #[track_caller]
    fn apply_to_request(&self, edits: Vec<RequestEdit>, request: &mut TestRequest, kept: &mut Option<Vec<u8>>) {
        for edit in self.gateway.request_edits(edits) {
            edit::apply_to_request(edit, request, kept);
        }
    }

    #[track_caller]
    fn apply_to_response(&mut self, edits: Vec<ResponseEdit>, response: &mut TestResponse) {
        for edit in self.gateway.response_edits(edits) {
            edit::apply_to_response(edit, &mut self.exchange.request, response);
        }
    }

    /// What the plugin asked for while it was configured.
    pub fn asked(&self) -> Asked {
        self.gateway.asked()
    }

    /// The lines it has logged so far, in order, those of `configure` included.
    pub fn log(&self) -> Vec<LogLine> {
        self.gateway.log()
    }

    /// What the hooks of the last message said on the span of their call, with [`trace::set_attribute`](crate::trace::set_attribute).
    ///
    /// ```
    /// use witgate_plugin::{Exported, test::Harness};
    ///
    /// fn has_told_the_tenant<P: Exported>(plugin: &Harness<P>) -> bool {
    ///     plugin.span_attribute("app.tenant") == Some("acme".into())
    /// }
    /// ```
    pub fn span_attribute(&self, name: &str) -> Option<Value> {
        self.gateway.span_attribute(name).map(|value| match value {
            AttributeValue::Text(text) => Value::Text(text),
            AttributeValue::Whole(number) => Value::Whole(number),
            AttributeValue::Fraction(number) => Value::Fraction(number),
            AttributeValue::Truth(truth) => Value::Truth(truth),
        })
    }

    /// What the last request handed over with [`Request::keep`](crate::Request::keep) or [`End::keep`](crate::End::keep).
    pub fn kept(&self) -> Option<&[u8]> {
        self.exchange.kept.as_deref()
    }

    /// An attribute of the exchange as it stands after the last hook.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.exchange.request.attributes.get(name).map(String::as_str)
    }
}

impl<P: Exported> Drop for Harness<P> {
    fn drop(&mut self) {
        host::enter(self.gateway.clone(), || glue::release::<P>(self.attachment));
    }
}

impl<M> Outcome<M> {
    /// The message that passed.
    ///
    /// # Panics
    ///
    /// When the plugin answered instead.
    #[track_caller]
    pub fn passed(&self) -> &M {
        match self {
            Outcome::Next(message) => message,
            Outcome::Respond(reply) => {
                panic!("the plugin did not pass it on, it responded: {reply:?}")
            }
        }
    }

    /// The plugin's own answer.
    ///
    /// # Panics
    ///
    /// When the message passed.
    #[track_caller]
    pub fn reply(&self) -> &Reply {
        match self {
            Outcome::Next(_) => panic!("the plugin did not respond, it passed the message on"),
            Outcome::Respond(reply) => reply,
        }
    }
}
