//! What an author writes: the `Plugin` trait, and the macro that exports it. How calls reach it is `glue`'s.

use std::cell::RefCell;
use std::thread::LocalKey;

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;

use crate::glue::Attachments;
use crate::{Body, Error, Request, Response, Setup, Transform, Verdict};

/// A plugin: one value of `Self` for each attachment, that is, for each use of the plugin on a route with a configuration.
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
    /// a misspelt key is an error that the operator sees, and with [`JsonSchema`], so that its schema can travel in the component:
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

/// The hooks that a component exports. The gateway reads a plugin's rights from them and calls no others.
///
/// ```
/// use witgate_plugin::Hooks;
///
/// let hooks = Hooks { request: true, ..Hooks::NONE };
/// assert!(hooks.any_request() && !hooks.any_response());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks {
    /// [`Plugin::on_request`] is called.
    pub request: bool,
    /// [`Plugin::on_response`] is called.
    pub response: bool,
    /// [`Plugin::on_request_body`] is called.
    pub request_body: bool,
    /// [`Plugin::on_response_body`] is called.
    pub response_body: bool,
    /// [`Plugin::on_whole_request`] is called.
    pub whole_request: bool,
    /// [`Plugin::on_whole_response`] is called.
    pub whole_response: bool,
}

impl Hooks {
    /// No hook at all.
    pub const NONE: Hooks = Hooks {
        request: false,
        response: false,
        request_body: false,
        response_body: false,
        whole_request: false,
        whole_response: false,
    };

    /// Whether anything is called for a request, other than for its response.
    pub const fn any_request(self) -> bool {
        self.request || self.request_body || self.whole_request
    }

    /// Whether anything is called for a response.
    pub const fn any_response(self) -> bool {
        self.response || self.response_body || self.whole_response
    }
}

/// A plugin that [`export_plugin!`](crate::export_plugin) exports; implemented by that macro alone.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig, export_plugin};
/// use witgate_plugin::Exported;
/// # struct Quiet;
/// # impl Plugin for Quiet {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Quiet) }
/// # }
///
/// export_plugin!(Quiet: response);
/// assert!(Quiet::HOOKS.any_response() && !Quiet::HOOKS.any_request());
/// ```
pub trait Exported: Plugin {
    /// What the component exports.
    const HOOKS: Hooks;

    /// What the component tells of its configuration, if it exports `describe`.
    #[cfg(not(target_arch = "wasm32"))]
    #[doc(hidden)]
    fn exported_schema() -> Option<String> {
        None
    }

    #[doc(hidden)]
    fn attachments() -> &'static LocalKey<RefCell<Attachments<Self>>>;
}

/// A plugin that tells what configuration it takes: one whose `export_plugin!` lists `describe`, and so whose configuration
/// has a JSON Schema. Implemented for all of them.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig};
/// use witgate_plugin::Described;
/// # struct Quiet;
/// # impl Plugin for Quiet {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Quiet) }
/// # }
///
/// assert!(Quiet::schema().contains(r#""additionalProperties":false"#));
/// ```
pub trait Described: Plugin {
    /// The JSON Schema (draft 2020-12) of [`Plugin::Config`], as text. Doc comments of the configuration's types and fields
    /// are its descriptions.
    fn schema() -> String;
}

impl<P: Plugin> Described for P
where
    P::Config: JsonSchema,
{
    fn schema() -> String {
        schema_for!(P::Config).to_value().to_string()
    }
}

/// Export a plugin, and those of its hooks that are listed.
///
/// Only a hook that is listed runs, and only for it does a request pay: a component that does not export the response
/// hook is never called for a response, and one that exports no body hook can neither read nor delay a body. Invoke it
/// once in a crate, at its top level.
///
/// `describe` is no hook: it lets the component carry the JSON Schema of its configuration, so that the gateway finds every
/// fault of a configuration, and its place, before the plugin sees any of it. It needs a configuration that derives
/// [`JsonSchema`]; where it is not listed nothing of that is in the component.
///
/// | name | runs |
/// |---|---|
/// | `describe` | nothing: the component tells the schema of [`Plugin::Config`] |
/// | `request` | [`Plugin::on_request`] |
/// | `response` | [`Plugin::on_response`] |
/// | `request_body` | [`Plugin::on_request_body`] |
/// | `response_body` | [`Plugin::on_response_body`] |
/// | `whole_request` | [`Plugin::on_whole_request`] |
/// | `whole_response` | [`Plugin::on_whole_response`] |
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig};
/// struct Quiet;
///
/// impl Plugin for Quiet {
///     type Config = NoConfig;
///     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> {
///         Ok(Quiet)
///     }
/// }
///
/// witgate_plugin::export_plugin!(Quiet: describe, request, response);
/// ```
///
/// Any other name is refused when it is compiled:
///
/// ```compile_fail
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig};
/// # struct Quiet;
/// # impl Plugin for Quiet {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Quiet) }
/// # }
/// witgate_plugin::export_plugin!(Quiet: requests);
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident: $($hook:ident),+ $(,)?) => {
        impl $crate::Exported for $plugin {
            const HOOKS: $crate::Hooks = {
                let mut hooks = $crate::Hooks::NONE;
                $($crate::__hook!(hooks $hook);)+
                hooks
            };

            $($crate::__schema!($hook);)+

            fn attachments() -> &'static ::std::thread::LocalKey<::std::cell::RefCell<$crate::glue::Attachments<Self>>> {
                ::std::thread_local! {
                    static ATTACHMENTS: ::std::cell::RefCell<$crate::glue::Attachments<$plugin>> =
                        const { ::std::cell::RefCell::new($crate::glue::Attachments::new()) };
                }
                &ATTACHMENTS
            }
        }

        // Natively nobody but tests calls the plugin, and the compiler would take all of it for dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(<$plugin as $crate::Plugin>::Config, &mut $crate::Setup) -> ::std::result::Result<$plugin, $crate::Error> =
            <$plugin as $crate::Plugin>::configure;

        // A native library with component exports does not link, so they exist on wasm alone.
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::bindings::lifecycle::export_lifecycle!($plugin with_types_in $crate::bindings::lifecycle);
            $($crate::__export!($plugin $hook);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    ($hooks:ident describe) => {};
    ($hooks:ident request) => {
        $hooks.request = true
    };
    ($hooks:ident response) => {
        $hooks.response = true
    };
    ($hooks:ident request_body) => {
        $hooks.request_body = true
    };
    ($hooks:ident response_body) => {
        $hooks.response_body = true
    };
    ($hooks:ident whole_request) => {
        $hooks.whole_request = true
    };
    ($hooks:ident whole_response) => {
        $hooks.whole_response = true
    };
    ($hooks:ident $other:ident) => {
        compile_error!(concat!(
            "no hook is called `",
            stringify!($other),
            "`; there are `describe`, `request`, `response`, `request_body`, `response_body`, `whole_request` and `whole_response`"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __schema {
    (describe) => {
        #[cfg(not(target_arch = "wasm32"))]
        fn exported_schema() -> ::std::option::Option<::std::string::String> {
            ::std::option::Option::Some(<Self as $crate::Described>::schema())
        }
    };
    ($other:ident) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident describe) => {
        $crate::bindings::describe::export_describe!($plugin with_types_in $crate::bindings::describe);
    };
    ($plugin:ident request) => {
        $crate::bindings::request_hook::export_request_hook!($plugin with_types_in $crate::bindings::request_hook);
    };
    ($plugin:ident response) => {
        $crate::bindings::response_hook::export_response_hook!($plugin with_types_in $crate::bindings::response_hook);
    };
    ($plugin:ident request_body) => {
        $crate::bindings::request_body::export_request_body!($plugin with_types_in $crate::bindings::request_body);
    };
    ($plugin:ident response_body) => {
        $crate::bindings::response_body::export_response_body!($plugin with_types_in $crate::bindings::response_body);
    };
    ($plugin:ident whole_request) => {
        $crate::bindings::whole_request::export_whole_request!($plugin with_types_in $crate::bindings::whole_request);
    };
    ($plugin:ident whole_response) => {
        $crate::bindings::whole_response::export_whole_response!($plugin with_types_in $crate::bindings::whole_response);
    };
    // `__hook!` has said what is wrong.
    ($plugin:ident $other:ident) => {};
}
