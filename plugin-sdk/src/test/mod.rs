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
//! The harness passes what the plugin asked for and nothing else, strips the headers that it owns from the request, calls only
//! hooks that are exported, and refuses edits that are not HTTP. What it leaves to the gateway: normalising paths, which
//! upstreams a route names, deadlines and memory.

mod edit;
mod gateway;
mod grants;
mod message;
mod network;

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

pub use serde_json::json;

pub use self::gateway::{Asked, LogLine};
pub use self::grants::Grants;
pub use self::message::{TestRequest, TestResponse};
pub use crate::host::log::Level;

use self::gateway::TestGateway;
use crate::wire::{RequestVerdict, ResponseVerdict};
use crate::{Error, Exported, Reply, glue, host};

/// One attachment of a plugin, in a gateway of its own.
///
/// # Panics
///
/// [`request`](Self::request) and [`response`](Self::response) panic where the gateway would fail the exchange: when the plugin
/// panics, does not export the hook, or makes an edit that the gateway refuses.
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

/// What a hook decided, after its edits.
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
    /// What the plugin refuses its configuration for, or what kept it from being decoded, as the operator reads it.
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
        Ok(Harness { attachment, gateway, exchange: Exchange::default(), plugin: PhantomData })
    }

    /// Run the request hook: a new exchange begins.
    #[track_caller]
    pub fn request(&mut self, mut request: TestRequest) -> Outcome<TestRequest> {
        assert!(P::HOOKS.request, "the component has no request hook: name it in `export_plugin!(…: request)`");
        self.gateway.begin_request(&mut request);
        let head = self.gateway.request_head(&request);
        let verdict = host::enter(self.gateway.clone(), || glue::on_request::<P>(self.attachment, head));

        let mut kept = None;
        let outcome = match verdict {
            RequestVerdict::Next(edits) => {
                for edit in edits {
                    edit::apply_to_request(edit, &mut request, &mut kept);
                }
                Outcome::Next(request.clone())
            }
            RequestVerdict::Respond(reply) => Outcome::Respond(edit::check_reply(Reply::from_wire(reply))),
        };
        self.exchange = Exchange { request, kept };
        outcome
    }

    /// Run the response hook, in the exchange that the last [`request`](Self::request) began; without one, in that of
    /// `GET /`, as if another filter had answered before this plugin kept anything.
    #[track_caller]
    pub fn response(&mut self, mut response: TestResponse) -> Outcome<TestResponse> {
        assert!(P::HOOKS.response, "the component has no response hook: name it in `export_plugin!(…: response)`");
        self.gateway.begin_response(&self.exchange.request, &response);
        let head = self.gateway.response_head(&self.exchange.request, &response, self.exchange.kept.clone());
        let verdict = host::enter(self.gateway.clone(), || glue::on_response::<P>(self.attachment, head));

        match verdict {
            ResponseVerdict::Next(edits) => {
                for edit in edits {
                    edit::apply_to_response(edit, &mut self.exchange.request, &mut response);
                }
                Outcome::Next(response)
            }
            ResponseVerdict::Respond(reply) => Outcome::Respond(edit::check_reply(Reply::from_wire(reply))),
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

    /// What the last request hook handed over with [`Request::keep`](crate::Request::keep).
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
