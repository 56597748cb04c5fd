//! What an author writes: the `Plugin` trait. How it is exported is `export`'s, how calls reach it is `glue`'s.

use serde::de::DeserializeOwned;

use crate::{Body, Error, Request, Response, Setup, Transform, Verdict};

/// A plugin: one value of `Self` for each attachment, that is, for each use of the plugin on a route with a configuration.
///
/// This one lets only some methods pass, and tells clients so:
///
/// ```
/// use serde::Deserialize;
/// use witgate_plugin::{Error, Part, Plugin, Reply, Request, Response, Setup, Verdict, export_plugin, schemars};
///
/// #[derive(Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     /// Those that may pass, such as `GET`.
///     methods: Vec<String>,
/// }
///
/// struct Methods {
///     method: Part,
///     methods: Vec<String>,
///     allow: String,
/// }
///
/// impl Plugin for Methods {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         if config.methods.is_empty() {
///             return Err(Error::at("methods", "must name at least one"));
///         }
///         let allow = config.methods.join(", ");
///         Ok(Methods { method: setup.want_method(), methods: config.methods, allow })
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         match self.methods.iter().any(|method| method == request.part(self.method)) {
///             true => Verdict::Next,
///             false => Reply::problem(405, "this method is not allowed here").into(),
///         }
///     }
///
///     // Also over the answer that `on_request` made.
///     fn on_response(&self, response: &mut Response) -> Verdict {
///         if response.status() == 405 {
///             response.set_header("allow", &self.allow);
///         }
///         Verdict::Next
///     }
/// }
///
/// export_plugin!(Methods: describe, request, response);
/// # use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};
/// # let mut plugin = Harness::<Methods>::new(json!({ "methods": ["GET", "HEAD"] }))?;
/// # plugin.request(TestRequest::get("/")).passed();
/// # assert_eq!(plugin.request(TestRequest::new("PUT", "/")).reply().status(), 405);
/// # assert_eq!(plugin.response(TestResponse::new(405)).passed().value("allow"), Some("GET, HEAD"));
/// # Ok::<(), Error>(())
/// ```
///
/// # State
///
/// The gateway runs many instances of a plugin, shares each between attachments, and replaces any of them at any time: after a
/// number of uses, after a trap, on a swap. What `Self` holds is therefore a cache of its configuration, never the only copy of
/// anything. The response hook of an exchange may run on another instance than its request hook did; what it needs travels
/// by [`Request::keep`].
///
/// # Panics
///
/// A panic in a hook ends the instance. Its message goes to the gateway's log, and this one request fails, or passes when
/// [`Setup::may_fail_open`] and the configuration both allow it; the next request gets a fresh instance.
pub trait Plugin: Sized + 'static {
    /// The configuration, decoded from the `config` of the attachment. Derive it with `#[serde(deny_unknown_fields)]`, so that
    /// a misspelt key is an error that the operator sees, and with [`JsonSchema`](schemars::JsonSchema), so that its schema can travel in the component:
    /// see `describe` of [`export_plugin!`](crate::export_plugin). [`config`](crate::config) has types of fields that check themselves;
    /// take [`NoConfig`](crate::config::NoConfig) when there is nothing to configure.
    type Config: DeserializeOwned;

    /// Make ready for one attachment: check the configuration, compute in advance what hooks need, and ask `setup` for the
    /// parts of the exchange that they will read.
    ///
    /// Runs when the gateway loads a configuration, once for each attachment, and again on each instance before that
    /// instance first serves the attachment. It must ask for the same each time. It may take longer than a hook, but has a
    /// deadline of its own.
    ///
    /// # Errors
    ///
    /// An [`Error`] refuses the configuration: the operator sees it beside the key that [`Error::at`] names, and what
    /// runs stays as it is.
    fn configure(config: Self::Config, setup: &mut Setup) -> Result<Self, Error>;

    /// See and change a request, once a request, before the upstream is chosen.
    ///
    /// [`Verdict::Next`] passes the request on with the edits made here; [`Verdict::Respond`] answers at once, and then later
    /// filters and the upstream never see the request. The default passes it on unchanged.
    fn on_request(&self, request: &mut Request) -> Verdict {
        let _ = request;
        Verdict::Next
    }

    /// See and change a response, once a response, also one that a filter or the gateway made: see [`Response::origin`].
    /// It runs if the request passed this attachment, and attachments run in reverse order of their request hooks.
    ///
    /// [`Verdict::Next`] passes the response on with the edits made here; [`Verdict::Respond`] sends another in its place. The
    /// default passes it on unchanged.
    fn on_response(&self, response: &mut Response) -> Verdict {
        let _ = response;
        Verdict::Next
    }

    /// See and change the body of a request while it passes to the upstream: give a [`Transform`] that gets it piece by piece,
    /// or `None` to let this one pass untouched, at no further cost. The default gives `None`.
    ///
    /// Runs once a request that has a body, after [`on_request`](Self::on_request), and sees the head as it is then.
    /// Nothing is collected, so a transform suits bodies of any length; the price is that its length is not known any more
    /// (the gateway drops `content-length`), and that the upstream may have seen the beginning when the end is found bad.
    fn on_request_body(&self, request: &Request) -> Option<Box<dyn Transform>> {
        let _ = request;
        None
    }

    /// See and change the body of a response while it passes to the client, as [`on_request_body`](Self::on_request_body)
    /// does for a request.
    ///
    /// Runs once a response that has a body, after [`on_response`](Self::on_response); the head is sent before the first piece is seen.
    fn on_response_body(&self, response: &Response) -> Option<Box<dyn Transform>> {
        let _ = response;
        None
    }

    /// See and change a request together with its whole body, which the gateway collects first: at most
    /// [`Setup::buffer_request`] bytes, and it answers larger ones with 413.
    ///
    /// Runs once a request, after [`on_request`](Self::on_request). It runs without a body, too, and then sees an empty one: a check cannot be
    /// passed by sending none. What it decides means the same as there; [`Body::replace`] changes the body. The default passes all on.
    fn on_whole_request(&self, request: &mut Request, body: &mut Body) -> Verdict {
        let _ = (request, body);
        Verdict::Next
    }

    /// See and change a response together with its whole body, which the gateway collects first: at most
    /// [`Setup::buffer_response`] bytes, and it answers 502 in the place of larger ones.
    ///
    /// Runs once a response that can have a body, so not for HEAD, 204 and 304, after [`on_response`](Self::on_response). A stream that
    /// never ends, such as server-sent events, never gets here: use [`on_response_body`](Self::on_response_body). The default passes all on.
    fn on_whole_response(&self, response: &mut Response, body: &mut Body) -> Verdict {
        let _ = (response, body);
        Verdict::Next
    }
}
